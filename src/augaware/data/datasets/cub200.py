"""Caltech-UCSD Birds-200-2011 (Wah et al., 2011)."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from augaware.data.datasets.listed import ListedSet, Lists, numbered, per_class, read_columns
from augaware.data.fetch import fetch_archive
from augaware.data.tables import Boxes, BoxTable
from augaware.errors import RequestError

__all__ = ["CUB200"]

_ARCHIVE = "https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz"
_MD5 = "97eceeb196236b17998738112f37df78"


class CUB200(ListedSet):
    """Birds: 200 kinds, the official train and test. 5 train images of each kind are val; every image has a box.

    Authors: 4990 train images, as four of the official 5994 were missing in their folder, and val is a file of theirs.
    Here: all 4994 and 1000, val drawn by :func:`augaware.data.datasets.listed.per_class`.
    """

    title = "CUB-200-2011"
    classes = 200
    counts: ClassVar = {"train": 4994, "val": 1000, "test": 5794}
    layout = "CUB_200_2011/ with images/, images.txt, image_class_labels.txt, classes.txt and train_test_split.txt"
    url = "https://data.caltech.edu/records/65de6-vp158"
    places = ("CUB_200_2011", "cub200/CUB_200_2011", "cub200")
    needs = ("images", "images.txt", "image_class_labels.txt", "classes.txt", "train_test_split.txt")
    images = "images"

    def lists(self, home: Path) -> Lists:
        """Train, val and test."""
        names = [name.partition(".")[2].replace("_", " ") or name for _, name in read_columns(home / "classes.txt", 2)]
        label, training = (
            numbered(read_columns(home / file, 2), home / file)
            for file in ("image_class_labels.txt", "train_test_split.txt")
        )
        files = read_columns(home / "images.txt", 2)
        if not {number for number, _ in files} == label.keys() == training.keys():
            raise RequestError(
                f"data set 'cub200': the lists in {home} name different images; unpack the archive again"
            )
        entries = [(file, label[number] - 1) for number, file in files]
        train = [entry for entry, (number, _) in zip(entries, files, strict=True) if training[number]]
        test = [entry for entry, (number, _) in zip(entries, files, strict=True) if not training[number]]
        val, rest = per_class(train, 5)
        return Lists(names, {"train": rest, "val": val, "test": test})

    def boxes(self) -> BoxTable:
        """The box of each bird, labelled by its kind; sizes of images are not stated."""
        home = self.home()
        path, lists = home / "bounding_boxes.txt", self.lists(home)
        numbers = {number: file for number, file in read_columns(home / "images.txt", 2)}
        corners = {}
        for number, *box in read_columns(path, 5):
            try:
                x, y, width, height = map(float, box)
                corners[numbers[number]] = (x, y, x + width, y + height)
            except (ValueError, KeyError):
                raise RequestError(f"list {path} is damaged at image {number}") from None
        found = {}
        for split, entries in lists.splits.items():
            for file, label in entries:
                if file not in corners:
                    raise RequestError(f"list {path} lacks the box of {file}")
                found[split, file] = Boxes((lists.classes[label],), (corners[file],), (False,), None)
        return found

    def download(self) -> None:
        """The archive of 1.2 GB."""
        fetch_archive(_ARCHIVE, self.root, _MD5)
