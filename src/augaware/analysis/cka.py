"""Linear CKA (Kornblith, Norouzi, Lee and Hinton, ICML 2019): do two encoders tell images apart in the same way?

    CKA = HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L)),   K = Y Y^T,  L = Y' Y'^T

with the unbiased HSIC of Song, Smola, Gretton, Bedo and Borgwardt (JMLR 2012), as Nguyen, Raghu and Kornblith (ICLR
2021) use it: the plain estimator calls random features of a width near the number of images alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar

import torch
from torch import Tensor

from augaware.analysis.base import Analysis, Number
from augaware.analysis.intervals import jackknife
from augaware.analysis.subject import Subject

__all__ = ["CKA"]

OWN = "its own z"
FEW = 8  # the unbiased HSIC divides by n - 3


class CKA(Analysis):
    """CKA of y with y of each reference, on the plain images, and with its own z where there is one.

    Debiased. Intervals: jackknife over blocks of images. A collapsed encoder has none.
    """

    protocol: ClassVar[str] = "cka/1"
    title: ClassVar[str] = "Likeness of representations (CKA)"
    measures: ClassVar[Mapping[str, str]] = MappingProxyType(
        {
            "cka": "Linear CKA of y, debiased: 1, the same up to rotation and scale; 0, what one tells of how images "
            "differ says nothing of the other. It can fall a little below 0 by chance.",
        }
    )

    def refusal(self, subject: Subject) -> str | None:
        """There must be something to compare with, and images enough."""
        n = len(subject.index)
        if n < FEW:
            return f"{n} images are too few to compare encoders on: show it at least {FEW}, better a thousand"
        if not subject.references and subject.objective is None:
            return "there is nothing to compare it with: name another encoder, or ask a run that kept its projector"
        return None

    def __call__(self, subject: Subject) -> Sequence[Number]:
        """The references in their order, then z."""
        plain = subject.embed()
        others = {name: other.embed().y for name, other in subject.references.items()}
        if plain.z.shape[1]:
            others[OWN] = plain.z
        K, found = gram(plain.y), []
        for name, x in others.items():
            L = gram(x)
            if cka(K, L).isfinite():
                made = jackknife(
                    len(K),
                    lambda rows, L=L: cka(K[rows][:, rows], L[rows][:, rows])[None],  # type: ignore[misc]
                )
                found.append(Number.within("cka", made[0], name))
        return found


def gram(y: Tensor) -> Tensor:
    """Y Y^T of the centred features, in units of their variance; (n, n) float64; all 0 where they do not vary."""
    y = y.double()
    centred = y - y.mean(0)
    size = centred.norm()
    if size <= 1e-6 * y.norm():
        return torch.zeros(len(y), len(y), dtype=torch.float64)
    centred = centred / size
    K: Tensor = centred @ centred.T
    return K


def cka(K: Tensor, L: Tensor) -> Tensor:
    """Debiased CKA of two Gram matrices (n, n), n > 3: (), NaN where one of them says nothing."""
    norm = hsic(K, K) * hsic(L, L)
    found: Tensor = torch.where(norm > 0, hsic(K, L) / norm.clamp_min(1e-300).sqrt(), torch.nan)
    return found


def hsic(K: Tensor, L: Tensor) -> Tensor:
    """The unbiased HSIC_1 of Gram matrices (n, n), n > 3 (Song et al., equation 4), times n (n - 3)."""
    n = len(K)
    K, L = K - K.diag().diag(), L - L.diag().diag()
    total: Tensor = (K * L).sum() + K.sum() * L.sum() / ((n - 1) * (n - 2)) - 2 / (n - 2) * (K.sum(0) @ L.sum(0))
    return total
