"""One self-contained HTML page from parts: no network, no library, light and dark, readable on a phone.

    html = render("Title", "What this page shows.", [Section("Results", "results", [Table(...)])])
    save(html, Path("report.html"))

Every name is escaped, and a content security policy lets nothing load and no script run but the page's own.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cache
from importlib import resources
from pathlib import Path

import jinja2
from markupsafe import Markup

from augaware.disk import write_output
from augaware.errors import RequestError
from augaware.report import charts, pictures, plots, tables
from augaware.report.numbers import decimals, shown
from augaware.report.parts import (
    Bars,
    Cell,
    Curve,
    Dots,
    Facts,
    Group,
    KeyValues,
    Lines,
    Part,
    Picture,
    Pictures,
    Scatter,
    Section,
    Table,
    Text,
    Value,
)

__all__ = [
    "Bars",
    "Cell",
    "Curve",
    "Dots",
    "Facts",
    "Group",
    "KeyValues",
    "Lines",
    "Part",
    "Picture",
    "Pictures",
    "Scatter",
    "Section",
    "Table",
    "Text",
    "Value",
    "render",
    "save",
    "save_tables",
]

GENERATOR = '<meta name="generator" content="augaware report">'
Charts = Bars | Lines | Scatter  # with a legend
# JSON can hold half a surrogate pair, control characters, and what turns the direction of all text behind it.
UNPRINTABLE = dict.fromkeys(
    [*range(9), 11, 12, *range(14, 32), 127, *range(0x202A, 0x202F), *range(0x2066, 0x206A)], "�"
)
SHORT = 200  # letters of a command that is shown at the top at once


def render(
    title: str,
    lead: str,
    sections: Sequence[Section],
    command: str = "",
    footer: str = "",
    baselines: Sequence[str] = (),
    focus: Collection[str] | None = None,
) -> str:
    """The page as text.

    ``command`` is what made it and is shown above the sections. Series named in ``baselines`` are drawn in grey; every
    other series has one colour and marker in all charts of the page. ``focus``: the series that are in colour until
    the reader presses others in a legend; None is all of them, or the first eight.
    """
    every = [chart for section in sections for chart in _charts(section.parts)]
    look = charts.styles((name for chart in every for name in chart.series), baselines, focus)
    script = _asset("page.js")
    html = _template().render(
        title=title,
        lead=lead,
        command=command,
        short=len(command) <= SHORT,
        footer=footer,
        sections=[(s.heading, s.id, _legend(s, look) + [_view(part, look) for part in s.parts]) for s in sections],
        generator=Markup(GENERATOR),  # noqa: S704 - a constant
        css=Markup(_asset("page.css")),  # noqa: S704 - our own file
        script=Markup(script),  # noqa: S704 - our own file
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )
    return html.encode("utf-8", "replace").decode().translate(UNPRINTABLE)


def save(html: str, out: Path) -> None:
    """Write the page at once or not at all. Replaces an earlier page of ours, never another file (RequestError)."""
    if out.is_dir():
        raise RequestError(f"--out {str(out)!r} is a folder; name a file such as {str(out / 'report.html')!r}")
    try:
        if out.exists() and GENERATOR.encode() not in out.read_bytes()[:4096]:
            raise RequestError(f"--out {str(out)!r} exists and is not a report of augaware; name another file")
    except OSError as error:
        raise RequestError(f"--out {str(out)!r}: cannot be read ({error.strerror})") from None
    write_output(out, html.encode())


def save_tables(sections: Sequence[Section], folder: Path) -> list[Path]:
    """Write every table of a page as ``folder/NAME.csv``, ``.tex`` and ``.md``, over those of an earlier report."""
    found = []
    for name, table in tables.files(sections).items():
        for ending, text in {**tables.both(table), "md": tables.markdown(table)}.items():
            found.append(folder / f"{name}.{ending}")
            write_output(found[-1], text.encode(), option="--tables")
    return found


def _asset(name: str) -> str:
    return (resources.files("augaware.report") / name).read_text(encoding="utf-8")


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(_asset("page.html.j2"))


def _charts(parts: Sequence[Part]) -> Iterator[Charts]:
    """The charts among parts whose series have a look of their own."""
    for part in parts:
        if isinstance(part, Charts):
            yield part
        elif isinstance(part, Group):
            yield from _charts(part.parts)


def _legend(section: Section, look: Mapping[str, charts.Style]) -> list[dict[str, object]]:
    """One legend for all charts of a section; none where there is nothing to tell apart."""
    names = list(dict.fromkeys(name for chart in _charts(section.parts) for name in chart.series))
    if len(names) < 2:
        return []
    return [{"kind": "legend", "series": [(name, look[name], look[name].swatch()) for name in names]}]


def _view(part: Part, look: Mapping[str, charts.Style]) -> dict[str, object]:
    """What the template needs to show a part: plain values and finished SVG."""
    match part:
        case Text():
            return {"kind": "text", "paragraphs": [p for p in part.text.split("\n\n") if p.strip()]}
        case Facts():
            return {"kind": "facts", "items": part.items}
        case KeyValues():
            items = [(key, shown(value, decimals([value]))) for key, value in part.items.items()]
            long = any(len(value) > 60 for _, value in items)
            return {"kind": "items", "caption": part.caption, "items": items, "long": long}
        case Table():
            return {"kind": "table", "table": _table(part), "wide": len(part.columns) > 2}
        case Picture():
            return {"kind": "picture", "caption": part.caption, "note": part.note, "alt": part.alt} | {
                "shot": pictures.shot(part.png)
            }
        case Pictures():
            return _compared(part)
        case Group():
            inner = [_view(one, look) for one in part.parts]
            return {"kind": "group", "caption": part.caption, "parts": inner, "open": part.open}
        case Bars():
            panels, layout = plots.bars(part, look), "bars"
        case Dots():
            panels, layout = plots.dots(part), "dots"
        case Lines():
            panels, layout = [("", plots.lines(part, look))], "wide" if part.wide else "one"
        case Scatter():
            panels, layout = [("", plots.scatter(part, look))], "wide" if part.wide else "one"
    heading = {"kind": "chart", "caption": part.caption, "note": part.note, "layout": layout, "panels": panels}
    return heading | {"numbers": _table(tables.numbers(part)), "ylabel": part.ylabel if isinstance(part, Bars) else ""}


def _table(table: Table) -> dict[str, object]:
    """A table's view, and itself as files behind links: text is small, so it is there without a script or a server."""
    links = {
        ending: f"data:text/{'csv' if ending == 'csv' else 'x-tex'};base64,{base64.b64encode(_whole(text)).decode()}"
        for ending, text in tables.both(table).items()
    }
    return {"view": tables.view(table), "links": links, "stem": tables.stem(table.caption)}


def _whole(text: str) -> bytes:
    return text.encode("utf-8", "replace")


def _compared(part: Pictures) -> dict[str, object]:
    """Rows of equal sheets below one another, or whole pictures beside one another."""
    names, found = list(part.pngs), pictures.rows(list(part.pngs.values()))
    heading = {
        "kind": "pictures",
        "caption": part.caption,
        "note": part.note,
        "alt": part.alt,
        "sheets": found is not None,
    }
    if found is None:
        found = [[pictures.shot(png) for png in part.pngs.values()]]
    return heading | {"rows": [list(zip(names, row, strict=True)) for row in found]}
