"""Oxford-IIIT Pets (Parkhi et al., CVPR 2012)."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from augaware.data.datasets.listed import Entries, ListedSet, Lists, numbered, random_split, read_columns

__all__ = ["Pets"]


class Pets(ListedSet):
    """Pets: 37 breeds of cats and dogs. val is random (seed 49) from the official trainval, in its order."""

    title = "Oxford-IIIT Pets"
    classes = 37
    counts: ClassVar = {"train": 2940, "val": 740, "test": 3669}
    metric = "class_average"
    layout = "oxford-iiit-pet/ with images/ and annotations/, as the two archives unpack"
    url = "https://www.robots.ox.ac.uk/~vgg/data/pets/"
    fetched = (("OxfordIIITPet", {}),)
    places = ("oxford-iiit-pet", "pets/oxford-iiit-pet", "pets")
    needs = ("images", "annotations/trainval.txt", "annotations/test.txt")
    images = "images"

    def lists(self, home: Path) -> Lists:
        """Train, val and test."""
        trainval, test = (_read(home / "annotations" / f"{split}.txt") for split in ("trainval", "test"))
        names = {label: path.rsplit("_", 1)[0].replace("_", " ") for path, label in [*trainval, *test]}
        drawn = random_split(trainval, self.counts["train"], self.counts["val"], seed=49)
        return Lists([names.get(i, str(i)) for i in range(max(names) + 1)], {**drawn, "test": test})


def _read(path: Path) -> Entries:
    """Lines such as ``Abyssinian_100 1 1 1``: image, class, species, breed."""
    return [(f"{image}.jpg", label - 1) for image, label in numbered(read_columns(path, 4), path).items()]
