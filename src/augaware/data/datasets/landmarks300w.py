"""300 Faces In-the-Wild (Sagonas et al., ICCV Workshops 2013)."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
from PIL import Image, UnidentifiedImageError

from augaware.data.datasets.listed import ListedSet, Lists, read_lines
from augaware.data.files import images_below
from augaware.data.tables import LandmarkTable
from augaware.errors import RequestError

__all__ = ["Landmarks300W"]


class Landmarks300W(ListedSet):
    """Faces with 68 landmarks each, indoor and outdoor: 30, 30 and 40 % of 599 images, in an order of numpy's seed 0.

    As CASSLE: images are sorted and the last of the 600 is dropped; landmarks are as their files have them.
    """

    title = "300W"
    classes = 0
    counts: ClassVar = {"train": 179, "val": 180, "test": 240}
    metric = "r2_pooled"
    layout = "300W/ with 01_Indoor/ and 02_Outdoor/, a .pts beside each .png"
    url = "https://ibug.doc.ic.ac.uk/resources/300-W/"
    places = ("300W", "300w", "landmarks300w", "landmarks300w/300W")
    needs = ("01_Indoor", "02_Outdoor")

    def lists(self, home: Path) -> Lists:
        """Train, val and test."""
        files = sorted(f"{part}/{name}" for part in self.needs for name in images_below(home / part))[:-1]
        order = np.random.RandomState(0).permutation(len(files)).tolist()
        train, val = int(0.3 * len(files)), int(0.6 * len(files))
        parts = {"train": order[:train], "val": order[train:val], "test": order[val:]}
        return Lists((), {split: [(files[i], 0) for i in part] for split, part in parts.items()})

    def landmarks(self) -> LandmarkTable:
        """The 68 landmarks of each image."""
        home = self.home()
        return {
            (split, file): (*_size(home / file), *_points((home / file).with_suffix(".pts")))
            for split, entries in self.lists(home).splits.items()
            for file, _ in entries
        }


def _size(path: Path) -> tuple[float, float]:
    try:
        with Image.open(path) as image:
            return float(image.width), float(image.height)
    except (OSError, UnidentifiedImageError):
        raise RequestError(f"{path} is no image; unpack the archive again") from None


def _points(path: Path) -> list[float]:
    """x1, y1, ..., x68, y68 of a file ``version: 1``, ``n_points: 68``, and lines ``x y`` between braces."""
    lines = read_lines(path)
    try:
        points = [float(word) for line in lines[lines.index("{") + 1 : lines.index("}")] for word in line.split()]
    except ValueError:
        points = []
    if len(points) != 136 or not np.isfinite(points).all():
        raise RequestError(f"{path} is damaged: 68 lines of two numbers between braces expected")
    return points
