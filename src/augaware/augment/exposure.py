"""Exposure. omega = how far the gain and the offset of the sensor were moved, in widths of their ranges."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from augaware.augment.base import Augmentation, check_probability, where_applied
from augaware.checks import check_widths
from augaware.errors import RequestError
from augaware.random import Draws
from augaware.spaces import Interval

__all__ = ["Exposure"]


class Exposure(Augmentation):
    """x <- g x + o within [0, 1], log2 g ~ U(-gain, gain) and o ~ U(-offset, offset); omega 2 numbers in [-.5, .5].

    What a sensor does whatever its channels are: g is light and time of exposure, in stops, o its dark level, in [0, 1]
    pixels. omega^aug = (log2 g / (2 gain), o / (2 offset)), zeros when not applied. ``channels`` None: all channels of
    an image share both, on images of any; n: each of n has its own, as dyes that bleach and bands that are lit apart,
    and omega is n gains, then n offsets.
    """

    identity: tuple[float, ...] = (0.0, 0.0)
    fused = "expose"

    def __init__(
        self, size: int, gain: float = 1.0, offset: float = 0.05, p: float = 0.8, channels: int | None = None
    ) -> None:
        check_probability("exposure", p)
        for key, value, most in (("gain", gain, 8), ("offset", offset, 1)):
            if type(value) not in (int, float) or not 0 <= value <= most:
                raise RequestError(f"augmentation 'exposure': {key}={value!r} must be a number from 0 to {most}")
        if channels is not None:
            check_widths("augmentation 'exposure'", channels=channels)
        self.gain, self.offset, self.p, self.channels = gain, offset, p, channels
        each = channels or 1
        numbered = [""] if channels is None else [f" {c + 1}" for c in range(each)]
        self.space = Interval(2 * each, names=tuple(f"{kind}{c}" for kind in ("gain", "offset") for c in numbered))
        self.identity = (0.0,) * (2 * each)

    def sample(self, draws: Draws, sizes: Tensor) -> Tensor:
        """omega (B, 2) or (B, 2 channels)."""
        return self.off(draws, draws.uniform(len(self.identity), -0.5, 0.5) * self._varies(draws), self.p)

    def _varies(self, draws: Draws) -> Tensor:
        """1 for what has a range, else 0: (columns,)."""
        each = self.channels or 1
        return torch.tensor([float(self.gain > 0)] * each + [float(self.offset > 0)] * each)

    def arguments(self, omega: Tensor) -> Tensor:
        """How many gains there are, the gains, the offsets, (B, 1 + columns); no gains where nothing is done."""
        moved = (omega != 0).any(dim=1, keepdim=True)
        gains, offsets = self._gains(omega)
        return torch.cat((moved.to(omega) * gains.shape[1], gains, offsets), dim=1)

    def _gains(self, omega: Tensor) -> tuple[Tensor, Tensor]:
        """g and o, (B, 1 or channels) each."""
        moved, shift = omega.chunk(2, dim=1)
        return torch.exp(moved * (2 * self.gain * math.log(2))), shift * (2 * self.offset)

    @where_applied
    def apply(self, x: Tensor, omega: Tensor) -> Tensor:
        """Each channel times its gain plus its offset, cut to what the sensor can say."""
        gains, offsets = self._gains(omega)
        return (x * gains[:, :, None, None] + offsets[:, :, None, None]).clamp(0, 1)
