"""Pictures of nearest neighbours: the same queries asked of each encoder, as in the figures of AugSelf and CASSLE."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar

import torch
import torch.nn.functional as F

from augaware.analysis.base import Analysis, Number
from augaware.analysis.intervals import mean_interval
from augaware.analysis.nearest import nearest, too_few
from augaware.analysis.subject import Subject
from augaware.checks import check_widths
from augaware.tasks.neighbours_png import neighbours_png

__all__ = ["RetrievalGrid"]


class RetrievalGrid(Analysis):
    """A picture for each of ``queries`` images: its ``k`` nearest by cosine of y, for each encoder; and their cosine.

    The queries are drawn by the seed, each of another class while there are classes. Numbers are means over all images
    as queries; intervals: bootstrap over these.
    """

    protocol: ClassVar[str] = "retrieval_grid/1"
    title: ClassVar[str] = "Nearest neighbours, to look at"
    measures: ClassVar[Mapping[str, str]] = MappingProxyType(
        {
            "precision": "Share of an image's nearest neighbours that are of its class: 1, all; the column chance is "
            "what features that say nothing reach.",
            "cosine": "Mean cosine of an image and its nearest neighbours; the column another image is that of any "
            "two: where they are equal, neighbours are no neighbours.",
        }
    )

    def __init__(self, queries: int = 4, k: int = 7) -> None:
        check_widths("analysis 'retrieval_grid'", queries=queries, k=k)
        self.queries, self.k = queries, k

    def refusal(self, subject: Subject) -> str | None:
        """With k images there are no k neighbours."""
        return too_few(len(subject.index), self.k)

    def __call__(self, subject: Subject) -> Sequence[Number]:
        """Precision, where there are classes, then cosine."""
        y, n = F.normalize(subject.embed().y.double(), dim=1), len(subject.index)
        around, found = nearest(y, y, self.k, itself=False), []
        if subject.images.labels is not None and len(subject.images.classes) > 1:
            label = subject.images.labels[subject.index]
            same = (label[around] == label[:, None]).double().mean(1)
            others = ((label[:, None] == label).double().sum(1) - 1) / (n - 1)
            found = [_number("precision", same, f"{self.k} nearest"), _number("precision", others, "chance")]
        found.append(_number("cosine", (y[:, None] * y[around]).sum(2).mean(1), f"{self.k} nearest"))
        found.append(_number("cosine", (y @ y.sum(0) - y.square().sum(1)) / (n - 1), "another image"))
        return found

    def pictures(self, subject: Subject) -> Mapping[str, bytes]:
        """One for each query, the encoder that was asked about first."""
        asked = {subject.encoder.name: subject, **subject.references}
        around = {}
        for name, one in asked.items():
            y = one.embed().y
            around[name] = subject.index[nearest(y, y, self.k, itself=False)]
        found = {}
        for number, place in enumerate(self._drawn(subject), 1):
            query = subject.index[place : place + 1]
            png = neighbours_png(subject.images, query, {name: rows[place][None] for name, rows in around.items()})
            label = _class_of(subject, int(query))
            framed = f" ({label}); a green frame is of its class, a red one of another" if label else ""
            found[f"Query {number}, on the left, and its {self.k} nearest images for each encoder{framed}."] = png
        return found

    def _drawn(self, subject: Subject) -> list[int]:
        """The places of the queries among the images, whose order is drawn: the first of each class, then any."""
        index = subject.index.tolist()
        first = {
            _class_of(subject, image) or f"image {image}": place for place, image in reversed(list(enumerate(index)))
        }
        chosen = sorted(first.values())
        return [*chosen, *(place for place in range(len(index)) if place not in set(chosen))][: self.queries]


def _class_of(subject: Subject, image: int) -> str:
    """The name of its class; empty where there are none."""
    labels, classes = subject.images.labels, subject.images.classes
    return classes[int(labels[image])] if labels is not None and len(classes) > 1 else ""


def _number(measure: str, values: torch.Tensor, of: str) -> Number:
    return Number.within(measure, mean_interval(values), of)
