"""Ten classes of Describable Textures (Cimpoi et al., CVPR 2014)."""

from __future__ import annotations

from typing import ClassVar

from augaware.data.datasets.prepared import Prepared

__all__ = ["DTD10"]


class DTD10(Prepared):
    """Textures: the first 10 kinds, at most 112 pixels; the split is not an official one."""

    title = "DTD, 10 of 47 classes"
    classes = 10
    counts: ClassVar = {"train": 400, "val": 400, "test": 400}
    url = "https://github.com/pan8915/DeepTexture"
