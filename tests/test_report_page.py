"""The page: well formed, self-contained, safe with hostile names, readable by everyone."""

from __future__ import annotations

import base64
import hashlib
import math
import re
import struct
import zlib
from html.parser import HTMLParser
from pathlib import Path

import pytest

from augaware.errors import RequestError
from augaware.report import charts, numbers, plots
from augaware.report.page import (
    Bars,
    Dots,
    Facts,
    Group,
    KeyValues,
    Lines,
    Picture,
    Pictures,
    Scatter,
    Section,
    Table,
    Text,
    Value,
    render,
    save,
)

VOID = {"meta", "img", "link", "br", "hr", "input"}
HOSTILE = "</script><script>alert(1)</script><img src=http://evil.example/x onerror=alert(1)>\"'&\ud800\x00\u202e日本"
NAN, INF = math.nan, math.inf


class Page(HTMLParser):
    """Checks that tags balance and keeps what the tests ask for."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(html)
        self.close()
        assert not self.open, f"left open: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def find(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]


def png(width: int = 3, height: int = 2) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + bytes(3 * width) for _ in range(height)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def every_part(name: str = "a") -> list[Section]:
    """A page with each kind of part, under a name of the caller's."""
    odd = [1.5, NAN, INF, -INF, None, Value(0.5, 0.1, n=3), Value(NAN, NAN), 10**400]
    columns = [name, *(f"{name} {i}" for i in range(8))]
    return [
        Section(
            name,
            "first",
            [
                Facts([(name, name, name)]),
                Text(f"{name}\n\nsecond"),
                KeyValues({name: name, "x": NAN, "none": None}, name),
                Group(name, [Dots(name, [name] * 8, {name: odd, "other": [0.0] * 8}, name, name)]),
            ],
        ),
        Section("Tables", "tables", [Table(name, columns, [[name, *odd]], note=name, best={f"{name} 0": "max"})]),
        Section(
            "Charts",
            "charts",
            [
                Bars(name, [name] * 8, {name: odd, "other": [0.0] * 8}, ylabel=name, note=name),
                Lines(name, {name: ([0, 1, 2, 3], [1.0, NAN, INF, 1e300]), "empty": ([], [])}, name, name),
                Scatter(name, {name: [(Value(1, 0.1), Value(2, low=1.0, high=4.0)), (NAN, 1)], "e": []}, name, name),
                Picture(name, name, png(), note=name),
                Pictures(name, name, {name: png(), "other": png()}, note=name),
            ],
        ),
    ]


@pytest.mark.parametrize("name", ["plain", HOSTILE, "", "∞ – é", "{{ 7 * 7 }}{% raw %}"])
def test_any_name_gives_a_well_formed_page_that_loads_nothing(name: str) -> None:
    html = render(name, name, every_part(name), command=name, footer=name)
    page = Page(html)
    html.encode("utf-8")
    assert len(page.find("script")) == 1
    assert "\x00" not in html
    for tag, attrs in page.tags:
        assert not any(key.startswith("on") for key in attrs), tag
        for key in ("src", "href", "action", "xlink:href"):
            assert re.match(r"#|data:(image/(png|webp)|text/(csv|x-tex));base64,", attrs.get(key) or "#"), (tag, attrs)
    assert "url(" not in html
    assert "@import" not in html
    assert (
        name.encode("utf-8", "replace").decode().replace("\x00", "�").replace("\u202e", "�") in "".join(page.text)
        or name == ""
    )


def test_policy_allows_only_the_script_of_the_page() -> None:
    html = render("t", "", every_part())
    script = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script[0].encode()).digest()).decode()
    policy = next(m["content"] for m in Page(html).find("meta") if m.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert f"script-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'")


def test_page_can_be_used_without_eyes_or_mouse() -> None:
    page = Page(render("t", "lead", every_part()))
    assert page.find("html") == [{"lang": "en"}]
    assert any(m.get("name") == "viewport" for m in page.find("meta"))
    assert all(image["alt"] for image in page.find("img"))
    drawn = [svg for svg in page.find("svg") if svg.get("aria-hidden") != "true"]
    assert len(drawn) == 18  # twice eight panels, one curve chart, one scatter
    assert all(svg["role"] == "img" and svg["aria-label"] for svg in drawn)
    heads = [th for th in page.find("th") if th.get("scope") == "col"]
    legend = [button for button in page.find("button") if "aria-pressed" in button]
    assert len(page.find("button")) == len(heads) + len(legend)
    assert len(heads) > 9
    assert len(legend) == 4
    targets = {attrs["id"] for _, attrs in page.tags if attrs.get("id")}
    assert {str(a["href"])[1:] for a in page.find("a") if "download" not in a} <= targets


@pytest.mark.parametrize("mode", [0, 1], ids=["light", "dark"])
def test_colours_have_enough_contrast(mode: int) -> None:
    css = charts.__file__.replace("charts.py", "page.css")
    blocks = re.findall(r":root \{(.*?)\}", Path(css).read_text(encoding="utf-8"), re.DOTALL)
    colours = dict(re.findall(r"--(\w+): (#\w{6})", blocks[mode]))

    def luminance(colour: str) -> float:
        channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    paper = luminance(colours["paper"])
    for name, colour in colours.items():
        low, high = sorted((paper, luminance(colour)))
        ratio = (high + 0.05) / (low + 0.05)
        if name in ("ink", "soft", "link", "up", "down"):
            assert ratio >= 4.5, name
        elif re.fullmatch(r"[cb]\d|mute", name):
            assert ratio >= 3.0, name
    for name in ("ink", "soft", "link", "up", "down"):  # rows under the pointer, cards, pressed entries of a legend
        low, high = sorted((luminance(colours["raised"]), luminance(colours[name])))
        assert (high + 0.05) / (low + 0.05) >= 4.5, name


@pytest.mark.parametrize(
    ("cell", "digits", "text"),
    [
        (None, 2, "–"),
        (NAN, 2, "–"),
        (INF, 2, "∞"),
        (-INF, 2, "−∞"),
        (-0.5, 2, "−0.50"),
        (7, 2, "7"),
        (True, 2, "yes"),
        ("text", 2, "text"),
        (0.00012, 2, "0.00012"),
        (Value(0.52, 0.07), 2, "0.52 ± 0.07"),
        (Value(0.5, 0.001), 2, "0.50 ± 0.00"),
        (Value(0.52, low=0.45, high=0.6), 2, "0.52 [0.45, 0.60]"),
        (Value(0.52), 2, "0.52"),
        (Value(0.52, NAN), 2, "0.52"),
        (Value(NAN, 0.1), 2, "–"),
    ],
)
def test_how_a_cell_reads(cell: object, digits: int, text: str) -> None:
    assert numbers.shown(cell, digits) == text  # type: ignore[arg-type]


def test_best_is_the_extreme_of_its_column_and_repeats_are_said_once() -> None:
    rows = [["a", Value(0.1, 0.0, n=3), 3], ["b", Value(0.9, 0.0, n=3), 2], ["c", NAN, None]]
    html = render(
        "t", "", [Section("s", "s", [Table("", ["", "up", "down"], rows, best={"up": "max", "down": "min"})])]
    )
    assert re.findall(r'best">([^<]+)<', html) == ["0.900 ± 0.000", "2"]
    assert html.count("n = 3.") == 1
    mixed = [["a", Value(0.1, 0.0, n=3)], ["b", Value(0.9, 0.0, n=2)]]
    html = render("t", "", [Section("s", "s", [Table("", ["", "up"], mixed)])])
    assert "n=3" in html
    assert "n=2" in html


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-0.31, 0.77), (1e-12, 2e-12), (-1e50, 1e50), (5, 5.1)])
def test_ticks_enclose_the_data(low: float, high: float) -> None:
    found = numbers.ticks(low, high)
    assert found[0] <= low + 1e-9 * abs(low)
    assert found[-1] >= high - 1e-9 * abs(high)
    assert 3 <= len(found) <= 12


def test_a_series_looks_the_same_on_the_whole_page_and_no_two_alike() -> None:
    names = [f"s{i}" for i in range(32)]
    look = charts.styles([*names, *names, "pixels"], baselines=["pixels"])
    assert len({(s.colour, s.dash) for s in look.values()}) == 33
    assert len({s.marker for name, s in look.items() if name in names[:8]}) == 8
    assert look["pixels"].colour == "b0"


def test_a_long_curve_keeps_its_spikes() -> None:
    ys = [0.0] * 100_000
    ys[41_234] = 9.0
    kept = plots.thin((range(len(ys)), ys))
    assert len(kept) <= plots.POINTS
    assert (41_234, 9.0) in [(p.x, p.y) for p in kept]


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Table("t", ["a", "b"], [["only one"]]),
        lambda: Bars("b", ["g"], {"s": [1.0, 2.0]}),
        lambda: Picture("p", "alt", b"GIF89a"),
        lambda: Section("h", "not an id", []),
    ],
)
def test_a_part_that_makes_no_sense_is_refused(wrong: object) -> None:
    with pytest.raises(ValueError, match=r"needs|PNG|section id"):
        wrong()  # type: ignore[operator]


def test_save_replaces_our_page_and_nothing_else(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "report.html"
    save(render("one", "", []), out)
    save(render("two", "", []), out)
    assert "<h1>two</h1>" in out.read_text(encoding="utf-8")
    assert [p.name for p in out.parent.iterdir()] == ["report.html"]
    foreign = tmp_path / "thesis.html"
    foreign.write_text("<p>years of work</p>", encoding="utf-8")
    with pytest.raises(RequestError, match="not a report of augaware"):
        save(render("t", "", []), foreign)
    assert foreign.read_text(encoding="utf-8") == "<p>years of work</p>"
    with pytest.raises(RequestError, match="is a folder"):
        save(render("t", "", []), tmp_path)
    with pytest.raises(RequestError, match="cannot write"):
        save(render("t", "", []), foreign / "report.html")
