"""The ResNets of AugSelf and CASSLE: torchvision's, with the papers' initialisation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from augaware.checks import check_widths
from augaware.nets.base import Encoder, small_image_stem


def residual(block: Any, layers: Sequence[int], stem: str, channels: int) -> Encoder:
    """torchvision's ResNet of ``layers`` blocks per stage, D = 512 times the block's expansion; any stem of base.py.

    Residual branches start at zero and the classifier is taken off; convolutions are re-initialised with PyTorch's own
    default (Kaiming uniform, a = sqrt 5) instead of torchvision's (both papers' code).
    """
    from torchvision.models.resnet import ResNet

    model = ResNet(block, list(layers), zero_init_residual=True)
    model.fc = nn.Identity()
    if channels != 3:
        check_widths("encoder 'resnet'", channels=channels)
        model.conv1 = nn.Conv2d(channels, 64, 7, stride=2, padding=3, bias=False)
    if stem != "imagenet":
        small_image_stem(model, stem)
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.reset_parameters()
    return Encoder(model, dim=512 * block.expansion)
