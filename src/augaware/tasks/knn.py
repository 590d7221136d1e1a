"""Weighted k-nearest-neighbour classification of frozen features (Wu et al., CVPR 2018): no training at all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from augaware.data.base import Source
from augaware.errors import RequestError
from augaware.metrics import knn_accuracy, standard_error
from augaware.tasks.base import FrozenEncoder, Task
from augaware.tasks.features import labelled, pick

__all__ = ["KNN"]


class KNN(Task):
    """Top-1 accuracy of the ``k`` nearest images by cosine, each voting for its class with exp(cos / temperature).

    Paper: k = 200, temperature .07. Here: k = 20, which DINO (ICCV 2021) found best and which small sets have images
    for. The memory is train, with val where there is one; the queries are test. Metrics: ``test`` (a fraction),
    ``standard_error`` (binomial), ``k``, ``temperature``, ``classes``, ``n`` of the memory and of the queries.
    """

    protocol: ClassVar[str] = "knn/1"

    def __init__(self, dataset: str, k: int = 20, temperature: float = 0.07) -> None:
        super().__init__(dataset)
        if not isinstance(k, int) or k < 1 or not temperature > 0:
            raise RequestError(
                f"knn(k={k!r}, temperature={temperature!r}): k must be 1 or more and temperature above 0"
            )
        self.k = k
        self.temperature = temperature

    def __call__(self, encoder: FrozenEncoder, splits: Mapping[str, Source]) -> dict[str, object]:
        """The metrics of the class docstring. Raises :class:`RequestError` if labels miss or k exceeds the memory."""
        memory = labelled(encoder, pick(splits, "train"))
        if "val" in splits:
            memory = memory + labelled(encoder, splits["val"])
        test = labelled(encoder, pick(splits, "test"))
        score = knn_accuracy(memory.features, memory.labels, test.features, test.labels, self.k, self.temperature)
        return {
            "test": score,
            "standard_error": standard_error(score, len(test)),
            "k": self.k,
            "temperature": self.temperature,
            "classes": len(splits["train"].classes),
            "n": {"memory": len(memory), "test": len(test)},
        }
