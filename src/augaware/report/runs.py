"""The report of run folders: what is best, results, pictures, curves, what differed, and the command that made each.

Runs that differ only in their seed are one experiment. A folder with nothing but results is an experiment of its own.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from augaware.errors import RequestError
from augaware.report import analyses, study
from augaware.report.experiments import Column, Groups, columns, differing, grouped, ranks, vanillas
from augaware.report.folder import Run, holds_results, read
from augaware.report.page import render, save, save_tables
from augaware.report.parts import Cell, Group, KeyValues, Part, Section, Table, Text, Value
from augaware.report.shown import compared, views
from augaware.report.summary import order, summary
from augaware.report.training import NOTHING, health, training

FEW = 8  # runs whose details are open


def report(dirs: Sequence[Path], out: Path, tables: Path | None = None) -> None:
    """Write the page about the run folders ``dirs`` to ``out``; with ``tables`` all tables to there.

    Tables are CSV, LaTeX and Markdown. A folder that holds only results, of ``augaware eval`` or ``augaware analyse``,
    will do, and a ``study.json``. Raises :class:`RequestError` when one holds nothing or ``out`` is somebody else's
    file. A missing or broken file inside a run is named in the page instead.
    """
    if not dirs:
        raise RequestError("report: no run folder given; name at least one, such as runs/simclr")
    runs, studied = list[Run](), list[Section]()
    for folder in {folder.resolve(): folder for folder in dirs}.values():
        if study.is_study(folder):
            found_there = study.read(folder)
            runs += study.runs(found_there, folder)
            studied.append(study.section(found_there))
        elif holds_results(folder):
            runs.append(read(folder))
        else:
            raise RequestError(
                f"report: {str(folder)!r} is not a run folder and holds no results (no recipe.json, study.json, "
                "eval/*.json or analysis/*.json); see augaware pretrain, eval, analyse and study"
            )
    groups = grouped(runs)
    found = columns(groups)
    groups = {label: groups[label] for label in order(groups, ranks(groups, found))}
    sections = [*studied, *_sections(groups, found)]
    given = [*map(str, dirs), "--out", str(out), *(() if tables is None else ("--tables", str(tables)))]
    command = shlex.join(["augaware", "report", *given])
    footer = "Made by augaware from the files of the runs alone."
    title = _count(len(groups), "experiment") if len(groups) > 1 else next(iter(groups))
    save(render(title, _lead(groups), sections, command, footer, [NOTHING], _focus(groups)), out)
    if tables is not None:
        save_tables(sections, tables)


def _sections(groups: Groups, found: Sequence[Column]) -> list[Section]:
    runs = [run for members in groups.values() for run in members]
    few = len(runs) <= FEW
    pictures, seen = compared(groups), views(groups)
    commands = KeyValues({run.name: run.environment.get("command") for run in runs})
    sections = [
        Section("Summary", "summary", summary(groups, found)),
        Section("Results", "results", _results(groups, found)),
        *analyses.sections({label: [run.analyses for run in members] for label, members in groups.items()}),
        Section("Pictures", "pictures", pictures),
        Section("Views", "views", seen),
        Section("Training", "training", training(groups)),
        Section("Health of the representation", "health", health(groups)),
        Section("Recipe", "recipe", _differences(groups, lambda run: run.recipe, few)),
        Section("Commands", "commands", [Group(_count(len(runs), "command"), [commands], open=few)]),
        Section("Environment", "environment", _differences(groups, _machine, few)),
    ]
    # What was not trained here has no curves to speak of, and pictures are not always there.
    trained = any(run.curves for run in runs)
    sections = [s for s in sections if s.parts and (trained or s.id not in ("training", "health"))]
    problems: list[list[Cell]] = [[run.name, file, reason] for run in runs for file, reason in run.problems]
    if problems:
        sections.append(Section("What could not be read", "unread", [Table("", ["run", "file", "reason"], problems)]))
    return sections


def _lead(groups: Groups) -> str:
    """What all runs share, in a sentence, and how repeats are shown."""
    runs = [run for members in groups.values() for run in members]
    recipes = [run.experiment for run in runs if run.experiment]
    said = []
    for key, text in (("data", "{}"), ("encoder", "{}"), ("size", "{} px"), ("epochs", "{} epochs")):
        values = {recipe.get(key) for recipe in recipes}
        value = next(iter(values)) if len(values) == 1 else None
        if value is not None:
            said.append(text.format(value))
    shared = f"{', '.join(said)}. " if said else ""
    many = f"{_count(len(runs), 'run')} of {_count(len(groups), 'experiment')}: {shared}" if len(runs) > 1 else shared
    repeats = "Runs that differ only in their seed are one experiment: mean ± standard deviation over its seeds."
    return f"{many}{repeats if len(groups) < len(runs) else ''}".strip()


def _focus(groups: Groups) -> list[str]:
    """The experiments in colour at first: vanilla ones and the best, eight in all."""
    vanilla = list(dict.fromkeys(vanillas(groups).values()))[:2]
    best = [label for label in groups if label not in vanilla]
    return [*best[: FEW - len(vanilla)], *vanilla]


def _results(groups: Groups, found: Sequence[Column]) -> list[Part]:
    """A table per task, a row per experiment and a column per headline number; of a single experiment one list."""
    if not found:
        return [Text("No evaluation yet. augaware eval RUN --task SPEC writes one to RUN/eval/.")]
    notes = " ".join(column.note for column in found if column.note)
    if len(groups) == 1:
        label = next(iter(groups))
        lines: list[list[Cell]] = [[column.title, column.cell(label)] for column in found]
        return [Table("", ["result", "value"], lines, note=_said(lines, notes))]
    parts: list[Part] = []
    for task in dict.fromkeys(column.task for column in found):
        own = [column for column in found if column.task == task]
        best: dict[str, Literal["max", "min"]] = {c.short: "min" if c.lower else "max" for c in own}
        rows: list[list[Cell]] = []
        for label, runs in groups.items():
            cells = [column.cell(label) for column in own]
            if any(cell is not None for cell in cells):
                rows.append([label, len(runs), *(_counted(cell, len(runs)) for cell in cells)])
        note = _said(rows, " ".join(column.note for column in own if column.note))
        parts.append(Table(task, ["experiment", "runs", *(c.short for c in own)], rows, note=note, best=best))
    return parts


def _counted(cell: Cell, runs: int) -> Cell:
    """A cell without its number of repeats where that is the number of runs, which has a column."""
    return replace(cell, n=None) if isinstance(cell, Value) and cell.n == runs else cell


def _said(rows: Sequence[Sequence[Cell]], notes: str) -> str:
    """How uncertainties are shown, where single runs have them of another kind."""
    single = any(isinstance(cell, Value) and cell.sd is None for row in rows for cell in row)
    return f"{notes} [ , ]: of a single run, 95 % over the test images.".strip() if single else notes


def _differences(groups: Groups, facts: Callable[[Run], Mapping[str, str]], few: bool) -> list[Part]:
    """What differs between the runs first, as a table; then what all of them share."""
    runs = [run for members in groups.values() for run in members if facts(run)]  # others say nothing of them
    every = [facts(run) for run in runs]
    if not every:
        return [Text("Nothing was recorded.")]
    keys = differing(every)
    shared = {key: value for key, value in every[0].items() if key not in keys}
    parts: list[Part] = []
    if keys:
        rows = [[run.name, *(values.get(key) for key in keys)] for run, values in zip(runs, every, strict=True)]
        parts.append(Group(f"What differs: {', '.join(keys[:6])}", [Table("", ["run", *keys], rows)], open=few))
    if shared:
        what = "The same in every run" if len(runs) > 1 else "All of it"
        parts.append(Group(f"{what}: {_count(len(shared), 'setting')}", [KeyValues(shared)], open=few))
    return parts or [Text("Nothing was recorded.")]


def _machine(run: Run) -> dict[str, str]:
    return {key: value for key, value in run.environment.items() if key != "command"}


def _count(n: int, thing: str) -> str:
    return f"{n} {thing}" if n == 1 else f"{n} {thing}s"
