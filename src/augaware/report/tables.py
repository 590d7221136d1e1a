"""A table's cells as text, for a page, for CSV, LaTeX and Markdown; and the table of the numbers that a chart shows."""

from __future__ import annotations

import csv
import io
import itertools
import math
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from augaware.report.numbers import MISSING, clear, decimals, mean, shown
from augaware.report.parts import Bars, Cell, Dots, Group, Lines, Part, Scatter, Section, Table, Value

TEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "±": r"$\pm$",
    "−": "$-$",
    "∞": r"$\infty$",
    "·": r"$\cdot$",
    "†": r"\dag{}",
    "…": r"\dots{}",
    MISSING: "--",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}


@dataclass(frozen=True)
class Shown:
    """A cell as people read it: its ``text``, the ``key`` it is sorted by, and the repeats ``n`` that no note says.

    ``tone``: 1 or -1 for what is clearly above or below zero, in a table with signs.
    """

    text: str
    key: str
    n: int | None
    best: bool
    tone: int


@dataclass(frozen=True)
class View:
    """A table as people read it: ``columns`` are (name, holds numbers)."""

    caption: str
    note: str
    columns: Sequence[tuple[str, bool]]
    rows: Sequence[Sequence[Shown]]


def view(table: Table) -> View:
    """The table's cells as text, with the digits that suit each column."""
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
            Shown(
                shown(cell, digits[i], table.signed and isinstance(cell, Value)),
                "" if math.isnan(mean(cell)) else repr(mean(cell)),
                cell.n if isinstance(cell, Value) and common is None else None,
                best[i] is not None and mean(cell) == best[i],
                clear(cell) if table.signed else 0,
            )
            for i, cell in enumerate(row)
        ]
        for row in table.rows
    ]
    note = " ".join(filter(None, [table.note, f"n = {common}." if common else ""]))
    return View(table.caption, note, list(zip(table.columns, numeric, strict=True)), rows)


def numbers(part: Bars | Dots | Lines | Scatter) -> Table:
    """What a chart shows, as a table: of a curve its ends and its extremes."""
    rows: list[list[Cell]] = []
    match part:
        case Lines():
            for name, (_, ys) in part.series.items():
                present = [y for y in map(mean, ys) if math.isfinite(y)] or [math.nan]
                rows.append([name, present[0], present[-1], min(present), max(present), len(ys)])
            return Table(part.caption, ["", "first", "last", "lowest", "highest", "points"], rows)
        case Scatter():
            rows += [[name, x, y] for name, points in part.series.items() for x, y in points]
            return Table(part.caption, ["", part.xlabel, part.ylabel], rows)
    rows += [[name, *values] for name, values in part.series.items()]
    signed = isinstance(part, Dots)
    return Table(part.caption, ["", *part.groups], rows, decimals=part.decimals, signed=signed)


def files(sections: Sequence[Section]) -> dict[str, Table]:
    """Every table of a page, those of its charts too, by a name that suits a file."""
    found: dict[str, Table] = {}
    for section in sections:
        for table in _tables(section.parts):
            base = stem(f"{section.id} {table.caption}")
            names = (base if number == 1 else f"{base}-{number}" for number in itertools.count(1))
            found[next(name for name in names if name not in found)] = table
    return found


def _tables(parts: Sequence[Part]) -> Iterator[Table]:
    for part in parts:
        match part:
            case Table():
                yield part
            case Bars() | Dots() | Lines() | Scatter():
                yield numbers(part)
            case Group():
                yield from _tables(part.parts)


def stem(text: str) -> str:
    """Text as the name of a file, without its ending."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower())[:80].strip("-") or "table"


def csv_text(table: Table) -> str:
    """All digits, for scripts; a spread, an interval and a number of repeats are columns of their own."""
    columns = list(zip(*table.rows, strict=True)) if table.rows else [()] * len(table.columns)
    extra = [
        [name for name in ("sd", "low", "high", "n") if any(_aside(cell, name) is not None for cell in column)]
        for column in columns
    ]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    heads = zip(table.columns, extra, strict=True)
    writer.writerow([text for name, asides in heads for text in (_harmless(name), *(f"{name} ({a})" for a in asides))])
    for row in table.rows:
        cells = zip(row, extra, strict=True)
        writer.writerow([text for cell, asides in cells for text in (_plain(cell), *(_aside(cell, a) for a in asides))])
    return out.getvalue()


def _plain(cell: Cell) -> object:
    if isinstance(cell, str):
        return _harmless(cell)
    if cell is None or (not isinstance(cell, bool | int) and math.isnan(mean(cell))):
        return ""
    return cell.mean if isinstance(cell, Value) else cell


def _aside(cell: Cell, name: str) -> float | None:
    found: float | None = getattr(cell, name) if isinstance(cell, Value) else None
    return found


def _harmless(text: str) -> str:
    """Text that a spreadsheet does not take for a formula."""
    text = printable(text)
    return f"'{text}" if text[:1] in ("=", "+", "-", "@") else text


def printable(text: str) -> str:
    """Text on one line without what steers a terminal, a printer or the direction of writing."""
    text = text.encode("utf-8", "replace").decode()
    return "".join(" " if unicodedata.category(sign) in ("Cc", "Cf", "Zl", "Zp") else sign for sign in text)


def tex(text: str) -> str:
    """Text that LaTeX prints as it is; signs of other scripts are left to its fonts."""
    return "".join(TEX.get(sign, sign) for sign in printable(text))


def bold(text: str) -> str:
    """LaTeX in bold."""
    return rf"\textbf{{{text}}}"


def tabular(columns: str, titles: Sequence[str], lines: Sequence[Sequence[str]], note: str = "") -> str:
    """A tabular for a paper (booktabs) from LaTeX cells; ``note`` is plain text, a comment below."""
    body = [" & ".join(line) + r" \\" for line in (titles, *lines)]
    above, below = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule"], [r"\bottomrule", r"\end{tabular}"]
    said = [f"% {printable(line)}" for line in note.split("\n") if line.strip()]
    return "\n".join([*above, body[0], r"\midrule", *body[1:], *below, *said]) + "\n"


def latex(table: Table) -> str:
    """The table as it is shown, the best of a column in bold."""
    seen = view(table)
    columns = "".join("r" if numeric else "l" for _, numeric in seen.columns)
    lines = [[bold(tex(cell.text)) if cell.best else tex(cell.text) for cell in row] for row in seen.rows]
    return tabular(columns, [tex(name) for name, _ in seen.columns], lines, f"{seen.caption}\n{seen.note}")


def markdown(table: Table) -> str:
    """The table as it is shown, for a README: caption, rows, note."""
    seen = view(table)
    rule = ["---:" if numeric else "---" for _, numeric in seen.columns]
    lines = [[f"**{plain(cell.text)}**" if cell.best else plain(cell.text) for cell in row] for row in seen.rows]
    rows = [[plain(name) for name, _ in seen.columns], rule, *lines]
    body = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return "\n\n".join(filter(None, [f"**{plain(seen.caption)}**", body, plain(seen.note)])) + "\n"


def plain(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    return re.sub(r"([\\`*_{}\[\]<>|#~$&])", r"\\\1", " ".join(printable(text).split()))


def both(table: Table) -> Mapping[str, str]:
    """Ending -> text, for spreadsheets and for papers."""
    return {"csv": csv_text(table), "tex": latex(table)}
