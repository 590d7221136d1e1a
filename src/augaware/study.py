"""A study: a grid of recipes x seeds, one run after another, into one folder; stopped, it goes on where it was.

Every cell of the grid (:mod:`augaware.grid`) is a run folder of its own, trained, put to the same tasks at its end and,
for comparisons at equal host quality, on the way. ``study.json`` gathers all numbers: small, without weights, and all
that ``augaware report`` needs. A cell is held while it is made, so the same command may be started once per core or
device: each takes the next cell that nobody holds.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from augaware import lookup
from augaware.analyse import analyse, looked_at, subject
from augaware.checkpoint import environment
from augaware.data.loader import known
from augaware.disk import held, json_lines, write_file
from augaware.errors import RequestError
from augaware.evaluate import evaluate
from augaware.frozen import Frozen, load_encoder
from augaware.grid import HEALTH, ROOT, Cell, Study
from augaware.initial import pinned
from augaware.pretrain import Trainer, resume, start
from augaware.progress import Display
from augaware.recipe import Recipe
from augaware.report.folder import headline
from augaware.report.study import read

SUMMARY, ASKED = "study.json", "recipe.json"
VERSION = 1  # of that file
Told = Callable[[str], None]


def run_study(
    file: Path | str,
    root: Path | str,
    out: Path | str,
    earlier: Path | str | None = None,
    told: Told = lambda line: None,
) -> Path:
    """Make every cell of a study that is not there yet; the path of ``study.json``.

    All recipes are built before the first is trained. A cell that another process holds is left to it. ``earlier``: a
    study.json whose cells are taken over where they are of the same recipe.
    """
    study, root, out = Study.read(file), Path(root).expanduser(), Path(out)
    cells = study.cells(root)
    made = {} if earlier is None else {_name(found): found for found in read(Path(earlier))["cells"]}
    _check(cells, out)
    if made:
        told(f"taken over from {earlier}: {_take_over(cells, made, out)} of {len(cells)} cells")
    elsewhere = []
    for number, cell in enumerate(cells, 1):
        with _holding(_held(cell, out)) as ours:
            if not ours:
                elsewhere.append(cell.name)
                continue
            if not _made(study, cell, out):
                told(f"cell {number} of {len(cells)}: {cell.name}")
                _make(study, cell, root, out)
                _gather(study, cells, out)
    _gather(study, cells, out)  # what others made meanwhile, and where nothing was left to make
    if elsewhere:
        told(f"left to another process: {len(elsewhere)} of {len(cells)} cells, such as {elsewhere[0]}")
    return out / SUMMARY


def _check(cells: Sequence[Cell], out: Path) -> None:
    """Raise :class:`RequestError` where a run could not start, or a folder holds another; before any training."""
    if out.exists() and not (out / ".held").is_dir() and not (out.is_dir() and not any(out.iterdir())):
        raise RequestError(f"--out {str(out)!r} holds something else; choose a new folder, or that of the study")
    new: dict[Recipe, Cell] = {}
    for cell in cells:
        if cell.recipe is None:
            continue
        before = _begun(cell, out)
        if before is None:
            new.setdefault(cell.recipe.changed({"seed": 0}), cell)
        elif changed := _changed(before, cell.recipe):
            raise RequestError(
                f"--out {str(out)!r}: {cell.name} was trained with another recipe ({', '.join(changed)}); choose a "
                "new folder, or remove that one"
            )
    for recipe, cell in new.items():
        try:
            recipe = pinned(recipe).changed({"known": known(recipe.data), "store": "", "memory_gib": 0.0})
            with Display("", total=1, silent=True) as display:  # the data is opened, and not decoded
                Trainer(recipe, display)
        except RequestError as error:
            raise RequestError(f"study: cell {cell.name}: {error}") from None


def _take_over(cells: Sequence[Cell], made: Mapping[str, Mapping[str, Any]], out: Path) -> int:
    """Put the numbers of cells that were ``made`` elsewhere into folders that are not there; of how many."""
    count = 0
    for cell in cells:
        found, folder = made.get(cell.name), out / cell.name
        if found is None or found["encoder"] != cell.encoder:
            continue
        with _holding(_held(cell, out)) as ours:
            same = cell.recipe is None or not _changed(found["recipe"], cell.recipe)
            if ours and same and not folder.exists():
                folder.mkdir(parents=True)
                _write(folder, found)
                count += 1
    return count


def _name(found: Mapping[str, Any]) -> str:
    """What the cell of a summary is called."""
    return Cell(tuple(found["levels"]), found["seed"], None).name


def _begun(cell: Cell, out: Path) -> Mapping[str, Any] | None:
    """The recipe that a cell was begun with; None where it was not."""
    found = _read(out / cell.name / "cell.json")
    if found is not None:
        return dict(found["recipe"])
    return _read(_held(cell, out) / ASKED) if (out / cell.name).exists() else None


def _changed(before: Mapping[str, Any], now: Recipe) -> list[str]:
    """The fields in which two recipes of a cell differ; where the data lies does not count."""
    given = json.loads(now.to_json())
    return [key for key in given if key != "data" and before.get(key, given[key]) != given[key]]


def _held(cell: Cell, out: Path) -> Path:
    """The folder that is held while the cell is made."""
    return out / ".held" / cell.name.replace("/", " ")


@contextmanager
def _holding(folder: Path) -> Iterator[bool]:
    """Whether this process holds ``folder``; it is let go at the end, however that comes."""
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        yield held(handle)
    finally:
        os.close(handle)


def _made(study: Study, cell: Cell, out: Path) -> bool:
    """Whether the cell's summary has all that the study asks for now."""
    found = _read(out / cell.name / "cell.json")
    asked = _asked(study, cell)
    if found is None or found["encoder"] != cell.encoder or found.get("asked", asked) != asked:
        return False
    steps = {_step(file) for file in _snapshots(out / cell.name)} if study.way else set[int]()
    if study.way and cell.recipe is not None and cell.recipe.snapshots and not found["way"]:
        return False
    way = all({r["task"] for r in stop["results"]} >= set(study.way) for stop in found["way"])
    tasks = {result["task"] for result in found["results"]} >= set(study.tasks)
    analysed = {a["analysis"] for a in found["analyses"]} | set(found.get("left_out", ())) >= set(study.analyses)
    return way and {stop["step"] for stop in found["way"]} >= steps and tasks and analysed


def _asked(study: Study, cell: Cell) -> dict[str, Any]:
    """What else the numbers of a cell depend on, and a study may change."""
    size = {"size": study.size} if cell.recipe is None else {}
    return size | ({"shown": study.shown, "images": study.images} if study.analyses else {})


def _snapshots(folder: Path) -> list[Path]:
    return sorted((folder / "snapshots").glob("*.safetensors"))


def _step(snapshot: Path) -> int:
    return int(snapshot.stem.partition("-")[2])


def _make(study: Study, cell: Cell, root: Path, out: Path) -> None:
    """Train the cell, put the tasks to it, and write its summary."""
    folder, encoder = out / cell.name, cell.encoder
    if cell.recipe is not None:
        if (folder / ASKED).exists():
            resume(folder)
        else:
            if folder.exists():  # numbers that were taken over, and now others are asked for
                shutil.rmtree(folder)
            write_file(_held(cell, out) / ASKED, cell.recipe.to_json().encode())
            start(cell.recipe, folder)
        encoder = str(folder)
    size = study.size if cell.recipe is None else None
    frozen = load_encoder(encoder, size=size)
    results = evaluate(frozen, study.tasks, root, folder / "eval", again=False)
    way = []
    for file in _snapshots(folder) if study.way else ():
        place, snapshot = folder / "way" / file.stem, load_encoder(str(file))
        if snapshot.fingerprint == frozen.fingerprint:  # the last one is the end
            got = [result for result in results if result["task"] in study.way]
        else:
            got = evaluate(snapshot, study.way, root, place / "eval", again=False)
            shutil.rmtree(place / "features", ignore_errors=True)
        step = _step(file)
        way.append(
            {"step": step, "results": [short for r in got for short in _short(r)], "health": _health(folder, step)}
        )
    shutil.rmtree(folder / "features", ignore_errors=True)  # they can be made again, and a grid has many
    analyses, left_out = _analyses(study, frozen, folder, root)
    summary = {
        "levels": cell.levels,
        "seed": cell.seed,
        "recipe": None if cell.recipe is None else asdict(cell.recipe) | {"data": _below(cell.recipe.data, root)},
        "encoder": cell.encoder,
        "asked": _asked(study, cell),
        "environment": {key: value for key, value in environment().items() if key != "command"},
        "results": [short for result in results for short in _short(result)],
        "way": way,
        "analyses": analyses,
        "left_out": left_out,
        "health": _health(folder),
    }
    _write(folder, summary)


def _write(folder: Path, summary: Mapping[str, Any]) -> None:
    write_file(folder / "cell.json", (json.dumps(summary, indent=1) + "\n").encode())


def _short(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The headline numbers of a result, without the recipe and the machine, which the cell has once."""
    shared = {key: result[key] for key in ("task", "dataset", "protocol", "seconds")}
    numbers = headline(result["metrics"]).items()
    return [shared | {"metric": metric, "value": value, "error": error} for metric, (value, error) in numbers]


def _analyses(study: Study, frozen: Frozen, folder: Path, root: Path) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """What the study's analyses say of one encoder; and of those that cannot be put to it, why."""
    if not study.analyses:
        return [], {}
    shutil.rmtree(folder / "analysis", ignore_errors=True)  # of other images, and one page is of the same
    shown = looked_at(str(root / study.shown.removeprefix(ROOT)), study.images, 0, frozen.size)
    asked = subject(frozen, shown, 0)
    reasons = {spec: lookup.build("analysis", spec).refusal(asked) for spec in study.analyses}
    left_out = {spec: reason for spec, reason in reasons.items() if reason is not None}
    put = [spec for spec in study.analyses if spec not in left_out]
    results = analyse(frozen, asked, put, folder / "analysis", None) if put else []
    short = [{key: value for key, value in r.items() if key not in ("recipe", "environment")} for r in results]
    return [r | {"data": _below(r["data"], root)} for r in short], left_out


def _health(folder: Path, step: int | None = None) -> dict[str, float]:
    """The health panel of a run at ``step``, or its last; empty where there was none."""
    found = dict[str, float]()
    for line in json_lines(folder / "metrics.jsonl")[0]:
        if step in (None, line["step"]):
            found |= {key: value for key, value in line.items() if key.startswith(HEALTH)}
    return found


def _below(path: str, root: Path) -> str:
    """A path as the study says it, not as this machine does."""
    return f"{ROOT}{Path(path).relative_to(root)}" if Path(path).is_relative_to(root) else path


def _read(file: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(file.read_text())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _gather(study: Study, cells: Sequence[Cell], out: Path) -> None:
    """Write study.json: what the study asks, and every cell that is made; one process at a time."""
    while True:
        with _holding(out / ".held" / ".all") as ours:
            if ours:
                made = [summary for cell in cells if (summary := _read(out / cell.name / "cell.json")) is not None]
                asked = {key: getattr(study, key) for key in ("title", "quality", "mean", "against")}
                said = {"study": VERSION, **asked, "of": len(cells), "cells": made}
                write_file(out / SUMMARY, (json.dumps(said) + "\n").encode())
                return
        time.sleep(0.05)
