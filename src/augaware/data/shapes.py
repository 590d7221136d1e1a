"""Drawn images whose causes are known: one object on a patterned ground, its colour and geometry independent factors.

Every pixel is a function of (seed, index), so nothing is stored. Following the sizes found in the small-scale study:
48 pixels, object radius .24 to .40 and centre .32 to .68 of the side, hues of object and ground independent. An
object has a direction: its outline points forward, and it is lit at the head and shaded at the tail.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from torch import Tensor

from augaware.data.base import ImageBatch, Skipped, Source
from augaware.data.files import digest
from augaware.errors import RequestError
from augaware.random import Draws, word

__all__ = ["Shapes"]

TEXTURES = ("plain", "stripes", "checks", "dots")
BACKGROUNDS = ("gradient", "stripes", "checks", "rings")
# How a factor is read: a position on a circle in turns [0, 1), a real number, or one of the classes.
FACTORS: Mapping[str, str] = MappingProxyType(
    {
        "object_hue": "cyclic",
        "background_hue": "cyclic",
        "x": "real",
        "y": "real",
        "radius": "real",
        "orientation": "cyclic",
        "background_level": "real",
        "shape": "class",
        "texture": "class",
        "background": "class",
    }
)
_CHUNK = 128  # images drawn at a time: their planes stay in the cache


class Shapes(Source):
    """``n`` images of ``size`` pixels drawn from ``seed``; labelled by shape.

    ``factors`` (each (n,); FACTORS says of which kind): ``object_hue`` and ``background_hue`` in turns; ``x``, ``y``
    the object's centre in fractions of the side, from the top left; ``radius`` in fractions of the side;
    ``orientation`` where it points, in turns, 0 to the right and 1/4 up; ``background_level`` the ground's HSV value;
    ``shape``, ``texture``, ``background`` class numbers.
    """

    def __init__(self, n: int = 8000, size: int = 48, seed: int = 0) -> None:
        if not all(isinstance(number, int) for number in (n, size, seed)) or n < 1 or size < 8:
            raise RequestError(
                f"shapes(n={n!r}, size={size!r}, seed={seed!r}): whole numbers, n at least 1 and size at least 8 pixels"
            )
        self.name = f"shapes(n={n}, size={size}, seed={seed})"
        self.size = size
        self.names = [f"{seed}/{i}" for i in range(n)]
        draws = Draws.of(seed, 0, torch.arange(n), 0)
        self.factors = _factors(draws)
        # What is drawn but is no factor to ask for: phases and scales of the ground, saturation of object and ground.
        self._phases = draws.stream("nuisance").uniform(4)
        self._saturation = draws.stream("saturation").uniform(2, 0.3, 0.7)
        self.labels = self.factors["shape"]
        self.classes = tuple(OUTLINES)
        self.skipped: tuple[Skipped, ...] = ()
        self.fingerprint = digest([self.name])

    def __len__(self) -> int:
        return len(self.names)

    def load(self, index: int) -> Tensor:
        """Image number ``index``: (3, size, size) uint8, RGB."""
        return self.batch(torch.tensor([index])).pixels[0]

    def batch(self, index: Tensor) -> ImageBatch:
        """The images ``index`` (B,) int64."""
        pixels = torch.empty(len(index), 3, self.size, self.size, dtype=torch.uint8)
        for part, out in zip(torch.split(index, _CHUNK), torch.split(pixels, _CHUNK), strict=True):
            factors = {name: factor[part] for name, factor in self.factors.items()}
            out.copy_(_draw(factors, self._phases[part], self._saturation[part], self.size))
        return ImageBatch(pixels, torch.full((len(index), 2), self.size), index)


def shapes_splits(
    train: int = 2000, val: int = 500, test: int = 1500, size: int = 48, seed: int = 0
) -> dict[str, Shapes]:
    """Drawn ``train``, ``val``, ``test``, disjoint from each other and from ``shapes(seed=...)`` of any small seed."""
    counts = {"train": train, "val": val, "test": test}
    return {split: Shapes(n, size, word(seed, place)) for place, (split, n) in enumerate(counts.items(), start=1)}


def _factors(draws: Draws) -> dict[str, Tensor]:
    def real(name: str, low: float, high: float) -> Tensor:
        return draws.stream(name).uniform(1, low, high)[:, 0]

    def number(name: str, n: int) -> Tensor:
        return draws.stream(name).integers(n)[:, 0]

    return {
        "object_hue": real("object_hue", 0, 1),
        "background_hue": real("background_hue", 0, 1),
        "x": real("x", 0.32, 0.68),
        "y": real("y", 0.32, 0.68),
        "radius": real("radius", 0.24, 0.40),
        "orientation": real("orientation", 0, 1),
        "background_level": real("background_level", 0.2, 0.52),
        "shape": number("shape", len(OUTLINES)),
        "texture": number("texture", len(TEXTURES)),
        "background": number("background", len(BACKGROUNDS)),
    }


def _draw(f: Mapping[str, Tensor], phases: Tensor, saturation: Tensor, size: int) -> Tensor:
    """Images (B, 3, size, size), float from 0.5 to 255.5, to be truncated; ``phases`` (B, 4), ``saturation`` (B, 2)."""
    shape = (len(phases), size, size)
    steps = (torch.arange(size) + 0.5) / size
    across, down = steps.expand(len(phases), 1, size), steps[:, None].expand(len(phases), size, 1)

    # The object's own frame: u forward along its direction, v to its left, in radii.
    angle = 2 * math.pi * f["orientation"]
    cos, sin, radius, x, y = (t[:, None, None] for t in (angle.cos(), angle.sin(), f["radius"], f["x"], f["y"]))
    right, up = (across - x) / radius, (y - down) / radius
    u, v = right * cos + up * sin, up * cos - right * sin

    distance = _by_class(f["shape"], list(OUTLINES.values()), shape, u, v)
    inside = (0.5 - distance * (radius * size)).clamp_(0, 1)  # an edge one pixel wide
    light = u.mul(0.5).add_(0.7).clamp_(0.3, 1)  # enough for a linear readout to see the direction
    light *= _by_class(f["texture"], _TEXTURES, shape, u, v).mul_(-0.4).add_(1)
    light *= inside

    ground = _by_class(f["background"], _BACKGROUNDS, shape, across, down, *phases[:, :, None, None].unbind(1))
    ground.mul_(0.5).add_(1).mul_(1 - inside)

    colour = _rgb(f["object_hue"], saturation[:, 0], torch.tensor(0.98)) * 255
    behind = _rgb(f["background_hue"], saturation[:, 1], f["background_level"][:, None]) * 255
    pixels = torch.addcmul(torch.tensor(0.5), behind[:, :, None, None], ground[:, None])
    return pixels.addcmul_(colour[:, :, None, None], light[:, None])


def _by_class(kind: Tensor, rules: list[Callable[..., Tensor]], shape: tuple[int, int, int], *planes: Tensor) -> Tensor:
    """(B, H, W): each image by the rule of its class, one call per class; ``planes`` (B, H or 1, W or 1)."""
    result = torch.empty(shape)
    for number, rule in enumerate(rules):
        rows = (kind == number).nonzero()[:, 0]
        if len(rows):
            result[rows] = rule(*(plane[rows] for plane in planes))
    return result


def _rgb(hue: Tensor, saturation: Tensor, value: Tensor) -> Tensor:
    """HSV, (B,) each and value (B, 1), hue in turns, to RGB (B, 3) in [0, 1]."""
    k = (torch.tensor([5.0, 3.0, 1.0]) + 6 * hue[:, None]) % 6
    return value * (1 - saturation[:, None] * torch.minimum(k, 4 - k).clamp(0, 1))


# Outlines: signed distance to the edge (negative inside; exact along edges) in radii, at (u, v). The origin is well
# inside.


def _half_plane(u: Tensor, v: Tensor, degrees: float, reach: float) -> Tensor:
    """Distance past the line that lies ``reach`` from the origin in the direction ``degrees``."""
    angle = math.radians(degrees)
    return u * math.cos(angle) + v * math.sin(angle) - reach


def _disc(u: Tensor, v: Tensor, at: float, radius: float) -> Tensor:
    return ((u - at) ** 2 + v**2).sqrt_() - radius


def _arrow(u: Tensor, v: Tensor) -> Tensor:
    side = v.abs()
    head = torch.maximum(_half_plane(u, side, 45, 0.70), -u)
    shaft = torch.maximum(side - 0.36, (u + 0.45).abs_() - 0.5)
    return torch.minimum(head, shaft)


def _crescent(u: Tensor, v: Tensor) -> Tensor:
    return torch.maximum(_disc(u, v, -0.2, 0.95), -_disc(u, v, -0.85, 0.75))


def _drop(u: Tensor, v: Tensor) -> Tensor:
    # A disc and the cone of its two tangents from the tip at u = 1; 30 degrees: sin(30) = 0.5 = disc / (1 - centre).
    cone = torch.maximum(_half_plane(u, v.abs(), 60, 0.5), -0.0 - u)
    return torch.minimum(_disc(u, v, -0.3, 0.65), cone)


def _half_disc(u: Tensor, v: Tensor) -> Tensor:
    return torch.maximum(_disc(u, v, -0.4, 1.0), -0.4 - u)


def _letter_l(u: Tensor, v: Tensor) -> Tensor:
    stem = torch.maximum((u - 0.05).abs_() - 0.9, (v + 0.15).abs_() - 0.3)
    foot = torch.maximum((u + 0.55).abs_() - 0.3, (v - 0.2).abs_() - 0.65)
    return torch.minimum(stem, foot)


def _triangle(u: Tensor, v: Tensor) -> Tensor:
    return torch.maximum(_half_plane(u, v.abs(), 66, 0.42), -0.5 - u)


OUTLINES: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = MappingProxyType(
    {
        "arrow": _arrow,
        "crescent": _crescent,
        "drop": _drop,
        "half_disc": _half_disc,
        "letter_l": _letter_l,
        "triangle": _triangle,
    }
)


def _saw(t: Tensor) -> Tensor:
    """A saw tooth of period 1, from -1/2 to 1/2: the distance to the nearest whole number."""
    return t - t.round()


def _wave(t: Tensor) -> Tensor:
    """A triangle wave of period 1, from -1 to 1."""
    return _saw(t).abs_().mul_(4).sub_(1)


# Textures: where the object is dark, 0 to 1, in its own frame. Grounds: -1 to 1 over the image, from four numbers in
# [0, 1).
_TEXTURES: list[Callable[..., Tensor]] = [
    lambda u, v: torch.zeros(1),
    lambda u, v: (3 * _wave(2.2 * u) + 0.5).clamp_(0, 1),
    lambda u, v: (6 * _wave(1.3 * u) * _wave(1.3 * v) + 0.5).clamp_(0, 1),
    lambda u, v: (2.2 - 7 * (_saw(1.9 * u) ** 2 + _saw(1.9 * v) ** 2).sqrt_()).clamp_(0, 1),
]


def _tilted(across: Tensor, down: Tensor, turn: Tensor) -> Tensor:
    angle = 2 * math.pi * turn
    return across * angle.cos() + down * angle.sin()


_BACKGROUNDS: list[Callable[..., Tensor]] = [
    lambda x, y, a, b, c, d: 1.6 * _tilted(x - 0.5, y - 0.5, a),
    lambda x, y, a, b, c, d: (3 * _wave(_tilted(x, y, a) * (3 + 2 * b) + c)).clamp_(-1, 1),
    lambda x, y, a, b, c, d: (5 * _wave(x * (2 + b) + c) * _wave(y * (2 + b) + d)).clamp_(-1, 1),
    lambda x, y, a, b, c, d: (3 * _wave(((x - c) ** 2 + (y - d) ** 2).sqrt_() * (4 + 2 * b) + a)).clamp_(-1, 1),
]
