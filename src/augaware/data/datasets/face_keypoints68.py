"""Frames of YouTube Faces with landmarks, a stand-in for 300W."""

from __future__ import annotations

from typing import ClassVar

from augaware.data.datasets.prepared import Prepared

__all__ = ["FaceKeypoints68"]


class FaceKeypoints68(Prepared):
    """Faces with 68 landmarks each, at most 96 pixels; no person is in two splits."""

    title = "YouTube Faces with 68 landmarks"
    classes = 0
    counts: ClassVar = {"train": 800, "val": 150, "test": 350}
    metric = "r2_pooled"
    url = "https://github.com/udacity/P1_Facial_Keypoints"
