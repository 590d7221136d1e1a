"""The report of run folders: results, curves, what differed between the runs, and the command that made each.

Runs that differ only in their seed are one experiment: the mean and standard deviation over its runs.
"""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from augaware.errors import RequestError
from augaware.report.folder import Run, number, read
from augaware.report.page import Cell, Curve, KeyValues, Lines, Part, Section, Table, Text, Value, render, save

ALWAYS = ("host", "aware")  # recipe keys that name an experiment
NOTHING = "predicting nothing"  # the loss of a head that looks at nothing, beside a trained one
SMALLER_IS_BETTER = ("loss", "error", "mae", "mse", "rmse")

Groups = dict[str, list[Run]]  # label -> the runs of one experiment


def report(dirs: Sequence[Path], out: Path) -> None:
    """Write the page about the run folders ``dirs`` to ``out``.

    Raises :class:`RequestError` when a folder is not a run or ``out`` is somebody else's file. A missing or broken file
    inside a run is named in the page instead.
    """
    if not dirs:
        raise RequestError("report: no run folder given; name at least one, such as runs/simclr")
    for folder in dirs:
        if not (folder / "recipe.json").is_file():
            raise RequestError(
                f"report: {str(folder)!r} is not a run folder (it has no recipe.json); see augaware pretrain"
            )
    runs = [read(folder) for folder in {folder.resolve(): folder for folder in dirs}.values()]
    groups = grouped(runs)
    curves = _curves(groups, lambda key: key.split("/")[0] in ("loss", "images_per_second"))
    sections = [
        Section("Results", "results", _results(groups)),
        Section("Training", "training", [*_learnt(groups), *curves]),
        Section("Health of the representation", "health", _curves(groups, lambda key: key.startswith("health/"))),
        Section("Recipe", "recipe", _compared(groups, lambda run: run.recipe)),
        Section("Commands", "commands", [KeyValues({r.name: r.environment.get("command") for r in runs})]),
        Section("Environment", "environment", _compared(groups, _machine)),
    ]
    problems = [[run.name, file, reason] for run in runs for file, reason in run.problems]
    if problems:
        sections.append(Section("What could not be read", "unread", [Table("", ["run", "file", "reason"], problems)]))
    repeats = (
        " Runs that differ only in their seed are shown as mean ± standard deviation."
        if len(groups) < len(runs)
        else ""
    )
    lead = f"{_count(len(runs), 'run')} of {_count(len(groups), 'experiment')}.{repeats}"
    command = shlex.join(["augaware", "report", *map(str, dirs), "--out", str(out)])
    footer = "Made by augaware from the files of the runs alone."
    save(render("Runs", lead, sections, command, footer, baselines=[NOTHING]), out)


def grouped(runs: Sequence[Run]) -> Groups:
    """Runs by experiment, labelled by host and awareness and by as few other recipe values as tell them apart."""
    experiments: dict[str, list[Run]] = {}
    for i, run in enumerate(runs):
        # A recipe that could not be read says nothing: such a run is never averaged with another.
        key = json.dumps(run.experiment, sort_keys=True) if run.experiment else f"unknown {i}"
        experiments.setdefault(key, []).append(run)
    members = list(experiments.values())
    recipes = [group[0].experiment for group in members]
    parts = [[recipe[key] for key in ALWAYS if recipe.get(key, "none") != "none"] for recipe in recipes]
    for key in _differing(recipes):
        longer = [[*part, f"{key} {recipe.get(key, '–')}"] for part, recipe in zip(parts, recipes, strict=True)]
        if len(set(map(tuple, longer))) > len(set(map(tuple, parts))):
            parts = longer
    groups: Groups = {}
    for label, group in zip(parts, members, strict=True):
        text = " + ".join(label) or group[0].name
        groups[text if text not in groups else f"{text} ({group[0].name})"] = group
    return groups


def spread(values: Sequence[float]) -> Cell:
    """Mean and sample standard deviation of repeats; a single one has no spread, none is None."""
    present = [v for v in values if math.isfinite(v)]
    if len(present) < 2:
        return present[0] if present else None
    return Value.over(present)


def _results(groups: Groups) -> list[Part]:
    """One row per experiment and one column per headline number; different protocols never share a column."""
    every = [result for runs in groups.values() for run in runs for result in run.results]
    if not every:
        return [Text("No evaluation yet. augaware eval RUN --task SPEC writes one to RUN/eval/.")]
    protocols: dict[tuple[str, str, str], dict[str, None]] = {}
    for r in every:
        protocols.setdefault((r.task, r.dataset, r.metric), {})[r.protocol] = None
    rows: list[list[Cell]] = [[label, len(runs)] for label, runs in groups.items()]
    columns, notes = ["experiment", "runs"], []
    best: dict[str, Literal["max", "min"]] = {}
    for place, variants in sorted(protocols.items()):
        task, dataset, metric = place
        name = " · ".join(filter(None, [task, dataset, "" if metric == "test" else metric]))
        for i, protocol in enumerate(variants, 1):
            column = name if len(variants) == 1 else f"{name} ({i})"
            if len(variants) > 1:
                notes.append(f"{column}: protocol {protocol or 'not stated'}.")
            columns.append(column)
            best[column] = "min" if any(word in metric.lower() for word in SMALLER_IS_BETTER) else "max"
            for row, runs in zip(rows, groups.values(), strict=True):
                same = (r for run in runs for r in run.results if (r.task, r.dataset, r.metric) == place)
                row.append(spread([r.value for r in same if r.protocol == protocol]))
    return [Table("", columns, rows, note=" ".join(notes), best=best)]


def _curves(groups: Groups, wanted: Callable[[str], bool]) -> list[Part]:
    """One chart per metric, one curve per experiment: the mean of its runs at the steps all of them reached."""
    keys = {key for runs in groups.values() for run in runs for line in run.metrics for key in line if wanted(key)}
    charts: list[Part] = []
    for key in sorted(keys, key=lambda key: (key == "images_per_second", key)):
        curves = {label: mean_curve(curve(r.metrics, key) for r in runs) for label, runs in groups.items()}
        curves[NOTHING] = mean_curve(curve(r.metrics, _nothing(key)) for runs in groups.values() for r in runs)
        charts.append(Lines(key, {label: (x, y) for label, (x, y) in curves.items() if x}, "step", ""))
    return charts or [Text("Nothing was logged.")]


def _learnt(groups: Groups) -> list[Part]:
    """What the extra losses ended at, beside a prediction that looks at nothing: one row per experiment and loss."""
    rows: list[list[Cell]] = []
    for label, runs in groups.items():
        for key in sorted({key for run in runs for line in run.metrics for key in line if key.startswith("nothing/")}):
            trained = [_last(run, key.replace("nothing/", "loss/", 1)) for run in runs]
            nothing = [_last(run, key) for run in runs]
            ratios = [t / n if n else math.nan for t, n in zip(trained, nothing, strict=True)]
            rows.append([label, key.removeprefix("nothing/"), spread(nothing), spread(trained), spread(ratios)])
    if not rows:
        return []
    note = (
        "Means over the last tenth of the logged steps. Predicting nothing is a head whose output is always zero; a "
        "ratio near 1 says that the features do not tell this parameter, or that its weight is too small."
    )
    columns = ["experiment", "loss", NOTHING, "trained", "trained / nothing"]
    return [Table("What awareness predicts, and how well", columns, rows, note=note)]


def _last(run: Run, key: str) -> float:
    """The mean over the last tenth of a metric's values, NaN without any."""
    values = list(curve(run.metrics, key).values())
    tail = values[-max(1, len(values) // 10) :]
    return math.fsum(tail) / len(tail) if tail else math.nan


def _nothing(key: str) -> str:
    """Where the loss of predicting nothing is logged beside the loss ``key``."""
    return key.replace("loss/", "nothing/", 1) if key.startswith("loss/") else ""


def curve(metrics: Iterable[Mapping[str, object]], key: str) -> dict[float, float]:
    """step -> value. A step logged again after a resume counts once, as it was last."""
    found = {}
    for i, line in enumerate(metrics):
        value, step = number(line.get(key)), number(line.get("step", i))
        if value is not None and step is not None:
            found[step] = value
    return found


def mean_curve(curves: Iterable[dict[float, float]]) -> Curve:
    """The mean over the runs that logged anything, at the steps all of them reached."""
    logged = [curve for curve in curves if curve]
    steps = sorted(set.intersection(*map(set, logged))) if logged else []
    return steps, [math.fsum(curve[step] for curve in logged) / len(logged) for step in steps]


def _compared(groups: Groups, facts: Callable[[Run], dict[str, str]]) -> list[Part]:
    """What differs between the runs first, as a table; then what all of them share."""
    runs = [run for members in groups.values() for run in members]
    every = [facts(run) for run in runs]
    differing = _differing(every)
    shared = {key: value for key, value in every[0].items() if key not in differing}
    parts: list[Part] = []
    if differing:
        rows = [[run.name, *(values.get(key) for key in differing)] for run, values in zip(runs, every, strict=True)]
        parts.append(Table("What differs", ["run", *differing], rows))
    if shared:
        parts.append(KeyValues(shared, "The same in every run" if len(runs) > 1 else ""))
    return parts or [Text("Nothing was recorded.")]


def _differing(dicts: Sequence[Mapping[str, str]]) -> list[str]:
    keys = dict.fromkeys(key for facts in dicts for key in facts)
    return [key for key in keys if len({facts.get(key) for facts in dicts}) > 1]


def _machine(run: Run) -> dict[str, str]:
    return {key: value for key, value in run.environment.items() if key != "command"}


def _count(n: int, thing: str) -> str:
    return f"{n} {thing}" if n == 1 else f"{n} {thing}s"
