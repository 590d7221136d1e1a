"""CASSLE (Przewiezlikowski, Pyla, Zielinski, Twardowski, Tabor, Smieja: Augmentation-aware self-supervised learning
with conditioned projector, Knowledge-Based Systems 2024).

    z = g([y, gamma(omega)]),    y = f(v)

The projector is told the parameters of its view, so that the backbone need not forget what they changed. gamma is
thrown away with the projector after pretraining; the backbone never sees omega.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from augaware.awareness.base import Awareness, MakeProjector, Setting
from augaware.errors import RequestError
from augaware.nets.heads import mlp
from augaware.spaces import Space
from augaware.views import Omega, condition

__all__ = ["Cassle"]


class Cassle(Awareness):
    """Tell the projector the absolute augmentation parameters of its view: z = g([y, gamma(omega)]).

    ``condition`` names what gamma reads; None is all that the pipeline records. (The authors' README: all but flip, 13
    numbers; their best recorded runs: all, 14.) gamma is ``depth`` linear layers of ``width`` with BN after each, the
    last too (6 x 64 in the paper). ``scale`` is the initial weight of gamma's last BN; 1 in the paper, less makes a
    short training start closer to vanilla.
    """

    def __init__(
        self,
        setting: Setting,
        condition: Sequence[str] | None = None,
        depth: int = 6,
        width: int = 64,
        scale: float = 1.0,
    ) -> None:
        super().__init__()
        if isinstance(condition, str):
            condition = (condition,)
        for key, value in (("depth", depth), ("width", width)):
            if type(value) is not int or value < 1:
                raise RequestError(f"awareness 'cassle': {key}={value!r} must be a whole number, at least 1")
        if not isinstance(scale, (int, float)):
            raise RequestError(f"awareness 'cassle': scale={scale!r} must be a number")
        self.spaces = setting.spaces
        self.names = setting.check("cassle", "condition", setting.spaces if condition is None else condition)
        if not self.names:
            raise RequestError("awareness 'cassle': condition is empty; without one, use --aware vanilla")
        self.depth, self.width, self.scale = depth, width, scale

    def projector(self, make: MakeProjector, dim: int) -> nn.Module:
        """g of input width D + width, with its gamma."""
        d_in = sum(self.spaces[name].inputs for name in self.names)
        gamma = mlp((d_in, *[self.width] * self.depth), last="bn")
        nn.init.constant_(gamma[-1].weight, self.scale)  # type: ignore[arg-type]
        return Conditioned(make(dim + self.width), gamma, self.names, self.spaces)


class Conditioned(nn.Module):
    """z = g([y, gamma(omega)])."""

    def __init__(self, g: nn.Module, gamma: nn.Module, names: Sequence[str], spaces: Mapping[str, Space]) -> None:
        super().__init__()
        self.g, self.gamma = g, gamma
        self.names, self.spaces = tuple(names), spaces

    def forward(self, y: Tensor, omega: Omega) -> Tensor:
        """y (B, D) and omega -> z (B, d)."""
        told = self.gamma(condition(omega, self.spaces, self.names))
        z: Tensor = self.g(torch.cat((y, told.to(y.dtype)), dim=1))
        return z
