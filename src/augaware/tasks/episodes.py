"""Few-shot episodes: which classes and images each is made of, as a pure function of the labels and a fixed seed.

An episode draws ``ways`` classes, and of each ``shots`` images to learn from (the support) and ``queries`` others to
classify, all different. A class of fewer than shots + queries images is asked with replacement, from those that are not
in its support, and one of ``shots`` images or fewer never comes up (AugSelf, few-shot evaluation).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from augaware.random import Draws

_SEED = 0


@dataclass(frozen=True)
class Episodes:
    """Places in the pooled data, int64: ``support`` (E, ways, shots), ``queries`` (E, ways, queries)."""

    support: Tensor
    queries: Tensor

    def __len__(self) -> int:
        return len(self.support)


def usable_classes(labels: Tensor, shots: int) -> Tensor:
    """The labels that more than ``shots`` images have, ascending."""
    found, counts = torch.unique(labels, return_counts=True)
    usable: Tensor = found[counts > shots]
    return usable


def draw(labels: Tensor, ways: int, shots: int, queries: int, episodes: int) -> Episodes:
    """The episodes of data with these ``labels`` (N,), of which ``ways`` or more are usable.

    Paper: no seed. Here: always the same, so that encoders are compared on the same episodes; the first of many
    episodes are those of few.
    """
    classes = usable_classes(labels, shots)
    order = torch.argsort(labels, stable=True)
    first, end = (torch.searchsorted(labels[order], classes, right=right) for right in (False, True))
    draws = Draws.of(_SEED, 0, torch.arange(episodes), view=-1)
    nothing = torch.empty(0, dtype=torch.int64)
    chosen = different(draws.stream("classes").uniform(ways), torch.full((episodes,), len(classes)), nothing)

    n = (end - first)[chosen]
    u = draws.stream("support").uniform(ways * shots).view(episodes, ways, shots)
    support = different(u, n, nothing)
    u = draws.stream("queries").uniform(ways * queries).view(episodes, ways, queries)
    once = different(u, n, support)
    again = different(u[..., None], n[..., None], support[..., None, :])[..., 0]
    asked = torch.where((n >= shots + queries)[..., None], once, again)
    return Episodes(*(order[first[chosen][..., None] + place] for place in (support, asked)))


def different(u: Tensor, n: Tensor, without: Tensor) -> Tensor:
    """(..., k) different integers in 0..n-1, none of them in ``without`` (..., m), from uniform ``u`` (..., k).

    Each is drawn from the integers that are left, without listing them: the r-th is r and one more for each smaller one
    that is gone. ``n`` (...) must be m + k or more; where it is not, the result means nothing.
    """
    gone = without.sort(-1).values.expand(*u.shape[:-1], -1)
    found = []
    for column in u.double().unbind(-1):  # in float32 the product may round up to what is left
        r = (column * (n - gone.shape[-1])).long()
        for taken in gone.unbind(-1):
            r += r >= taken
        found.append(r)
        gone = torch.cat([gone, r[..., None]], dim=-1).sort(-1).values
    return torch.stack(found, dim=-1)
