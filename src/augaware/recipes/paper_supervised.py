"""Supervised ResNet-50 on ImageNet, the usual reference."""

from __future__ import annotations

from augaware.recipe import Recipe
from augaware.recipes.base import IMAGENET

__all__ = ["paper_supervised"]


def paper_supervised(epochs: int = 90) -> Recipe:
    """Supervised ResNet-50 on ImageNet with labels, crops and flips; low confidence: from memory throughout.

    Memory (torchvision's reference training): batch 256, SGD, momentum .9, lr .1, weight decay 1e-4, 90 epochs, crops
    from .08 of the area and flips alone. There: the rate falls tenfold every 30 epochs; here: as a cosine. There: one
    view of an image in a step; here: two, whose losses are averaged. Needs a folder per class.

    Expected: top-1 on ImageNet of the network itself 76.1 (torchvision's weights, from memory, one view and steps; low
    confidence for this setting). Not run by us.

    augaware pretrain --recipe paper_supervised --data imagenet/train --out runs/supervised
    """
    return Recipe(
        data=IMAGENET,
        host="supervised()",
        encoder="resnet50",
        augment=("crop(scale=(0.08, 1.0))", "flip(p=0.5)"),
        size=224,
        epochs=epochs,
        batch_size=256,
        base_lr=0.1,
        weight_decay=1e-4,
    )
