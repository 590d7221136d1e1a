"""The ImageNet100 setting of AugSelf (NeurIPS 2021) and CASSLE (KBS 2024)."""

from __future__ import annotations

from typing import Any

from augaware.recipe import DEFAULT_AUGMENT, Recipe
from augaware.recipes.base import chosen
from augaware.recipes.shared import IMAGENET100_HOSTS, awareness

__all__ = ["augself_imagenet100"]

SETTINGS: dict[str, dict[str, Any]] = {
    "simclr": {"base_lr": 0.05},
    "moco_v2": {"base_lr": 0.03},
    "byol": {"base_lr": 0.05},
    "simsiam": {"base_lr": 0.05},
    "swav": {"base_lr": 0.05},
    "barlow_twins": {"base_lr": 0.05, "epochs": 300, "lr_1d": 0.024, "warmup_epochs": 10.0, "warmup_from": 0.1},
    "supervised": {"base_lr": 0.1, "epochs": 100},
}


def augself_imagenet100(host: str = "simsiam", aware: str = "vanilla") -> Recipe:
    """AugSelf's and CASSLE's setting on ImageNet100: ResNet-50 at 224 px, 500 epochs, seven hosts, four variants.

    ``host``: simclr, moco_v2, byol, simsiam, swav, barlow_twins, supervised. ``aware``: vanilla, augself (weights .5
    and .5), cassle, augself+cassle. Authors' code: batch 256, SGD, weight decay 1e-4, views as on STL10 with blur of
    kernel 23; lr .03 MoCo v2, .05 SimSiam. Uncertain, from CASSLE's authors' scripts: SimCLR .05 (vanilla also .03),
    BYOL .05 (AugSelf .03), SwAV .05, Barlow Twins .05, 300 epochs, 10 of warm-up from a tenth, biases and BN at .024 of
    the rate. Memory, low confidence: supervised .1, 100 epochs. One rate per host, whatever ``aware``: .05 alone gives
    MoCo v2 1 to 2 points.

    Expected: linear probe, mean of 13 sets, vanilla -> AugSelf -> CASSLE: SimCLR 62.12 -> 63.22 -> 64.03, MoCo v2 61.87
    -> 63.80 -> 64.48; of 11 sets, vanilla -> AugSelf: SimSiam 67.26 -> 69.24; of 10: supervised 61.21 -> 62.22.
    Flowers-102: SimCLR 83.37 -> 85.77 -> 85.22, MoCo v2 82.43 -> 85.70 -> 86.51, SimSiam 88.06 -> 90.70, supervised
    76.09 -> 78.22 (posters of both papers, means ours). BYOL, SwAV, Barlow Twins: not known. A retraining differs by .3
    to 1. Not run by us.

    augaware pretrain --recipe "augself_imagenet100(host='moco_v2', aware='cassle')" --out runs/moco-cassle
    """
    recipe = Recipe(
        data="imagenet100('imagenet/train')",
        host=chosen("augself_imagenet100", "host", host, IMAGENET100_HOSTS),
        aware=awareness("augself_imagenet100", aware, lam=0.5),
        encoder="resnet50",
        augment=DEFAULT_AUGMENT,
        size=224,
        epochs=500,
        batch_size=256,
        weight_decay=1e-4,
    )
    return recipe.changed(SETTINGS[host])
