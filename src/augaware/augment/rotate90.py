"""Rotation by quarter turns. omega = the number of counter-clockwise quarter turns, 0 to 3."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from augaware.augment.base import Augmentation, check_probability, where_applied
from augaware.errors import RequestError
from augaware.random import Draws
from augaware.spaces import Cyclic

__all__ = ["Rotate90"]


class Rotate90(Augmentation):
    """With probability p, k ~ ``turns`` quarter turns counter-clockwise; omega k (by default P(0) = 1 - 3p/4)."""

    space = Cyclic(4, geometric=True)
    identity = (0.0,)
    fused = "rotate90"

    def __init__(self, size: int, p: float = 0.5, turns: Sequence[int] = (0, 1, 2, 3)) -> None:
        check_probability("rotate90", p)
        if not isinstance(turns, (tuple, list)) or not turns or not set(turns) <= {0, 1, 2, 3}:
            raise RequestError(f"augmentation 'rotate90': turns={turns!r} must be a list of numbers from 0 to 3")
        self.p, self.turns = p, tuple(turns)

    def sample(self, draws: Draws, sizes: Tensor) -> Tensor:
        """omega (B, 1)."""
        turns = torch.tensor(self.turns, dtype=torch.float32, device=sizes.device)
        return self.off(draws, turns[draws.integers(len(turns))], self.p)

    @where_applied
    def apply(self, x: Tensor, omega: Tensor) -> Tensor:
        """Turn each square image by its own k."""
        y = x.clone()
        for k in (1, 2, 3):
            rows = (omega[:, 0] == k).nonzero()[:, 0]
            y[rows] = torch.rot90(x[rows], k, dims=(2, 3))
        return y
