"""Grayscale. omega = 1 where the colours are gone."""

from __future__ import annotations

from torch import Tensor

from augaware.augment.base import Augmentation, check_probability, where_applied
from augaware.random import Draws
from augaware.spaces import Binary

__all__ = ["Grayscale"]

WEIGHTS = (0.299, 0.587, 0.114)


class Grayscale(Augmentation):
    """Replace the three channels by 0.299 R + 0.587 G + 0.114 B with probability p; omega 0 or 1."""

    space = Binary()
    identity = (0.0,)
    fused = "grayscale"
    channels = 3

    def __init__(self, size: int, p: float = 0.2) -> None:
        check_probability("grayscale", p)
        self.p = p

    def sample(self, draws: Draws, sizes: Tensor) -> Tensor:
        """omega (B, 1)."""
        return draws.happens(self.p).float()

    @where_applied
    def apply(self, x: Tensor, omega: Tensor) -> Tensor:
        """The weighted sum of the channels, three times."""
        gray = (x * x.new_tensor(WEIGHTS)[:, None, None]).sum(dim=1, keepdim=True)
        return gray.expand_as(x)
