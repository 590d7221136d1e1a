"""SUN397 (Xiao et al., CVPR 2010)."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from augaware.data.datasets.listed import Entries, ListedSet, Lists, number_of, per_class, read_lines
from augaware.data.fetch import fetch_archive

__all__ = ["SUN397"]

_PARTITIONS = "https://vision.princeton.edu/projects/2010/SUN/download/Partitions.zip"


class SUN397(ListedSet):
    """Scenes: 397 kinds, the first of the ten official partitions. 10 train images of each kind are val.

    AugSelf: which ones is a file of theirs; here: drawn by :func:`augaware.data.datasets.listed.per_class`.
    """

    title = "SUN397"
    classes = 397
    counts: ClassVar = {"train": 15880, "val": 3970, "test": 19850}
    layout = (
        "SUN397/ with a/, b/, ..., and ClassName.txt, Training_01.txt and Testing_01.txt of Partitions.zip beside them"
    )
    url = "https://vision.princeton.edu/projects/2010/SUN/"
    fetched = (("SUN397", {}),)
    places = ("SUN397", "sun397/SUN397", "sun397")
    needs = ("ClassName.txt", "Training_01.txt", "Testing_01.txt")

    def lists(self, home: Path) -> Lists:
        """Train, val and test."""
        names = [name.lstrip("/") for name in read_lines(home / "ClassName.txt")]
        label = {name: number for number, name in enumerate(names)}

        def entries(split: str) -> Entries:
            path = home / f"{split}_01.txt"
            files = [file.lstrip("/") for file in read_lines(path)]
            return [(file, number_of(file.rpartition("/")[0], label, path)) for file in files]

        val, train = per_class(entries("Training"), 10)
        plain = [name.partition("/")[2].replace("_", " ") or name for name in names]  # the first folder is a letter
        return Lists(plain, {"train": train, "val": val, "test": entries("Testing")})

    def download(self) -> None:
        """Images, and the partitions, which are published beside them."""
        super().download()
        fetch_archive(_PARTITIONS, self.root / "SUN397")
