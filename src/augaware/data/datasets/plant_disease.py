"""Plant leaves, healthy and ill: PlantVillage (Hughes and Salathe, 2015), as few-shot work splits it."""

from __future__ import annotations

from typing import ClassVar

from augaware.data.datasets.prepared import Prepared

__all__ = ["PlantDisease"]


class PlantDisease(Prepared):
    """Leaves: 38 kinds of plant and disease. Few-shot classification draws from train and test together (AugSelf)."""

    title = "Plant Disease"
    classes = 38
    counts: ClassVar = {"train": 43456, "test": 10849}
    layout = "plant_disease/ with train/ and test/, a folder per class in each, as the dataset/ folder of the archive"
    url = "https://www.kaggle.com/datasets/saroz014/plant-disease"
    places = ("plant-disease/dataset", "plant_disease/dataset", "plant-disease")
