"""BYOL as published on ImageNet (Grill et al., NeurIPS 2020)."""

from __future__ import annotations

from augaware.recipe import Recipe
from augaware.recipes.base import BYOL_VIEWS, IMAGENET, byol_law, chosen

__all__ = ["paper_byol"]

PRESETS = {1000: (0.2, 1.5e-6, 0.996), 300: (0.3, 1e-6, 0.99), 100: (0.45, 1e-6, 0.99)}  # lr, weight decay, m


def paper_byol(epochs: int = 1000) -> Recipe:
    """BYOL's own ImageNet setting: ResNet-50, batch 4096, LARS, two unlike views; 1000, 300 or 100 epochs.

    Code (deepmind-research/byol, configs/byol.py): lr per 256, weight decay and first m by the epochs, PRESETS here;
    batch 4096, LARS, momentum .9, biases and BN in neither decay nor adaptation, 10 epochs of warm-up, cosine to 0, m
    to 1, hidden 4096, output 256; BYOL's two views with the S of HSV. Code: brightness is added; here: multiplied.

    Expected: linear top-1 on ImageNet 74.3 at 1000 epochs (paper; authors' README 74.0 to 74.5), 72.5 at 300 (paper,
    from memory), 66.5 at 100 (SimSiam's paper, from memory). Not run by us.

    augaware pretrain --recipe "paper_byol(epochs=300)" --data imagenet/train --out runs/byol
    """
    base_lr, weight_decay, m = chosen("paper_byol", "epochs", epochs, PRESETS)
    return Recipe(
        data=IMAGENET,
        host=f"byol(momentum={m}, momentum_end=1.0, hidden_dim=4096, output_dim=256)",
        encoder="resnet50",
        augment=byol_law(form="hsv"),
        views=BYOL_VIEWS,
        size=224,
        epochs=epochs,
        batch_size=4096,
        optimizer="lars",
        base_lr=base_lr,
        weight_decay=weight_decay,
        exclude_1d=True,
        warmup_epochs=10.0,
    )
