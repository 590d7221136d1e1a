"""The report in a real browser: nothing loads, nothing strange runs, and keys, colours and a phone's width work."""

from __future__ import annotations

import base64
import csv
import io
import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from augaware.report.page import render, save
from augaware.report.runs import report
from chromium import Chromium, found
from test_report_page import every_part, png
from test_report_runs import make_run

pytestmark = [
    pytest.mark.browser,
    pytest.mark.xdist_group("browser"),
    pytest.mark.skipif(found() is None, reason="no Chromium here; set AUGAWARE_CHROMIUM to one"),
]

ATTACK = "</script></style></title><script>window.pwned=1</script><img src=x onerror='window.pwned=1'>\"'`${alert(1)}"
ATTACK += "<svg onload=window.pwned=1><a href=javascript:alert(1)>\ud800\x00\u202e日本{{ 7 * 7 }}"
FETCHED = "performance.getEntriesByType('resource').filter((e) => !e.name.startsWith('data:')).length"
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
FIRST = "[...document.querySelector('#results tbody').rows].map((row) => row.cells[0].textContent)"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    chromium = Chromium(tmp_path_factory.mktemp("chromium"))
    yield chromium
    chromium.close()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve experiments of two seeds, with vanilla, pictures, and one whose every name is hostile."""
    folder = tmp_path_factory.mktemp("runs")
    dirs = []
    for i in range(12):
        for seed in (0, 1):
            aware = {"aware": [f"method{i}(lam={i})"]} if i else {}
            dirs.append(make_run(folder / f"r{i}-{seed}", seed, 0.5 + ((7 * i) % 12) / 100 + seed / 1000, **aware))
            (dirs[-1] / "eval" / "linear_probe.png").write_bytes(png(6 + 110, 6 + 2 * 126))
            (dirs[-1] / "views.png").write_bytes(png(30, 20))
    hostile = make_run(folder / "h</script><b>'\"x", 0, 0.1, protocol=ATTACK, host=ATTACK)
    (hostile / "env.json").write_text(json.dumps({"command": ATTACK, ATTACK: ATTACK}))
    (hostile / "eval" / "bad.json").write_text(
        json.dumps({"task": ATTACK, "dataset": ATTACK, "metrics": {ATTACK: 1.0}})
    )
    (hostile / "eval" / "bad.png").write_bytes(png()[:40] + b"<script>window.pwned=1</script>")
    with (hostile / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"step": 1, f"loss/{ATTACK}": 1e308, f"health/{ATTACK}": float("nan")}) + "\n")
    report([*dirs, hostile], folder / "report.html")
    return folder / "report.html"


def complaints(browser: Chromium) -> list[object]:
    """What the page has asked of the network, said in the console, or shown as a dialog."""
    found: list[object] = []
    for name, params in browser.events:
        if name in ("Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled"):
            found.append((name, params))
        if name in ("Page.javascriptDialogOpening", "Page.downloadWillBegin"):
            found.append((name, params))
        if name == "Network.requestWillBeSent" and not params["request"]["url"].startswith(("file:", "data:")):
            found.append((name, params["request"]["url"]))
    return found


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1200])
def test_the_page_is_quiet_and_fits_its_window(browser: Chromium, page: Path, width: int, scheme: str) -> None:
    browser.open(page, width, scheme=scheme)
    browser.run("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert browser.run(OVERFLOW) <= 0
    assert browser.run("window.pwned") is None
    assert browser.run(FETCHED) == 0
    assert browser.run("document.querySelectorAll('script').length") == 1
    assert browser.run("[...document.images].every((image) => !image.complete || image.naturalWidth > 0)")
    assert not complaints(browser)


def test_every_part_of_a_page_with_hostile_names_is_quiet_too(browser: Chromium, tmp_path: Path) -> None:
    save(render(ATTACK, ATTACK, every_part(ATTACK), command=ATTACK, footer=ATTACK), tmp_path / "page.html")
    browser.open(tmp_path / "page.html", 390)
    browser.run("document.querySelectorAll('button').forEach((one) => one.click())")
    assert browser.run("window.pwned") is None
    assert browser.run(OVERFLOW) <= 0
    assert not complaints(browser)


def test_the_policy_stops_what_would_slip_through(browser: Chromium, page: Path) -> None:
    browser.open(page)
    script = "const s = document.createElement('script'); s.textContent = 'window.pwned = 1'; document.body.append(s);"
    browser.run(f"{script} const i = new Image(); i.src = 'http://127.0.0.1:9/x.png'; document.body.append(i); 1")
    assert browser.run("window.pwned") is None
    assert [params["entry"]["text"][:60] for name, params in browser.events if name == "Log.entryAdded"]


def test_dark_is_another_page(browser: Chromium, page: Path) -> None:
    colours = {}
    for scheme in ("light", "dark"):
        browser.open(page, scheme=scheme)
        seen = "getComputedStyle({}).{}"
        paper = browser.run(seen.format("document.body", "backgroundColor"))
        line = browser.run(seen.format("document.querySelector('.series:not(.muted) .line')", "stroke"))
        colours[scheme] = paper, line
    assert colours["light"][0] != colours["dark"][0]
    assert colours["light"][1] != colours["dark"][1]


def test_a_table_is_sorted_by_a_click_and_by_keys(browser: Chromium, page: Path) -> None:
    browser.open(page)
    before = browser.run(FIRST)
    button = "document.querySelectorAll('#results thead button')[{}]"
    browser.run(f"{button.format(2)}.click()")
    up = "document.querySelectorAll('#results thead th')[2].getAttribute('aria-sort')"
    value = "[...document.querySelector('#results tbody').rows].map((row) => row.cells[2].dataset.key)"
    assert browser.run(up) == "descending"
    keys = [float(key) for key in browser.run(value) if key]
    assert keys == sorted(keys, reverse=True)
    browser.run(f"{button.format(2)}.focus()")
    browser.key("Enter")
    assert browser.run(up) == "ascending"
    keys = [float(key) for key in browser.run(value) if key]
    assert keys == sorted(keys)
    browser.run(f"{button.format(0)}.focus()")
    browser.key(" ")
    names = browser.run(FIRST)
    assert sorted(names) == sorted(before)
    assert browser.run("document.querySelectorAll('#results [aria-sort]').length") == 1


def test_tab_reaches_the_skip_link_first_and_it_skips(browser: Chromium, page: Path) -> None:
    browser.open(page)
    browser.key("Tab")
    assert browser.run("document.activeElement.className") == "skip"
    assert browser.run("document.activeElement.getBoundingClientRect().left") >= 0
    browser.key("Enter")
    assert browser.run("document.activeElement.id") == "content"


def test_a_legend_colours_and_greys_a_curve_in_every_chart(browser: Chromium, page: Path) -> None:
    browser.open(page)
    muted = "document.querySelectorAll('.chart .muted').length"
    assert browser.run(muted) > 0  # more than eight experiments
    key = "document.querySelector('#training .legend [aria-pressed=true]')"
    number = browser.run(f"{key}.dataset.s")
    parts = f"[...document.querySelectorAll('.chart [data-s=\"{number}\"]')].map((one) => one.matches('.muted'))"
    assert browser.run(parts).count(False) >= 4
    browser.run(f"{key}.focus()")
    browser.key(" ")
    assert set(browser.run(parts)) == {True}
    assert browser.run(f"document.querySelector('#health [data-s=\"{number}\"]').ariaPressed") == "false"
    browser.run("document.querySelector('#training [data-press=true]').click()")
    assert browser.run(muted) == 0


def test_details_open_by_keys(browser: Chromium, page: Path) -> None:
    browser.open(page)
    browser.run("document.querySelector('#results ~ section details summary').focus()")
    browser.key("Enter")
    assert browser.run("document.querySelector('#results ~ section details').open") is True


def test_a_table_is_taken_along_by_keys(browser: Chromium, page: Path, tmp_path: Path) -> None:
    browser.open(page)
    browser.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path), eventsEnabled=True)
    browser.run("document.querySelector('#results .files a').focus()")
    browser.key("Enter")
    browser.wait("Browser.downloadProgress", state="completed")
    (file,) = tmp_path.glob("*.csv")
    rows = list(csv.reader(io.StringIO(file.read_text())))
    assert len(rows) == 14  # a head, twelve experiments and the hostile one
    link = browser.run("document.querySelector('#results .files a[download$=tex]').href")
    assert base64.b64decode(link.partition(",")[2]).startswith(b"\\begin{tabular}{lrr")


def test_headings_are_in_order_and_charts_say_what_they_show(browser: Chromium, page: Path) -> None:
    browser.open(page)
    levels = browser.run("[...document.querySelectorAll('h1,h2,h3')].map((one) => Number(one.localName[1]))")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    said = "[...document.querySelectorAll('svg[role=img]')].every((one) => one.getAttribute('aria-label').length > 8)"
    assert browser.run(said)
    assert browser.run("[...document.images].every((one) => one.alt.length > 8)")
