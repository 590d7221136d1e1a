"""Encoders of which it is known, by construction, what they keep and what they lose."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from augaware.frozen import Frozen, freeze

SIZE = 24
SIDE = 12


class Keeps(nn.Module):
    """Keeps all that a small image tells: the pixels, averaged down."""

    def forward(self, x: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(x, SIDE).flatten(1)


class ColourBlind(Keeps):
    """Keeps places and light, and no colour: the mean of the channels."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.mean(1, keepdim=True))


class TurnBlind(Keeps):
    """Keeps colour and what is in the image, and not which way up: the mean over four quarter turns."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([super(TurnBlind, self).forward(torch.rot90(x, k, (2, 3))) for k in range(4)]).mean(0)


class FlipBlind(Keeps):
    """Keeps all but left and right: the mean of the image and its mirror image."""

    def forward(self, x: Tensor) -> Tensor:
        return (super().forward(x) + super().forward(x.flip(3))) / 2


class Constant(nn.Module):
    """Keeps nothing: collapsed."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.ones(len(x), 8, device=x.device)


def known(kind: type[nn.Module]) -> Frozen:
    """One of these, as analyses and tasks take it; its channels are weighed alike."""
    return freeze(kind(), kind.__name__, SIZE, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
