"""The ResNet-18 of AugSelf and CASSLE: torchvision's, with the papers' initialisation."""

from __future__ import annotations

from torch import nn

from augaware.nets.base import Encoder, small_image_stem

__all__ = ["resnet18"]


def resnet18(stem: str = "imagenet") -> Encoder:
    """ResNet-18, D = 512, initialised as in AugSelf and CASSLE; stem 'imagenet' or 'cifar' (3x3, stride 1, no pooling).

    torchvision's network with zero-initialised residual branches and the classifier taken off; convolutions are
    re-initialised with PyTorch's own default (Kaiming uniform, a = sqrt 5) instead of torchvision's (both papers'
    code).
    """
    from torchvision.models.resnet import BasicBlock, ResNet

    model = ResNet(BasicBlock, [2, 2, 2, 2], zero_init_residual=True)
    model.fc = nn.Identity()
    if stem != "imagenet":
        small_image_stem(model, stem)
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.reset_parameters()
    return Encoder(model, dim=512)
