"""MoCo v3 with ViT-S/16 as published on ImageNet (Chen, Xie, He, ICCV 2021)."""

from __future__ import annotations

from augaware.recipe import Recipe
from augaware.recipes.base import BYOL_VIEWS, IMAGENET, byol_law, chosen

__all__ = ["paper_moco_v3"]

BATCHES = {4096: 4096, 1024: 1024}


def paper_moco_v3(batch_size: int = 4096) -> Recipe:
    """MoCo v3's own ViT-S/16 setting: frozen patch projection, AdamW, 300 epochs, two unlike views.

    Code (facebookresearch/moco-v3, CONFIG.md and main_moco.py): batch 4096, or 1024 on one machine; AdamW, lr 1.5e-4
    per 256, weight decay .1 on all parameters, 300 epochs, 40 of warm-up, T .2, m from .99 to 1; BYOL's two views.

    Expected: linear top-1 on ImageNet 73.2 with batch 4096 (authors' CONFIG.md). Not run by us.

    augaware pretrain --recipe "paper_moco_v3(batch_size=1024)" --data imagenet/train --out runs/moco_v3
    """
    return Recipe(
        data=IMAGENET,
        host="moco_v3(temperature=0.2, momentum=0.99, momentum_end=1.0)",
        encoder="vit_small",
        augment=byol_law(),
        views=BYOL_VIEWS,
        size=224,
        epochs=300,
        batch_size=chosen("paper_moco_v3", "batch_size", batch_size, BATCHES),
        optimizer="adamw",
        base_lr=1.5e-4,
        weight_decay=0.1,
        warmup_epochs=40.0,
    )
