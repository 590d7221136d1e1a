"""Charts as inline SVG: bars, dots, curves and trajectories."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from markupsafe import Markup

from augaware.report.charts import Frame, Style, cut, drawable, extent, margin, svg, tip
from augaware.report.numbers import clear, mean, plain, shown, ticks
from augaware.report.numbers import decimals as digits_for
from augaware.report.parts import Bars, Curve, Dots, Lines, Number, Scatter, Value

POINTS = 240  # of one curve
TOGETHER = 3000  # of all curves of a chart
TONES = {1: "up", 0: "flat", -1: "down"}


class Point(NamedTuple):
    """A point of a curve, with the ends of its uncertainty where it has one."""

    x: float
    y: float
    low: float
    high: float


def _reach(value: Number | None) -> list[float]:
    """Every number of a value that has to fit on the scale."""
    return [mean(value), *((value.interval or ()) if isinstance(value, Value) else ())]


def _error_bars(frame: Frame, x: float, y: float, across: Number | None, up: Number | None) -> Iterable[Markup]:
    """Lines with caps through pixel (x, y) for the intervals of a point's two coordinates."""
    shape = Markup('<path class="error" d="{}"/>')
    if isinstance(up, Value) and up.interval and all(map(drawable, up.interval)):
        low, high = map(frame.y, up.interval)
        yield shape.format(f"M{x:.1f} {low:.1f}V{high:.1f}M{x - 3:.1f} {low:.1f}h6M{x - 3:.1f} {high:.1f}h6")
    if isinstance(across, Value) and across.interval and all(map(drawable, across.interval)):
        ends = [min(max(end, frame.xs[0]), frame.xs[-1]) for end in across.interval]
        low, high = map(frame.x, ends)
        caps = (
            f"M{frame.x(end):.1f} {y - 3:.1f}v6" for end in across.interval if end in ends
        )  # none where it runs off
        yield shape.format(f"M{low:.1f} {y:.1f}H{high:.1f}{''.join(caps)}")


def _digits(part: Bars | Dots) -> int:
    every = (value for values in part.series.values() for value in values)
    return digits_for(every) if part.decimals is None else part.decimals


def bars(part: Bars, look: Mapping[str, Style]) -> list[tuple[str, Markup]]:
    """One small panel per group, all on one scale from zero: they wrap on a narrow page, and no text shrinks."""
    reach = [v for values in part.series.values() for value in values for v in _reach(value)]
    ys = ticks(*extent([0.0, *reach]), count=4)
    digits, left, step = _digits(part), margin(ys), 18.0
    panels = []
    for i, group in enumerate(part.groups):
        width = max(left + step * len(part.series) + 6, 150)
        frame = Frame(width, 190, (0, max(len(part.series), 1)), ys, left, right=6, top=8, bottom=24)
        body, zero = list(frame.rows()), frame.y(0)
        for j, (name, values) in enumerate(part.series.items()):
            value, style = values[i], look[name]
            x, height = frame.x(j + 0.5), mean(value)
            own = [style.mark(x, frame.height - 10, 4, name)]
            if drawable(height):
                top, bottom = sorted((zero, frame.y(height)))
                box = Markup('<rect class="fill" x="{:.1f}" y="{:.1f}" width="12" height="{:.1f}" rx="1.5">{}</rect>')
                hint = tip(f"{name}, {group}: {shown(value, digits)}")
                own.append(box.format(x - 6, top, max(bottom - top, 0.8), hint))
                own.append(Markup('<g class="ink">{}</g>').format(Markup().join(_error_bars(frame, x, 0, None, value))))
            else:
                own.append(Markup('<text class="tick mid" x="{:.1f}" y="{:.1f}">–</text>').format(x, zero - 4))
            body.append(style.group(own))
        said = "; ".join(f"{name} {shown(values[i], digits)}" for name, values in part.series.items())
        panels.append(
            (group, svg(width, 190, f"{part.caption}: {group}", f"{part.ylabel or part.caption}: {said}", body))
        )
    return panels


def _reach_of_most(values: Sequence[Number | None]) -> list[float]:
    """Every mean, and every interval but those thrice as long as the median one: they would squeeze the others."""
    spans = {i: v.interval[1] - v.interval[0] for i, v in enumerate(values) if isinstance(v, Value) and v.interval}
    known = [span for span in spans.values() if drawable(span)]
    most = 3 * statistics.median(known) if known else 0.0
    return [end for i, v in enumerate(values) for end in (_reach(v) if spans.get(i, 0.0) <= most else [mean(v)])]


def dots(part: Dots) -> list[tuple[str, Markup]]:
    """One panel per group, each on a scale of its own with zero in it; the rows are the same in all."""
    digits, step = _digits(part), 19.0
    labels = {name: cut(name, 28) for name in part.series}
    left = 16 + 6.9 * max((len(label) for label in labels.values()), default=0)
    height, panels = 8 + step * max(len(labels), 1) + 38, []
    for i, group in enumerate(part.groups):
        reach = _reach_of_most([values[i] for values in part.series.values()])
        xs = ticks(*extent([0.0, *reach]), count=4)
        frame = Frame(400, height, xs, (0, max(len(labels), 1)), left, right=20, top=8, bottom=38)
        body = list(frame.columns(part.xlabel))
        for j, (name, values) in enumerate(part.series.items()):
            value, y = values[i], frame.top + (j + 0.5) * step
            hint = tip(f"{name}, {group}: {shown(value, digits, signed=True)}")
            text = Markup('<text class="name end" x="{:.1f}" y="{:.1f}">{}{}</text>')
            body.append(text.format(left - 8, y + 4, labels[name], tip(name)))
            if drawable(mean(value)):
                x = frame.x(mean(value))
                dot = Markup('<circle class="dot" cx="{:.1f}" cy="{:.1f}" r="4.2">{}</circle>').format(x, y, hint)
                own = Markup().join([*_error_bars(frame, x, y, value, None), dot])
                body.append(Markup('<g class="{}">{}</g>').format(TONES[clear(value)], own))
            else:
                body.append(Markup('<text class="tick mid" x="{:.1f}" y="{:.1f}">–</text>').format(frame.x(0), y + 4))
        said = "; ".join(f"{name} {shown(values[i], digits, signed=True)}" for name, values in part.series.items())
        panels.append((group, svg(400, height, f"{part.caption}: {group}", f"{part.xlabel}: {said}", body)))
    return panels


def thin(curve: Curve, most: int = POINTS) -> list[Point]:
    """At most ``most`` points of a curve: the lowest and highest of each stretch, so that no spike is lost."""
    points = []
    for x, y in zip(*curve, strict=True):
        low, high = (y.interval if isinstance(y, Value) else None) or (math.nan, math.nan)
        points.append(Point(mean(x), mean(y), low, high))
    if len(points) <= most:
        return points
    size = math.ceil(2 * len(points) / most)
    kept = []
    for i in range(0, len(points), size):
        stretch = [p for p in points[i : i + size] if drawable(p.y)] or points[i : i + 1]
        kept += sorted({min(stretch, key=lambda p: p.y), max(stretch, key=lambda p: p.y)})
    return kept


def _frame(points: Iterable[tuple[list[float], list[float]]], wide: bool) -> Frame:
    pairs = list(points)
    xs = ticks(*extent(x for across, _ in pairs for x in across))
    ys = ticks(*extent(y for _, up in pairs for y in up))
    left = margin(ys) + 18  # room for the label
    return Frame(560, 340, xs, ys, left + 10, bottom=46) if wide else Frame(420, 290, xs, ys, left)


def _path(frame: Frame, points: Iterable[tuple[float, float]], dash: str) -> Markup:
    path, pen = [], "M"
    for point in points:
        if all(map(drawable, point)):
            path.append(f"{pen}{frame.x(point[0]):.1f} {frame.y(point[1]):.1f}")
            pen = "L"
        else:
            pen = "M"
    shape = Markup('<path class="line" d="{}"{}/>')
    return shape.format("".join(path), Markup(' stroke-dasharray="{}"').format(dash) if dash else "")


def _band(frame: Frame, points: Sequence[Point]) -> Markup:
    """The area between the ends of a curve's uncertainty."""
    known = [p for p in points if drawable(p.x) and drawable(p.low) and drawable(p.high)]
    if len(known) < 2:
        return Markup()
    there = [f"{frame.x(p.x):.1f} {frame.y(p.high):.1f}" for p in known]
    back = [f"{frame.x(p.x):.1f} {frame.y(p.low):.1f}" for p in reversed(known)]
    return Markup('<path class="band" d="M{}z"/>').format("L".join([*there, *back]))


def lines(part: Lines, look: Mapping[str, Style]) -> Markup:
    """Curves with a marker at their last point; those in grey first, so that they lie below."""
    most = min(POINTS, max(40, TOGETHER // max(len(part.series), 1)))
    curves = {name: thin(curve, most) for name, curve in part.series.items()}
    every = [point for points in curves.values() for point in points]
    frame = _frame((([p.x], [p.y, p.low, p.high]) for p in every), part.wide)
    body = list(frame.axes(part.xlabel, part.ylabel))
    for name, points in sorted(curves.items(), key=lambda item: not look[item[0]].muted):
        style = look[name]
        own = [_band(frame, points), _path(frame, (p[:2] for p in points), style.dash)]
        for p in [p for p in points if drawable(p.x) and drawable(p.y)][-1:]:
            own.append(style.mark(frame.x(p.x), frame.y(p.y), 3.6, f"{name}: {plain(p.y, 3)}"))
        body.append(style.group(own))
    said = (
        f"{part.ylabel or part.caption} against {part.xlabel}, {len(curves)} curves; the numbers are in the table below"
    )
    return svg(frame.width, frame.height, part.caption, said, body)


def scatter(part: Scatter, look: Mapping[str, Style]) -> Markup:
    """Points with error bars, joined into trajectories when asked."""
    every = [point for points in part.series.values() for point in points]
    frame = _frame(((_reach(x), _reach(y)) for x, y in every), part.wide)
    body = list(frame.axes(part.xlabel, part.ylabel))
    for name, points in part.series.items():
        style, centres = look[name], [(mean(x), mean(y)) for x, y in points]
        own = [_path(frame, centres, style.dash)] if part.connect else []
        for i, ((x, y), centre) in enumerate(zip(points, centres, strict=True)):
            if all(map(drawable, centre)):
                px, py = frame.x(centre[0]), frame.y(centre[1])
                own.extend(_error_bars(frame, px, py, x, y))
                last = not part.connect or i == len(points) - 1
                said = f"{name}: {part.xlabel} {shown(x, 3)}, {part.ylabel} {shown(y, 3)}"
                own.append(style.mark(px, py, 5.5 if last else 3, said))
        body.append(style.group(own))
    said = f"{part.ylabel} against {part.xlabel}, {len(part.series)} series; the numbers are in the table below"
    return svg(frame.width, frame.height, part.caption, said, body)
