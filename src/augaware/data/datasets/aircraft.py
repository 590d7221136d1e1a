"""FGVC-Aircraft (Maji et al., 2013)."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from augaware.data.datasets.listed import ListedSet, Lists, number_of, read_columns, read_lines

__all__ = ["Aircraft"]


class Aircraft(ListedSet):
    """Aircraft: 100 variants, the official splits."""

    title = "FGVC-Aircraft"
    classes = 100
    counts: ClassVar = {"train": 3334, "val": 3333, "test": 3333}
    metric = "class_average"
    layout = "fgvc-aircraft-2013b/data/ with images/, variants.txt and images_variant_{train,val,test}.txt"
    url = "https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/"
    fetched = (("FGVCAircraft", {}),)
    places = ("fgvc-aircraft-2013b/data", "aircraft/fgvc-aircraft-2013b/data", "aircraft/data", "aircraft")
    needs = ("images", "variants.txt", *(f"images_variant_{split}.txt" for split in ("train", "val", "test")))
    images = "images"

    def lists(self, home: Path) -> Lists:
        """Train, val and test."""
        names = read_lines(home / "variants.txt")
        label = {name: number for number, name in enumerate(names)}
        splits = {}
        for split in self.counts:
            path = home / f"images_variant_{split}.txt"
            splits[split] = [(f"{i}.jpg", number_of(name, label, path)) for i, name in read_columns(path, 2)]
        return Lists(names, splits)
