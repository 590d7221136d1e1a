"""What classifiers share: the papers' metrics, and their protocols of few images per class.

**Few images per class** (LooC's Flowers-5 and Flowers-10). Paper: n images per class of train and val; how a setting is
chosen without others, and which images, is not said. AugSelf's code draws them but then fits on all of train and val;
CASSLE's code chooses w with all of train and val, and only its last fit sees the n. Here no other label is seen at all:
of the ``shots`` images drawn per class a fifth, one at least, is val, on which settings are chosen; the last fit has
all ``shots``. Test is the whole test split.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from augaware import metrics
from augaware.data.base import Source
from augaware.data.datasets.base import metric as published_metric
from augaware.data.store import Joined, Part
from augaware.errors import RequestError, did_you_mean
from augaware.random import Draws
from augaware.tasks.base import Task
from augaware.tasks.features import known_labels, pick
from augaware.tasks.logistic import Score

SCORES: dict[str, Score] = {"top1": metrics.top1, "class_average": metrics.class_average}
_HELD_OUT = 0.2


class Classification(Task):
    """A task whose score is a classifier's.

    ``metric`` is ``"top1"``, ``"class_average"`` or ``"auto"``: what the data set states, the papers' choice (class
    average on pets, flowers102, caltech101 and aircraft), and top-1 elsewhere. ``shots``: so many images per class and
    no others, drawn from train and val by ``seed`` (see the head of this file); None is all.
    """

    def __init__(self, dataset: str, metric: str, shots: int | None, seed: int) -> None:
        super().__init__(dataset)
        if metric == "auto":
            metric = papers if (papers := published_metric(dataset)) in SCORES else "top1"
        if metric not in SCORES:
            accepted = ("auto", *SCORES)
            raise RequestError(
                f"unknown metric {metric!r}; accepted: {', '.join(accepted)}{did_you_mean(metric, accepted)}"
            )
        if shots is not None and (type(shots) is not int or shots < 2):
            raise RequestError(
                f"shots={shots!r} must be a whole number, at least 2 (one to fit, one to choose settings on), or None"
            )
        if type(seed) is not int:
            raise RequestError(f"seed={seed!r} must be a whole number")
        self.metric, self.shots, self.seed = metric, shots, seed

    def sources(self, splits: Mapping[str, Source]) -> tuple[Source, Source, Source]:
        """train, val and test, with labels. Raises :class:`RequestError` when one or its labels are missing."""
        train, val, test = (pick(splits, name) for name in ("train", "val", "test"))
        for source in (train, val, test):
            known_labels(source)
        return (train, val, test) if self.shots is None else (*few(joined(train, val), self.shots, self.seed), test)

    def score(self, prediction: Tensor, labels: Tensor) -> float:
        """The metric of classes predicted, (N,) int64."""
        return SCORES[self.metric](prediction, labels)


def joined(train: Source, val: Source) -> Source:
    """All images that are not test's, those of train first."""
    return Joined({"train": train, "val": val}, f"{train.name} + {val.name}")


def few(pool: Source, shots: int, seed: int) -> tuple[Source, Source]:
    """train and val of ``shots`` images per class of ``pool``. Raises :class:`RequestError` where a class has less."""
    order = torch.argsort(Draws.of(seed, 0, torch.arange(len(pool)), view=-1).stream("shots").key, stable=True)
    held = max(1, round(_HELD_OUT * shots))
    train, val = [], []
    for label, title in enumerate(pool.classes):
        members = order[known_labels(pool)[order] == label][:shots]
        if len(members) < shots:
            raise RequestError(
                f"shots={shots}: class {title!r} has {len(members)} images in train and val together; lower shots"
            )
        val.append(members[:held])
        train.append(members[held:])
    return (
        Part(pool, torch.cat(train), f"{pool.name} ({shots} shots, train)"),
        Part(pool, torch.cat(val), f"{pool.name} ({shots} shots, val)"),
    )
