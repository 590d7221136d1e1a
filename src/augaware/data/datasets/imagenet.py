"""ImageNet, the 1000 classes of ILSVRC 2012 (Russakovsky et al., IJCV 2015)."""

from __future__ import annotations

from typing import ClassVar

from augaware.data.datasets.prepared import Prepared

__all__ = ["ImageNet"]


class ImageNet(Prepared):
    """Objects: 1000 kinds. The official val serves as test; a fifth of train becomes val."""

    title = "ImageNet"
    classes = 1000
    counts: ClassVar = {"train": 1281167, "test": 50000}
    layout = "imagenet/ with train/ and val/, a folder per class (n01440764, ...) in each; val sorted into them"
    url = "https://image-net.org/download-images.php"
    places = ("ILSVRC2012", "ILSVRC/Data/CLS-LOC")
