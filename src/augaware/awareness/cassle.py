"""CASSLE (Przewiezlikowski, Pyla, Zielinski, Twardowski, Tabor, Smieja: Augmentation-aware self-supervised learning
with conditioned projector, Knowledge-Based Systems 2024).

    z = g([y, gamma(omega)]),    y = f(v)                       how="concat", the paper's choice
    z = g(y + gamma(omega));  z = g(y * gamma(omega))           "add", "multiply"
    z = g_{gamma(omega)}(y)                                     "hyper", "hyper_bn": gamma makes the weights of g

The projector is told the parameters of its view, so that the backbone need not forget what they changed. gamma is
thrown away with the projector after pretraining; the backbone never sees omega.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from augaware.awareness.base import Awareness, Embedding, MakeProjector, Setting, Told
from augaware.errors import RequestError
from augaware.nets.heads import mlp
from augaware.views import Omega

__all__ = ["Cassle"]

RANDOM = "random"
JOIN: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "concat": lambda y, told: torch.cat((y, told), dim=1),
    "add": torch.add,
    "multiply": torch.mul,
}
HOW = (*JOIN, "hyper", "hyper_bn")


class Cassle(Awareness):
    """Tell the projector the absolute augmentation parameters of its view: z = g([y, gamma(omega)]).

    ``condition`` names what gamma reads; None is all that the pipeline records. (The authors' README: all but flip, 13
    numbers; their best recorded runs: all, 14.) ``"random"`` is the control: as many standard normal numbers, drawn
    anew at each step, in place of omega. ``how``: concat (the paper's choice), add, multiply, hyper, hyper_bn.
    gamma is ``depth`` linear layers of ``width`` with BN after each, the last too (6 x 64 in the paper); for add and
    multiply its last layer has width D, for hyper one output per weight and bias of g, whose BN "hyper_bn" keeps.
    ``depth=0`` hands g omega itself (concat only). ``scale`` is the initial weight of gamma's last BN; 1 in the paper,
    less makes a short training start closer to vanilla.
    """

    def __init__(
        self,
        setting: Setting,
        condition: Sequence[str] | str | None = None,
        depth: int = 6,
        width: int = 64,
        scale: float = 1.0,
        how: str = "concat",
    ) -> None:
        super().__init__()
        for key, value, least in (("depth", depth, 0), ("width", width, 1)):
            if type(value) is not int or value < least:
                raise RequestError(f"awareness 'cassle': {key}={value!r} must be a whole number, at least {least}")
        if not isinstance(scale, (int, float)):
            raise RequestError(f"awareness 'cassle': scale={scale!r} must be a number")
        if how not in HOW:
            raise RequestError(f"awareness 'cassle': how={how!r} is unknown; accepted: {', '.join(HOW)}")
        if depth == 0 and how != "concat":
            raise RequestError("awareness 'cassle': depth=0 hands over omega itself, which is for how='concat' only")
        self.random = condition == RANDOM
        chosen = setting.spaces if condition in (None, RANDOM) else condition
        self.names = self.reads = setting.check("cassle", "condition", chosen)
        if not self.names:
            raise RequestError("awareness 'cassle': condition is empty; without one, use --aware vanilla")
        self.spaces = setting.spaces
        self.depth, self.width, self.scale, self.how = depth, width, scale, how

    def projector(self, make: MakeProjector, dim: int) -> nn.Module:
        """The host's g with its gamma."""
        told = (Noise if self.random else Told)(self.names, self.spaces)
        if self.how in JOIN:
            width = told.numbers if self.depth == 0 else self.width if self.how == "concat" else dim
            gamma = self._gamma(told.numbers, width) if self.depth else nn.Identity()
            g = make(dim + width if self.how == "concat" else dim)
            return Conditioned(g, gamma, told, JOIN[self.how])
        made = Hyper(make(dim), bn=self.how == "hyper_bn")
        return Conditioned(made, self._gamma(told.numbers, made.numbers), told, lambda y, weights: (y, weights))

    def when_told(self, g: nn.Module, plain: Embedding, view: Embedding, omega: Omega) -> tuple[Tensor, Tensor]:
        """z of the view, and that of the image as it is."""
        return g(view.y, omega), plain.z

    def _gamma(self, d_in: int, d_out: int) -> nn.Sequential:
        gamma = mlp((d_in, *[self.width] * (self.depth - 1), d_out), last="bn")
        nn.init.constant_(gamma[-1].weight, self.scale)  # type: ignore[arg-type]
        return gamma


class Noise(Told):
    """As many random numbers in the place of omega."""

    def forward(self, omega: Omega) -> Tensor:
        """omega -> (B, numbers), standard normal."""
        return torch.randn_like(super().forward(omega))


class Conditioned(nn.Module):
    """z = g(join(y, gamma(omega)))."""

    def __init__(self, g: nn.Module, gamma: nn.Module, told: Told, join: Callable[[Tensor, Tensor], Any]) -> None:
        super().__init__()
        self.g, self.gamma, self.told, self.join = g, gamma, told, join

    def forward(self, y: Tensor, omega: Omega) -> Tensor:
        """y (B, D) and omega -> z (B, d)."""
        z: Tensor = self.g(self.join(y, self.gamma(self.told(omega)).to(y.dtype)))
        return z


class Hyper(nn.Module):
    """The layers of a projector g whose linear ones take their weights and biases per sample, from outside.

    Per linear layer, in order: n_in x n_out weights, row by row, used as x W, then n_out biases (authors' code).
    """

    def __init__(self, g: nn.Module, bn: bool) -> None:
        super().__init__()
        kept = [m for m in _layers(g) if bn or not isinstance(m, nn.BatchNorm1d)]
        self.shapes = [(m.in_features, m.out_features) if isinstance(m, nn.Linear) else None for m in kept]
        self.layers = nn.ModuleList([nn.Identity() if isinstance(m, nn.Linear) else m for m in kept])
        self.numbers = sum((n_in + 1) * n_out for n_in, n_out in filter(None, self.shapes))

    def forward(self, given: tuple[Tensor, Tensor]) -> Tensor:
        """y (B, D) and weights (B, numbers) -> z (B, d)."""
        x, weights = given
        place = 0
        for layer, shape in zip(self.layers, self.shapes, strict=True):
            if shape is None:
                x = layer(x)
                continue
            n_in, n_out = shape
            w, b = weights[:, place : place + n_in * n_out], weights[:, place + n_in * n_out :][:, :n_out]
            x = torch.bmm(x[:, None], w.reshape(-1, n_in, n_out))[:, 0] + b
            place += (n_in + 1) * n_out
        return x


def _layers(g: nn.Module) -> list[nn.Module]:
    """The layers of nested Sequentials, in order."""
    return [layer for child in g for layer in _layers(child)] if isinstance(g, nn.Sequential) else [g]
