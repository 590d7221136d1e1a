"""100 of the classes of Tiny-ImageNet-200 (Stanford CS231n), for pretraining."""

from __future__ import annotations

from typing import ClassVar

from augaware.data.datasets.prepared import Prepared

__all__ = ["TinyImageNet100"]


class TinyImageNet100(Prepared):
    """Objects: 100 kinds, 64 pixels, 200 of 500 train images of each. The official val serves as test."""

    title = "Tiny-ImageNet, 100 of its 200 classes"
    classes = 100
    counts: ClassVar = {"train": 20000, "test": 2000}
    url = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
