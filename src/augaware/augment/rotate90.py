"""Rotation by quarter turns. omega = the number of counter-clockwise quarter turns, 0 to 3."""

from __future__ import annotations

import torch
from torch import Tensor

from augaware.augment.base import Augmentation, check_probability, where_applied
from augaware.random import Draws
from augaware.spaces import Cyclic

__all__ = ["Rotate90"]


class Rotate90(Augmentation):
    """With probability p, k ~ {0, 1, 2, 3} quarter turns counter-clockwise; omega k (so P(0) = 1 - 3p/4)."""

    space = Cyclic(4)
    identity = (0.0,)

    def __init__(self, size: int, p: float = 0.5) -> None:
        check_probability("rotate90", p)
        self.p = p

    def sample(self, draws: Draws, sizes: Tensor) -> Tensor:
        """omega (B, 1)."""
        return self.off(draws, draws.integers(4).float(), self.p)

    @where_applied
    def apply(self, x: Tensor, omega: Tensor) -> Tensor:
        """Turn each square image by its own k."""
        y = x.clone()
        for k in (1, 2, 3):
            rows = (omega[:, 0] == k).nonzero()[:, 0]
            y[rows] = torch.rot90(x[rows], k, dims=(2, 3))
        return y
