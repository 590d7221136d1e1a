"""MoCo v3 with ViT-S/16 on ImageNet as in CASSLE (KBS 2024)."""

from __future__ import annotations

from augaware.recipe import DEFAULT_AUGMENT, Recipe
from augaware.recipes.base import IMAGENET
from augaware.recipes.shared import awareness

__all__ = ["augself_imagenet_vit"]


def augself_imagenet_vit(aware: str = "vanilla") -> Recipe:
    """CASSLE's setting with MoCo v3: ViT-S/16 on ImageNet, 300 epochs, one law for both views; four variants.

    ``aware``: vanilla, augself (weights .5 and .5), cassle, augself+cassle. CASSLE's code: T .2, m .999 throughout
    (MoCo v3: from .99 to 1), AdamW, 40 epochs of warm-up from a fortieth, and in a comment lr 1.5e-4, weight decay .1,
    300 epochs. Not known: the views (the code has no full ImageNet), here those of ImageNet100; the batch, here the
    code's default of 256; AugSelf's weights, here those of ImageNet100.

    Expected: linear probe, mean of 13 sets, vanilla 57.82, AugSelf 59.46, CASSLE 59.68; Flowers-102 81.48, 83.13,
    82.42; CIFAR-100 62.40, 64.12, 64.67 (CASSLE's poster, means ours). Not run by us.

    augaware pretrain --recipe "augself_imagenet_vit(aware='cassle')" --data imagenet/train --out runs/vit-cassle
    """
    return Recipe(
        data=IMAGENET,
        host="moco_v3(temperature=0.2, momentum=0.999, momentum_end=0.999)",
        aware=awareness("augself_imagenet_vit", aware, lam=0.5),
        encoder="vit_small",
        augment=DEFAULT_AUGMENT,
        size=224,
        epochs=300,
        batch_size=256,
        optimizer="adamw",
        base_lr=1.5e-4,
        weight_decay=0.1,
        warmup_epochs=40.0,
        warmup_from=1 / 40,
    )
