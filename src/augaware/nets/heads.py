"""The one MLP of all methods: projectors, predictors, phi and gamma are all made of it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

from torch import nn

HIDDEN: dict[str, Callable[[int], list[nn.Module]]] = {
    "bn": lambda width: [nn.BatchNorm1d(width), nn.ReLU()],  # after a Linear without bias
    "ln": lambda width: [nn.LayerNorm(width), nn.ReLU()],
    "relu": lambda width: [nn.ReLU()],
    "gelu": lambda width: [nn.GELU()],
}
LAST: dict[str, Callable[[int], list[nn.Module]]] = {
    "linear": lambda width: [],
    "no_bias": lambda width: [],
    "bn": lambda width: [nn.BatchNorm1d(width)],
    "bn_plain": lambda width: [nn.BatchNorm1d(width, affine=False)],
}


def mlp(dims: Sequence[int], last: str = "linear", hidden: str = "bn") -> nn.Sequential:
    """Linear layers between all of ``dims``; ``hidden`` stands between two of them, ``last`` after the last.

    ``hidden="bn"``: BN and ReLU, and no bias before it; ``"ln"``: LayerNorm and ReLU; ``"relu"``,
    ``"gelu"``: the activation alone.
    ``last="linear"``: a bias; ``"no_bias"``: none; ``"bn"``: BN instead; ``"bn_plain"``: BN without weight and bias.
    Weights and biases start at U(-1/sqrt(fan_in), 1/sqrt(fan_in)) (AugSelf and CASSLE code, spec of both papers'
    heads).
    """
    layers: list[nn.Module] = []
    for i, (d_in, d_out) in enumerate(itertools.pairwise(dims)):
        final = i == len(dims) - 2
        linear = nn.Linear(d_in, d_out, bias=last == "linear" if final else hidden != "bn")
        bound = 1 / math.sqrt(d_in)
        for parameter in linear.parameters():
            nn.init.uniform_(parameter, -bound, bound)
        following = LAST[last] if final else HIDDEN[hidden]
        layers += [linear, *following(d_out)]
    return nn.Sequential(*layers)
