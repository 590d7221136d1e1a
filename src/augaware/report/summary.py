"""What a page says first: which experiment is best, and what each gains over the vanilla run of the same recipe."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from augaware.report.experiments import Column, Groups, ranks, vanillas
from augaware.report.numbers import clear, decimals, shown
from augaware.report.parts import Cell, Dots, Facts, Number, Part, Table, Value
from augaware.report.training import last
from augaware.report.transfer import Ranked

MOST = 30  # rows of a panel
NOTE = (
    "A gain is the difference to the vanilla run of the same recipe and seed; [ , ] is its 95 % interval over seeds "
    "(Student's t). Every interval is of one comparison: of many, some are clear by chance, and the largest is "
    "flattered."
)


def order(groups: Groups, ranked: Mapping[str, Ranked]) -> list[str]:
    """The best first; those without a rank as they were given."""
    return sorted(groups, key=lambda label: ranked[label].mean if label in ranked else float("inf"))


def summary(groups: Groups, found: Sequence[Column]) -> list[Part]:
    """A few findings, the ranking, and the gains, where there is something to compare."""
    if len(groups) < 2:
        return _one(groups, found)
    ranked, pairs = ranks(groups, found), vanillas(groups)
    gains: dict[str, dict[str, Value]] = {}
    for label in groups:
        for column in found if label in pairs else ():
            gain = column.gain(label, pairs[label])
            if gain is not None:
                gains.setdefault(label, {})[column.title] = gain
    parts: list[Part] = [Facts(_facts(groups, ranked, gains))]
    if ranked:
        parts.append(_ranking(groups, ranked, gains))
    if gains:
        parts.append(_panels(found, gains))
    return parts


def _one(groups: Groups, found: Sequence[Column]) -> list[Part]:
    """Of a single experiment: its first results, and where its training ended."""
    label, runs = next(iter(groups.items()))
    facts = []
    for column in found[:3]:
        cell = column.cell(label)
        low, high = (cell.interval or (None, None)) if isinstance(cell, Value) else (None, None)
        text = shown(cell.mean if isinstance(cell, Value) else cell, decimals([cell]))
        between = "" if low is None or high is None else f"{shown(low, 3)} to {shown(high, 3)}"
        facts.append((column.title, text, between))
    for key in ("loss", "health/knn"):
        value = last(runs[0], key)
        if value == value:
            facts.append((key, shown(value, 3), "at the end of the training"))
    return [Facts(facts[:4])] if facts else []


def _facts(
    groups: Groups, ranked: Mapping[str, Ranked], gains: Mapping[str, Mapping[str, Value]]
) -> list[tuple[str, str, str]]:
    seeds = sorted({run.recipe["seed"] for runs in groups.values() for run in runs if "seed" in run.recipe})
    runs = sum(map(len, groups.values()))
    listed = f"seeds {', '.join(seeds[:6])}{' …' if len(seeds) > 6 else ''}" if seeds else ""
    facts = [("Experiments", str(len(groups)), f"{runs} runs, {listed}".strip(", "))]
    if ranked:
        best = min(ranked, key=lambda label: ranked[label].mean)
        where = ranked[best]
        facts.append(
            ("Best mean rank", best, f"{where.mean:.1f} over {where.columns} result{'s' if where.columns > 1 else ''}")
        )
    sure = [(gain, label, title) for label, row in gains.items() for title, gain in row.items() if clear(gain) > 0]
    if sure:
        gain, label, title = max(sure, key=lambda one: one[0].mean)
        facts.append(("Largest clear gain over vanilla", shown(gain, 3, signed=True), f"{label} on {title}"))
    if gains:
        often = max(gains, key=lambda label: (_wins(gains[label].values()), _sure(gains[label].values())))
        row = gains[often].values()
        of = f"{len(row)} result{'s' if len(row) > 1 else ''}"
        said = f"better than vanilla in {_wins(row)} of {of}, clearly in {_sure(row)}"
        facts.append(("Most often better than vanilla", often, said))
    return facts


def _wins(row: Collection[Value]) -> int:
    return sum(gain.mean > 0 for gain in row)


def _sure(row: Collection[Value], sign: int = 1) -> int:
    return sum(clear(gain) == sign for gain in row)


def _ranking(groups: Groups, ranked: Mapping[str, Ranked], gains: Mapping[str, Mapping[str, Value]]) -> Table:
    rows: list[list[Cell]] = []
    for label, runs in groups.items():
        row, rank = list(gains.get(label, {}).values()), ranked.get(label)
        counts: list[Cell] = [None] * 4
        if row:
            counts = [len(row), _wins(row), _sure(row), _sure(row, -1)]
        rows.append([label, len(runs), rank.mean if rank else None, rank.columns if rank else None, *counts])
    columns = ["experiment", "runs", "mean rank", "results ranked"]
    if gains:
        columns += ["compared with vanilla", "better", "clearly better", "clearly worse"]
    else:
        rows = [row[:4] for row in rows]
    note = "Mean rank: from 1, the best, over the results in which two experiments or more can be compared."
    return Table("Ranking", columns, rows, note=note, best={"mean rank": "min"}, decimals=1)


def _panels(found: Sequence[Column], gains: Mapping[str, Mapping[str, Value]]) -> Dots:
    titles = [column.title for column in found if any(column.title in row for row in gains.values())]
    hosts = {label.partition(" + ")[0] for label in gains}
    one = next(iter(hosts)) if len(hosts) == 1 else None  # said once, above
    series: dict[str, list[Number | None]] = {}
    for label, row in list(gains.items())[:MOST]:
        name = f"+ {label.partition(' + ')[2]}" if one else label
        series[name] = [row.get(title) for title in titles]
    left = len(gains) - len(series)
    more = f" {left} more experiments, of a worse mean rank, are left out here." if left else ""
    lower = [column.title for column in found if column.lower and column.title in titles]
    less = f" Of {', '.join(lower)} less is better: a gain is a reduction." if lower else ""
    return Dots(f"Gain over vanilla{f' ({one})' if one else ''}", titles, series, "gain", note=NOTE + more + less)
