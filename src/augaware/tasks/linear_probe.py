"""Linear evaluation: logistic regression on frozen features, as in AugSelf and CASSLE."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from augaware import metrics
from augaware.data.base import Source
from augaware.data.datasets.base import metric as published_metric
from augaware.errors import RequestError, did_you_mean
from augaware.tasks.base import FrozenEncoder, Task
from augaware.tasks.features import labelled, pick
from augaware.tasks.logistic import Score, select

__all__ = ["LinearProbe"]

_SCORES: dict[str, Score] = {"top1": metrics.top1, "class_average": metrics.class_average}


class LinearProbe(Task):
    """Accuracy of a linear classifier on frozen features, the papers' 45-strength protocol.

    ``metric`` is ``"top1"``, ``"class_average"`` or ``"auto"``: what the data set states, the papers' choice (class
    average on pets, flowers102, caltech101 and aircraft), and top-1 elsewhere. Metrics: ``test`` and ``val``
    (fractions), ``standard_error`` (binomial, of the test images alone), the chosen ``w``, ``metric``, ``classes``,
    ``n`` per split, and a ``warning`` or None.
    The objective, the strengths and the solver are in :mod:`augaware.tasks.logistic`.
    """

    protocol: ClassVar[str] = "linear_probe/1"

    def __init__(self, dataset: str, metric: str = "auto") -> None:
        super().__init__(dataset)
        if metric == "auto":
            metric = papers if (papers := published_metric(dataset)) in _SCORES else "top1"
        if metric not in _SCORES:
            accepted = ("auto", *_SCORES)
            raise RequestError(
                f"unknown metric {metric!r}; accepted: {', '.join(accepted)}{did_you_mean(metric, accepted)}"
            )
        self.metric = metric

    def __call__(self, encoder: FrozenEncoder, splits: Mapping[str, Source]) -> dict[str, object]:
        """The metrics of the class docstring. Raises :class:`RequestError` when a split or its labels are missing."""
        train, val, test = (labelled(encoder, pick(splits, name)) for name in ("train", "val", "test"))
        classes = len(splits["train"].classes)
        chosen = select(train, val, test, classes, _SCORES[self.metric])
        return {
            "test": chosen.test,
            "val": chosen.val,
            "standard_error": metrics.standard_error(chosen.test, len(test)),
            "metric": self.metric,
            "w": chosen.w,
            "classes": classes,
            "n": {"train": len(train), "val": len(val), "test": len(test)},
            "warning": chosen.warning,
        }
