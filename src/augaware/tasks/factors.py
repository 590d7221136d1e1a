"""What a frozen representation still knows of the causes of a drawn image: hue, place, size, shape, texture, ...

Ridge regression of each factor on the features, its strength chosen on the validation split (the probe of linear
disentanglement studies, and the direct test of whether an invariance was learned).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from augaware.data.base import Source
from augaware.data.shapes import FACTORS
from augaware.errors import RequestError
from augaware.metrics import r2, top1
from augaware.tasks.base import FrozenEncoder, Task
from augaware.tasks.features import extract, pick
from augaware.tasks.ridge import STRENGTHS, Ridge

__all__ = ["Factors"]


class Factors(Task):
    """How well each known factor of the images is read off the features linearly.

    A ``real`` factor is scored by R2; a ``cyclic`` one, in turns, by the R2 of (cos, sin), so that 0 and 1 are one
    place; a ``class`` by accuracy, of a ridge regression on one-hot targets (one solve serves every factor, where a
    logistic regression would need one each). Metrics: ``test``, ``val``, ``kind``, ``strength``, each a dict by factor,
    and ``n`` per split.
    """

    protocol: ClassVar[str] = "factors/1"

    def __init__(self, dataset: str = "shapes") -> None:
        super().__init__(dataset)

    def __call__(self, encoder: FrozenEncoder, splits: Mapping[str, Source]) -> dict[str, object]:
        """The metrics of the class docstring. Raises :class:`RequestError` for a source without factors."""
        sources = {name: pick(splits, name) for name in ("train", "val", "test")}
        kinds = factor_kinds(sources["train"])
        y = {name: extract(encoder, source) for name, source in sources.items()}
        train, both = Ridge(y["train"]), Ridge(torch.cat([y["train"], y["val"]]))
        test, val, chosen = {}, {}, {}
        for factor, kind in kinds.items():
            t = encode({name: source.factors[factor].to(y[name].device) for name, source in sources.items()}, kind)
            scores = [score(train.predict(t["train"], a, y["val"]), t["val"], kind) for a in STRENGTHS]
            val[factor] = max(scores)
            chosen[factor] = STRENGTHS[scores.index(val[factor])]  # the first, so the strongest, of equals
            prediction = both.predict(torch.cat([t["train"], t["val"]]), chosen[factor], y["test"])
            test[factor] = score(prediction, t["test"], kind)
        n = {name: len(source) for name, source in sources.items()}
        return {"test": test, "val": val, "kind": kinds, "strength": chosen, "n": n}


def factor_kinds(source: Source) -> dict[str, str]:
    """Name -> ``"cyclic"``, ``"real"`` or ``"class"``: as ``source.factor_kinds`` or the drawn set says, else dtype."""
    if not source.factors:
        raise RequestError(f"data {source.name!r} has no known factors: use a drawn set, such as factors('shapes')")
    declared: Mapping[str, str] = getattr(source, "factor_kinds", FACTORS)
    return {
        name: declared.get(name, "real" if values.is_floating_point() else "class")
        for name, values in source.factors.items()
    }


def encode(splits: Mapping[str, Tensor], kind: str) -> dict[str, Tensor]:
    """What ridge predicts of a factor, (N, t) float64 for each split.

    The values as they are; (cos, sin) of an angle in turns; one-hot classes, as many as the splits have together.
    """
    if kind == "class":
        classes = 1 + max(int(values.max()) for values in splits.values())
        return {name: F.one_hot(values, classes).double() for name, values in splits.items()}
    columns = {name: values.double().reshape(len(values), -1) for name, values in splits.items()}
    if kind == "cyclic":
        angles = {name: 2 * math.pi * turns for name, turns in columns.items()}
        return {name: torch.cat([angle.cos(), angle.sin()], dim=1) for name, angle in angles.items()}
    return columns


def score(prediction: Tensor, target: Tensor, kind: str) -> float:
    """Accuracy of the largest entry for a class, else R2 averaged over the columns; both (N, t)."""
    return top1(prediction.argmax(1), target.argmax(1)) if kind == "class" else r2(prediction, target)
