"""Principal axes: what small probes read of features of any width."""

from __future__ import annotations

import torch
from torch import Tensor

from augaware.random import seeded

_NOTHING = 1e-6  # of the rows' norm: less spread than this is float32's rounding


class Axes:
    """The first ``most`` principal axes of the rows ``x`` (n, D); fewer where the rows have fewer.

    ``Axes(x)(rows)`` is (m, r) float64: the places of ``rows`` on them, centred, each with unit variance over ``x``.
    r is 0 for a collapsed encoder, whose rows are all equal.
    """

    def __init__(self, x: Tensor, most: int) -> None:
        x = x.double()
        self.mean = x.mean(0)
        with seeded(x.device):  # the randomised method costs n D r; its power iterations make it as good as exact here
            _, S, V = torch.svd_lowrank(x - self.mean, q=min(most + 10, *x.shape), niter=6)
        least = max(_NOTHING * float(x.norm()), 1e-4 * float(S[0]))
        rank = min(most, int((least < S).sum()))
        S, V = S[:rank], V[:, :rank]
        self.turn = V / S * len(x) ** 0.5

    def __call__(self, rows: Tensor) -> Tensor:
        """(m, r) of ``rows`` (m, D)."""
        placed: Tensor = (rows.double() - self.mean) @ self.turn
        return placed
