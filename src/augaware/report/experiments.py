"""What runs are repeats of one experiment, how experiments are called, and what each is better at than vanilla."""

from __future__ import annotations

import ast
import json
import math
import statistics
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from augaware.report.folder import REPEATS, Result, Run
from augaware.report.parts import Cell, Value
from augaware.report.student import interval
from augaware.report.transfer import Head, Ranked, Row, Table

NONE = "none"  # aware of a vanilla run
SMALLER_IS_BETTER = ("loss", "error", "mae", "mse", "rmse")
LONGEST = 32  # letters of an argument or a setting in a label
NORMAL = 1.96  # standard errors of a 95 % interval over many images

Groups = dict[str, list[Run]]  # label -> the runs of one experiment


def grouped(runs: Sequence[Run]) -> Groups:
    """Runs by experiment, labelled by host and awareness and by as little else as tells them apart."""
    experiments: dict[str, list[Run]] = {}
    for i, run in enumerate(runs):
        # A recipe that could not be read says nothing: such a run is never averaged with another.
        key = json.dumps(run.experiment, sort_keys=True) if run.experiment else f"unknown {i}"
        experiments.setdefault(key, []).append(run)
    members = list(experiments.values())
    labels = [_short(group[0]) for group in members]
    for longer in (_with_arguments, _with_settings, _with_folders):
        labels = _apart(labels, members, longer)
    return dict(zip(labels, members, strict=True))


def _apart(
    labels: list[str], members: Sequence[list[Run]], longer: Callable[[list[str], list[Run]], list[str]]
) -> list[str]:
    """Labels, those that several experiments share made longer."""
    places: dict[str, list[int]] = {}
    for place, label in enumerate(labels):
        places.setdefault(label, []).append(place)
    found = list(labels)
    for label, same in places.items():
        if len(same) > 1:
            for place, text in zip(same, longer([label] * len(same), [members[p][0] for p in same]), strict=True):
                found[place] = text
    return found


def calls(text: str) -> list[tuple[str, list[str]]]:
    """Specs with commas between them as (name, arguments); text that is none is a name."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd escapes
            body = ast.parse(f"[{text}]", mode="eval").body
            assert isinstance(body, ast.List)
            return [_call(item) for item in body.elts]
    except (SyntaxError, ValueError, RecursionError, MemoryError, AssertionError):
        return [(text, [])]


def _call(item: ast.expr) -> tuple[str, list[str]]:
    if not isinstance(item, ast.Call):
        return ast.unparse(item), []
    named = [f"{k.arg}={ast.unparse(k.value)}" for k in item.keywords]
    return ast.unparse(item.func), [*map(ast.unparse, item.args), *named]


def _specs(run: Run) -> list[tuple[str, list[str]]]:
    aware = run.experiment.get("aware", NONE)
    return [*calls(run.experiment.get("host", "")), *(calls(aware) if aware != NONE else ())]


def _short(run: Run) -> str:
    """Host and awareness without their arguments; of what was not trained here, the encoder."""
    return " + ".join(name for name, _ in _specs(run) if name) or run.encoder or run.name


def _with_arguments(labels: list[str], runs: list[Run]) -> list[str]:
    specs = [_specs(run) for run in runs]
    shared = set.intersection(*({(i, a) for i, (_, args) in enumerate(spec) for a in args} for spec in specs))
    told = []
    for label, spec in zip(labels, specs, strict=True):
        own = [(name, [_start(a) for a in args if (i, a) not in shared]) for i, (name, args) in enumerate(spec)]
        told.append(" + ".join(f"{name}({', '.join(args)})" if args else name for name, args in own) or label)
    return told


def _with_settings(labels: list[str], runs: list[Run]) -> list[str]:
    recipes = [run.experiment for run in runs]
    parts = [[label] for label in labels]
    for key in differing(recipes):
        if key not in ("host", "aware"):
            longer = [[*p, f"{key} {_start(r.get(key, '–'))}"] for p, r in zip(parts, recipes, strict=True)]
            if len(set(map(tuple, longer))) > len(set(map(tuple, parts))):
                parts = longer
    return [", ".join(part) for part in parts]


def _start(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _with_folders(labels: list[str], runs: list[Run]) -> list[str]:
    return [f"{label} ({run.name})" for label, run in zip(labels, runs, strict=True)]


def differing(dicts: Sequence[Mapping[str, str]]) -> list[str]:
    """The keys that are not the same in all."""
    keys = dict.fromkeys(key for facts in dicts for key in facts)
    return [key for key in keys if len({facts.get(key) for facts in dicts}) > 1]


def vanillas(groups: Groups) -> dict[str, str]:
    """Label -> label of the vanilla experiment whose recipe is the same but for awareness."""
    known = {}
    for label, runs in groups.items():
        recipe = runs[0].experiment
        if recipe.get("aware") == NONE:
            known[json.dumps(recipe, sort_keys=True)] = label
    found = {}
    for label, runs in groups.items():
        recipe = runs[0].experiment
        if recipe.get("aware", NONE) != NONE:
            vanilla = known.get(json.dumps(recipe | {"aware": NONE}, sort_keys=True))
            if vanilla is not None:
                found[label] = vanilla
    return found


@dataclass(frozen=True)
class Column:
    """Results that can be compared: of one ``task``, data set, metric and protocol.

    ``scores``: label -> (seed, result) of each run. ``title`` names it on the page, ``short`` below the name of its
    task. ``note`` says its protocol where that tells columns apart. ``lower`` is better in errors and losses.
    """

    task: str
    title: str
    short: str
    note: str
    lower: bool
    scores: Mapping[str, Sequence[tuple[str, Result]]]

    def cell(self, label: str) -> Cell:
        """Mean and sd over seeds; of a single run its value, with the 95 % interval over the test images if known."""
        found = [result for _, result in self.scores.get(label, ()) if math.isfinite(result.value)]
        if len(found) > 1:
            return Value.over([result.value for result in found])
        if not found:
            return None
        value, error = found[0].value, found[0].error
        if error is None or not math.isfinite(error):
            return value
        return Value(value, low=value - NORMAL * error, high=value + NORMAL * error)

    def mean(self, label: str) -> float | None:
        """The mean over runs."""
        values = [result.value for _, result in self.scores.get(label, ()) if math.isfinite(result.value)]
        return statistics.fmean(values) if values else None

    def gain(self, label: str, vanilla: str) -> Value | None:
        """How much better than ``vanilla``, paired by seed: the mean difference, its 95 % t-interval over seeds."""
        ours, theirs = self._by_seed(label), self._by_seed(vanilla)
        sign = -1.0 if self.lower else 1.0
        differences = [sign * (ours[seed] - theirs[seed]) for seed in sorted(ours.keys() & theirs.keys())]
        return interval(differences) if differences else None

    def _by_seed(self, label: str) -> dict[str, float]:
        seeds: dict[str, list[float]] = {}
        for seed, result in self.scores.get(label, ()):
            if math.isfinite(result.value):
                seeds.setdefault(seed, []).append(result.value)
        return {seed: statistics.fmean(values) for seed, values in seeds.items()}


def columns(groups: Groups) -> list[Column]:
    """Every headline number, by task and data set; different protocols never share a column."""
    places: dict[tuple[str, str, str], dict[str, dict[str, list[tuple[str, Result]]]]] = {}
    for label, runs in groups.items():
        for run in runs:
            for r in run.results:
                scores = places.setdefault((r.task, r.dataset, r.metric), {}).setdefault(r.protocol, {})
                scores.setdefault(label, []).append((run.recipe.get(REPEATS, ""), r))
    found = []
    for (spec, dataset, metric), protocols in sorted(places.items()):
        task = _task(spec, dataset)
        what = "" if metric == "test" else metric
        for i, (protocol, scores) in enumerate(protocols.items(), 1):
            which = f" ({i})" if len(protocols) > 1 else ""
            title = " · ".join(filter(None, [dataset, task, what])) + which
            short = " · ".join(filter(None, [dataset, what])) or task
            note = f"{title}: protocol {protocol or 'not stated'}." if which else ""
            lower = any(word in metric.lower() for word in SMALLER_IS_BETTER)
            found.append(Column(task, title, short + which, note, lower, scores))
    met: dict[str, int] = {}
    for column in found:
        met[column.task] = max(met.get(column.task, 0), len(column.scores))
    return sorted(found, key=lambda column: (-met[column.task], column.task))  # what most have first


def _task(spec: str, dataset: str) -> str:
    """A task's spec without its data set, which is said beside it."""
    named = []
    for name, args in calls(spec):
        kept = [a for a in args if a not in (repr(dataset), f"dataset={dataset!r}")]
        named.append(f"{name}({', '.join(kept)})" if kept else name)
    return ", ".join(named)


def ranks(groups: Groups, found: Sequence[Column]) -> dict[str, Ranked]:
    """The mean rank of each experiment over the columns in which it can be compared, as suites rank."""
    heads = {str(i): Head(column.title, column.lower) for i, column in enumerate(found)}
    rows = []
    for label in groups:
        means = {str(i): column.mean(label) for i, column in enumerate(found)}
        rows.append(Row(label, {name: mean for name, mean in means.items() if mean is not None}))
    ranked = Table(heads, rows).ranks()
    return {label: rank for label, rank in zip(groups, ranked, strict=True) if rank is not None}
