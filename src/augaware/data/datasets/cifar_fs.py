"""CIFAR-FS (Bertinetto et al., ICLR 2019): few-shot classes of CIFAR-100."""

from __future__ import annotations

from typing import ClassVar

from augaware.data.datasets.fewshot import FewShot

__all__ = ["CIFARFS"]


class CIFARFS(FewShot):
    """Few-shot: the 20 test classes of CIFAR-FS, 600 images of 32 pixels each, of CIFAR-100's train and test."""

    title = "CIFAR-FS"
    classes = 20
    counts: ClassVar = {"test": 12000}
    url = "https://arxiv.org/abs/1805.08136"
    members = (
        *("baby", "bed", "bicycle", "chimpanzee", "fox", "leopard", "man", "pickup_truck", "plain", "poppy"),
        *("rocket", "rose", "snail", "sweet_pepper", "table", "telephone", "wardrobe", "whale", "woman", "worm"),
    )
