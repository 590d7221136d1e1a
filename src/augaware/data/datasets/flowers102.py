"""Oxford Flowers-102 (Nilsback and Zisserman, ICVGIP 2008)."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from augaware.data.datasets.listed import ListedSet, Lists, read_mat
from augaware.errors import RequestError

__all__ = ["Flowers102"]


class Flowers102(ListedSet):
    """Flowers: 102 kinds, the official splits. The names of the kinds are those that torchvision knows."""

    title = "Oxford Flowers-102"
    classes = 102
    counts: ClassVar = {"train": 1020, "val": 1020, "test": 6149}
    metric = "class_average"
    layout = "flowers-102/ with jpg/, imagelabels.mat and setid.mat"
    url = "https://www.robots.ox.ac.uk/~vgg/data/flowers/102/"
    fetched = (("Flowers102", {}),)
    places = ("flowers-102", "flowers102/flowers-102", "flowers102")
    needs = ("jpg", "imagelabels.mat", "setid.mat")
    images = "jpg"

    def lists(self, home: Path) -> Lists:
        """Train, val and test."""
        from torchvision.datasets import Flowers102 as Known

        (labels,) = read_mat(home / "imagelabels.mat", "labels")
        parts = read_mat(home / "setid.mat", "trnid", "valid", "tstid")
        splits = {}
        for split, part in zip(("train", "val", "test"), parts, strict=True):
            if part.min() < 1 or part.max() > len(labels):
                raise RequestError(f"list {home / 'setid.mat'} and imagelabels.mat do not belong together")
            splits[split] = [(f"image_{i:05d}.jpg", int(labels[i - 1]) - 1) for i in part.reshape(-1).tolist()]
        return Lists(Known.classes, splits)
