"""SimSiam as published on ImageNet (Chen, He, CVPR 2021)."""

from __future__ import annotations

from augaware.recipe import Recipe
from augaware.recipes.base import IMAGENET, MOCO_LAW

__all__ = ["paper_simsiam"]


def paper_simsiam(epochs: int = 100) -> Recipe:
    """SimSiam's own ImageNet setting: ResNet-50, batch 512, SGD, a predictor at a constant rate.

    Code (facebookresearch/simsiam, --fix-pred-lr): batch 512, SGD, momentum .9, lr .05 per 256, weight decay 1e-4 on
    all parameters, cosine without warm-up, projector 2048-2048-2048-2048 whose last BN has no weight and bias,
    predictor 2048-512-2048, the views of MOCO_LAW.

    Expected: linear top-1 on ImageNet 68.1 at 100 epochs (authors' README); 70.0, 70.8, 71.3 at 200, 400, 800 (paper,
    batch 256, from memory). Not run by us.

    augaware pretrain --recipe paper_simsiam --data imagenet/train --out runs/simsiam
    """
    return Recipe(
        data=IMAGENET,
        host="simsiam(proj_layers=3, hidden_dim=2048, pred_hidden_dim=512, affine=False)",
        encoder="resnet50",
        augment=MOCO_LAW,
        size=224,
        epochs=epochs,
        batch_size=512,
        base_lr=0.05,
        weight_decay=1e-4,
    )
