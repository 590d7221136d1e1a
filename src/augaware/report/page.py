"""One self-contained HTML page from parts: no network, no library, light and dark, readable on a phone.

    html = render("Title", "What this page shows.", [Section("Results", "results", [Table(...)])])
    save(html, Path("report.html"))

Every name is escaped, and a content security policy lets nothing load and no script run but the page's own.
"""

from __future__ import annotations

import base64
import hashlib
import math
import os
import struct
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from pathlib import Path

import jinja2
from markupsafe import Markup

from augaware.errors import RequestError
from augaware.report import charts
from augaware.report.numbers import decimals, mean, shown
from augaware.report.parts import (
    Bars,
    Cell,
    Curve,
    KeyValues,
    Lines,
    Part,
    Picture,
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
    "KeyValues",
    "Lines",
    "Part",
    "Picture",
    "Scatter",
    "Section",
    "Table",
    "Text",
    "Value",
    "render",
    "save",
]

GENERATOR = '<meta name="generator" content="augaware report">'


def render(
    title: str,
    lead: str,
    sections: Sequence[Section],
    command: str = "",
    footer: str = "",
    baselines: Sequence[str] = (),
) -> str:
    """The page as text.

    ``command`` is what made it and is shown above the sections. Series named in ``baselines`` are drawn in grey; every
    other series has one colour and marker in all charts of the page.
    """
    names = (
        name
        for section in sections
        for part in section.parts
        if isinstance(part, Bars | Lines | Scatter)
        for name in part.series
    )
    look = charts.styles(names, baselines)
    script = _asset("page.js")
    html = _template().render(
        title=title,
        lead=lead,
        command=command,
        footer=footer,
        sections=[(s.heading, s.id, [_view(part, look) for part in s.parts]) for s in sections],
        generator=Markup(GENERATOR),  # noqa: S704 - a constant
        css=Markup(_asset("page.css")),  # noqa: S704 - our own file
        script=Markup(script),  # noqa: S704 - our own file
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )
    # JSON can hold half a surrogate pair and control characters: neither may reach the file.
    return (
        html.encode("utf-8", "replace").decode().translate(dict.fromkeys([*range(9), 11, 12, *range(14, 32), 127], "�"))
    )


def save(html: str, out: Path) -> None:
    """Write the page at once or not at all. Replaces an earlier page of ours, never another file (RequestError)."""
    if out.is_dir():
        raise RequestError(f"--out {str(out)!r} is a folder; name a file such as {str(out / 'report.html')!r}")
    try:
        if out.exists() and GENERATOR.encode() not in out.read_bytes()[:4096]:
            raise RequestError(f"--out {str(out)!r} exists and is not a report of augaware; name another file")
        out.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=out.parent, prefix=f".{out.name[:40]}.")
    except OSError as error:
        raise RequestError(f"--out {str(out)!r}: cannot write there ({error.strerror})") from None
    temporary = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(html)
        temporary.chmod(0o644)  # mkstemp is private; a page is made to be shared
        temporary.replace(out)
    finally:
        temporary.unlink(missing_ok=True)


def _asset(name: str) -> str:
    return (resources.files("augaware.report") / name).read_text(encoding="utf-8")


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(_asset("page.html.j2"))


def _view(part: Part, look: Mapping[str, charts.Style]) -> dict[str, object]:
    """What the template needs to show a part: plain values and finished SVG."""
    match part:
        case Text():
            return {"kind": "text", "paragraphs": [p for p in part.text.split("\n\n") if p.strip()]}
        case KeyValues():
            items = [(key, shown(value, decimals([value]))) for key, value in part.items.items()]
            long = any(len(value) > 60 for _, value in items)
            return {"kind": "items", "caption": part.caption, "items": items, "long": long}
        case Table():
            return {"kind": "table"} | _table(part)
        case Picture():
            width, height = struct.unpack(">II", part.png[16:24])
            data = base64.b64encode(part.png).decode()
            size = {"width": width, "height": height}
            return {"kind": "picture", "caption": part.caption, "alt": part.alt, "note": part.note, "data": data} | size
        case Bars():
            columns = ["", *part.groups]
            rows: list[list[Cell]] = [[name, *values] for name, values in part.series.items()]
            numbers, panels, wide = Table("", columns, rows, decimals=part.decimals), charts.bars(part, look), True
        case Lines():
            panels, wide, numbers = [("", charts.lines(part, look))], part.wide, _summary(part)
        case Scatter():
            columns = ["", part.xlabel, part.ylabel]
            rows = [[name, x, y] for name, points in part.series.items() for x, y in points]
            panels, wide, numbers = [("", charts.scatter(part, look))], part.wide, Table("", columns, rows)
    legend = [(name, look[name].swatch()) for name in part.series]
    heading = {"kind": "chart", "caption": part.caption, "note": part.note, "wide": wide}
    return heading | {"panels": panels, "legend": legend, "numbers": _table(numbers), "ylabel": part.ylabel}


def _table(table: Table) -> dict[str, object]:
    """Rows of (text, sort key, repeats, is best) and per column whether it holds numbers."""
    columns = list(zip(*table.rows, strict=True)) if table.rows else [()] * len(table.columns)
    numeric = [bool(column) and not any(isinstance(cell, str) for cell in column) for column in columns]
    digits = [decimals(column) if table.decimals is None else table.decimals for column in columns]
    best: list[float | None] = []
    for name, column in zip(table.columns, columns, strict=True):
        present = [mean(cell) for cell in column if math.isfinite(mean(cell))]
        direction = (table.best or {}).get(name)
        choose = min if direction == "min" else max
        best.append(choose(present) if direction and len(set(present)) > 1 else None)
    # One number of repeats for the whole table is said once, below it.
    repeats = {cell.n for row in table.rows for cell in row if isinstance(cell, Value)}
    common = next(iter(repeats)) if len(repeats) == 1 else None
    rows = [
        [
            {
                "text": shown(cell, digits[i]),
                "key": "" if math.isnan(mean(cell)) else repr(mean(cell)),
                "n": cell.n if isinstance(cell, Value) and common is None else None,
                "best": best[i] is not None and mean(cell) == best[i],
            }
            for i, cell in enumerate(row)
        ]
        for row in table.rows
    ]
    return {
        "caption": table.caption,
        "note": " ".join(filter(None, [table.note, f"n = {common}." if common else ""])),
        "columns": list(zip(table.columns, numeric, strict=True)),
        "rows": rows,
    }


def _summary(part: Lines) -> Table:
    """A curve in a row: its ends and its extremes."""
    rows: list[list[Cell]] = []
    for name, (_, ys) in part.series.items():
        present = [y for y in map(mean, ys) if math.isfinite(y)] or [math.nan]
        rows.append([name, present[0], present[-1], min(present), max(present), len(ys)])
    return Table("", ["", "first", "last", "lowest", "highest", "points"], rows)
