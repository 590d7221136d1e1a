"""MIT Indoor-67 (Quattoni and Torralba, CVPR 2009)."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from augaware.data.datasets.listed import Entries, ListedSet, Lists, number_of, random_split, read_lines

__all__ = ["MIT67"]


class MIT67(ListedSet):
    """Indoor scenes: 67 kinds. val is random (seed 51) from the official train, sorted as the authors' folders are."""

    title = "MIT Indoor-67"
    classes = 67
    counts: ClassVar = {"train": 4690, "val": 670, "test": 1340}
    layout = "mit67/ with Images/, TrainImages.txt and TestImages.txt"
    url = "https://web.mit.edu/torralba/www/indoor.html"
    places = ("mit67", "indoorCVPR_09", "mit67/indoorCVPR_09")
    needs = ("Images", "TrainImages.txt", "TestImages.txt")
    images = "Images"

    def lists(self, home: Path) -> Lists:
        """Train, val and test."""
        train, test = (sorted(read_lines(home / f"{split}Images.txt")) for split in ("Train", "Test"))
        names = sorted({file.split("/")[0] for file in train})
        label = {name: number for number, name in enumerate(names)}

        def entries(files: list[str], split: str) -> Entries:
            return [(f, number_of(f.split("/")[0], label, home / f"{split}Images.txt")) for f in files]

        drawn = random_split(entries(train, "Train"), self.counts["train"], self.counts["val"], seed=51)
        return Lists(names, {**drawn, "test": entries(test, "Test")})
