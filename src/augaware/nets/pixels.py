"""The image itself as features: the baseline that no training can be blamed for."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from augaware.checks import check_widths
from augaware.errors import RequestError
from augaware.nets.base import Encoder

__all__ = ["pixels"]


def pixels(side: int = 12, channels: int = 3) -> Encoder:
    """Raw pixels: the image averaged down to side x side, D = channels side^2. It has nothing to train."""
    if not isinstance(side, int) or side < 1:
        raise RequestError(f"encoder 'pixels': side={side!r} must be a whole number of pixels, at least 1")
    check_widths("encoder 'pixels'", channels=channels)
    return Encoder(Shrink(side), dim=channels * side * side)


class Shrink(nn.Module):
    """Average (B, C, H, W) to (B, C side^2)."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side

    def forward(self, x: Tensor) -> Tensor:
        """Adaptive average pooling, flattened."""
        return F.adaptive_avg_pool2d(x, self.side).flatten(1)
