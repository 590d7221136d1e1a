"""The parts of a page as a piece of HTML, for a notebook: escaped, its style its own, in the notebook's colours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources

from markupsafe import Markup

from augaware.report import pictures, plots, tables
from augaware.report.charts import Style, styles
from augaware.report.numbers import decimals, shown
from augaware.report.page import UNPRINTABLE
from augaware.report.parts import Bars, Dots, Facts, Group, KeyValues, Lines, Part, Picture, Pictures, Table, Text
from augaware.report.parts import Scatter as Points

SHELL = Markup('<div class="augaware"><style>{}</style>\n{}\n</div>')


def html(parts: Sequence[Part]) -> str:
    """One ``<div class="augaware">``; its style reaches nothing else, and no script is in it."""
    look = styles(_names(parts))
    body = Markup("\n").join(_part(part, look) for part in parts)
    whole = SHELL.format(Markup(_css()), body)  # noqa: S704 - our own file
    return whole.encode("utf-8", "replace").decode().translate(UNPRINTABLE)


@cache
def _css() -> str:
    return (resources.files("augaware.report") / "notebook.css").read_text(encoding="utf-8")


def _names(parts: Sequence[Part]) -> list[str]:
    """The series of all charts."""
    found: list[str] = []
    for part in parts:
        if isinstance(part, Bars | Lines | Points):
            found += part.series
        elif isinstance(part, Group):
            found += _names(part.parts)
    return found


def _part(part: Part, look: Mapping[str, Style]) -> Markup:
    match part:
        case Text():
            paragraphs = (p for p in part.text.split("\n\n") if p.strip())
            return Markup("").join(Markup("<p>{}</p>").format(p) for p in paragraphs)
        case Facts():
            return _items([(name, f"{value}  {note}".rstrip()) for name, value, note in part.items])
        case KeyValues():
            return _caption(part.caption) + _items([(k, shown(v, decimals([v]))) for k, v in part.items.items()])
        case Table():
            return _table(part)
        case Picture():
            return _caption(part.caption) + _shot(part.png, part.alt) + _note(part.note)
        case Pictures():
            shots = [_caption(name) + _shot(png, f"{part.alt}, {name}") for name, png in part.pngs.items()]
            return _caption(part.caption) + Markup("").join(shots) + _note(part.note)
        case Group():
            opened = Markup(" open") if part.open else Markup("")
            body = Markup("\n").join(_part(one, look) for one in part.parts)
            return Markup("<details{}><summary>{}</summary>{}</details>").format(opened, part.caption, body)
        case Bars():
            panels = plots.bars(part, look)
        case Dots():
            panels = plots.dots(part)
        case Lines():
            panels = [("", plots.lines(part, look))]
        case Points():
            panels = [("", plots.scatter(part, look))]
    drawn = Markup("").join(_caption(name) + chart for name, chart in panels)
    return _caption(part.caption) + _legend(part, look) + drawn + _note(part.note)


def _caption(caption: str) -> Markup:
    return Markup("<p><b>{}</b></p>").format(caption) if caption else Markup("")


def _note(note: str) -> Markup:
    return Markup('<p class="note">{}</p>').format(note) if note else Markup("")


def _legend(part: Bars | Dots | Lines | Points, look: Mapping[str, Style]) -> Markup:
    """Which curve is which, where there are several."""
    if isinstance(part, Dots) or len(part.series) < 2:
        return Markup("")
    entry = Markup('<span class="{}">{} {}</span> ')
    entries = Markup("").join(entry.format(look[name].css, look[name].swatch(), name) for name in part.series)
    return Markup('<p class="note">{}</p>').format(entries)


def _items(items: Sequence[tuple[str, str]]) -> Markup:
    row = Markup("<tr><th>{}</th><td>{}</td></tr>")
    return Markup("<table>{}</table>").format(Markup("").join(row.format(*item) for item in items))


def _table(table: Table) -> Markup:
    seen = tables.view(table)
    kinds = [Markup(' class="number"') if numeric else Markup("") for _, numeric in seen.columns]
    heads = Markup("").join(
        Markup("<th{}>{}</th>").format(kind, name) for kind, (name, _) in zip(kinds, seen.columns, strict=True)
    )
    rows = Markup("\n").join(
        Markup("<tr>{}</tr>").format(
            Markup("").join(
                Markup("<td{}>{}</td>").format(kind, Markup("<b>{}</b>").format(cell.text) if cell.best else cell.text)
                for kind, cell in zip(kinds, row, strict=True)
            )
        )
        for row in seen.rows
    )
    whole = Markup("<table><thead><tr>{}</tr></thead><tbody>{}</tbody></table>").format(heads, rows)
    return _caption(seen.caption) + whole + _note(seen.note)


def _shot(png: bytes, alt: str) -> Markup:
    shot = pictures.shot(png)
    image = Markup('<img src="data:image/{};base64,{}" width="{}" height="{}" alt="{}">')
    return image.format(shot.kind, shot.data, shot.width, shot.height, alt)
