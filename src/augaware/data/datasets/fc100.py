"""FC100 (Oreshkin et al., NeurIPS 2018): few-shot classes of CIFAR-100 that share no superclass with the others."""

from __future__ import annotations

from typing import ClassVar

from augaware.data.datasets.fewshot import FewShot

__all__ = ["FC100"]


class FC100(FewShot):
    """Few-shot: the 20 test classes of FC100, 600 images of 32 pixels each, of CIFAR-100's train and test."""

    title = "FC100"
    classes = 20
    counts: ClassVar = {"test": 12000}
    url = "https://arxiv.org/abs/1805.10123"
    members = (
        *("baby", "beaver", "bee", "beetle", "boy", "butterfly", "caterpillar", "cockroach", "dolphin", "fox"),
        *("girl", "man", "otter", "porcupine", "possum", "raccoon", "seal", "skunk", "whale", "woman"),
    )
