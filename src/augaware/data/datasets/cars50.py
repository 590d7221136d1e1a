"""Fifty classes of Stanford Cars (Krause et al., 2013)."""

from __future__ import annotations

from typing import ClassVar

from augaware.data.datasets.prepared import Prepared

__all__ = ["Cars50"]


class Cars50(Prepared):
    """Cars: 50 models, at most 112 pixels, cut to their boxes; all from the official train."""

    title = "Stanford Cars, 50 of 196 classes"
    classes = 50
    counts: ClassVar = {"train": 900, "val": 248, "test": 721}
    url = "https://github.com/fmejbah/car_dataset1"
