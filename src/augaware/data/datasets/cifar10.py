"""CIFAR-10 (Krizhevsky, 2009)."""

from __future__ import annotations

from typing import ClassVar

from augaware.data.datasets.cifar import Cifar

__all__ = ["CIFAR10"]


class CIFAR10(Cifar):
    """Objects: 10 kinds, 32 pixels. val is random (seed 43) from the official train."""

    title = "CIFAR-10"
    classes = 10
    counts: ClassVar = {"train": 45000, "val": 5000, "test": 10000}
    layout = "cifar-10-batches-py/, as cifar-10-python.tar.gz unpacks"
    url = "https://www.cs.toronto.edu/~kriz/cifar.html"
    fetched = (("CIFAR10", {}),)
    folder = "cifar-10-batches-py"
    seed = 43
