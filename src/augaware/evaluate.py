"""From ENCODER to numbers: put tasks to a frozen encoder, write one JSON file per task."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from augaware import lookup
from augaware.checkpoint import environment
from augaware.data.base import Source
from augaware.data.files import digest
from augaware.disk import write_file
from augaware.distributed import rank, world
from augaware.errors import RequestError
from augaware.frozen import Frozen
from augaware.reading import PICTURES, Reading
from augaware.tasks.base import Task
from augaware.tasks.features import check_channels
from augaware.tasks.kept import Kept

LONGEST = 100  # letters of a file's name


def evaluate(
    frozen: Frozen,
    specs: Sequence[str],
    root: Path | str,
    out: Path | None = None,
    again: bool = True,
    told: Callable[[str, dict[str, Any] | RequestError], None] | None = None,
) -> list[dict[str, Any]]:
    """Run the tasks ``specs`` on data below ``root``; each result is returned, and written to ``out/<task>.json``.

    Features are kept in ``out/../features``, or, without ``out``, as long as this takes. ``again`` False: a result that
    is there already is taken, if it is of this encoder and this version of the protocol. ``told`` hears of each result;
    with it a wrong request, such as a damaged data set, is told too, and the other tasks go on.
    """
    tasks: list[tuple[str, Task]] = [(spec, lookup.build("tasks", spec)) for spec in specs]
    results, opened = [], Opened(root, frozen.reading)
    with kept(frozen, out):
        for spec, task in tasks:
            try:
                result = None if again or out is None else earlier(frozen, spec, task, out)
                if result is None:
                    result = run_task(frozen, spec, task, opened.splits(task), out)
            except RequestError as error:
                if told is None:
                    raise
                told(spec, error)
                continue
            results.append(result)
            if told is not None:
                told(spec, result)
    return results


@contextmanager
def kept(frozen: Frozen, out: Path | None) -> Iterator[None]:
    """Keep features in ``out/../features``; without ``out``, as long as this takes, but not where processes share."""
    with TemporaryDirectory() as passing:
        if out is not None or world() == 1:
            frozen.kept = Kept(out.parent / "features" if out else Path(passing), frozen.fingerprint)
        try:
            yield
        finally:
            frozen.kept = None


class Opened:
    """The data sets below ``root``; the last one stays open for a task that wants it in the same form.

    ``reading``: how their files become pixels.
    """

    def __init__(self, root: Path | str, reading: Reading = PICTURES) -> None:
        self.root, self.reading = root, reading
        self._last: tuple[object, Mapping[str, Source]] | None = None

    def splits(self, task: Task) -> Mapping[str, Source]:
        """The splits that ``task`` wants."""
        kind = task.dataset, type(task).splits
        if self._last is None or self._last[0] != kind:
            self._last = None  # its memory first
            task.reading = self.reading
            self._last = kind, task.splits(self.root)
        return self._last[1]


def earlier(frozen: Frozen, spec: str, task: Task, out: Path) -> dict[str, Any] | None:
    """The result of an earlier run in ``out``, if it is of this task, protocol, network and size."""
    try:
        found = json.loads((out / f"{slug(spec)}.json").read_text())
    except (OSError, ValueError):
        return None
    expected = {"task": spec, "protocol": task.protocol, "fingerprint": frozen.fingerprint, "size": frozen.size}
    return found if isinstance(found, dict) and all(found.get(k) == v for k, v in expected.items()) else None


def run_task(
    frozen: Frozen, spec: str, task: Task, splits: Mapping[str, Source], out: Path | None = None
) -> dict[str, Any]:
    """One result, as ``eval/<task>.json`` holds it; with ``out`` it is written there, and a picture beside it."""
    began = time.perf_counter()
    for source in splits.values():
        check_channels(frozen, source)
    metrics = task(frozen, splits)
    result = {
        "task": spec,
        "dataset": task.dataset,
        "protocol": task.protocol,
        "encoder": frozen.name,
        "fingerprint": frozen.fingerprint,
        "size": frozen.size,
        "precision": frozen.precision,
        "metrics": metrics,
        "recipe": frozen.recipe,
        "environment": environment(),
        "seconds": round(time.perf_counter() - began, 2),
    }
    if out is not None and rank() == 0:
        if (picture := task.picture(frozen, splits)) is not None:
            out.mkdir(parents=True, exist_ok=True)
            write_file(out / f"{slug(spec)}.png", picture)
        write_result(result, out)
    return result


def write_result(result: Mapping[str, Any], folder: Path) -> None:
    """Write ``folder/<task>.json``."""
    folder.mkdir(parents=True, exist_ok=True)
    write_file(folder / f"{slug(result['task'])}.json", (json.dumps(result, indent=2) + "\n").encode())


def slug(spec: str) -> str:
    """A spec as a file name: ``linear_probe('flowers102')`` is ``linear_probe_flowers102``.

    A long one ends in a hash of all of it: names of files have a limit.
    """
    name = re.sub(r"[^A-Za-z0-9.]+", "_", spec).strip("_")
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 13]}_{digest([spec])[:12]}"
