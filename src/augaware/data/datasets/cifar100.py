"""CIFAR-100 (Krizhevsky, 2009)."""

from __future__ import annotations

from typing import ClassVar

from augaware.data.datasets.cifar import Cifar

__all__ = ["CIFAR100"]


class CIFAR100(Cifar):
    """Objects: 100 kinds, 32 pixels. val is random (seed 44) from the official train."""

    title = "CIFAR-100"
    classes = 100
    counts: ClassVar = {"train": 45000, "val": 5000, "test": 10000}
    layout = "cifar-100-python/, as cifar-100-python.tar.gz unpacks"
    url = "https://www.cs.toronto.edu/~kriz/cifar.html"
    fetched = (("CIFAR100", {}),)
    folder = "cifar-100-python"
    seed = 44
