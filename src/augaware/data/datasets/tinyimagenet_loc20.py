"""20 of the classes of Tiny-ImageNet-200 (Stanford CS231n) with their boxes, for localisation."""

from __future__ import annotations

from typing import ClassVar

from augaware.data.datasets.prepared import Prepared

__all__ = ["TinyImageNetLoc20"]


class TinyImageNetLoc20(Prepared):
    """Objects with a box each: 20 kinds, 64 pixels, none of those of tinyimagenet100."""

    title = "Tiny-ImageNet boxes, 20 classes"
    classes = 20
    counts: ClassVar = {"train": 2400, "test": 1000}
    url = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
