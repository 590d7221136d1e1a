"""95 % intervals over the images that were looked at."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from augaware.random import bootstrap

RESAMPLES = 1000
BLOCKS = 20
NORMAL = 1.96  # 95 % of a normal distribution lie within so many standard deviations

Bounded = tuple[float, float, float]  # value, low, high


def percentiles(resampled: Tensor) -> tuple[float, float]:
    """The ends between which 95 % of ``resampled`` (resamples,) lie."""
    low, high = resampled.quantile(torch.tensor([0.025, 0.975], dtype=resampled.dtype)).tolist()
    return low, high


def mean_interval(values: Tensor, over: Tensor | None = None) -> Bounded:
    """The mean of ``values`` (n,), one for each image, with its bootstrap interval: (value, low, high).

    ``over`` (n,): the mean is divided by theirs, drawn along.
    """
    values = values.double()
    over = torch.ones_like(values) if over is None else over.double()
    rows = bootstrap(len(values), RESAMPLES)
    resampled = values[rows].mean(1) / over[rows].mean(1)
    return float(values.mean() / over.mean()), *percentiles(resampled)


def jackknife(n: int, statistic: Callable[[Tensor], Tensor]) -> list[Bounded]:
    """Each number of ``statistic`` (rows) -> (m,), of all n images: (value, low, high).

    For statistics of pairs or of the whole cloud, which a bootstrap biases: an image drawn twice is a pair of equals,
    and a direction less. The jackknife leaves out each of 20 blocks of images in turn; value +- 1.96 standard errors.
    """
    everything = torch.arange(n)
    blocks = min(BLOCKS, n)
    value = statistic(everything).double()
    without = torch.stack([statistic(everything[everything % blocks != block]).double() for block in range(blocks)])
    reach = NORMAL * ((blocks - 1) * without.var(0, correction=0)).sqrt()
    return [(v, v - r, v + r) for v, r in zip(value.tolist(), reach.tolist(), strict=True)]
