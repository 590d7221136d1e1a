"""What a study found: gains over its plain level, at the end and at equal host quality, and mean ranks.

Read from ``study.json`` of ``augaware study``: levels, seed, results and those of the snapshots, for every cell.
"""

from __future__ import annotations

import itertools
import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from augaware.errors import RequestError
from augaware.report import analyses
from augaware.report.experiments import NORMAL, SMALLER_IS_BETTER
from augaware.report.folder import Result, Run, dotted, number
from augaware.report.parts import Cell, Section, Table, Value
from augaware.report.student import interval, quantile

FILE = "study.json"
ALL = "all"
HEALTH = "health/"  # numbers of the panel, which are no tasks
Scores = Mapping[str, tuple[float, float]]  # task -> score, its standard error over the test images
Gains = dict[tuple[str, str], list[Scores]]  # (context, level) -> for each seed, task -> gain and error in points

MEAN_NOTE = (
    "Points. These data sets: [ , ] is 95 % over seeds (paired, Student's t) and over test images (of both encoders, "
    "taken as independent; they are the same images, so it is wider than it would have to be); in rows of all, over "
    "the means of the rows above, as if those were drawn from many. Such data sets: 95 % over data sets, as if these "
    "were drawn from many. At equal quality: whichever of the two has come further by {quality} is taken where it was "
    "as far as the other, between two of its snapshots; over {way}. Its learning rate had not come down there, and a "
    "seed at which it was further from the first snapshot on is left out."
)
TASK_NOTE = "Points; [ , ]: 95 % over seeds and test images. Of many intervals some are clear by chance."


@dataclass(frozen=True)
class Made:
    """One cell: ``end`` are the scores at its end, ``way`` those of its snapshots in order."""

    levels: tuple[str, ...]
    seed: int | None
    end: Scores
    way: Sequence[Scores]


Pair = tuple[Made, Made, str, str]  # a cell, its plain one, what they share, the level in the plain one's place


def is_study(path: Path) -> bool:
    """Whether ``path`` is what a study wrote, or the folder of one."""
    return (path.suffix == ".json" and path.is_file()) or (path / FILE).is_file()


def read(path: Path) -> dict[str, Any]:
    """A study's file, or that in its folder. Raises :class:`RequestError` where it is none, or damaged."""
    file = path / FILE if path.is_dir() else path
    try:
        found = dict(json.loads(file.read_text(encoding="utf-8")))
        if found["study"] != 1:
            raise ValueError
        section(found)
        runs(found, path)
    except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError):
        raise RequestError(f"report: {str(file)!r} is no study.json of augaware study, version 1") from None
    if not found["cells"]:
        raise RequestError(f"report: {str(file)!r} has no cell yet; go on with augaware study")
    return found


def runs(study: Mapping[str, Any], path: Path) -> list[Run]:
    """The cells as runs, for the sections that every report has."""
    return [_run(cell, path) for cell in study["cells"]]


def _run(cell: Mapping[str, Any], path: Path) -> Run:
    seeded = [] if cell["seed"] is None else [f"seed-{cell['seed']}"]
    run = Run(path / "/".join([*cell["levels"], *seeded]), encoder=str(cell["levels"][-1]))
    run.recipe.update(dotted(cell["recipe"] or {}))
    run.environment.update(dotted(cell["environment"]))
    for r in cell["results"]:
        if (value := number(r["value"])) is not None:
            run.results.append(Result(r["task"], r["dataset"], r["protocol"], r["metric"], value, number(r["error"])))
    run.analyses = [analyses.parsed(found) for found in cell["analyses"]]
    return run


def section(study: Mapping[str, Any]) -> Section:
    """Mean gains, gains by task and mean ranks."""
    cells = [made(cell) for cell in study["cells"]]
    against, mean, quality = str(study["against"]), list(study["mean"]), str(study["quality"])
    compared = pairs(cells, against)
    end, equal = gained(compared), gained(compared, quality) if quality else Gains()
    counts = {name: len(seeds) for name, seeds in end.items()}
    if len({context for *_, context, _ in compared}) > 1:
        for level in dict.fromkeys(level for *_, level in compared):
            counts[ALL, level] = sum(count for (_, other), count in counts.items() if other == level)
        end, equal = end | over_contexts(end), equal | over_contexts(equal)
    way = [task for task in mean if any(task in scores for cell in cells for scores in cell.way)]
    known = {task for seeds in end.values() for scores in seeds for task in scores}
    tasks = [
        task
        for task in dict.fromkeys(t for cell in cells for t in cell.end if not t.startswith(HEALTH))
        if task in known
    ]
    said = MEAN_NOTE.format(quality=quality or "nothing here", way=", ".join(way) or "nothing here")
    means: list[list[Cell]] = [
        [_called(name), counts[name], *_mean(seeds, mean), _mean(equal.get(name, []), way)[0]]
        for name, seeds in end.items()
    ]
    each: list[list[Cell]] = [
        [_called(name), *(_mean(seeds, [task])[0] for task in tasks)] for name, seeds in end.items()
    ]
    heads = ["", "runs", "these data sets", "such data sets", "at equal quality"]
    tables = [
        Table(f"Mean gain over {against}", heads, means, note=said, decimals=1, signed=True),
        Table(f"Gain over {against} by task", ["", *tasks], each, note=TASK_NOTE, decimals=1, signed=True),
        _ranks(compared, against),
    ]
    return Section(str(study["title"]), "study", [table for table in tables if table.rows])


def _called(name: tuple[str, str]) -> str:
    return " + ".join(name)


def _mean(seeds: Sequence[Scores], tasks: Sequence[str]) -> tuple[Value | None, Value | None]:
    """The mean gain over ``tasks``: with the interval for these, and with that for others like them."""
    known = [scores for scores in seeds if tasks and all(task in scores for task in tasks)]
    if not known:
        return None, None
    values = [statistics.fmean(scores[task][0] for task in tasks) for scores in known]
    errors = [math.hypot(*(scores[task][1] for task in tasks)) / len(tasks) for scores in known]
    by_task = [statistics.fmean(scores[task][0] for scores in known) for task in tasks]
    return over_seeds(values, statistics.fmean(errors)), interval(by_task) if len(tasks) > 1 else None


def over_seeds(values: Sequence[float], error: float) -> Value:
    """The mean over seeds. Its interval adds what seeds leave open and what test images do, as independent.

    ``error``: standard error over test images, which more seeds do not make smaller.
    """
    mean, seeds = statistics.fmean(values), 0.0
    if len(values) > 1:
        seeds = quantile(0.95, len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))
    half = math.hypot(seeds, NORMAL * error)
    return Value(mean, low=mean - half, high=mean + half, n=len(values))


def gained(compared: Sequence[Pair], quality: str = "") -> Gains:
    """The gains of :func:`pairs`; with ``quality`` where the one that is further by it was as far as the other."""
    found = Gains()
    for ours, theirs, context, level in compared:
        put = as_far(ours, theirs, quality) if quality else (ours.end, theirs.end)
        found.setdefault((context, level), []).append(gains(*put))
    return found


def over_contexts(gains_of: Gains) -> Gains:
    """(all, level) -> for each context the mean of its seeds, which are not independent of each other."""
    found = Gains()
    for (_, level), seeds in gains_of.items():
        found.setdefault((ALL, level), []).append(averaged(seeds))
    return found


def averaged(seeds: Sequence[Scores]) -> Scores:
    """The mean over seeds of each task that all have; its error is that over the same test images, and stays."""
    known = [scores for scores in seeds if scores]
    shared = [task for task in (known or [{}])[0] if all(task in scores for scores in known)]
    return {
        task: (statistics.fmean(s[task][0] for s in known), statistics.fmean(s[task][1] for s in known))
        for task in shared
    }


def gains(ours: Scores, theirs: Scores) -> Scores:
    """The difference of each task that both have, and its standard error over test images, in points."""
    return {
        task: (100 * (ours[task][0] - theirs[task][0]), 100 * math.hypot(ours[task][1], theirs[task][1]))
        for task in ours
        if task in theirs
    }


def as_far(ours: Made, theirs: Made, quality: str) -> tuple[Scores, Scores]:
    """The scores of both where the one that is further by ``quality`` was as far as the other at its end."""
    if quality not in ours.end or quality not in theirs.end:
        return {}, {}
    if ours.end[quality][0] >= theirs.end[quality][0]:
        return at(ours, quality, theirs.end[quality][0]), theirs.end
    return ours.end, at(theirs, quality, ours.end[quality][0])


def at(cell: Made, quality: str, level: float) -> Scores:
    """The scores of a cell where its ``quality`` last rose to ``level``, on the line between two snapshots.

    Empty where it never did: it was above from the first snapshot on.
    """
    stops = [scores for scores in (*cell.way, cell.end) if quality in scores]
    for before, after in reversed(list(itertools.pairwise(stops))):
        low, high = before[quality][0], after[quality][0]
        if low <= level <= high:
            share = 1.0 if high == low else (level - low) / (high - low)
            return {task: _between(before[task], after[task], share) for task in before if task in after}
    return {}


def _between(before: tuple[float, float], after: tuple[float, float], share: float) -> tuple[float, float]:
    return before[0] + share * (after[0] - before[0]), before[1] + share * (after[1] - before[1])


def made(cell: Mapping[str, Any]) -> Made:
    """A cell of ``study.json``."""
    way = sorted(cell["way"], key=lambda stop: float(stop["step"]))
    return Made(tuple(cell["levels"]), cell["seed"], _scores(cell), [_scores(stop) for stop in way])


def _scores(stop: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """Of each task the first number of which more is better, with its error, and the health panel; no error is 0."""
    found = {str(key): (value, 0.0) for key, given in stop["health"].items() if (value := number(given)) is not None}
    for r in stop["results"]:
        lower = any(word in str(r["metric"]).lower() for word in SMALLER_IS_BETTER)
        if (value := number(r["value"])) is not None and not lower and r["task"] not in found:
            found[str(r["task"])] = value, number(r["error"]) or 0.0
    return found


def pairs(made: Sequence[Made], against: str) -> list[Pair]:
    """(cell, the cell of the same seed with ``against``, what they share, the level in its place)."""
    known = {(cell.levels, cell.seed): cell for cell in made}
    places = {cell.levels.index(against) for cell in made if against in cell.levels}
    found = []
    for cell in made:
        for place in sorted(places):
            if place < len(cell.levels) and cell.levels[place] != against:
                before, after = cell.levels[:place], cell.levels[place + 1 :]
                plain = known.get(((*before, against, *after), cell.seed))
                if plain is not None:
                    found.append((cell, plain, " / ".join(before + after) or ALL, cell.levels[place]))
    return found


def _ranks(compared: Sequence[Pair], against: str) -> Table:
    """The mean rank of each level within its context, and the mean over contexts."""
    members: dict[str, dict[str, dict[int | None, Scores]]] = {}
    for ours, theirs, context, level in compared:
        group = members.setdefault(context, {})
        group.setdefault(against, {})[theirs.seed] = theirs.end
        group.setdefault(level, {})[ours.seed] = ours.end
    levels = list(dict.fromkeys(level for group in members.values() for level in group))
    ranked = {
        context: mean_ranks({level: list(seeds.values()) for level, seeds in group.items()})
        for context, group in members.items()
    }
    if len(ranked) > 1:
        shared = {level: [r[level] for r in ranked.values() if level in r] for level in levels}
        ranked["mean"] = {level: statistics.fmean(found) for level, found in shared.items() if found}
    rows: list[list[Cell]] = [[context, *(r.get(level) for level in levels)] for context, r in ranked.items()]
    note = "From 1, the best, over all tasks, by means over seeds."
    return Table("Mean rank", ["", *levels], rows, note=note, decimals=1)


def mean_ranks(scores: Mapping[str, Sequence[Scores]]) -> dict[str, float]:
    """The mean rank of each name over the tasks that every one has; equals share the mean of their places."""
    tasks = set.intersection(*({t for s in seeds for t in s if not t.startswith(HEALTH)} for seeds in scores.values()))
    means = {n: {t: statistics.fmean(s[t][0] for s in seeds if t in s) for t in tasks} for n, seeds in scores.items()}
    found = {}
    for name in scores if tasks else ():
        above = [sum(means[n][t] > means[name][t] for n in scores) for t in tasks]
        level = [sum(means[n][t] == means[name][t] for n in scores) for t in tasks]
        found[name] = statistics.fmean(1 + a + (e - 1) / 2 for a, e in zip(above, level, strict=True))
    return found
