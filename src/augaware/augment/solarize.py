"""Solarize. omega = the threshold above which a pixel is inverted; 1 means not applied."""

from __future__ import annotations

import torch
from torch import Tensor

from augaware.augment.base import Augmentation, check_probability, check_range, where_applied
from augaware.random import Draws
from augaware.spaces import Interval

__all__ = ["Solarize"]


class Solarize(Augmentation):
    """Keep values below a threshold ~ U(threshold), turn the others into 1 - value; omega the threshold in [0, 1].

    A threshold of 1 is recorded as "not applied" and leaves the image untouched (the formula alone would still turn an
    exact 1 into 0).
    """

    space = Interval(1)
    identity = (1.0,)
    fused = "solarize"

    def __init__(self, size: int, p: float = 0.5, threshold: tuple[float, float] = (0.0, 1.0)) -> None:
        check_probability("solarize", p)
        check_range("solarize", "threshold", threshold, 0, 1)
        self.p, self.threshold = p, tuple(threshold)

    def sample(self, draws: Draws, sizes: Tensor) -> Tensor:
        """omega (B, 1)."""
        return self.off(draws, draws.uniform(1, *self.threshold), self.p)

    @where_applied
    def apply(self, x: Tensor, omega: Tensor) -> Tensor:
        """Values below the threshold stay, the others are inverted."""
        return torch.where(x < omega[:, :, None, None], x, 1 - x)
