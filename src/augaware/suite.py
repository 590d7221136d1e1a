"""A suite: all its tasks on the data sets that are there, one after the other, and the table of what came out."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from augaware import lookup
from augaware.disk import write_file
from augaware.distributed import rank
from augaware.doctor import survey
from augaware.errors import RequestError
from augaware.evaluate import evaluate
from augaware.frozen import Frozen
from augaware.report.parts import KeyValues, Part, Text
from augaware.report.parts import Table as Beside
from augaware.report.transfer import NOTE, Head, Row, Table
from augaware.report.values import Shown
from augaware.suites.base import Column, Suite

Result = dict[str, Any]
Told = Callable[[str, Result | RequestError], None]


@dataclass(frozen=True, repr=False)
class Done(Shown):
    """The ``table`` of a suite, the ``folder`` of its files, and what could not be done: spec -> why."""

    folder: Path
    results: list[Result]
    table: Table
    failed: Mapping[str, str]

    def parts(self) -> Sequence[Part]:
        """The table, beside the best that others published."""
        columns, rows = self.table.beside()
        failed = [KeyValues(self.failed, "could not be done")] if self.failed else []
        return [Beside("", columns, rows, NOTE), Text(f"written to {self.folder}: .md, .csv, .tex"), *failed]


def run_suite(
    frozen: Frozen, spec: str, root: Path | str, out: Path, against: Sequence[Path] = (), told: Told | None = None
) -> Done:
    """Run suite ``spec`` on what is below ``root``; what was done already in ``out`` is not done again.

    Writes ``out/<task>.json`` for each task and the table as ``out/<suite>.md``, ``.csv`` and ``.tex``. ``against`` are
    run folders, or folders that ``--out`` named, of encoders that the same suite was run for: a row each. Raises
    :class:`RequestError` where nothing is there to run on; a task that cannot be done is told and left out.
    """
    suite: Suite = lookup.build("suites", spec)
    states = {row["name"]: row["state"] for row in survey(root)}
    present = [name for name, state in states.items() if state != "absent"]
    columns = [column for column in suite.columns if column.dataset in present]
    known = {column.dataset for column in suite.columns} | set(lookup.names("data.datasets"))
    if suite.rest is not None:
        columns += [Column(name, name, suite.rest.format(name)) for name in present if name not in known]
    if not columns:
        raise RequestError(
            f"data root {str(root)!r} has no data set of suite {spec!r}; see: augaware doctor --data {root}"
        )
    failed: dict[str, str] = {}

    def hear(task: str, result: Result | RequestError) -> None:
        if isinstance(result, RequestError):
            failed[task] = str(result)
        if told is not None:
            told(task, result)

    rows = [(folder.name, _read(folder)) for folder in against]
    results = evaluate(frozen, list(dict.fromkeys(c.spec for c in columns)), root, out, again=False, told=hear)
    rows.append((frozen.name, {result["task"]: result["metrics"] for result in results}))
    found = table(suite, columns, states, rows)
    name = lookup.parse(spec, "suite").name
    if rank() > 0:
        return Done(out, results, found, failed)
    out.mkdir(parents=True, exist_ok=True)
    for ending, text in (("md", found.markdown()), ("csv", found.csv()), ("tex", found.latex())):
        write_file(out / f"{name}.{ending}", text.encode())
    return Done(out, results, found, failed)


def table(
    suite: Suite,
    columns: Sequence[Column],
    states: Mapping[str, str],
    rows: Sequence[tuple[str, Mapping[str, Mapping[str, Any]]]],
) -> Table:
    """The columns in which a row of ours has a number: published rows that have one of them too, then ours.

    ``rows``: name and, for each task, the metrics.
    """
    ours = []
    for name, metrics in rows:
        numbers = {column.name: column.number(metrics.get(column.spec, {})) for column in columns}
        ours.append(Row(name, {key: number for key, number in numbers.items() if number is not None}))
    known = {name for row in suite.published for name in row.numbers}
    shown = {c.name: Head(c.title, c.lower, c.name not in known or states[c.dataset] == "complete") for c in columns}
    shown = {name: head for name, head in shown.items() if any(name in row.numbers for row in ours)}
    others = [
        Row(row.name, {name: number for name, number in row.numbers.items() if name in shown}, published=True)
        for row in suite.published
    ]
    return Table(shown, [*(row for row in others if row.numbers), *ours])


def _read(folder: Path) -> dict[str, Mapping[str, Any]]:
    """Task -> metrics of the results in ``folder/eval``."""
    found = {}
    for file in sorted((folder / "eval").glob("*.json")):
        try:
            result = json.loads(file.read_text())
            found[str(result["task"])] = result["metrics"]
        except (OSError, ValueError, KeyError, TypeError):
            raise RequestError(f"--against {str(folder)!r}: {file.name} is damaged: not a result in JSON") from None
    if not found:
        raise RequestError(
            f"--against {str(folder)!r} holds no results; make some with: augaware eval ... --out {folder}"
        )
    return found
