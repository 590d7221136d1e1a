"""Alignment and uniformity (Wang and Isola, ICML 2020): how near views of an image lie, how evenly images spread."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar

import torch
from torch import Tensor

from augaware.analysis.base import Analysis, Number
from augaware.analysis.intervals import jackknife
from augaware.analysis.subject import Subject, ends
from augaware.metrics import alignment, mean_offdiagonal_cosine, uniformity

__all__ = ["Alignment"]

TRAINED = "as in training"
FEW = 5


class Alignment(Analysis):
    """Alignment of two views as in training, and of the plain image with each augmentation alone; uniformity.

    On the unit sphere, for y, and for z where there is one; uniformity is the mean of that of the two views. Intervals:
    jackknife over blocks of images.
    """

    protocol: ClassVar[str] = "alignment/1"
    title: ClassVar[str] = "Alignment and uniformity"
    measures: ClassVar[Mapping[str, str]] = MappingProxyType(
        {
            "alignment": "Mean squared distance on the unit sphere of two views as in training, or of a plain image "
            "and itself augmented: 0, they are one; the column another image is what different images have.",
            "uniformity": "log mean exp(-2 squared distance) between different images: 0, all lie in one place; lower, "
            "they spread more evenly over the sphere.",
        }
    )

    def refusal(self, subject: Subject) -> str | None:
        """A handful of images has no spread."""
        n = len(subject.index)
        return None if n >= FEW else f"{n} images have no spread: show it at least {FEW}, better a thousand"

    def __call__(self, subject: Subject) -> Sequence[Number]:
        """Alignment, by stage; then uniformity."""
        names = subject.alone.names
        one, two = (ends(subject.embed(subject.alone.own, number, always=False)) for number in (0, 1))
        found = []
        for stage, x in ends(subject.embed()).items():
            found.append(_number("alignment", TRAINED, stage, alignment, one[stage], two[stage]))
            for name in names:
                found.append(_number("alignment", name, stage, alignment, x, ends(subject.embed([name]))[stage]))
            found.append(_number("alignment", "another image", stage, _to_others, x))
            found.append(_number("uniformity", TRAINED, stage, _uniformity, one[stage], two[stage]))
        return sorted(found, key=lambda number: list(self.measures).index(number.measure))


def _to_others(x: Tensor) -> float:
    """The alignment of different images."""
    return 2 - 2 * mean_offdiagonal_cosine(x)


def _uniformity(one: Tensor, other: Tensor) -> float:
    return (uniformity(one) + uniformity(other)) / 2


def _number(measure: str, of: str, stage: str, statistic: Callable[..., float], *views: Tensor) -> Number:
    exact = [view.double() for view in views]
    made = jackknife(len(views[0]), lambda rows: torch.tensor([statistic(*(view[rows] for view in exact))]))
    return Number.within(measure, made[0], of, stage)
