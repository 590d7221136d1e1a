"""Tables beside images: the boxes of objects and the landmarks of faces, by split and name of the image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Boxes:
    """The objects of one image: ``labels`` (K) name them, ``corners`` (K) are xmin, ymin, xmax, ymax in its pixels.

    ``size`` is the image's (width, height) where the table says it, else None; ``difficult`` marks what VOC does not
    count.
    """

    labels: tuple[str, ...]
    corners: tuple[tuple[float, float, float, float], ...]
    difficult: tuple[bool, ...]
    size: tuple[int, int] | None


Key = tuple[str, str]  # the split, and the image's entry in Source.names
BoxTable = Mapping[Key, Boxes]
LandmarkTable = Mapping[Key, tuple[float, ...]]  # width, height, x1, y1, ..., xK, yK, in pixels
