"""Where the one object of an image is, read off frozen features linearly: AugSelf's localisation on CUB200, any set.

The paper names a linear layer on the frozen features and an L2 error; its code is not published, and how it normalises
boxes is not known. Here: a box is (xmin, ymin, xmax, ymax) in fractions of the square that the encoder sees.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from augaware import metrics
from augaware.data.base import Source
from augaware.errors import RequestError
from augaware.tasks.base import FrozenEncoder, Task
from augaware.tasks.boxed import Boxed, boxed, open_boxed
from augaware.tasks.features import extract
from augaware.tasks.logistic import edge_warning
from augaware.tasks.ridge import STRENGTHS, Ridge

__all__ = ["Localisation"]


class Localisation(Task):
    """L2 error and IoU of a box predicted linearly from frozen features; every image has one object.

    Each box follows its image through the evaluation transform (short side to ``encoder.size``, centre crop) and is
    clipped to what is visible (:func:`visible`). Images whose box lies outside the crop altogether are left out, and
    counted in ``left_out``: nothing is there to be found. Ridge regression, its strength chosen by the error on val,
    fitted again on train and val, and scored on test once.

    Metrics: ``test`` holds ``mse``, the paper's error: the squared error's mean over images and the four coordinates,
    lower is better; ``iou``, the mean intersection over union; ``iou50``, the share of images where it exceeds .5.
    ``nothing`` is what predicting the mean box of train and val gives. ``standard_error`` of each over the test
    images; ``val`` (mse), ``strength``, ``n`` per split, and a ``warning`` where the strength lies on the grid's edge.
    """

    protocol: ClassVar[str] = "localisation/1"

    def splits(self, root: str | Path) -> Mapping[str, Source]:
        """The images of each split with their boxes. Raises :class:`RequestError` for a set without boxes."""
        return open_boxed(root, self.dataset)

    def __call__(self, encoder: FrozenEncoder, splits: Mapping[str, Source]) -> dict[str, object]:
        """The metrics of the class docstring. Raises :class:`RequestError` for an image without, or with two, boxes."""
        sources = {name: boxed(splits, name) for name in ("train", "val", "test")}
        targets = {name: targets_of(source, encoder.size) for name, source in sources.items()}
        seen = {name: (t[:, 2:] > t[:, :2]).all(1) for name, t in targets.items()}
        y, t = {}, {}
        for name, source in sources.items():
            if not seen[name].any():
                raise RequestError(f"data {source.name!r}: no box of split {name!r} lies in the centre of its image")
            features = extract(encoder, source)
            kept = seen[name].to(features.device)
            y[name], t[name] = features[kept], targets[name].to(features.device)[kept]
        both = torch.cat([t["train"], t["val"]])
        train = Ridge(y["train"])
        errors = [float((train.predict(t["train"], a, y["val"]) - t["val"]).square().mean()) for a in STRENGTHS]
        chosen = STRENGTHS[errors.index(min(errors))]  # the first, so the strongest, of equals
        prediction = Ridge(torch.cat([y["train"], y["val"]])).predict(both, chosen, y["test"])
        test, spread = scores(prediction, t["test"])
        return {
            "test": test,
            "val": min(errors),
            "standard_error": spread,
            "nothing": scores(both.mean(0).expand_as(t["test"]), t["test"])[0],
            "strength": chosen,
            "n": {name: len(boxes) for name, boxes in t.items()},
            "left_out": {name: int((~kept).sum()) for name, kept in seen.items()},
            "warning": edge_warning(chosen, STRENGTHS[::-1]),
        }


def targets_of(source: Boxed, size: int) -> Tensor:
    """(N, 4) float64: the box of each image as :func:`visible` gives it."""
    for name, found in zip(source.names, source.objects, strict=True):
        if len(found.labels) != 1:
            raise RequestError(
                f"data {source.name!r}: {name} has {len(found.labels)} boxes; localisation needs one object per image: "
                "remove the image or the boxes, or take the task detection"
            )
    corners = torch.tensor([found.corners[0] for found in source.objects], dtype=torch.float64)
    return visible(corners, torch.tensor([source.size(i) for i in range(len(source))]), size)


def visible(corners: Tensor, sizes: Tensor, size: int) -> Tensor:
    """Boxes ``corners`` (N, 4), in pixels of images of ``sizes`` (N, 2), width and height, after the centre crop.

    In fractions of the crop's side, clipped to it: (N, 4) float64. The arithmetic is that of
    :func:`augaware.data.centre.centre_crop`. A box outside the crop comes out empty.
    """
    resized = size * sizes // sizes.amin(1, keepdim=True)
    corner = ((resized - size).double() / 2).round()
    moved = corners * (resized / sizes.double()).repeat(1, 2) - corner.repeat(1, 2)
    return (moved / size).clamp(0, 1)


def iou(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union (N,) of boxes (N, 4), row by row; a box whose corners are swapped is empty."""
    inside = (torch.minimum(a, b)[:, 2:] - torch.maximum(a, b)[:, :2]).clamp_min(0).prod(1)
    area_a, area_b = ((x[:, 2:] - x[:, :2]).clamp_min(0).prod(1) for x in (a, b))
    return inside / (area_a + area_b - inside).clamp_min(1e-12)


def scores(prediction: Tensor, target: Tensor) -> tuple[dict[str, float], dict[str, float]]:
    """mse, iou and iou50 of ``prediction`` and ``target`` (N, 4), and the standard error of each over the images."""
    squared, overlap = (prediction - target).square().mean(1), iou(prediction, target)
    each = {"mse": squared, "iou": overlap}
    found = {key: float(value.mean()) for key, value in each.items()}
    spread = {key: float(value.std(correction=0)) / math.sqrt(len(value)) for key, value in each.items()}
    found["iou50"] = float((overlap > 0.5).double().mean())
    spread["iou50"] = metrics.standard_error(found["iou50"], len(overlap))
    return found, spread
