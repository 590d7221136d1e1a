"""The ResNet-50 of AugSelf and CASSLE (ImageNet100)."""

from __future__ import annotations

from augaware.nets.base import Encoder
from augaware.nets.residual import residual

__all__ = ["resnet50"]


def resnet50(stem: str = "imagenet", channels: int = 3) -> Encoder:
    """ResNet-50, D = 2048, initialised as in AugSelf and CASSLE; stem 'imagenet' or 'cifar', as resnet18's.

    ``channels``: of an image. torchvision's network and names (:func:`augaware.nets.residual.residual`).
    """
    from torchvision.models.resnet import Bottleneck

    return residual(Bottleneck, (3, 4, 6, 3), stem, channels)
