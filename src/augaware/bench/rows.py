"""What was measured, as rows: for scripts (``--json``) and as a table."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from augaware.bench.base import OURS, Round, Side, Size

Row = dict[str, Any]
Sides = Mapping[Side, Sequence[Round]]


def rows(measured: Mapping[Size, Sides], compare: Callable[[Sides], Mapping[Side, Row]] = lambda _: {}) -> list[Row]:
    """One for each size, side and number of threads.

    ``per_core`` and ``wall`` are items per CPU second and per second on the clock, medians over rounds, and ``spread``
    the least and most of ``per_core``; ``rounds`` has them all, round by round. The others are [median, least, most]
    of ratios within a round: ``ours_per_core`` and ``ours_wall``, how many times as fast we are with as many threads;
    ``threads_wall``, how many times as fast the side is with all its threads as with one; of a part of our job
    ``costs``, its CPU time over that of the job without it. ``compared`` is what the bench has to say of what a side
    found; ``parts`` in it, of what a pass consists: {"ms", "share"} each.
    """
    found = []
    for size, sides in measured.items():
        compared = compare(sides)
        given = {(side.name, side.threads): turns for side, turns in sides.items()}
        for side, turns in sides.items():
            per_core, wall = [turn.per_core for turn in turns], [turn.per_second for turn in turns]
            row: Row = {
                "side": side.name,
                "size": size,
                "threads": side.threads,
                "per_core": statistics.median(per_core),
                "wall": statistics.median(wall),
                "spread": [min(per_core), max(per_core)],
                "rounds": {"per_core": per_core, "wall": wall},
                "note": side.note,
                "version": _version(side.package),
            }
            if side.part:
                row["costs"] = _middle([turn.found["costs"] for turn in turns])
            elif side.name != OURS and (ours := given.get((OURS, side.threads))):
                row["ours_per_core"] = ratios([turn.per_core for turn in ours], per_core)
                row["ours_wall"] = ratios([turn.per_second for turn in ours], wall)
            if side.threads > 1 and (alone := given.get((side.name, 1))):
                row["threads_wall"] = ratios(wall, [turn.per_second for turn in alone])
            if side in compared:
                row["compared"] = compared[side]
            found.append(row)
    return found


def ratios(over: Sequence[float], under: Sequence[float]) -> list[float]:
    """[median, least, most] of the ratios round by round."""
    return _middle([a / b for a, b in zip(over, under, strict=True)])


def table(found: Sequence[Row], unit: str, measure: str) -> tuple[list[str], list[list[str]]]:
    """Columns and lines of text."""
    columns = ["side", measure, "threads", f"{unit} / CPU s", f"{unit} / s", "ours, CPU", "ours, clock"]
    columns += ["threads, clock"] if any("threads_wall" in row for row in found) else []
    further = list(dict.fromkeys(key for row in found for key in row.get("compared", {}) if key != "parts"))
    lines = []
    for row in found:
        if "costs" not in row:
            line = [row["side"], str(row["size"]), str(row["threads"])]
            line += [_spread([row["per_core"], *row["spread"]]), _number(row["wall"])]
            line += [_times(row.get(key)) for key in ("ours_per_core", "ours_wall", "threads_wall")]
            line = line[: len(columns)] + [_text(row.get("compared", {}).get(key)) for key in further]
            lines.append(line)
    return columns + further, lines


def remarks(found: Sequence[Row]) -> list[str]:
    """What the columns of :func:`table` are, how each side was run, and what parts cost, in lines."""
    lines = ["ours: how many times as fast; threads: how many times as fast as with one; both within a round"]
    notes = dict.fromkeys((row["side"], row["version"], row["note"]) for row in found if "costs" not in row)
    lines += [f"{side} {version or ''}: {note}" for side, version, note in notes]
    for row in found:
        if "costs" in row:
            costs = _spread([100 * part for part in row["costs"]], "+.2f")
            lines.append(f"{row['side']}: {row['note']}, at {row['size']} px {costs} % of CPU time")
        for part, spent in row.get("compared", {}).get("parts", {}).items():
            of = f"{row['side']}, {row['size']}: " if part == "step" else "    "
            lines.append(f"{of}{part} {_number(spent['ms'])} ms, {_spread([100 * s for s in spent['share']])} %")
    return lines


def _middle(numbers: Sequence[float]) -> list[float]:
    return [statistics.median(numbers), min(numbers), max(numbers)]


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _spread(numbers: Sequence[float], form: str = "") -> str:
    middle, low, high = (f"{number:{form}}" if form else _number(number) for number in numbers)
    return f"{middle} [{low}, {high}]"


def _text(value: Any) -> str:
    if isinstance(value, list):
        return _spread(value)
    return value if isinstance(value, str) else "" if value is None else _number(value)


def _times(ratio: Sequence[float] | None) -> str:
    return f"{_spread(ratio, '.2f')} x" if ratio else ""


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
