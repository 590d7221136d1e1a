"""Leaves of medicinal plants of the Philippines, for few-shot classification."""

from __future__ import annotations

from typing import ClassVar

from augaware.data.datasets.prepared import Prepared

__all__ = ["MedLeaf36"]


class MedLeaf36(Prepared):
    """Leaves: 36 species, front and back, at most 112 pixels."""

    title = "Medicinal plant leaves, 36 classes"
    classes = 36
    counts: ClassVar = {"train": 576, "val": 144, "test": 576}
    url = "https://github.com/mkmksto/ai221_final_project"
