"""Describable Textures (Cimpoi et al., CVPR 2014)."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from augaware.data.datasets.listed import ListedSet, Lists, read_lines

__all__ = ["DTD"]


class DTD(ListedSet):
    """Textures: 47 kinds, the first of the ten official splits."""

    title = "DTD"
    classes = 47
    counts: ClassVar = {"train": 1880, "val": 1880, "test": 1880}
    layout = "dtd/dtd/ with images/ and labels/, as dtd-r1.0.1.tar.gz unpacks in dtd/"
    url = "https://www.robots.ox.ac.uk/~vgg/data/dtd/"
    fetched = (("DTD", {}),)
    places = ("dtd/dtd", "dtd")
    needs = ("images", "labels/train1.txt", "labels/val1.txt", "labels/test1.txt")
    images = "images"

    def lists(self, home: Path) -> Lists:
        """Train, val and test."""
        files = {split: read_lines(home / "labels" / f"{split}1.txt") for split in self.counts}
        names = sorted({file.split("/")[0] for listed in files.values() for file in listed})
        label = {name: number for number, name in enumerate(names)}
        return Lists(names, {s: [(f, label[f.split("/")[0]]) for f in listed] for s, listed in files.items()})
