"""What a page is made of: frozen records of plain data, with no opinion on how they look.

A *number* is an int, a float (NaN for "not measured") or a :class:`Value`, a mean with its uncertainty. A *cell* is a
number, text or None. A name in the ``series`` of a chart gets one colour and one marker on the whole page.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Value:
    """A mean with its uncertainty: a standard deviation ``sd``, or an interval ``low`` to ``high``, of ``n`` repeats.

    Shown as ``0.52 ± 0.07``, ``0.52 [0.45, 0.60]`` or ``0.52``.
    """

    mean: float
    sd: float | None = None
    low: float | None = None
    high: float | None = None
    n: int | None = None

    @classmethod
    def over(cls, repeats: Sequence[float]) -> Value:
        """Mean and sample standard deviation of repeats; a single one has no spread."""
        n = len(repeats)
        centre = math.fsum(repeats) / n
        if n == 1:
            return cls(centre, n=n)
        return cls(centre, math.sqrt(math.fsum((value - centre) ** 2 for value in repeats) / (n - 1)), n=n)

    @property
    def interval(self) -> tuple[float, float] | None:
        """The ends of the error bar, or None without an uncertainty."""
        if self.low is not None and self.high is not None:
            return self.low, self.high
        return None if self.sd is None else (self.mean - self.sd, self.mean + self.sd)


Number = int | float | Value
Cell = str | Number | None
Curve = tuple[Sequence[float], Sequence[Number]]  # x and y, equally long


@dataclass(frozen=True)
class Text:
    """Plain paragraphs, separated by a blank line."""

    text: str


@dataclass(frozen=True)
class Facts:
    """A few findings in large type: what it is, its value, and what there is to say about it."""

    items: Sequence[tuple[str, str, str]]


@dataclass(frozen=True)
class KeyValues:
    """Names and their values: settings, versions, commands."""

    items: Mapping[str, Cell]
    caption: str = ""


@dataclass(frozen=True)
class Table:
    """Rows of cells under named columns; the first column names the row. Every column can be sorted.

    ``best`` marks the largest or smallest mean of a column; ``decimals`` fixes the digits of every float, which
    otherwise follow the magnitude of their column. ``signed`` puts a plus before what is above zero, and colours a
    value whose interval is all on one side of it.
    """

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    note: str = ""
    best: Mapping[str, Literal["max", "min"]] | None = None
    decimals: int | None = None
    signed: bool = False

    def __post_init__(self) -> None:
        if any(len(row) != len(self.columns) for row in self.rows):
            raise ValueError(f"table {self.caption!r}: every row needs {len(self.columns)} cells")


@dataclass(frozen=True)
class Bars:
    """One panel per group with one bar per series, all on one scale: ``series[name][i]`` belongs to ``groups[i]``."""

    caption: str
    groups: Sequence[str]
    series: Mapping[str, Sequence[Number | None]]
    ylabel: str = ""
    note: str = ""
    decimals: int | None = None

    def __post_init__(self) -> None:
        if any(len(values) != len(self.groups) for values in self.series.values()):
            raise ValueError(f"bars {self.caption!r}: every series needs {len(self.groups)} values")


@dataclass(frozen=True)
class Dots:
    """One panel per group with one row per series: a dot with its interval, beside a line at zero.

    For differences: filled and coloured where the interval is all on one side of zero, hollow and grey elsewhere.
    """

    caption: str
    groups: Sequence[str]
    series: Mapping[str, Sequence[Number | None]]
    xlabel: str = ""
    note: str = ""
    decimals: int | None = None

    def __post_init__(self) -> None:
        if any(len(values) != len(self.groups) for values in self.series.values()):
            raise ValueError(f"dots {self.caption!r}: every series needs {len(self.groups)} values")


@dataclass(frozen=True)
class Lines:
    """Curves over a common axis; a value that is not finite leaves a gap, one with an uncertainty gets a band.

    ``wide`` takes the page's whole width.
    """

    caption: str
    series: Mapping[str, Curve]
    xlabel: str
    ylabel: str
    note: str = ""
    wide: bool = False


@dataclass(frozen=True)
class Scatter:
    """Points, each coordinate a number with or without uncertainty.

    ``connect`` joins the points of a series in order and draws the last one larger: a trajectory.
    """

    caption: str
    series: Mapping[str, Sequence[tuple[Number, Number]]]
    xlabel: str
    ylabel: str
    note: str = ""
    connect: bool = True
    wide: bool = False


@dataclass(frozen=True)
class Picture:
    """A PNG, embedded; ``alt`` says in words what it shows."""

    caption: str
    alt: str
    png: bytes
    note: str = ""

    def __post_init__(self) -> None:
        if not self.png.startswith(b"\x89PNG\r\n\x1a\n"):
            raise ValueError(f"picture {self.caption!r}: not a PNG")


@dataclass(frozen=True)
class Pictures:
    """The same picture (PNG) of several makers, by name: to be compared.

    Sheets of ``augaware.tasks.sheet`` of one size are cut into their rows, and equal rows stand below one another.
    """

    caption: str
    alt: str
    pngs: Mapping[str, bytes]
    note: str = ""


@dataclass(frozen=True)
class Group:
    """Parts under a line that opens and closes."""

    caption: str
    parts: Sequence[Part]
    open: bool = False


Part = Text | Facts | KeyValues | Table | Bars | Dots | Lines | Scatter | Picture | Pictures | Group


@dataclass(frozen=True)
class Section:
    """A heading, the id it is linked by (lower-case letters, digits, hyphens) and its parts."""

    heading: str
    id: str
    parts: Sequence[Part]

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9-]*", self.id):
            raise ValueError(f"section id {self.id!r}: lower-case letters, digits and hyphens only")
