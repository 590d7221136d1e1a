"""Few-shot classification of classes that pretraining never saw: N-way K-shot episodes on frozen features (AugSelf)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from augaware.checks import check_widths
from augaware.data.base import Source
from augaware.errors import RequestError
from augaware.tasks.base import FrozenEncoder, Task
from augaware.tasks.episodes import Episodes, draw, usable_classes
from augaware.tasks.features import extract, known_labels
from augaware.tasks.one_vs_rest import gram, solve

__all__ = ["FewShot"]

_BYTES = 32 << 20  # of features and Gram matrices at a time


class FewShot(Task):
    """Mean accuracy over episodes: tell ``ways`` classes apart from ``shots`` images of each, on ``queries`` others.

    The images of all splits are pooled. Each episode fits a logistic regression to its ways x shots raw features, each
    class against the rest, C = 1 (:mod:`augaware.tasks.one_vs_rest`); :mod:`augaware.tasks.episodes` has what an
    episode is made of. Paper: scikit-learn's liblinear, whose default tolerance stops before the optimum; no seed.
    Here: the optimum, and always the same episodes.

    Metrics: ``test`` (a fraction), ``interval`` (half of the 95 % interval over episodes, 1.96 std / sqrt(episodes), as
    in the papers; the images are taken as given), ``ways``, ``shots``, ``queries``, ``episodes``, ``classes`` (that
    episodes draw from), ``dropped`` (classes of too few images), ``images``.
    """

    protocol: ClassVar[str] = "few_shot/1"

    def __init__(self, dataset: str, ways: int = 5, shots: int = 1, queries: int = 16, episodes: int = 2000) -> None:
        super().__init__(dataset)
        check_widths("task 'few_shot'", ways=ways, shots=shots, queries=queries, episodes=episodes)
        if min(ways, episodes) < 2:
            raise RequestError(f"task 'few_shot': ways={ways} and episodes={episodes} must be at least 2")
        self.ways, self.shots, self.queries, self.episodes = ways, shots, queries, episodes

    def __call__(self, encoder: FrozenEncoder, splits: Mapping[str, Source]) -> dict[str, object]:
        """The metrics of the class docstring. Raises :class:`RequestError` where labels or classes are missing."""
        labels = torch.cat([known_labels(source) for source in splits.values()])
        classes, named = len(usable_classes(labels, self.shots)), max(len(s.classes) for s in splits.values())
        if classes < self.ways:
            raise RequestError(
                f"task 'few_shot': ways={self.ways} and shots={self.shots} need {self.ways} classes of more than "
                f"{self.shots} images, and {self.dataset!r} has {classes} (of {named}): lower ways or shots"
            )
        episodes = draw(labels, self.ways, self.shots, self.queries, self.episodes)
        features = torch.cat([extract(encoder, source) for source in splits.values()])
        accuracy = accuracies(features, episodes)
        return {
            "test": float(accuracy.mean()),
            "interval": 1.96 * float(accuracy.std()) / self.episodes**0.5,
            "ways": self.ways,
            "shots": self.shots,
            "queries": self.queries,
            "episodes": self.episodes,
            "classes": classes,
            "dropped": named - classes,
            "images": len(labels),
        }


def accuracies(features: Tensor, episodes: Episodes) -> Tensor:
    """The accuracy of each episode, (E,) float64, on ``features`` (N, d); as many episodes at a time as fit."""
    ways, shots = episodes.support.shape[1:]
    n, asked = ways * shots, ways * episodes.queries.shape[2]
    chunk = max(1, _BYTES // (8 * ((n + asked) * (features.shape[1] + n) + 3 * ways * n * n)))
    device = features.device
    labels, truth = (torch.arange(ways, device=device).repeat_interleave(k // ways) for k in (n, asked))
    found = []
    for support, queries in zip(*(torch.split(p, chunk) for p in (episodes.support, episodes.queries)), strict=True):
        x, q = (features[places.flatten(1).to(device)] for places in (support, queries))
        a = solve(gram(x, x), labels, ways)
        found.append(((gram(q, x) @ a).argmax(2) == truth).double().mean(1))
    return torch.cat(found)
