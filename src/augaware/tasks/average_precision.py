"""Average precision of detections, by pycocotools: an optional package, imported where it is used."""

from __future__ import annotations

import contextlib
import io
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from augaware.data.tables import Boxes
from augaware.errors import RequestError
from augaware.random import bootstrap

INSTALL = "pip install 'augaware[detection]'"
_RESAMPLES = 50
_IOUS = {"ap": slice(None), "ap50": slice(0, 1), "ap75": slice(5, 6)}  # of .50, .55, ..., .95


@dataclass(frozen=True)
class Found:
    """The detections of one image: ``corners`` (K, 4) in pixels, ``scores`` (K,), ``labels`` (K,) in 0..classes-1."""

    corners: torch.Tensor
    scores: torch.Tensor
    labels: torch.Tensor


def require_pycocotools() -> None:
    """Raise :class:`RequestError` where the package is missing: before hours of training, not after them."""
    try:
        import pycocotools.cocoeval  # noqa: F401
    except ImportError:
        raise RequestError(f"detection is scored by pycocotools, which is not installed: {INSTALL}") from None


def average_precision(found: Sequence[Found], truth: Sequence[Boxes], classes: Sequence[str]) -> dict[str, Any]:
    """AP of ``found`` (N) against ``truth`` (N): the mean over classes that occur, fractions.

    ``test``: COCO's ``ap`` (mean over IoU .50, .55, ..., .95), ``ap50`` and ``ap75``, from precision at 101 recalls;
    ``voc07``: the same three from VOC2007's 11 recalls, which is what detectron2 and with it MoCo and CASSLE report for
    VOC07 test; ``ap50_per_class``, None where a class does not occur; ``standard_error`` of ``test`` by 50 bootstrap
    resamples of the images, fixed seed. An object that is ``difficult`` is neither to be found nor an error to find,
    as in VOC; COCO's matching, though, lets only one detection off per object.
    """
    require_pycocotools()
    from pycocotools.cocoeval import COCOeval

    boxes = [(i, classes.index(label), *box) for i, image in enumerate(truth) for label, *box in _objects(image)]
    detections = [(i, *box) for i, image in enumerate(found) for box in _detections(image)]
    with contextlib.redirect_stdout(io.StringIO()):  # it prints as it goes
        judged = COCOeval(_coco(boxes, len(truth), len(classes)), _coco(detections, len(truth), len(classes)), "bbox")
        judged.params.areaRng, judged.params.areaRngLbl, judged.params.maxDets = [[0, math.inf]], ["all"], [100]
        judged.evaluate()
        precision = _precision(judged)
        each, resamples = judged.evalImgs, []  # class by class, image by image
        for rows in bootstrap(len(truth), _RESAMPLES).tolist():
            judged.evalImgs = [each[k * len(truth) + i] for k in range(len(classes)) for i in rows]
            resamples.append(_means(_precision(judged)))
    per_class = precision[0].mean(0).tolist()
    return {
        "test": _means(precision),
        "voc07": _means(precision[:, ::10]),
        "ap50_per_class": {name: ap if ap >= 0 else None for name, ap in zip(classes, per_class, strict=True)},
        "standard_error": {key: statistics.stdev(r[key] for r in resamples) for key in _IOUS},
    }


def _objects(image: Boxes) -> list[tuple[Any, ...]]:
    """Label, corners, score and whether it counts, of each object: difficult ones and lines do not."""
    rows = []
    for label, box, difficult in zip(image.labels, image.corners, image.difficult, strict=True):
        left, top, right, bottom = box
        rows.append((label, box, 1.0, not difficult and left < right and top < bottom))
    return rows


def _detections(image: Found) -> list[tuple[Any, ...]]:
    """Label, corners, score and that it counts, of each detection."""
    columns = (x.tolist() for x in (image.labels, image.corners, image.scores))
    return [(*row, True) for row in zip(*columns, strict=True)]


def _coco(rows: Sequence[tuple[Any, ...]], images: int, classes: int) -> Any:
    """pycocotools' index of ``rows``: image, label, corners, score, counts.

    What does not count has an area outside every range: so pycocotools ignores it, whole boxes and plain IoU. Its flag
    ``iscrowd`` would let off every detection that lies inside.
    """
    from pycocotools.coco import COCO

    index = COCO()
    index.dataset = {
        "images": [{"id": i} for i in range(images)],
        "categories": [{"id": k} for k in range(classes)],
        "annotations": [
            {
                "id": number,  # from 1: 0 is "matched to nothing"
                "image_id": image,
                "category_id": label,
                "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]],
                "area": (box[2] - box[0]) * (box[3] - box[1]) if counts else -1,
                "iscrowd": 0,
                "score": score,
            }
            for number, (image, label, box, score, counts) in enumerate(rows, start=1)
        ],
    }
    index.createIndex()
    return index


def _precision(judged: Any) -> np.ndarray:
    """(10 IoUs, 101 recalls, classes); -1 for a class that does not occur."""
    judged.accumulate()
    precision: np.ndarray = judged.eval["precision"][:, :, :, 0, 0]
    return precision


def _means(precision: np.ndarray) -> dict[str, float]:
    """AP over the classes that occur; 0 where none does."""
    occurs = precision[0, 0] >= 0
    return {key: float(precision[ious][:, :, occurs].mean()) if occurs.any() else 0.0 for key, ious in _IOUS.items()}
