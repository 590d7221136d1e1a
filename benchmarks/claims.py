"""What the papers claim, against the studies that are kept: a line each, with figure, interval, seeds and verdict.

    python benchmarks/claims.py [results]

Reads ``hosts.json``, ``ablations.json`` and ``jitter.json`` of a folder, which ``augaware study`` wrote; those that are
not there are passed over. A difference is paired: the same seed, and where there are several hosts the same host. Its
interval of 95 % is over seeds, of all hosts together over the means of the hosts, as if these were drawn from many, and
over test images (``augaware.report.study.over_seeds``): a claim holds where it lies on its side of 0, does not where it
lies on the other, and is undecided in between; fewer than three pairs decide nothing. At equal quality:
:func:`augaware.report.study.as_far`. At half of its steps: its second snapshot of four, before its learning rate came
down, over the end of the other.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from augaware.report import analyses
from augaware.report.experiments import NORMAL
from augaware.report.parts import Value
from augaware.report.study import ALL, Gains, Made, Scores, gained, gains, made, over_contexts, over_seeds, pairs, read

FLOWERS, CIFAR, CALTECH, CARS, DTD = (
    f"linear_probe('{name}')" for name in ("flowers102", "cifar100", "caltech101", "cars50", "dtd10")
)
PROBES = (FLOWERS, CIFAR, CALTECH, CARS, DTD)
PLACE = ("regression('face_keypoints68')", "localisation('tinyimagenet_loc20')")
WAY = (FLOWERS, CALTECH, DTD)  # what snapshots were put to
QUALITY, ENOUGH = "health/instance_match", 3
COLOUR = "mutual_information/information/colour/y"
USED = "condition_check/own_over_another/{}/cassle"
Measure = Callable[[Scores], tuple[float, float]]  # gains -> a number and its standard error over test images


def cells_of(study: Mapping[str, Any]) -> list[Made]:
    """The cells of a study, with what analyses found of each among its scores, as analysis/measure/of/stage."""
    return [replace(each, end={**each.end, **_analysed(cell)}) for cell in study["cells"] for each in [made(cell)]]


def _analysed(cell: Mapping[str, Any]) -> Scores:
    """The numbers of a cell's analyses, each with its standard error over images."""
    found = {}
    for result in map(analyses.parsed, cell["analyses"]):
        for n in next(iter(result.encoders.values())):
            if n.value is not None:
                half = 0.0 if n.low is None or n.high is None else (n.high - n.low) / 2
                found[f"{result.analysis}/{n.measure}/{n.of}/{n.stage}"] = n.value, half / NORMAL
    return found


def halfway(cells: Sequence[Made], level: str) -> list[Made]:
    """The cells with those of ``level`` as they were at half of their steps."""
    return [replace(c, end=c.way[1]) if level in c.levels and len(c.way) == 4 else c for c in cells]


def mean_of(tasks: Sequence[str]) -> Measure:
    """The mean gain over ``tasks``."""

    def measured(scores: Scores) -> tuple[float, float]:
        errors = [scores[task][1] for task in tasks]
        return statistics.fmean(scores[task][0] for task in tasks), math.hypot(*errors) / len(tasks)

    return measured


def more_on(task: str, others: Sequence[str]) -> Measure:
    """How much larger the gain on ``task`` is than the mean over ``others``."""

    def measured(scores: Scores) -> tuple[float, float]:
        (one, error), (rest, rest_error) = mean_of([task])(scores), mean_of(others)(scores)
        return one - rest, math.hypot(error, rest_error)

    return measured


def over(measured: Sequence[tuple[float, float]]) -> Value | None:
    """The mean of numbers with their errors over test images, one of each seed; None of none."""
    if not measured:
        return None
    return over_seeds([value for value, _ in measured], statistics.fmean(error for _, error in measured))


def difference(
    cells: Sequence[Made], ours: str, theirs: str, measure: Measure, host: str = "", equal: bool = False
) -> Value | None:
    """``ours`` minus ``theirs``, of one ``host`` or of all; ``equal``: where the further was as far as the other."""
    found = Gains()
    for (context, level), seeds in gained(pairs(cells, theirs), QUALITY if equal else "").items():
        if level == ours and host in ("", context) and any(seeds):
            found[context, level] = [scores for scores in seeds if scores]
    if not found:
        return None
    (first, *others) = found.values()
    units = over_contexts(found)[ALL, ours] if others else first
    value = over([measure(scores) for scores in units])
    return value and replace(value, n=sum(map(len, found.values())))


def across(cells: Sequence[Made], ours: tuple[str, ...], theirs: tuple[str, ...], measure: Measure) -> Value | None:
    """The cells of ``ours`` minus those of ``theirs``, of the same seeds; of whatever levels."""
    known = {(cell.levels, cell.seed): cell for cell in cells}
    seeds = [seed for levels, seed in known if levels == ours and (theirs, seed) in known]
    return over([measure(gains(known[ours, seed].end, known[theirs, seed].end)) for seed in seeds])


def level_of(cells: Sequence[Made], name: str, score: str) -> Value | None:
    """A score of the cells of ``name`` itself, times 100 as all here."""
    found = [cell.end[score] for cell in cells if name in cell.levels and score in cell.end]
    return over([(100 * value, 100 * error) for value, error in found])


def line(claim: str, value: Value | None) -> str:
    """A row: claim, figure, pairs, verdict."""
    if value is None:
        return f"| {claim} | not run | | |"
    assert value.low is not None
    assert value.high is not None
    if value.n is not None and value.n < ENOUGH:
        verdict = "too few seeds"
    else:
        verdict = "holds" if value.low > 0 else "does not hold" if value.high < 0 else "undecided"
    return f"| {claim} | {value.mean:+.1f} [{value.low:+.1f}, {value.high:+.1f}] | {value.n} | {verdict} |"


def of_hosts(cells: Sequence[Made]) -> list[str]:
    """What is claimed of AugSelf and CASSLE on every host."""
    hosts = list(dict.fromkeys(cell.levels[0] for cell in cells if len(cell.levels) > 1))
    lines = []
    for name in ("augself", "cassle", "augself+cassle", "equimod-color"):
        for host in ("", *hosts):
            where = host or "all hosts"
            value = difference(cells, name, "vanilla", mean_of(PROBES), host)
            lines.append(line(f"{name} improves transfer: mean of five probes, {where}", value))
        value = difference(cells, name, "vanilla", mean_of(WAY), equal=True)
        lines.append(line(f"{name} improves transfer at equal host quality: mean of three probes, all hosts", value))
        lines.append(
            line(
                f"{name}: colour gains most, flowers102 over the mean of the other four",
                difference(cells, name, "vanilla", more_on(FLOWERS, PROBES[1:])),
            )
        )
        for tasks, what in (([FLOWERS], "flowers102"), (PLACE, "landmarks and boxes")):
            lines.append(line(f"{name} improves {what}", difference(cells, name, "vanilla", mean_of(tasks))))
    lines.append(
        line(
            "cassle is better than augself: mean of five probes",
            difference(cells, "cassle", "augself", mean_of(PROBES)),
        )
    )
    half = difference(halfway(cells, "equimod-color"), "equimod-color", "vanilla", mean_of(WAY))
    lines.append(line("equimod-color at half of its steps, over vanilla at the end: mean of three probes", half))
    both = difference(cells, "augself+cassle", "augself", mean_of(PROBES))
    return [*lines, line("both are better than augself alone: mean of five probes", both)]


def of_ablations(cells: Sequence[Made]) -> list[str]:
    """What is claimed of each kind of information, and of how it is told."""
    rows = (
        ("predicting colour helps flowers102", "augself-color", "vanilla", mean_of([FLOWERS])),
        ("predicting the crop helps landmarks and boxes", "augself-crop", "vanilla", mean_of(PLACE)),
        ("colour helps flowers102 more than the crop does", "augself-color", "augself-crop", mean_of([FLOWERS])),
        ("the crop helps landmarks and boxes more than colour does", "augself-crop", "augself-color", mean_of(PLACE)),
        ("told colour, CASSLE gains on flowers102", "cassle-color", "vanilla", mean_of([FLOWERS])),
        ("told the crop, CASSLE gains on landmarks and boxes", "cassle-crop", "vanilla", mean_of(PLACE)),
        (
            "told colour it gains more on flowers102 than told the crop",
            "cassle-color",
            "cassle-crop",
            mean_of([FLOWERS]),
        ),
        ("told the crop it gains more on landmarks and boxes", "cassle-crop", "cassle-color", mean_of(PLACE)),
        ("both together are better than colour alone", "augself-crop+color", "augself-color", mean_of(PROBES)),
        ("telling CASSLE all is better than noise", "cassle-all", "cassle-random", mean_of(PROBES)),
        ("telling colour differences helps", "cassle-all", "cassle-no-color_diff", mean_of(PROBES)),
        *(
            (f"concat is better than {how}", "cassle-all", f"cassle-{how}", mean_of(PROBES))
            for how in ("add", "multiply", "hyper", "raw")
        ),
        ("telling the flip helps", "cassle-all", "cassle-no-flip", mean_of(PROBES)),
        ("a gamma of six layers is better than one of two", "cassle-depth6", "cassle-all", mean_of(PROBES)),
        ("a gamma of six layers at full scale is better", "cassle-depth6-scale1", "cassle-all", mean_of(PROBES)),
        ("a wider gamma is better", "cassle-width256", "cassle-all", mean_of(PROBES)),
    )
    lines = [line(claim, difference(cells, ours, theirs, measure)) for claim, ours, theirs, measure in rows]
    for name, of in (
        ("cassle-all", "all"),
        ("cassle-all", "color_jitter"),
        ("cassle-all", "crop"),
        ("cassle-all", "flip"),
        ("cassle-crop", "crop"),
        ("cassle-color", "color_jitter"),
        ("cassle-random", "all"),
    ):
        used = level_of(cells, name, USED.format(of))
        lines.append(line(f"{name}: its own omega over another's, {of} (hundredths of a cosine)", used))
    return lines


def of_jitter(cells: Sequence[Made]) -> list[str]:
    """What is claimed of strong colour jitter."""
    rows = [
        ("stronger jitter costs vanilla flowers102: a quarter over full", "s=0.25", "s=1", "vanilla"),
        ("no jitter costs vanilla flowers102 less than full", "s=0", "s=1", "vanilla"),
    ]
    lines = [
        line(claim, difference(cells, ours, theirs, mean_of([FLOWERS]), host)) for claim, ours, theirs, host in rows
    ]
    for strength in ("s=0", "s=0.25", "s=0.5"):
        for name in ("vanilla", "augself", "cassle"):
            for tasks, what in (
                (PROBES, "mean of five probes"),
                ([FLOWERS], "flowers102"),
                (PLACE, "landmarks, boxes"),
            ):
                value = across(cells, (strength, name), ("s=1", "vanilla"), mean_of(tasks))
                lines.append(line(f"{name} at {strength} is better than vanilla at s=1: {what}", value))
    for name in ("vanilla", "augself", "cassle"):
        lost = difference(cells, "s=0.25", "s=1", mean_of([COLOUR]), name)
        lines.append(
            line(f"stronger jitter costs {name} I(colours; y): a quarter over full (hundredths of a nat)", lost)
        )
    for name in ("augself", "cassle"):
        for strength in ("s=0.25", "s=0.5", "s=1", "s=1.5"):
            value = difference(cells, name, "vanilla", mean_of([FLOWERS]), strength)
            lines.append(line(f"{name} improves flowers102 at {strength}", value))
            nats = difference(cells, name, "vanilla", mean_of([COLOUR]), strength)
            lines.append(line(f"{name} keeps more of I(colours; y) at {strength} (hundredths of a nat)", nats))
    return lines


def main() -> None:
    """A table for each study that is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=Path("results"))
    folder = parser.parse_args().folder
    for name, told in (("hosts", of_hosts), ("ablations", of_ablations), ("jitter", of_jitter)):
        file = folder / f"{name}.json"
        if file.exists():
            found = read(file)
            print(f"\n{found['title']}: {len(found['cells'])} of {found['of']} cells ({file.name})\n")
            print("| claim | points | pairs | |\n|---|---|---|---|")
            print("\n".join(told(cells_of(found))))


if __name__ == "__main__":
    main()
