"""The ResNets of AugSelf and CASSLE: torchvision's, with the papers' initialisation."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

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


def shapes(weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """What makes torchvision's ResNet with these tensors, as its arguments, read off their names and shapes.

    None of them has to be there: an argument is left at what a plain ResNet has.
    """
    from torchvision.models.resnet import BasicBlock, Bottleneck

    stages: dict[int, set[int]] = {stage: set() for stage in (1, 2, 3, 4)}
    for key in weights:
        if block := re.match(r"layer([1-4])\.(\d+)\.", key):
            stages[int(block[1])].add(int(block[2]))
    found: dict[str, Any] = {"layers": [len(blocks) for blocks in stages.values()], "block": BasicBlock}
    middle = weights.get("layer1.0.conv2.weight")
    if "layer1.0.conv3.weight" in weights and middle is not None:
        base = middle.shape[1]
        found |= {"block": Bottleneck, "groups": middle.shape[0] // base, "width_per_group": base}
    return found
