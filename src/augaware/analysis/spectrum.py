"""The spectrum of features: in how many directions do they vary, and how fast does the variance fall off?

alpha-ReQ (Agrawal, Mondal, Ghosh and Richards, NeurIPS 2022): lambda_i ~ i^-alpha for the eigenvalues of the covariance
of y; alpha about 1 went with the best downstream accuracy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar

import torch
from torch import Tensor

from augaware.analysis.base import Analysis, Number
from augaware.analysis.intervals import jackknife
from augaware.analysis.subject import Subject, ends
from augaware.metrics import entropy_rank, singular_values

__all__ = ["Spectrum"]

FIRST, LAST = 5, 50  # the components of the fit (CASSLE's code)
LEAST = 6  # components to be fitted, or there is no fit
GRID = tuple(m * 10**power for power in range(5) for m in (1, 1.5, 2, 3, 5, 7) if m * 10**power % 1 == 0)
FEW = 5


class Spectrum(Analysis):
    """PCA of the plain images' features: effective rank, the power law of the spectrum, and variance by component.

    For y, and for z where there is one. The power law is fitted to log lambda over log i, components 5 to 50 (or to
    the last there is), weighted by 1 / i; its column says which. Intervals: jackknife over blocks of images.
    """

    protocol: ClassVar[str] = "spectrum/1"
    title: ClassVar[str] = "Spectrum of the features"
    measures: ClassVar[Mapping[str, str]] = MappingProxyType(
        {
            "effective_rank": "How many directions the features use: exp of the entropy of their singular values; 0, "
            "they have collapsed; at most the width and one less than the images.",
            "alpha": "Exponent of the power law of the eigenvalues: 0, all directions vary alike; 1, the variance "
            "halves as the component doubles; larger, a few directions hold everything.",
            "r2": "How well that power law fits, R2 of the logarithms: 1, the spectrum is one; low, alpha says little.",
            "variance": "Share of the variance that the leading components hold together: 1, nothing is left.",
        }
    )
    axis: ClassVar[str] = "component"

    def refusal(self, subject: Subject) -> str | None:
        """A handful of images has no spectrum."""
        n = len(subject.index)
        return None if n >= FEW else f"{n} images have no spectrum: show it at least {FEW}, better a thousand"

    def __call__(self, subject: Subject) -> Sequence[Number]:
        """All of y, then all of z."""
        return [number for stage, x in ends(subject.embed()).items() for number in _spectrum(x, stage)]


def _spectrum(x: Tensor, stage: str) -> list[Number]:
    x = x.double()
    if x.shape[1] > len(x):
        x = torch.linalg.qr(x.T).R.T  # the rows in a basis of their own: the spectrum of any of them stays
    rank = len(singular_values(x))
    if not rank:
        return [Number("effective_rank", 0.0, stage=stage)]
    last, grid = min(LAST, rank), [int(i) for i in GRID if i <= rank]
    fitted = last - FIRST + 1 >= LEAST

    def of(rows: Tensor) -> Tensor:
        s = singular_values(x[rows])
        shares = torch.cat((s.square().cumsum(0) / s.square().sum(), s.new_ones(rank)))
        fit = power_law(s[:last].square()) if fitted else ()
        return torch.tensor([entropy_rank(s), *fit, *(float(shares[i - 1]) for i in grid)], dtype=torch.float64)

    law = f"components {FIRST} to {last}"
    named = [("effective_rank", "", None), *([("alpha", law, None), ("r2", law, None)] if fitted else ())]
    named += [("variance", "", i) for i in grid]
    return [
        Number.within(measure, interval, about, stage, at)
        for (measure, about, at), interval in zip(named, jackknife(len(x), of), strict=True)
    ]


def power_law(eigenvalues: Tensor) -> tuple[float, float]:
    """alpha of lambda_i = c i^-alpha and R2, fitted to the logarithms from component 5 on, weights 1 / i.

    ``eigenvalues`` (m,), descending, all above 0, the first five of which only count.
    """
    i = torch.arange(FIRST, len(eigenvalues) + 1, dtype=torch.float64)
    weights = 1 / i / (1 / i).sum()
    x, t = i.log(), eigenvalues[FIRST - 1 :].double().log()
    x, t = x - weights @ x, t - weights @ t
    slope = (weights @ (x * t)) / (weights @ x.square())
    sse, sst = weights @ (t - slope * x).square(), weights @ t.square()
    return float(-slope), float(1 - sse / sst) if sst > 1e-20 else 1.0
