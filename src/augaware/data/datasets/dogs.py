"""Stanford Dogs (Khosla et al., 2011)."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from augaware.data.datasets.listed import Entries, ListedSet, Lists, per_class, read_mat
from augaware.errors import RequestError

__all__ = ["Dogs"]


class Dogs(ListedSet):
    """Dogs: 120 breeds, the official train and test. 10 train images of each breed are val.

    AugSelf: which ones is a file of theirs; here: drawn by :func:`augaware.data.datasets.listed.per_class`.
    """

    title = "Stanford Dogs"
    classes = 120
    counts: ClassVar = {"train": 10800, "val": 1200, "test": 8580}
    layout = "dogs/ with Images/, train_list.mat and test_list.mat, as images.tar and lists.tar unpack"
    url = "http://vision.stanford.edu/aditya86/ImageNetDogs/"
    places = ("dogs", "StanfordDogs", "stanford_dogs")
    needs = ("Images", "train_list.mat", "test_list.mat")
    images = "Images"

    def lists(self, home: Path) -> Lists:
        """Train, val and test."""
        train, test = (_read(home / f"{split}_list.mat") for split in ("train", "test"))
        names = {label: file.split("/")[0].partition("-")[2].replace("_", " ") for file, label in [*train, *test]}
        val, rest = per_class(train, 10)
        return Lists([names.get(i, str(i)) for i in range(max(names) + 1)], {"train": rest, "val": val, "test": test})


def _read(path: Path) -> Entries:
    files, labels = read_mat(path, "file_list", "labels")
    try:
        return [(str(f), int(i) - 1) for f, i in zip(files.reshape(-1), labels.reshape(-1), strict=True)]
    except (ValueError, TypeError, AttributeError):
        raise RequestError(f"list {path} is damaged: as many files as labels expected") from None
