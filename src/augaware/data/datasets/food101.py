"""Food-101 (Bossard et al., ECCV 2014)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import ClassVar

from augaware.data.datasets.listed import Entries, ListedSet, Lists, number_of, random_split, read_lines
from augaware.errors import RequestError

__all__ = ["Food101"]


class Food101(ListedSet):
    """Food: 101 dishes. val is random (seed 42) from the official train, in the order of ``meta/train.json``."""

    title = "Food-101"
    classes = 101
    counts: ClassVar = {"train": 68175, "val": 7575, "test": 25250}
    layout = "food-101/ with images/ and meta/, as food-101.tar.gz unpacks"
    url = "https://data.vision.ee.ethz.ch/cvl/datasets_extra/food-101/"
    fetched = (("Food101", {}),)
    places = ("food-101", "food101/food-101", "food101")
    needs = ("images", "meta/train.json", "meta/test.json")
    images = "images"

    def lists(self, home: Path) -> Lists:
        """Train, val and test."""
        train, test = (_read(home / "meta" / f"{split}.json") for split in ("train", "test"))
        names = sorted(train)
        label = {name: number for number, name in enumerate(names)}

        def entries(listed: dict[str, list[str]], split: str) -> Entries:
            path = home / "meta" / f"{split}.json"
            return [(f"{f}.jpg", number_of(name, label, path)) for name, files in listed.items() for f in files]

        drawn = random_split(entries(train, "train"), self.counts["train"], self.counts["val"], seed=42)
        return Lists([name.replace("_", " ") for name in names], {**drawn, "test": entries(test, "test")})


def _read(path: Path) -> dict[str, list[str]]:
    """Class -> its images."""
    try:
        found = json.loads("\n".join(read_lines(path)))
        return {str(name): [str(file) for file in files] for name, files in found.items()}
    except (ValueError, AttributeError, TypeError):
        raise RequestError(f"list {path} is damaged: class -> images expected; unpack the archive again") from None
