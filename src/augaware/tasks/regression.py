"""Landmarks read off frozen features linearly: the regression of the papers on 300W (CASSLE), for any set of landmarks.

Each face is cut to a square, and its K landmarks, moved with the pixels and flattened to (x1, y1, ..., xK, yK), are
L2-normalised per image. A linear layer predicts them; :mod:`augaware.tasks.absolute` has its objective and solver.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from augaware import metrics
from augaware.data.base import Source
from augaware.data.files import digest
from augaware.data.root import open_dataset
from augaware.data.store import Part
from augaware.data.tables import LANDMARKS, LandmarkTable, landmarks
from augaware.errors import RequestError
from augaware.random import bootstrap
from augaware.tasks.absolute import select
from augaware.tasks.annotated import Annotated
from augaware.tasks.base import FrozenEncoder, Task
from augaware.tasks.features import extract, pick

__all__ = ["Regression"]

_RESAMPLES = 200


class Regression(Task):
    """R2 of a linear regression of landmarks on frozen features: the papers' pooled one, and one per coordinate.

    The data set has ``keypoints.csv`` (columns split, file, width, height, x1, y1, ..., xK, yK; pixels of the stored
    image) beside its split tars or folders. w is chosen by ``r2_pooled`` on val among the linear probe's 45, the layer
    fitted again on train and val, and scored on test once.

    Metrics: ``test`` holds ``r2_pooled``, the papers' number (:func:`r2_pooled`), which the layout of the mean face
    dominates, and ``r2``, :func:`augaware.metrics.r2`: 1 - SSE / SST for each of the 2K coordinates over the images,
    SST about the test images' mean, averaged; 0 is to know nothing of the single face. ``nothing`` is what
    predicting the mean of train and val gives. ``mae`` is the mean |error| of a coordinate, of a vector of length 1.
    ``standard_error`` of both R2: 200 bootstrap resamples of the test images, fixed seed (images are taken
    as independent; several of one person are less). Further ``val``, ``w``, ``landmarks`` (K), ``n`` and ``warning``.
    """

    protocol: ClassVar[str] = "regression/1"

    def splits(self, root: str | Path) -> Mapping[str, Source]:
        """The faces of each split, cut to their squares. Raises :class:`RequestError` for a table that does not fit."""
        sources = open_dataset(root, self.dataset)
        table = landmarks(root, self.dataset)
        if isinstance(sources.get("val"), Part):  # carved, and then the table's splits are not these
            raise RequestError(f"data set {self.dataset!r} lacks val or test: regression needs train, val and test")
        return {split: Squares(source, split, table) for split, source in sources.items()}

    def __call__(self, encoder: FrozenEncoder, splits: Mapping[str, Source]) -> dict[str, object]:
        """The metrics of the class docstring. Raises :class:`RequestError` for a source without landmarks."""
        faces = {name: squares(pick(splits, name)) for name in ("train", "val", "test")}
        y = {name: extract(encoder, source) for name, source in faces.items()}
        t = {name: F.normalize(s.landmarks.flatten(1), dim=1).to(y[name].device) for name, s in faces.items()}
        chosen = select((y["train"], t["train"]), (y["val"], t["val"]), y["test"], r2_pooled)
        mean = torch.cat([t["train"], t["val"]]).mean(0).expand_as(t["test"])
        resamples = [scores(chosen.prediction[rows], t["test"][rows]) for rows in bootstrap(len(t["test"]), _RESAMPLES)]
        test = scores(chosen.prediction, t["test"])
        return {
            "test": test,
            "val": chosen.val,
            "standard_error": {key: statistics.stdev(r[key] for r in resamples) for key in test},
            "mae": float((chosen.prediction - t["test"]).abs().mean()),
            "nothing": scores(mean, t["test"]) | {"mae": float((mean - t["test"]).abs().mean())},
            "w": chosen.w,
            "landmarks": faces["train"].landmarks.shape[1],
            "n": {name: len(source) for name, source in faces.items()},
            "warning": chosen.warning,
        }


def r2_pooled(prediction: Tensor, target: Tensor) -> float:
    """The squared correlation of all numbers of ``prediction`` and ``target``, any one shape; 0 if either is constant.

    1 - SSE / SST of the least-squares line target ~ prediction, as AI and CASSLE score 300W.
    """
    p, t = (x.double() - x.double().mean() for x in (prediction, target))
    return float((p * t).sum().square() / (p.square().sum() * t.square().sum()).clamp_min(1e-300))


def scores(prediction: Tensor, target: Tensor) -> dict[str, float]:
    """Both R2 of ``prediction`` and ``target`` (N, 2K)."""
    return {"r2_pooled": r2_pooled(prediction, target), "r2": metrics.r2(prediction, target)}


class Squares(Annotated):
    """Each image of ``whole`` cut to the square of its landmarks; ``landmarks`` (N, K, 2) float64 are x, y in there.

    The square starts at the landmarks' least x and y, rounded to pixels; its side is the longer one of their box,
    rounded up. Authors' code: what lies outside the image is black. Here: the square is moved inwards as far as
    needed, and is as large as the image's short side where it would be larger, so that no pixel is made up.

    Landmarks are in pixels of the square, pixel i covering i to i + 1, and may lie outside it. Authors' code: they are
    moved by the corner before it is rounded. Here: by the corner at which the pixels are cut. Resizing to an encoder's
    size multiplies them by size / side, which the L2-normalisation takes out again: targets are equal at every size.
    """

    kind, missing, stated = "landmarks", f"no row of split {{!r}} in {LANDMARKS}", LANDMARKS

    def __init__(self, whole: Source, split: str, table: LandmarkTable) -> None:
        super().__init__(whole, split, table)
        rows = torch.tensor(self.rows, dtype=torch.float64)
        self.sizes, points = rows[:, :2].long(), rows[:, 2:].view(len(rows), -1, 2)
        self.corners, self.sides = square(points, self.sizes)
        self.landmarks = points - self.corners[:, None]
        self.fingerprint = digest([whole.fingerprint, rows.tolist()])

    @property
    def content(self) -> str:
        """The whole images', and where each is cut."""
        return digest([self.whole.content, self.corners.tolist(), self.sides.tolist()])

    def load(self, index: int) -> Tensor:
        """Face number ``index``: (3, side, side) uint8, RGB. Raises :class:`RequestError` if size or file is wrong."""
        (width, height), (left, top), side = self.sizes[index].tolist(), self.corners[index].tolist(), self.sides[index]
        return self.stored(index, (width, height))[:, top : top + side, left : left + side]


def squares(source: Source) -> Squares:
    """``source``, which must have landmarks."""
    if not isinstance(source, Squares):
        raise RequestError(f"data {source.name!r} has no landmarks: open it with the task's own splits(root)")
    return source


def square(points: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor]:
    """Corners (N, 2) and sides (N,), int64, of ``points`` (N, K, 2) in images of ``sizes`` (N, 2); all x, then y."""
    low, high = points.amin(1), points.amax(1)
    sides = (high - low).amax(1).ceil().long().minimum(sizes.amin(1))
    corners = low.round().long().clamp_min(0).minimum(sizes - sides[:, None])
    return corners, sides
