"""SwAV with multi-crop as published on ImageNet (Caron et al., NeurIPS 2020)."""

from __future__ import annotations

from augaware.recipe import Recipe
from augaware.recipes.base import IMAGENET, chosen

__all__ = ["paper_swav"]

BATCHES: dict[int, tuple[str, float, float, float]] = {  # of the host; lr per 256; warm-up epochs, and where it starts
    4096: ("freeze=313", 0.3, 10.0, 0.3 / 4.8),
    256: ("freeze=5005, queue=3840, queue_epoch=15.0", 0.6, 0.0, 0.0),
}


def paper_swav(batch_size: int = 4096, epochs: int = 400) -> Recipe:
    """SwAV's own ImageNet setting: ResNet-50, 2 views of 224 and 6 of 96 px, 3000 prototypes; batch 4096 or 256.

    Code (facebookresearch/swav, scripts and main_swav.py), batch 4096: lr 4.8 to .0048, 10 epochs of warm-up from .3,
    prototypes frozen for 313 steps, no queue; batch 256: lr .6 to .0006, no warm-up, frozen for 5005, a queue of 3840
    from epoch 15. Both: LARS on all parameters, biases and BN too, trust .001, weight decay 1e-6; T .1, epsilon .05, 3
    iterations, projector 2048-2048-128; crops (.14, 1) and (.05, .14) of the area, jitter .8 .8 .8 .2 on .8, gray .2,
    blur .5 of kernel 23; std .228 for red, which differs from everybody's .229.

    Expected: linear top-1 on ImageNet 72.1, 73.9, 74.6, 75.3 at 100, 200, 400, 800 epochs of batch 4096; 72.7, 74.3 at
    200, 400 of batch 256 (authors' README). Not run by us.

    augaware pretrain --recipe "paper_swav(batch_size=256)" --data imagenet/train --out runs/swav
    """
    host, base_lr, warmup, warmup_from = chosen("paper_swav", "batch_size", batch_size, BATCHES)
    return Recipe(
        data=IMAGENET,
        host=f"swav(prototypes=3000, temperature=0.1, epsilon=0.05, iterations=3, {host})",
        encoder="resnet50",
        augment=(
            "crop(scale=(0.14, 1.0))",
            "flip(p=0.5)",
            "color_jitter(0.8, 0.8, 0.8, 0.2, p=0.8, form='torchvision')",
            "grayscale(p=0.2)",
            "gaussian_blur(p=0.5, kernel=23)",
        ),
        views=("view(2)", "view(6, size=96, change=['crop(scale=(0.05, 0.14))'])"),
        size=224,
        std=(0.228, 0.224, 0.225),
        epochs=epochs,
        batch_size=batch_size,
        optimizer="lars",
        base_lr=base_lr,
        weight_decay=1e-6,
        warmup_epochs=warmup,
        warmup_from=warmup_from,
        final_lr=1e-3,
    )
