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

    A ``real`` factor is scored by R2; a ``cyclic`` one, in turns, by the R2 of (cos, sin), so that 0 and 1 are one place;
    a ``class`` by accuracy, of a ridge regression on one-hot targets (one solve serves every factor, where a logistic
    regression would need one each). Metrics: ``test``, ``val``, ``kind``, ``strength``, each a dict by factor, and ``n``
    per split.
    """

    protocol: ClassVar[str] = "factors/1"

    def __init__(self, dataset: str = "shapes") -> None:
        super().__init__(dataset)

    def __call__(self, encoder: FrozenEncoder, splits: Mapping[str, Source]) -> dict[str, object]:
        """The metrics of the class docstring. Raises :class:`RequestError` for a source without factors."""
        sources = {name: pick(splits, name) for name in ("train", "val", "test")}
        kinds = factor_kinds(sources["train"])
        y = {name: extract(encoder, source) for name, source in sources.items()}
        # One row per image, one block of columns per factor: {split: [(N, t), ...]}.
        blocks = {name: encode(source, kinds, y[name].device) for name, source in sources.items()}
        targets = {name: torch.cat(parts, dim=1) for name, parts in blocks.items()}
        widths = [block.shape[1] for block in blocks["train"]]

        def scores(predictions: Tensor, name: str) -> list[float]:
            columns = predictions.split(widths, dim=1)
            return [score(p, t, kind) for p, t, kind in zip(columns, blocks[name], kinds.values(), strict=True)]

        fitted = Ridge(y["train"], targets["train"])
        val = torch.tensor([scores(fitted.predict(y["val"], a), "val") for a in STRENGTHS], dtype=torch.float64)
        best = val.argmax(0)  # (factors,): the first, so the strongest, of equals
        strength = torch.tensor(STRENGTHS, dtype=torch.float64)[best]
        refit = Ridge(torch.cat([y["train"], y["val"]]), torch.cat([targets["train"], targets["val"]]))
        each = strength.repeat_interleave(torch.tensor(widths)).to(y["test"].device)
        test = scores(refit.predict(y["test"], each), "test")
        return {
            "test": dict(zip(kinds, test, strict=True)),
            "val": dict(zip(kinds, val.amax(0).tolist(), strict=True)),
            "kind": kinds,
            "strength": dict(zip(kinds, strength.tolist(), strict=True)),
            "n": {name: len(source) for name, source in sources.items()},
        }


def factor_kinds(source: Source) -> dict[str, str]:
    """Name -> ``"cyclic"``, ``"real"`` or ``"class"``: as ``source.factor_kinds`` or the drawn set says, else by dtype."""
    if not source.factors:
        raise RequestError(f"data {source.name!r} has no known factors: use a drawn set, such as factors('shapes')")
    declared: Mapping[str, str] = getattr(source, "factor_kinds", FACTORS)
    return {
        name: declared.get(name, "real" if values.is_floating_point() else "class")
        for name, values in source.factors.items()
    }


def encode(source: Source, kinds: Mapping[str, str], device: torch.device) -> list[Tensor]:
    """What ridge predicts, (N, t) float64 per factor: the values, (cos, sin) of an angle in turns, or one-hot."""
    blocks = []
    for name, kind in kinds.items():
        values = source.factors[name].to(device).reshape(len(source), -1)
        if kind == "class":
            block = F.one_hot(values[:, 0].long(), int(values.max()) + 1)
        elif kind == "cyclic":
            angle = 2 * math.pi * values.double()
            block = torch.cat([angle.cos(), angle.sin()], dim=1)
        else:
            block = values
        blocks.append(block.double())
    return blocks


def score(prediction: Tensor, target: Tensor, kind: str) -> float:
    """Accuracy of the largest entry for a class, else R2 averaged over the columns; both (N, t)."""
    return top1(prediction.argmax(1), target.argmax(1)) if kind == "class" else r2(prediction, target)
