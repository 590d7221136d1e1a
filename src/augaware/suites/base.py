"""What a suite is: the columns of a table, each one number of one task, and what others have published in them."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

from augaware import lookup

PUBLISHED = ("pretrained", "host", "method")  # the first columns of a table of published numbers


@dataclass(frozen=True)
class Column:
    """One number of the result of task ``spec``, at ``path`` in its metrics, times ``times``.

    ``name`` is that of the column of published numbers, ``title`` heads it; ``lower`` where lower is better.
    """

    name: str
    title: str
    spec: str
    path: tuple[str, ...] = ("test",)
    times: float = 100.0
    lower: bool = False

    @property
    def task(self) -> str:
        """The name of the task."""
        return lookup.parse(self.spec, "task").name

    @property
    def dataset(self) -> str:
        """The data set that the task is put on."""
        spec = lookup.parse(self.spec, "task")
        return str(spec.args[0] if spec.args else spec.kwargs["dataset"])

    def number(self, metrics: Mapping[str, Any]) -> float | None:
        """The column's number in the metrics of a result, as the table shows it."""
        found: Any = metrics
        for key in self.path:
            found = found.get(key) if isinstance(found, Mapping) else None
        return self.times * found if isinstance(found, (int, float)) else None


@dataclass(frozen=True)
class Published:
    """A row of published numbers, as printed: column name -> number."""

    name: str
    numbers: Mapping[str, float]


@dataclass(frozen=True)
class Suite:
    """``columns`` in the order of the table; ``published`` the rows of others; ``rest``: a task, as a format of the
    data set's name, for the data sets in ROOT that no column names.
    """

    columns: Sequence[Column]
    published: Sequence[Published] = ()
    rest: str | None = None


def published(resource: str) -> list[Published]:
    """The rows of a CSV file beside this one: :data:`PUBLISHED`, then a column for each name; empty where unknown."""
    text = resources.files("augaware.suites").joinpath(resource).read_text(encoding="utf-8")
    rows = csv.DictReader(text.splitlines())
    return [
        Published(
            f"{row['host']} {row['method']} ({row['pretrained']})",
            {name: float(cell) for name, cell in row.items() if name not in PUBLISHED and cell},
        )
        for row in rows
    ]
