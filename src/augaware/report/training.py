"""What the runs logged: curves of the losses, of the speed and of the health panel, the mean and sd over seeds."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

from augaware.report.experiments import Groups
from augaware.report.folder import Run
from augaware.report.parts import Cell, Curve, Group, Lines, Number, Part, Table, Text, Value

NOTHING = "predicting nothing"  # the loss of a head that looks at nothing, beside a trained one
SPEED = ("images_per_second", "data_wait", "views_share")
MOST = 50  # charts of a kind
COMPARED = ("loss", "loss/host")  # every run has them


def training(groups: Groups) -> list[Part]:
    """What awareness predicts; the losses that all have, then in groups those of some and the speed."""
    own = charts(groups, lambda key: key.startswith("loss/") and key not in COMPARED)
    speed = charts(groups, lambda key: key in SPEED)
    one = len(groups) == 1
    parts = [*learnt(groups), *charts(groups, lambda key: key in COMPARED)]
    if own:
        parts.append(Group(f"Losses that awareness adds: {len(own)}", own, open=one or len(own) <= 4))
    if speed:
        parts.append(Group("Speed", speed, open=one))
    return parts or [Text("Nothing was logged.")]


def health(groups: Groups) -> list[Part]:
    """The panels of every epoch."""
    return list(charts(groups, lambda key: key.startswith("health/"))) or [Text("Nothing was logged.")]


def spread(values: Sequence[float]) -> Number | None:
    """Mean and sample standard deviation of repeats; a single one has no spread, none is None."""
    present = [v for v in values if math.isfinite(v)]
    if len(present) < 2:
        return present[0] if present else None
    return Value.over(present)


def charts(groups: Groups, wanted: Callable[[str], bool]) -> list[Part]:
    """One chart per metric, one curve per experiment: over its runs, at the steps all of them reached."""
    keys = {key for runs in groups.values() for run in runs for key in run.curves if wanted(key)}
    found: list[Part] = []
    for key in sorted(keys)[:MOST]:
        curves = {label: mean_curve(r.curves.get(key, {}) for r in runs) for label, runs in groups.items()}
        curves[NOTHING] = mean_curve(r.curves.get(_nothing(key), {}) for runs in groups.values() for r in runs)
        found.append(Lines(key, {label: (x, y) for label, (x, y) in curves.items() if x}, "step", ""))
    if len(keys) > MOST:
        found.append(Text(f"{len(keys) - MOST} more metrics are left out here; they are in metrics.jsonl."))
    return found


def learnt(groups: Groups) -> list[Part]:
    """What the extra losses ended at, beside a prediction that looks at nothing: one row per experiment and loss."""
    rows: list[list[Cell]] = []
    for label, runs in groups.items():
        for key in sorted({key for run in runs for key in run.curves if key.startswith("nothing/")}):
            trained = [last(run, key.replace("nothing/", "loss/", 1)) for run in runs]
            nothing = [last(run, key) for run in runs]
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


def last(run: Run, key: str) -> float:
    """The mean over the last tenth of a metric's values, NaN without any."""
    values = list(run.curves.get(key, {}).values())
    tail = values[-max(1, len(values) // 10) :]
    return math.fsum(tail) / len(tail) if tail else math.nan


def _nothing(key: str) -> str:
    """Where the loss of predicting nothing is logged beside the loss ``key``."""
    return key.replace("loss/", "nothing/", 1) if key.startswith("loss/") else ""


def mean_curve(curves: Iterable[dict[float, float]]) -> Curve:
    """Mean and sd over the runs that logged anything, at the steps all of them reached."""
    logged = [curve for curve in curves if curve]
    steps = sorted(set.intersection(*map(set, logged))) if logged else []
    if len(logged) < 2:
        return steps, [logged[0][step] for step in steps] if logged else []
    return steps, [_over([curve[step] for curve in logged]) for step in steps]


def _over(values: Sequence[float]) -> Number:
    return Value.over(values) if all(map(math.isfinite, values)) else math.nan
