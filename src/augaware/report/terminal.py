"""The parts of a page as text: aligned, without colours, for a terminal and for ``repr``."""

from __future__ import annotations

import io
import math
import shutil
import textwrap
from collections.abc import Iterator, Sequence

from rich import box
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text as Plain

from augaware.report.numbers import MISSING, decimals, mean, plain, shown
from augaware.report.parts import Curve, Facts, Group, KeyValues, Lines, Part, Picture, Pictures, Table, Text
from augaware.report.plots import thin
from augaware.report.tables import numbers, printable, view

WIDE = 200  # letters of a line where no terminal says how many
READ = 100  # letters of a line of prose, and of a name with its value beside it
BLOCKS = "▁▂▃▄▅▆▇█"
POINTS = 40  # of a curve in a line


def text(parts: Sequence[Part]) -> str:
    """The parts below one another, a blank line between."""
    width = shutil.get_terminal_size((WIDE, 24)).columns
    return "\n\n".join(filter(None, ("\n".join(_lines(part, width)) for part in parts)))


def _lines(part: Part, width: int) -> Iterator[str]:
    match part:
        case Text():
            yield from _prose(part.text, width)
        case Facts():
            yield from _items({name: f"{value}  {note}".rstrip() for name, value, note in part.items})
        case KeyValues():
            yield from [printable(part.caption)] if part.caption else []
            yield from _items({key: shown(value, decimals([value])) for key, value in part.items.items()})
        case Table():
            yield from _grid(part, width)
        case Lines():
            yield from _items({name: _curve(curve) for name, curve in part.series.items()})
        case Picture() | Pictures():
            yield f"[picture: {printable(part.caption)}]"
        case Group():
            yield printable(part.caption)
            yield from (f"  {line}" for one in part.parts for line in _lines(one, width - 2))
        case _:
            yield from _grid(numbers(part), width)


def _prose(paragraphs: str, width: int) -> Iterator[str]:
    for line in paragraphs.split("\n"):
        yield from textwrap.wrap(printable(line), min(READ, width), break_long_words=False) or [""]


def _items(items: dict[str, str]) -> Iterator[str]:
    """Each name with its value beside it; below it where one of them is long."""
    room = max((len(key) for key in items), default=0)
    if any("\n" in value or room + len(value) > READ for value in items.values()):
        for key, value in items.items():
            yield f"  {printable(key)}"
            yield from (f"      {printable(line)}" for line in value.split("\n"))
        return
    yield from (f"{printable(key):<{room}}  {printable(value)}".rstrip() for key, value in items.items())


def _grid(table: Table, width: int) -> Iterator[str]:
    seen = view(table)
    grid = Grid(box=box.SIMPLE_HEAD, pad_edge=False, title_justify="left", title=Plain(printable(seen.caption)))
    for place, (name, numeric) in enumerate(seen.columns):
        right = numeric or (place > 0 and all(_numeric(row[place].text) for row in seen.rows))
        grid.add_column(Plain(printable(name)), justify="right" if right else "left", overflow="fold")
    for row in seen.rows:
        grid.add_row(*(Plain(printable(cell.text)) for cell in row))  # a name may look like rich's markup
    out = io.StringIO()
    Console(file=out, width=width, color_system=None, legacy_windows=False).print(grid)
    yield from (line.rstrip() for line in out.getvalue().split("\n") if line.strip())
    if seen.note:
        yield from _prose(seen.note, width)


def _numeric(text: str) -> bool:
    """Whether a text stands for a number, with whatever follows it, or for none."""
    return text in ("", MISSING) or text.lstrip("+−-.")[:1].isdigit()


def _curve(curve: Curve) -> str:
    """A curve in a line: from where to where, and its shape."""
    points = [point.y for point in thin(curve, POINTS) if math.isfinite(point.y)]
    if not points:
        return "no number"
    low, high = min(points), max(points)
    step = (high - low) / (len(BLOCKS) - 1) or 1.0
    shape = "".join(BLOCKS[round((y - low) / step)] for y in points)
    first, last = (plain(mean(y), decimals([high])) for y in (points[0], points[-1]))
    return f"{first} → {last}  {shape}"
