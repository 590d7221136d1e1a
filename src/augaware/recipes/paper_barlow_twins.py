"""Barlow Twins as published on ImageNet (Zbontar, Jing, Misra, LeCun, Deny, ICML 2021)."""

from __future__ import annotations

from augaware.recipe import Recipe
from augaware.recipes.base import BYOL_VIEWS, IMAGENET, byol_law

__all__ = ["paper_barlow_twins"]


def paper_barlow_twins(epochs: int = 1000) -> Recipe:
    """Barlow Twins' own ImageNet setting: ResNet-50, batch 2048, LARS, embeddings of 8192, two unlike views.

    Code (facebookresearch/barlowtwins, main.py): batch 2048, LARS, lr .2 per 256 for weights and .0048 for biases and
    BN, which are in neither decay nor adaptation; weight decay 1e-6, momentum .9, 10 epochs of warm-up, cosine to .001
    of the peak, lambda .0051, projector 8192-8192-8192; BYOL's two views.

    Expected: linear top-1 on ImageNet 73.3 at 1000 epochs (authors' README; 73.2 in the paper, from memory). Not run by
    us.

    augaware pretrain --recipe paper_barlow_twins --data imagenet/train --out runs/barlow_twins
    """
    return Recipe(
        data=IMAGENET,
        host="barlow_twins(lam=0.0051, hidden_dim=8192, output_dim=8192)",
        encoder="resnet50",
        augment=byol_law(),
        views=BYOL_VIEWS,
        size=224,
        epochs=epochs,
        batch_size=2048,
        optimizer="lars",
        base_lr=0.2,
        weight_decay=1e-6,
        exclude_1d=True,
        lr_1d=0.0048 / 0.2,
        warmup_epochs=10.0,
        final_lr=1e-3,
    )
