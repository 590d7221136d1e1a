"""The bench of the linear probe: the sweep of its 45 strengths, the choice on val, the refit and the test score."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from augaware import metrics
from augaware.bench import feature_sets
from augaware.bench.base import Bench, Round, Side, Work
from augaware.bench.sweeps import OURS, PEERS, Sweep
from augaware.errors import RequestError
from augaware.tasks.features import Labelled
from augaware.tasks.logistic import STRENGTHS, predict, with_one

__all__ = ["Probe"]

REAL = ("random/resnet18 medleaf36", "random/resnet50 rsscn7", "random/resnet50 dtd10")
DRAWN = ("1000x512x20", "400x2048x10")


class Probe(Bench):
    """Linear evaluation, all 45 strengths, ours against the authors' optimiser, torch in float64 and scikit-learn.

    ``sets`` of features: ``"ENCODER DATASET"``, the images ``pixels`` wide, or drawn ``NxDxC`` (images, features,
    classes); None is three real ones with ``--data ROOT`` and two drawn ones without. ``against`` names peers; None is
    all. One strength is one item.
    """

    unit = "strengths"
    measure = "features"

    def __init__(
        self,
        sets: Sequence[str] | None = None,
        against: Sequence[str] | None = None,
        pixels: int = 96,
        rounds: int = 3,
        seconds: float = 0.0,
    ) -> None:
        super().__init__(DRAWN if sets is None else sets, rounds, seconds)
        self.sets, self.pixels = sets, pixels
        if isinstance(sets, str) or not self.sizes or any(not isinstance(name, str) for name in self.sizes):
            raise RequestError(f"bench 'probe': sets={sets!r} must be a list, such as ['random/resnet18 flowers102']")
        self.peers = tuple(PEERS) if against is None else tuple(against)
        if isinstance(against, str) or not set(self.peers) <= set(PEERS):
            raise RequestError(f"bench 'probe': against={against!r} must be a list of {', '.join(PEERS)}")
        if type(pixels) is not int or pixels < 1:
            raise RequestError(f"bench 'probe': pixels={pixels!r} must be a whole number, at least 1")

    def prepare(self, folder: Path, data: str | None) -> str:
        """The features of the data sets below ROOT ``data``, extracted once, or drawn ones."""
        if self.sets is None and data is not None:
            self.sizes = REAL
        return "; ".join(feature_sets.write(folder, str(name), data, self.pixels) for name in self.sizes)

    def sides(self, peers: bool) -> list[Side]:
        """Each with one core."""
        kinds = {**OURS, **({name: PEERS[name] for name in self.peers} if peers else {})}
        return [Side(name, 1, kind.note, kind.package, kind.module) for name, kind in kinds.items()]

    def work(self, name: str, threads: int, size: Any, folder: Path) -> Work:
        """One pass is one sweep."""
        return Selection({**OURS, **PEERS}[name], feature_sets.load(folder, size))

    def compare(self, sides: Mapping[Side, Sequence[Round]]) -> Mapping[Side, dict[str, Any]]:
        """CPU seconds of a sweep, [median, least, most]; the most that a w's objective, per image, lies above the best
        of all sides; for what w; and the chosen w, its score on val and that on test.
        """
        last = {side: turns[-1].found for side, turns in sides.items() if turns}
        best = [min(each) for each in zip(*(found["objective"] for found in last.values()), strict=True)]
        compared = {}
        for side, found in last.items():
            gaps = [a - b for a, b in zip(found["objective"], best, strict=True)]
            spent = [len(STRENGTHS) / turn.per_core for turn in sides[side]]
            compared[side] = {
                "CPU s": [statistics.median(spent), min(spent), max(spent)],
                "gap": max(gaps),
                "at w": STRENGTHS[gaps.index(max(gaps))],
                **{key: found[key] for key in ("w", "val", "test")},
            }
        return compared


class Selection(Work):
    """The papers' protocol on one set of features; top-1."""

    items = len(STRENGTHS)

    def __init__(self, kind: type[Sweep], splits: Mapping[str, Labelled]) -> None:
        self.splits, self.sweep = splits, kind(feature_sets.count(splits))
        self.fitted: dict[float, Tensor] = {}
        self.scores: dict[float, float] = {}
        self.chosen, self.test = 0.0, 0.0
        train = splits["train"]  # what a library imports or sets up once is no part of a sweep
        nothing = torch.zeros(train.features.shape[1] + 1, self.sweep.classes, dtype=torch.float64)
        self.sweep.again(train, STRENGTHS[-1], nothing)

    def __call__(self, passes: int) -> float:
        """All is done here."""
        train, val, test = (self.splits[name] for name in feature_sets.SPLITS)
        for _ in range(passes):
            self.fitted = dict(self.sweep.path(train))
            self.scores = {w: score(val, weights) for w, weights in self.fitted.items()}
            self.chosen = min(w for w, reached in self.scores.items() if reached == max(self.scores.values()))
            refitted = self.sweep.again(train + val, self.chosen, self.fitted[self.chosen])
            self.test = score(test, refitted)
        return 0.0

    def found(self) -> dict[str, Any]:
        """The objective per image for STRENGTHS, val for STRENGTHS, and what was chosen."""
        return {
            "objective": [objective(self.splits["train"], self.fitted[w], w) for w in STRENGTHS],
            "vals": [self.scores[w] for w in STRENGTHS],
            "w": self.chosen,
            "val": self.scores[self.chosen],
            "test": self.test,
        }


def score(data: Labelled, weights: Tensor) -> float:
    """Top-1."""
    return metrics.top1(predict(data.features, weights), data.labels)


def objective(data: Labelled, weights: Tensor, w: float) -> float:
    """The objective of the module ``tasks/logistic.py`` in float64, per image."""
    cross_entropy = F.cross_entropy(with_one(data.features) @ weights, data.labels, reduction="sum")
    return float(cross_entropy + w * weights.square().sum()) / len(data)
