"""Horizontal flip. omega = 1 where the image is mirrored."""

from __future__ import annotations

from torch import Tensor

from augaware.augment.base import Augmentation, check_probability, where_applied
from augaware.random import Draws
from augaware.spaces import Binary

__all__ = ["Flip"]


class Flip(Augmentation):
    """Mirror left and right with probability p; omega 0 or 1."""

    space = Binary(geometric=True)
    identity = (0.0,)
    fused = "flip"

    def __init__(self, size: int, p: float = 0.5) -> None:
        check_probability("flip", p)
        self.p = p

    def sample(self, draws: Draws, sizes: Tensor) -> Tensor:
        """omega (B, 1)."""
        return draws.happens(self.p).float()

    @where_applied
    def apply(self, x: Tensor, omega: Tensor) -> Tensor:
        """Mirror the columns."""
        return x.flip(3)
