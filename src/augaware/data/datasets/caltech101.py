"""Caltech-101 (Fei-Fei et al., 2004)."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from augaware.data.datasets.listed import ListedSet, Lists, per_class
from augaware.data.files import images_below

__all__ = ["Caltech101"]


class Caltech101(ListedSet):
    """Objects: 101 kinds, without BACKGROUND_Google. 25 images of each train, 5 are val, the rest is test.

    The authors' index file is not published in a form that can be redrawn; here: images are drawn by
    :func:`augaware.data.datasets.listed.per_class`, so counts are the papers' and members are not.
    """

    title = "Caltech-101"
    classes = 101
    counts: ClassVar = {"train": 2525, "val": 505, "test": 5647}
    metric = "class_average"
    layout = "caltech101/101_ObjectCategories/ with a folder per class"
    url = "https://data.caltech.edu/records/mzrjq-6wc02"
    fetched = (("Caltech101", {}),)
    places = ("caltech101", "caltech-101", ".")
    needs = ("101_ObjectCategories",)
    images = "101_ObjectCategories"

    def lists(self, home: Path) -> Lists:
        """Train, val and test."""
        files = [name for name in sorted(images_below(home / self.images)) if name.count("/") == 1]
        names = sorted({file.split("/")[0] for file in files} - {"BACKGROUND_Google"})
        label = {name: number for number, name in enumerate(names)}
        entries = [(file, label[name]) for file in files if (name := file.split("/")[0]) in label]
        return Lists(names, dict(zip(("train", "val", "test"), per_class(entries, 25, 5), strict=True)))
