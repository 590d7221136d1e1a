"""A suite's table: methods in rows, data sets in columns, ranks; as text, Markdown, CSV and LaTeX. Reads no files."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from augaware.report.numbers import MISSING
from augaware.report.tables import bold, tabular, tex

RANK = "mean rank"
SUBSET = "†"
NOTE = f"{SUBSET} not the published data set or split: published numbers are shown, not ranked. Ranks from 1, the best."


@dataclass(frozen=True)
class Head:
    """A column: its ``title``, whether ``lower`` is better, and whether published numbers are of the ``same`` data."""

    title: str
    lower: bool = False
    same: bool = True


@dataclass(frozen=True)
class Row:
    """A method: column name -> number; ``published`` by others, or measured here."""

    name: str
    numbers: Mapping[str, float]
    published: bool = False


@dataclass(frozen=True)
class Ranked:
    """Ranks of a method over the ``columns`` where it has one: mean and standard deviation."""

    mean: float
    sd: float
    columns: int


@dataclass(frozen=True)
class Table:
    """``heads`` by column name, in order, and the ``rows``."""

    heads: Mapping[str, Head]
    rows: Sequence[Row]

    def compared(self, column: str) -> dict[int, float]:
        """Row number -> number, of the rows that can be compared in a column."""
        same = self.heads[column].same
        return {
            place: row.numbers[column]
            for place, row in enumerate(self.rows)
            if column in row.numbers and (same or not row.published)
        }

    def ranks(self) -> list[Ranked | None]:
        """Of each row, over the columns in which two rows or more can be compared; equal numbers share their mean rank.

        AugSelf's code ranks from 0; here from 1.
        """
        found: list[list[float]] = [[] for _ in self.rows]
        for column, head in self.heads.items():
            numbers = self.compared(column)
            if len(numbers) < 2:
                continue
            for place, number in numbers.items():
                better = sum((other < number) if head.lower else (other > number) for other in numbers.values())
                equal = sum(other == number for other in numbers.values())
                found[place].append(better + (equal + 1) / 2)
        return [Ranked(statistics.mean(r), statistics.pstdev(r), len(r)) if r else None for r in found]

    def best(self) -> dict[str, float]:
        """Column -> its best number among those that can be compared, where there are two."""
        chosen = {}
        for column, head in self.heads.items():
            numbers = list(self.compared(column).values())
            if len(numbers) > 1:
                chosen[column] = min(numbers) if head.lower else max(numbers)
        return chosen

    def cells(
        self, marked: Callable[[str], str], escaped: Callable[[str], str] = str
    ) -> tuple[list[str], list[list[str]]]:
        """The titles and the rows as text, ``escaped``; ``marked`` makes the best of a column stand out."""
        best = self.best()
        heads = [head.title + ("" if head.same else SUBSET) for head in self.heads.values()]
        titles = ["", *map(escaped, heads), escaped(RANK)]
        lines = []
        for place, (row, rank) in enumerate(zip(self.rows, self.ranks(), strict=True)):
            line = [escaped(row.name)]
            for column in self.heads:
                text = escaped(f"{row.numbers[column]:.2f}" if column in row.numbers else MISSING)
                stands_out = place in self.compared(column) and row.numbers.get(column) == best.get(column)
                line.append(marked(text) if stands_out else text)
            ranked = MISSING if rank is None else f"{rank.mean:.1f} ± {rank.sd:.1f} ({rank.columns})"
            lines.append([*line, escaped(ranked)])
        return titles, lines

    def beside(self) -> tuple[list[str], list[list[str]]]:
        """Turned, for a terminal: a line per column, our rows beside the best published number and whose it is."""
        ours = [row for row in self.rows if not row.published]
        lines = []
        for column, head in self.heads.items():
            others = [(row.numbers[column], row.name) for row in self.rows if row.published and column in row.numbers]
            number, name = (min if head.lower else max)(others, default=(None, ""))
            cells = [MISSING if n is None else f"{n:.2f}" for n in (*(row.numbers.get(column) for row in ours), number)]
            lines.append([head.title + ("" if head.same else SUBSET), *cells, name])
        ranks = [rank for row, rank in zip(self.rows, self.ranks(), strict=True) if not row.published]
        lines.append([RANK, *(MISSING if rank is None else f"{rank.mean:.1f}" for rank in ranks), "", ""])
        return ["", *(row.name for row in ours), "best published", "by"], lines

    def markdown(self) -> str:
        """A table for a README."""
        titles, lines = self.cells(lambda text: f"**{text}**")
        titles[0] = "method"
        rule = ["---", *["---:"] * (len(titles) - 1)]
        return "\n".join(f"| {' | '.join(line)} |" for line in (titles, rule, *lines)) + f"\n\n{NOTE}\n"

    def csv(self) -> str:
        """All digits, for scripts: method, published or not, a column for each name, mean rank and how many columns."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["method", "published", *self.heads, "mean_rank", "ranked_columns"])
        for row, rank in zip(self.rows, self.ranks(), strict=True):
            numbers = [row.numbers.get(column, "") for column in self.heads]
            ranked = ["", 0] if rank is None else [rank.mean, rank.columns]
            writer.writerow([row.name, int(row.published), *numbers, *ranked])
        return out.getvalue()

    def latex(self) -> str:
        """A tabular for a paper (booktabs)."""
        titles, lines = self.cells(bold, tex)
        return tabular("l" + "r" * (len(titles) - 1), ["method", *titles[1:]], lines, NOTE)
