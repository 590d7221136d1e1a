"""Colour jitter. omega = how far brightness, contrast, saturation and hue were moved, in widths of their ranges."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor

from augaware.augment.base import Augmentation, check_probability, where_applied
from augaware.errors import RequestError
from augaware.random import Draws
from augaware.spaces import Interval

__all__ = ["ColorJitter"]

ORDERS = tuple(itertools.permutations(range(4)))
LUMA = (0.2989, 0.587, 0.114)
NEUTRAL = (1.0, 1.0, 1.0, 0.0)  # factors that change nothing, and a hue that is not turned


class ColorJitter(Augmentation):
    """Brightness, contrast, saturation, hue in random order with probability p; omega 4 numbers in about [-.5, .5].

    Factors are U(max(0, 1 - s), 1 + s) for a strength s, hue is U(-hue, hue) turns. omega^aug = (factor - 1) / (width
    of the factor's range) and hue / (width of its range), zeros when not applied (AugSelf's code; the paper's [0, 1]
    form differs by a constant). A fifth column numbers the order of the four operations: replay needs it, no awareness
    sees it.

    ``form``: ``"hsv"`` multiplies the S of HSV, as the authors' pipelines do; ``"torchvision"`` blends with gray. Hue
    turns the H of HSV in both; brightness and contrast are the same in both. Paper's code: one order per batch; here:
    per sample, so that a view depends on its own sample only.

    Also measures ``color_diff`` (CASSLE): the mean of each channel before minus after, 3 numbers, 0 when not applied.
    """

    space = Interval(4, names=("brightness", "contrast", "saturation", "hue"))
    identity = (0.0, 0.0, 0.0, 0.0, 0.0)
    channels = 3
    measures = {"color_diff": Interval(3, measured=True, names=("red", "green", "blue"))}  # noqa: RUF012

    def __init__(
        self,
        size: int,
        brightness: float = 0.4,
        contrast: float = 0.4,
        saturation: float = 0.4,
        hue: float = 0.1,
        p: float = 0.8,
        form: str = "hsv",
    ) -> None:
        check_probability("color_jitter", p)
        for key, value, most in (
            ("brightness", brightness, math.inf),
            ("contrast", contrast, math.inf),
            ("saturation", saturation, math.inf),
            ("hue", hue, 0.5),
        ):
            if not isinstance(value, (int, float)) or not 0 <= value <= most or math.isinf(value):
                raise RequestError(f"augmentation 'color_jitter': {key}={value!r} must be a number from 0 to {most:g}")
        if form not in ("hsv", "torchvision"):
            raise RequestError(f"augmentation 'color_jitter': form={form!r} is unknown; accepted: 'hsv', 'torchvision'")
        self.p, self.form = p, form
        low = [max(0.0, 1 - s) for s in (brightness, contrast, saturation)] + [-hue]
        high = [1 + brightness, 1 + contrast, 1 + saturation, hue]
        self.width = torch.tensor(high) - torch.tensor(low)
        self.varies = self.width > 0
        self.start = torch.where(self.varies, (torch.tensor(low) - torch.tensor(NEUTRAL)) / self.width, 0.0)

    def sample(self, draws: Draws, sizes: Tensor) -> Tensor:
        """omega (B, 5)."""
        moved = torch.where(self.varies, self.start + draws.uniform(4), 0.0)
        order = draws.stream("order").integers(len(ORDERS)).float()
        return self.off(draws, torch.cat((moved, order), dim=1), self.p)

    def factors(self, omega: Tensor) -> Tensor:
        """Brightness, contrast and saturation factors and the hue shift in turns, (B, 4), of omega (B, 4 or 5)."""
        return omega.new_tensor(NEUTRAL) + omega[:, :4] * self.width.to(omega.device)

    @property
    def fused(self) -> str:  # type: ignore[override]
        """The kernel knows both forms."""
        return "jitter" if self.form == "hsv" else "blend_jitter"

    def arguments(self, omega: Tensor) -> Tensor:
        """The four factors, the four operations in order, and whether anything is done, (B, 9)."""
        order = omega.new_tensor(ORDERS)[omega[:, 4].long()]
        return torch.cat((self.factors(omega), order, (omega != 0).any(dim=1, keepdim=True).to(omega)), dim=1)

    @where_applied
    def apply(self, x: Tensor, omega: Tensor) -> Tensor:
        """The four operations on [0, 1] pixels, each sample in its own order."""
        saturate = _saturate_hsv if self.form == "hsv" else _saturate_blend
        operations = (_brightness, _contrast, saturate, _turn_hue)
        factors = self.factors(omega)
        order = torch.tensor(ORDERS, device=x.device)[omega[:, 4].long()]  # (B, 4)
        for place in order.unbind(dim=1):
            parts, every = [], []
            for operation in sorted(set(place.tolist())):
                rows = (place == operation).nonzero()[:, 0]
                part = x if len(rows) == len(x) else x[rows]
                parts.append(operations[operation](part, factors[rows, operation][:, None, None, None]))
                every.append(rows)
            x = parts[0] if len(parts) == 1 else torch.cat(parts)[torch.cat(every).argsort()]
        return x

    def measure(self, before: Tensor, after: Tensor) -> dict[str, Tensor]:
        """color_diff (B, 3)."""
        return {"color_diff": before.mean(dim=(2, 3)) - after.mean(dim=(2, 3))}


def _gray(x: Tensor) -> Tensor:
    return (x * x.new_tensor(LUMA)[:, None, None]).sum(dim=1, keepdim=True)


def _brightness(x: Tensor, factor: Tensor) -> Tensor:
    return (x * factor).clamp(0, 1)


def _contrast(x: Tensor, factor: Tensor) -> Tensor:
    mean = _gray(x).mean(dim=(2, 3), keepdim=True)
    return (factor * x + (1 - factor) * mean).clamp(0, 1)


def _saturate_blend(x: Tensor, factor: Tensor) -> Tensor:
    return (factor * x + (1 - factor) * _gray(x)).clamp(0, 1)


def _saturate_hsv(x: Tensor, factor: Tensor) -> Tensor:
    """S <- min(factor S, 1) with H and V kept.

    V - x_c is proportional to S for every channel at fixed H and V, so no angle is needed.
    """
    v = x.amax(dim=1, keepdim=True)
    chroma = v - x.amin(dim=1, keepdim=True)
    s = chroma / v.clamp_min(1e-12)
    scale = torch.where(s > 0, (s * factor).clamp_max(1) / s.clamp_min(1e-12), 0.0)
    return v - (v - x) * scale


def _turn_hue(x: Tensor, turns: Tensor) -> Tensor:
    """H <- H + turns (mod 1) with S and V kept."""
    r, g, b = x.unbind(dim=1)
    v, low = x.amax(dim=1), x.amin(dim=1)
    chroma = v - low
    safe = chroma.clamp_min(1e-12)
    sector = torch.where(v == r, (g - b) / safe, torch.where(v == g, 2 + (b - r) / safe, 4 + (r - g) / safe))
    # a channel lacks all of C where h, in sixths of a turn, is far from its own colour, and nothing nearby
    h = sector + 6 * turns[:, 0]
    h = h - 6 * torch.floor(h / 6)  # the same as h % 6, five times as fast
    away, sign, start = (x.new_tensor(n)[:, None, None] for n in ((3.0, 2.0, 4.0), (-1.0, 1.0, 1.0), (2.0, -1.0, -1.0)))
    lack = (h[:, None] - away).abs_().mul_(sign).add_(start).clamp_(0, 1)
    return v[:, None] - lack.mul_(chroma[:, None])
