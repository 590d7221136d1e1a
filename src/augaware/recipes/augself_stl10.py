"""The STL10 setting of AugSelf (NeurIPS 2021), which CASSLE's code shares."""

from __future__ import annotations

from augaware.recipe import DEFAULT_AUGMENT, Recipe
from augaware.recipes.base import chosen
from augaware.recipes.shared import STL10_HOSTS, awareness

__all__ = ["augself_stl10"]


def augself_stl10(host: str = "simsiam", aware: str = "vanilla") -> Recipe:
    """AugSelf's and CASSLE's setting on STL10: ResNet-18 at 96 px, 200 epochs, any of five hosts and four variants.

    ``host``: simclr, moco_v2, byol, simsiam, swav. ``aware``: vanilla, augself (weights 1 and 1), cassle,
    augself+cassle. Authors' code: 105,000 images of train+unlabeled, batch 256, SGD, lr .03, weight decay 5e-4, crops
    (.2, 1), jitter .4 .4 .4 .1 on .8, gray .2, blur .5 of kernel 9, mean and std of STL10; hosts and deviations in
    recipes/shared.py. CASSLE's authors' early MoCo v2 runs on STL10 rank every CASSLE below AugSelf.

    Expected: linear probe on Flowers-102 (class average), vanilla -> AugSelf: SimSiam 59.19 -> 72.18, MoCo v2 61.01 ->
    66.96, SimCLR 56.20 -> 64.31, BYOL 66.89 -> 74.07, SwAV 53.01 -> 61.69; mean of 11 sets: SimSiam 45.03 -> 50.68,
    MoCo v2 44.4 -> 47.0 (AugSelf's paper: SimSiam and MoCo v2 as transcribed by CASSLE's authors, the others from its
    poster; means ours). CASSLE: not published. Not run by us.

    augaware pretrain --recipe "augself_stl10(host='byol', aware='cassle')" --out runs/byol-cassle
    """
    return Recipe(
        data="torchvision:STL10(split='train+unlabeled')",
        host=chosen("augself_stl10", "host", host, STL10_HOSTS),
        aware=awareness("augself_stl10", aware, lam=1.0),
        encoder="resnet18",
        augment=DEFAULT_AUGMENT,
        size=96,
        mean=(0.43, 0.42, 0.39),
        std=(0.27, 0.26, 0.27),
        epochs=200,
        batch_size=256,
        base_lr=0.03,
        weight_decay=5e-4,
    )
