"""The one MLP of both papers: projectors, predictors, phi and gamma are all made of it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from torch import nn


def mlp(dims: Sequence[int], last: str = "linear") -> nn.Sequential:
    """[Linear without bias, BN, ReLU] between all of ``dims`` but the last pair, which is

    ``last="linear"``: a Linear with bias; ``"bn"``: a Linear without bias and an affine BN. Weights and biases start at
    U(-1/sqrt(fan_in), 1/sqrt(fan_in)) (AugSelf and CASSLE code, spec of both papers' heads).
    """
    layers: list[nn.Module] = []
    for i, (d_in, d_out) in enumerate(itertools.pairwise(dims)):
        final = i == len(dims) - 2
        linear = nn.Linear(d_in, d_out, bias=final and last == "linear")
        bound = 1 / math.sqrt(d_in)
        for parameter in linear.parameters():
            nn.init.uniform_(parameter, -bound, bound)
        layers.append(linear)
        if not final:
            layers += [nn.BatchNorm1d(d_out), nn.ReLU()]
        elif last == "bn":
            layers.append(nn.BatchNorm1d(d_out))
    return nn.Sequential(*layers)
