"""The ResNet-18 of AugSelf and CASSLE (STL10)."""

from __future__ import annotations

from augaware.nets.base import Encoder
from augaware.nets.residual import residual

__all__ = ["resnet18"]


def resnet18(stem: str = "imagenet", channels: int = 3) -> Encoder:
    """ResNet-18, D = 512, initialised as in AugSelf and CASSLE; stem 'imagenet' or 'cifar' (3x3, stride 1, no pooling).

    ``channels``: of an image. torchvision's network and names (:func:`augaware.nets.residual.residual`).
    """
    from torchvision.models.resnet import BasicBlock

    return residual(BasicBlock, (2, 2, 2, 2), stem, channels)
