"""Stanford Cars (Krause et al., 2013)."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from augaware.data.datasets.listed import Entries, ListedSet, Lists, random_split, read_mat
from augaware.errors import RequestError

__all__ = ["Cars"]


class Cars(ListedSet):
    """Cars: 196 models. val is random (seed 51) from the official train: 7000 and 1144, as in CASSLE's code.

    AugSelf (paper): 6494 and 1650, by a seed that is not published.
    """

    title = "Stanford Cars"
    classes = 196
    counts: ClassVar = {"train": 7000, "val": 1144, "test": 8041}
    layout = (
        "stanford_cars/ with cars_train/, cars_test/, devkit/cars_meta.mat, devkit/cars_train_annos.mat and "
        "cars_test_annos_withlabels.mat"
    )
    url = "https://ai.stanford.edu/~jkrause/cars/car_dataset.html (gone; copies are elsewhere)"
    places = ("stanford_cars", "cars/stanford_cars", "cars")
    needs = (
        "cars_train",
        "cars_test",
        "devkit/cars_meta.mat",
        "devkit/cars_train_annos.mat",
        "cars_test_annos_withlabels.mat",
    )

    def lists(self, home: Path) -> Lists:
        """Train, val and test."""
        (names,) = read_mat(home / "devkit" / "cars_meta.mat", "class_names")
        train = _read(home / "devkit" / "cars_train_annos.mat", "cars_train")
        drawn = random_split(train, self.counts["train"], self.counts["val"], seed=51)
        test = _read(home / "cars_test_annos_withlabels.mat", "cars_test")
        return Lists([str(name) for name in names], {**drawn, "test": test})


def _read(path: Path, folder: str) -> Entries:
    (found,) = read_mat(path, "annotations")
    try:
        return [(f"{folder}/{row['fname']}", int(row["class"]) - 1) for row in found.reshape(-1)]
    except (ValueError, IndexError, TypeError):
        raise RequestError(f"list {path} is damaged: fname and class of each image expected") from None
