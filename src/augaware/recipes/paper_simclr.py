"""SimCLR as published on ImageNet (Chen, Kornblith, Norouzi, Hinton, ICML 2020)."""

from __future__ import annotations

from augaware.recipe import Recipe
from augaware.recipes.base import IMAGENET

__all__ = ["paper_simclr"]


def paper_simclr(epochs: int = 1000) -> Recipe:
    """SimCLR's own ImageNet setting: ResNet-50, batch 4096, LARS, strong colour jitter.

    Code (google-research/simclr, README and model_util.py): batch 4096, LARS, lr .3 per 256, weight decay 1e-6, biases
    and BN in neither decay nor adaptation, temperature .1; crops from .08 of the area, jitter .8 .8 .8 .2 on .8 with
    the S of HSV, gray .2, blur .5 with sigma U(.1, 2). Memory: 10 epochs of warm-up, momentum .9, projector
    2048-2048-128. Code: BN on the projector's output too; here: none. Code: a scale of contrast per channel; here: one
    mean.

    Expected: linear top-1 on ImageNet 69.3 at 1000 epochs (paper, from memory; authors' checkpoint 69.1), about 64.5 at
    100 (authors' README). Not run by us.

    augaware pretrain --recipe "paper_simclr(epochs=100)" --data imagenet/train --out runs/simclr
    """
    return Recipe(
        data=IMAGENET,
        host="simclr(temperature=0.1, proj_output_dim=128)",
        encoder="resnet50",
        augment=(
            "crop(scale=(0.08, 1.0))",
            "flip(p=0.5)",
            "color_jitter(0.8, 0.8, 0.8, 0.2, p=0.8, form='hsv')",
            "grayscale(p=0.2)",
            "gaussian_blur(p=0.5)",
        ),
        size=224,
        epochs=epochs,
        batch_size=4096,
        optimizer="lars",
        base_lr=0.3,
        weight_decay=1e-6,
        exclude_1d=True,
        warmup_epochs=10.0,
    )
