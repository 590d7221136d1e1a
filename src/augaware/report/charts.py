"""What charts share: the look of each series, scales, axes. Colours are classes, for a page in light and dark."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from augaware.report.numbers import plain

COLOURS = 8
DRAWABLE = 1e100  # beyond it a scale would overflow
FOCUS = 8  # series in colour; where there are more the others are grey until asked for

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
    """How a series looks wherever it appears: its number on the page, a colour class, a marker and a dash pattern.

    ``muted``: grey, until its entry in a legend is pressed.
    """

    number: int
    colour: str
    marker: str
    dash: str
    muted: bool = False

    def group(self, body: Iterable[Markup]) -> Markup:
        """What belongs to the series in a chart: in its colour, and found by the page's script."""
        return Markup('<g class="{}" data-s="{}">{}</g>').format(self.css, self.number, Markup().join(body))

    @property
    def css(self) -> str:
        """The classes of what belongs to the series."""
        return f"series {self.colour}{' muted' if self.muted else ''}"

    def mark(self, x: float, y: float, radius: float, title: str = "") -> Markup:
        """The marker at a place, with its value as a tooltip."""
        path = Markup('<path class="fill" transform="translate({:.1f} {:.1f}) scale({:.1f})" d="{}">{}</path>')
        return path.format(x, y, radius, self.marker, tip(title))

    def swatch(self) -> Markup:
        """The entry of a legend."""
        line = Markup('<path class="line" d="M0 6h26" stroke-dasharray="{}"/>').format(self.dash)
        return Markup('<svg width="26" height="12" aria-hidden="true">{}{}</svg>').format(line, self.mark(13, 6, 4))


def styles(
    names: Iterable[str], baselines: Sequence[str] = (), focus: Collection[str] | None = None
) -> dict[str, Style]:
    """One style per name in order of appearance; ``baselines`` are grey, so that what is compared stands out.

    ``focus``: which are in colour at first; None is all, or the first eight where there are more.
    """
    order = list(dict.fromkeys(names))
    compared = [name for name in order if name not in baselines]
    coloured = set(compared[:FOCUS] if focus is None else focus) | set(baselines)
    found = {}
    for number, name in enumerate(order):
        if name in baselines:
            i = COLOURS - 1 - baselines.index(name)
            colour = f"b{baselines.index(name) % 2}"
        else:
            i = compared.index(name)
            colour = f"c{i % COLOURS}"
        dash = DASHES[i // COLOURS % len(DASHES)]
        found[name] = Style(number, colour, MARKERS[i % len(MARKERS)], dash, name not in coloured)
    return found


def tip(text: str) -> Markup:
    """What is said when the pointer rests on something."""
    return Markup("<title>{}</title>").format(text) if text else Markup()


def svg(width: float, height: float, title: str, description: str, body: Iterable[Markup]) -> Markup:
    """A chart of its own ``width``; ``description`` says in words what it shows."""
    return Markup(
        '<svg class="plot" viewBox="0 0 {w:.0f} {h:.0f}" width="{w:.0f}" height="{h:.0f}" role="img"'
        ' aria-label="{t}. {d}"><title>{t}</title><desc>{d}</desc>{body}</svg>'
    ).format(w=width, h=height, t=title, d=description, body=Markup().join(body))


def drawable(value: float) -> bool:
    """Whether a scale can hold a number."""
    return abs(value) < DRAWABLE  # False for NaN


def extent(values: Iterable[float]) -> tuple[float, float]:
    """The range of what can be drawn, never empty."""
    present = [v for v in values if drawable(v)]
    low, high = (min(present), max(present)) if present else (0.0, 1.0)
    pad = 0.0 if high - low > 1e-9 * max(abs(low), abs(high)) else max(abs(high) * 0.1, 1e-6)
    return low - pad, high + pad


def cut(text: str, letters: int) -> str:
    """A text that is too long, with its middle left out."""
    half = (letters - 1) // 2
    return text if len(text) <= letters else f"{text[: letters - 1 - half]}…{text[-half:]}"


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
                self.left - 6, y + 4, tick(value, self.ys)
            )

    def columns(self, xlabel: str) -> Iterable[Markup]:
        """Vertical grid lines with their numbers, and the label below."""
        floor = self.height - self.bottom
        for value in self.xs:
            x = self.x(value)
            css = "zero" if value == 0 else "grid"
            yield Markup('<path class="{}" d="M{:.1f} {:.1f}V{:.1f}"/>').format(css, x, self.top, floor)
            yield Markup('<text class="tick mid" x="{:.1f}" y="{:.1f}">{}</text>').format(
                x, floor + 15, tick(value, self.xs)
            )
        yield Markup('<text class="label mid" x="{:.1f}" y="{:.1f}">{}</text>').format(
            (self.left + self.width - self.right) / 2, self.height - 5, xlabel
        )

    def axes(self, xlabel: str, ylabel: str) -> Iterable[Markup]:
        """Both axes with their labels."""
        yield from self.rows()
        floor = self.height - self.bottom
        for value in self.xs:
            yield Markup('<path class="grid" d="M{:.1f} {:.1f}v4"/>').format(self.x(value), floor)
            yield Markup('<text class="tick mid" x="{:.1f}" y="{:.1f}">{}</text>').format(
                self.x(value), floor + 17, tick(value, self.xs)
            )
        yield Markup('<text class="label mid" x="{:.1f}" y="{:.1f}">{}</text>').format(
            (self.left + self.width - self.right) / 2, self.height - 6, xlabel
        )
        yield Markup('<text class="label mid" transform="translate(12 {:.1f}) rotate(-90)">{}</text>').format(
            (self.top + floor) / 2, ylabel
        )


def tick(value: float, among: Sequence[float]) -> str:
    """A number of an axis, with as many digits as its step needs."""
    step = among[1] - among[0]
    if max(abs(among[0]), abs(among[-1])) >= 1e5 or step < 1e-4:
        return f"{value:.3g}".replace("-", "−")
    return plain(value, next((d for d in range(5) if abs(round(step, d) - step) < 1e-6 * step), 4))


def margin(ys: Sequence[float]) -> float:
    """Room for the widest number of a vertical axis."""
    return 14 + 7 * max(len(tick(y, ys)) for y in ys)
