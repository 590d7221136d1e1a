"""Three classes of Caltech-101 with their boxes, for localisation."""

from __future__ import annotations

from typing import ClassVar

from augaware.data.datasets.prepared import Prepared

__all__ = ["Caltech3Loc"]


class Caltech3Loc(Prepared):
    """Airplanes, faces and motorcycles with a box each, at most 112 pixels."""

    title = "Caltech-101 boxes, 3 classes"
    classes = 3
    counts: ClassVar = {"train": 660, "val": 150, "test": 450}
    url = "https://github.com/Alireza-Akhavan/object-detection-notebooks"
