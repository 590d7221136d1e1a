"""Scenes seen from satellites (Zou et al., GRSL 2015)."""

from __future__ import annotations

from typing import ClassVar

from augaware.data.datasets.prepared import Prepared

__all__ = ["RSSCN7"]


class RSSCN7(Prepared):
    """Scenes from above: 7 kinds, 112 pixels, 150 of 400 images of each."""

    title = "RSSCN7, remote sensing"
    classes = 7
    counts: ClassVar = {"train": 420, "val": 140, "test": 490}
    url = "https://github.com/palewithout/RSSCN7"
