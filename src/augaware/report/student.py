"""The interval of a mean of few repeats: Student's t, without a library."""

from __future__ import annotations

import math
from collections.abc import Sequence

from augaware.report.parts import Value


def within(t: float, freedom: int) -> float:
    """P(|T| < t) for whole degrees of freedom: Abramowitz and Stegun 26.7.3 and 26.7.4."""
    angle = math.atan(t / math.sqrt(freedom))
    sine, cosine = math.sin(angle), math.cos(angle)
    term = cosine if freedom % 2 else 1.0
    total = 0.0
    for i in range(freedom % 2, freedom - 1, 2):
        total += term
        term *= cosine**2 * (i + 1) / (i + 2)
    return 2 / math.pi * (angle + sine * total) if freedom % 2 else sine * total


def quantile(share: float, freedom: int) -> float:
    """The t with P(|T| < t) = ``share``."""
    low, high = 0.0, 1.0
    while within(high, freedom) < share:
        high *= 2
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if within(middle, freedom) < share else (low, middle)
    return high


def interval(repeats: Sequence[float], share: float = 0.95) -> Value:
    """The mean of repeats with the interval that holds the true one with probability ``share``; a single one has none.

    mean ± t sd / sqrt(n), with t of n - 1 degrees of freedom.
    """
    value = Value.over(repeats)
    if value.sd is None:
        return value
    half = quantile(share, len(repeats) - 1) * value.sd / math.sqrt(len(repeats))
    return Value(value.mean, low=value.mean - half, high=value.mean + half, n=value.n)
