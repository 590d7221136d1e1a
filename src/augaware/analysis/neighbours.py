"""Neighbours: does an image keep them when it is augmented, and what do they share with it?

The nearest images by cosine, as CASSLE and AugSelf show them, counted: what a representation ignores it cannot sort by.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar

import torch
from torch import Tensor

from augaware.analysis.base import Analysis, Number
from augaware.analysis.intervals import mean_interval
from augaware.analysis.nearest import nearest, too_few
from augaware.analysis.subject import Subject, ends
from augaware.checks import check_widths
from augaware.tasks.factors import factor_kinds

__all__ = ["Neighbours"]

_BLOCK = 128


class Neighbours(Analysis):
    """Neighbours: whether an image keeps its ``k`` nearest under each augmentation alone, and what they share.

    For y, and for z where there is one. Distances of a factor are absolute ones, on the circle for one in turns, and
    0 or 1 for a class; ``mean_colour`` is that of the image, RGB, averaged over the channels. Intervals: bootstrap
    over the query images.
    """

    protocol: ClassVar[str] = "neighbours/1"
    title: ClassVar[str] = "Neighbours"
    measures: ClassVar[Mapping[str, str]] = MappingProxyType(
        {
            "retrieval": "Share of augmented images whose nearest plain image is their own: 1, the augmentation never "
            "hides which image it is; the column chance is what features that say nothing reach.",
            "overlap": "Share of an image's nearest neighbours that are still its nearest when it is augmented, itself "
            "left out: 1, the neighbourhood is invariant to the augmentation; the column chance is what features that "
            "say nothing reach.",
            "distance": "How far an image's nearest neighbours are from it in a known factor or in mean colour, "
            "relative to all images: 0, neighbours share it; 1, they are no nearer than chance.",
        }
    )

    def __init__(self, k: int = 10) -> None:
        check_widths("analysis 'neighbours'", k=k)
        self.k = k

    def refusal(self, subject: Subject) -> str | None:
        """With k images there are no k neighbours."""
        return too_few(len(subject.index), self.k)

    def __call__(self, subject: Subject) -> Sequence[Number]:
        """Retrieval and overlap by augmentation, then distance by factor."""
        stages, n = ends(subject.embed()), len(subject.index)
        around = {stage: nearest(x, x, self.k, itself=False) for stage, x in stages.items()}
        found: list[Number] = []
        for name in subject.alone.names:
            views = ends(subject.embed([name]))
            for stage, x in stages.items():
                moved = views[stage]
                first = nearest(moved, x, 1, itself=True, ties=name)[:, 0]
                found.append(_number("retrieval", first == torch.arange(n), name, stage))
                after = nearest(moved, x, self.k, itself=False, ties=name)
                kept = (around[stage][:, :, None] == after[:, None]).any(2).double().mean(1)
                found.append(_number("overlap", kept, name, stage))
        for stage in stages:
            found.append(Number("retrieval", 1 / n, "chance", stage))
            found.append(Number("overlap", self.k / (n - 1), "chance", stage))
        for name, kind, values in _factors(subject):
            chance = _apart_from_all(values, kind)
            if chance.sum() > 0:  # else all images are alike in it
                for stage, rows in around.items():
                    near = apart(values[:, None], values[rows], kind).mean(1)
                    found.append(_number("distance", near, name, stage, chance))
        return sorted(found, key=lambda number: list(self.measures).index(number.measure))


def apart(one: Tensor, other: Tensor, kind: str) -> Tensor:
    """Distances (...) in a factor of ``kind`` cyclic, real or class, averaged over its columns: (..., columns) each."""
    if kind == "class":
        return (one != other).double().mean(-1)
    distance = (one - other).abs()
    if kind == "cyclic":
        distance = torch.minimum(distance % 1, -distance % 1)
    return distance.mean(-1)


def _apart_from_all(values: Tensor, kind: str) -> Tensor:
    """Of each image, the mean distance to the others: (n,)."""
    sums = [apart(rows[:, None], values[None], kind).sum(1) for rows in torch.split(values, _BLOCK)]
    return torch.cat(sums) / (len(values) - 1)


def _factors(subject: Subject) -> Iterator[tuple[str, str, Tensor]]:
    """Name, kind and values (n, columns) of what is known of the images: their factors and their mean colour."""
    kinds = factor_kinds(subject.images) if subject.images.factors else {}
    for name, values in subject.factors.items():
        yield name, kinds.get(name, "class"), values.double().reshape(len(values), -1)
    colours = [image.double().mean((1, 2)) for batch in subject.batches() for image in batch.cut()]
    yield "mean_colour", "real", torch.stack(colours) / torch.iinfo(subject.images.dtype).max


def _number(measure: str, values: Tensor, of: str, stage: str, over: Tensor | None = None) -> Number:
    return Number.within(measure, mean_interval(values, over), of, stage)
