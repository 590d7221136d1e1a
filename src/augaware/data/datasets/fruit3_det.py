"""Fruit with boxes, for detection."""

from __future__ import annotations

from typing import ClassVar

from augaware.data.datasets.prepared import Prepared

__all__ = ["Fruit3Det"]


class Fruit3Det(Prepared):
    """Apples, bananas and oranges with a box each, one to several in an image, at most 320 pixels."""

    title = "Fruit with boxes, 3 classes"
    classes = 3
    counts: ClassVar = {"train": 200, "val": 40, "test": 60}
    metric = "ap"
    url = "https://github.com/chanjianliu/fruit_recognition"
