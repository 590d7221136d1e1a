"""VICReg as published on ImageNet (Bardes, Ponce, LeCun, ICLR 2022)."""

from __future__ import annotations

from augaware.recipe import Recipe
from augaware.recipes.base import BYOL_VIEWS, IMAGENET, byol_law, chosen

__all__ = ["paper_vicreg"]

PRESETS = {1000: (2048, 0.2), 100: (512, 0.3)}  # batch, lr per 256


def paper_vicreg(epochs: int = 1000) -> Recipe:
    """VICReg's own ImageNet setting: ResNet-50, LARS, embeddings of 8192, two unlike views; 1000 or 100 epochs.

    Code (facebookresearch/vicreg, README and main_vicreg.py): batch 2048 and lr .2 per 256 for 1000 epochs, 512 and .3
    for 100; LARS, momentum .9, weight decay 1e-6, biases and BN in neither decay nor adaptation, 10 epochs of warm-up,
    cosine to .001 of the peak, weights 25, 25, 1, projector 8192-8192-8192. Memory: the views are Barlow Twins'.

    Expected: linear top-1 on ImageNet 73.2 at 1000 epochs (authors' README), about 68 at 100 (paper, from memory). Not
    run by us.

    augaware pretrain --recipe "paper_vicreg(epochs=100)" --data imagenet/train --out runs/vicreg
    """
    batch_size, base_lr = chosen("paper_vicreg", "epochs", epochs, PRESETS)
    return Recipe(
        data=IMAGENET,
        host="vicreg(invariance=25.0, variance=25.0, covariance=1.0, hidden_dim=8192, output_dim=8192)",
        encoder="resnet50",
        augment=byol_law(),
        views=BYOL_VIEWS,
        size=224,
        epochs=epochs,
        batch_size=batch_size,
        optimizer="lars",
        base_lr=base_lr,
        weight_decay=1e-6,
        exclude_1d=True,
        warmup_epochs=10.0,
        final_lr=1e-3,
    )
