"""Linear evaluation: logistic regression on frozen features, as in AugSelf and CASSLE."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from augaware import metrics
from augaware.data.base import Source
from augaware.tasks.base import FrozenEncoder
from augaware.tasks.classification import Classification
from augaware.tasks.features import labelled
from augaware.tasks.logistic import select

__all__ = ["LinearProbe"]


class LinearProbe(Classification):
    """Accuracy of a linear classifier on frozen features, the papers' 45-strength protocol.

    ``metric`` is ``"top1"``, ``"class_average"`` or ``"auto"``: what the data set states, the papers' choice (class
    average on pets, flowers102, caltech101 and aircraft), and top-1 elsewhere. ``shots``: only so many images per class
    of train and val, drawn by ``seed`` (:mod:`augaware.tasks.classification`). Metrics: ``test`` and ``val``
    (fractions), ``standard_error`` (binomial, of the test images alone), the chosen ``w``, ``metric``, ``classes``,
    ``n`` per split, and a ``warning`` or None. The objective, the strengths and the solver are in
    :mod:`augaware.tasks.logistic`.
    """

    protocol: ClassVar[str] = "linear_probe/1"

    def __init__(self, dataset: str, metric: str = "auto", shots: int | None = None, seed: int = 0) -> None:
        super().__init__(dataset, metric, shots, seed)

    def __call__(self, encoder: FrozenEncoder, splits: Mapping[str, Source]) -> dict[str, object]:
        """The metrics of the class docstring. Raises :class:`RequestError` when a split or its labels are missing."""
        sources = self.sources(splits)
        train, val, test = (labelled(encoder, source) for source in sources)
        classes = len(sources[0].classes)
        chosen = select(train, val, test, classes, self.score)
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
