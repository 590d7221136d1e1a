"""Charts as inline SVG: axes, bars, curves and trajectories. Colours are classes, so a page can be light or dark."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from augaware.report.numbers import decimals as digits_for
from augaware.report.numbers import mean, plain, shown, ticks
from augaware.report.parts import Bars, Curve, Lines, Number, Scatter, Value

COLOURS = 8
DRAWABLE = 1e100  # beyond it a scale would overflow
POINTS = 240  # of one curve

# Markers of a unit radius, so that no series is told apart by colour alone.
MARKERS = (
    "M-.9-.9h1.8v1.8h-1.8z",
    "M0-1.2 1.2 0 0 1.2-1.2 0z",
    "M0-1.15 1.1.85h-2.2z",
    "M-1 0a1 1 0 1 0 2 0a1 1 0 1 0-2 0z",
    "M0 1.15 1.1-.85h-2.2z",
    "M-.35-1.1h.7v.75h.75v.7h-.75v.75h-.7v-.75h-.75v-.7h.75z",
    "M0-1.3.38-.4 1.25-.4.55.2.8 1.1 0 .55-.8 1.1-.55.2-1.25-.4-.38-.4z",
    "M-.7-1.1.7-1.1 1.2 0 .7 1.1-.7 1.1-1.2 0z",
)
DASHES = ("", "6 3", "2 3", "8 3 2 3")


@dataclass(frozen=True)
class Style:
    """How a series looks wherever it appears: a colour class, a marker and a dash pattern."""

    colour: str
    marker: str
    dash: str

    def mark(self, x: float, y: float, radius: float, title: str = "") -> Markup:
        """The marker at a place, with its value as a tooltip."""
        path = Markup('<path class="{}" transform="translate({:.1f} {:.1f}) scale({:.1f})" d="{}">{}</path>')
        return path.format(f"fill {self.colour}", x, y, radius, self.marker, _title(title))

    def swatch(self) -> Markup:
        """The entry of a legend."""
        line = Markup('<path class="line {}" d="M0 6h26" stroke-dasharray="{}"/>').format(self.colour, self.dash)
        return Markup('<svg width="26" height="12" aria-hidden="true">{}{}</svg>').format(line, self.mark(13, 6, 4))


def styles(names: Iterable[str], baselines: Sequence[str] = ()) -> dict[str, Style]:
    """One style per name in order of appearance; ``baselines`` are grey, so that what is compared stands out."""
    found: dict[str, Style] = {}
    others = 0
    for name in dict.fromkeys(names):
        if name in baselines:
            i, colour = COLOURS - 1 - baselines.index(name), f"b{baselines.index(name) % 2}"
        else:
            i, colour, others = others, f"c{others % COLOURS}", others + 1
        found[name] = Style(colour, MARKERS[i % len(MARKERS)], DASHES[i // COLOURS % len(DASHES)])
    return found


def _title(text: str) -> Markup:
    return Markup("<title>{}</title>").format(text) if text else Markup()


def _svg(width: float, height: float, title: str, description: str, body: Iterable[Markup]) -> Markup:
    return Markup(
        '<svg class="plot" viewBox="0 0 {w:.0f} {h:.0f}" width="{w:.0f}" height="{h:.0f}" role="img"'
        ' aria-label="{t}. {d}"><title>{t}</title><desc>{d}</desc>{body}</svg>'
    ).format(w=width, h=height, t=title, d=description, body=Markup().join(body))


def _drawable(value: float) -> bool:
    return abs(value) < DRAWABLE  # False for NaN


def _extent(values: Iterable[float]) -> tuple[float, float]:
    """The range of what can be drawn, never empty."""
    present = [v for v in values if _drawable(v)]
    low, high = (min(present), max(present)) if present else (0.0, 1.0)
    pad = 0.0 if high - low > 1e-9 * max(abs(low), abs(high)) else max(abs(high) * 0.1, 1e-6)
    return low - pad, high + pad


def _reach(value: Number | None) -> list[float]:
    """Every number of a value that has to fit on the scale."""
    return [mean(value), *((value.interval or ()) if isinstance(value, Value) else ())]


@dataclass(frozen=True)
class Frame:
    """A plot area inside an image: maps data to pixels and draws its axes."""

    width: float
    height: float
    xs: Sequence[float]  # ticks; the first and last are the ends of the axis
    ys: Sequence[float]
    left: float
    right: float = 18
    top: float = 12
    bottom: float = 42

    def x(self, value: float) -> float:
        """Pixels from the left."""
        share = (value - self.xs[0]) / (self.xs[-1] - self.xs[0])
        return self.left + share * (self.width - self.left - self.right)

    def y(self, value: float) -> float:
        """Pixels from the top."""
        share = (value - self.ys[0]) / (self.ys[-1] - self.ys[0])
        return self.height - self.bottom - share * (self.height - self.bottom - self.top)

    def rows(self) -> Iterable[Markup]:
        """Horizontal grid lines with their numbers."""
        for value in self.ys:
            y = self.y(value)
            css = "zero" if value == 0 else "grid"
            yield Markup('<path class="{}" d="M{:.1f} {:.1f}H{:.1f}"/>').format(
                css, self.left, y, self.width - self.right
            )
            yield Markup('<text class="tick end" x="{:.1f}" y="{:.1f}">{}</text>').format(
                self.left - 6, y + 4, _tick(value, self.ys)
            )

    def axes(self, xlabel: str, ylabel: str) -> Iterable[Markup]:
        """Both axes with their labels."""
        yield from self.rows()
        floor = self.height - self.bottom
        for value in self.xs:
            yield Markup('<path class="grid" d="M{:.1f} {:.1f}v4"/>').format(self.x(value), floor)
            yield Markup('<text class="tick mid" x="{:.1f}" y="{:.1f}">{}</text>').format(
                self.x(value), floor + 17, _tick(value, self.xs)
            )
        yield Markup('<text class="label mid" x="{:.1f}" y="{:.1f}">{}</text>').format(
            (self.left + self.width - self.right) / 2, self.height - 6, xlabel
        )
        yield Markup('<text class="label mid" transform="translate(12 {:.1f}) rotate(-90)">{}</text>').format(
            (self.top + floor) / 2, ylabel
        )


def _tick(value: float, among: Sequence[float]) -> str:
    step = among[1] - among[0]
    if max(abs(among[0]), abs(among[-1])) >= 1e5 or step < 1e-4:
        return f"{value:.3g}".replace("-", "−")
    return plain(value, next((d for d in range(5) if abs(round(step, d) - step) < 1e-6 * step), 4))


def _margin(ys: Sequence[float]) -> float:
    """Room for the widest number of a vertical axis."""
    return 14 + 7 * max(len(_tick(y, ys)) for y in ys)


def _error_bars(frame: Frame, x: float, y: float, across: Number, up: Number, style: Style) -> Iterable[Markup]:
    """Lines with caps through pixel (x, y) for the intervals of a point's two coordinates."""
    shape = Markup('<path class="error {}" d="{}"/>')
    if isinstance(up, Value) and up.interval and all(map(_drawable, up.interval)):
        low, high = map(frame.y, up.interval)
        yield shape.format(
            style.colour, f"M{x:.1f} {low:.1f}V{high:.1f}M{x - 3:.1f} {low:.1f}h6M{x - 3:.1f} {high:.1f}h6"
        )
    if isinstance(across, Value) and across.interval and all(map(_drawable, across.interval)):
        low, high = map(frame.x, across.interval)
        yield shape.format(
            style.colour, f"M{low:.1f} {y:.1f}H{high:.1f}M{low:.1f} {y - 3:.1f}v6M{high:.1f} {y - 3:.1f}v6"
        )


def bars(part: Bars, look: Mapping[str, Style]) -> list[tuple[str, Markup]]:
    """One small panel per group, all on one scale from zero: they wrap on a narrow page, and no text shrinks."""
    reach = [v for values in part.series.values() for value in values for v in _reach(value)]
    ys = ticks(*_extent([0.0, *reach]), count=4)
    digits = digits_for(v for values in part.series.values() for v in values)
    digits = digits if part.decimals is None else part.decimals
    left, step = _margin(ys), 18.0
    panels = []
    for i, group in enumerate(part.groups):
        width = max(left + step * len(part.series) + 6, 150)
        frame = Frame(width, 190, (0, max(len(part.series), 1)), ys, left, right=6, top=8, bottom=24)
        body, zero = list(frame.rows()), frame.y(0)
        for j, (name, values) in enumerate(part.series.items()):
            value, style = values[i], look[name]
            x, height = frame.x(j + 0.5), mean(value)
            body.append(style.mark(x, frame.height - 10, 4, name))
            if not _drawable(height):
                body.append(Markup('<text class="tick mid" x="{:.1f}" y="{:.1f}">–</text>').format(x, zero - 4))
                continue
            top, bottom = sorted((zero, frame.y(height)))
            box = Markup('<rect class="fill {}" x="{:.1f}" y="{:.1f}" width="12" height="{:.1f}" rx="1.5">{}</rect>')
            tip = _title(f"{name}, {group}: {shown(value, digits)}")
            body.append(box.format(style.colour, x - 6, top, max(bottom - top, 0.8), tip))
            body.extend(_error_bars(frame, x, 0, 0, value or 0, Style("ink", "", "")))
        said = "; ".join(f"{name} {shown(values[i], digits)}" for name, values in part.series.items())
        panels.append(
            (group, _svg(width, 190, f"{part.caption}: {group}", f"{part.ylabel or part.caption}: {said}", body))
        )
    return panels


def _thin(curve: Curve) -> list[tuple[float, float]]:
    """At most POINTS points of a curve: the lowest and highest of each stretch, so that no spike is lost."""
    points = [(mean(x), mean(y)) for x, y in zip(*curve, strict=True)]
    if len(points) <= POINTS:
        return points
    size = math.ceil(2 * len(points) / POINTS)
    kept = []
    for i in range(0, len(points), size):
        stretch = [p for p in points[i : i + size] if _drawable(p[1])] or points[i : i + 1]
        kept += sorted({min(stretch, key=lambda p: p[1]), max(stretch, key=lambda p: p[1])})
    return kept


def _frame(points: Iterable[tuple[list[float], list[float]]], wide: bool) -> Frame:
    pairs = list(points)
    xs = ticks(*_extent(x for across, _ in pairs for x in across))
    ys = ticks(*_extent(y for _, up in pairs for y in up))
    left = _margin(ys) + 18  # room for the label
    return Frame(560, 340, xs, ys, left + 10, bottom=46) if wide else Frame(420, 290, xs, ys, left)


def _path(frame: Frame, points: Iterable[tuple[float, float]], style: Style) -> Markup:
    path, pen = [], "M"
    for point in points:
        if all(map(_drawable, point)):
            path.append(f"{pen}{frame.x(point[0]):.1f} {frame.y(point[1]):.1f}")
            pen = "L"
        else:
            pen = "M"
    shape = Markup('<path class="line {}" d="{}" stroke-dasharray="{}"/>')
    return shape.format(style.colour, "".join(path), style.dash)


def lines(part: Lines, look: Mapping[str, Style]) -> Markup:
    """Curves with a marker at their last point."""
    curves = {name: _thin(curve) for name, curve in part.series.items()}
    frame = _frame((([x], [y]) for points in curves.values() for x, y in points), part.wide)
    body = list(frame.axes(part.xlabel, part.ylabel))
    for name, points in curves.items():
        body.append(_path(frame, points, look[name]))
        for x, y in [p for p in points if all(map(_drawable, p))][-1:]:
            body.append(look[name].mark(frame.x(x), frame.y(y), 3.6, f"{name}: {plain(y, 3)}"))
    said = (
        f"{part.ylabel or part.caption} against {part.xlabel}, {len(curves)} curves; the numbers are in the table below"
    )
    return _svg(frame.width, frame.height, part.caption, said, body)


def scatter(part: Scatter, look: Mapping[str, Style]) -> Markup:
    """Points with error bars, joined into trajectories when asked."""
    every = [point for points in part.series.values() for point in points]
    frame = _frame(((_reach(x), _reach(y)) for x, y in every), part.wide)
    body = list(frame.axes(part.xlabel, part.ylabel))
    for name, points in part.series.items():
        style, centres = look[name], [(mean(x), mean(y)) for x, y in points]
        if part.connect:
            body.append(_path(frame, centres, style))
        for i, ((x, y), centre) in enumerate(zip(points, centres, strict=True)):
            if all(map(_drawable, centre)):
                px, py = frame.x(centre[0]), frame.y(centre[1])
                body.extend(_error_bars(frame, px, py, x, y, style))
                last = not part.connect or i == len(points) - 1
                tip = f"{name}: {part.xlabel} {shown(x, 3)}, {part.ylabel} {shown(y, 3)}"
                body.append(style.mark(px, py, 5.5 if last else 3, tip))
    said = f"{part.ylabel} against {part.xlabel}, {len(part.series)} series; the numbers are in the table below"
    return _svg(frame.width, frame.height, part.caption, said, body)
