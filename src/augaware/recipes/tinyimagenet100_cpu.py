"""Real images on two CPU cores: a narrow network on Tiny-ImageNet at 32 px, a few minutes a run."""

from __future__ import annotations

from augaware.recipe import Recipe
from augaware.recipes.base import chosen

__all__ = ["tinyimagenet100_cpu"]

AWARE: dict[str, tuple[str, ...]] = {
    "vanilla": (),
    "augself": ("augself(targets={'crop': 2, 'color_jitter': 10}, hidden=256)",),
    "cassle": ("cassle(depth=2, scale=0.1)",),
}
AWARE["augself+cassle"] = (*AWARE["augself"], *AWARE["cassle"])


def tinyimagenet100_cpu(variant: str = "vanilla", epochs: int = 3) -> Recipe:
    """SimCLR, vanilla or aware, on 20,000 Tiny-ImageNet images at 32 px with strong colour jitter (b/c/s .8, hue .2).

    Not a published setting: a scaled-down one that separates the methods on the colour of flowers. ``variant``:
    vanilla, augself, cassle or augself+cassle.

    Expected: linear probe on Flowers-102 (class average, per cent) 15.5 ± 0.8 vanilla, 22.7 ± 1.4 AugSelf, 16.2 ± 1.4
    CASSLE (ours, seeds 20, 21, 22; RESULTS.md, section 2).

    augaware pretrain --recipe "tinyimagenet100_cpu(variant='augself')" --data TRAIN_TAR --seed 20 --out runs/augself
    """
    return Recipe(
        data="tinyimagenet100/train.tar.gz",
        host="simclr(temperature=0.2, proj_hidden_dim=256)",
        aware=chosen("tinyimagenet100_cpu", "variant", variant, AWARE),
        encoder="tiny(widths=(32, 64, 128, 256))",
        augment=(
            "crop(scale=(0.2, 1.0))",
            "flip()",
            "color_jitter(0.8, 0.8, 0.8, 0.2)",
            "grayscale(p=0.2)",
            "gaussian_blur(p=0.5)",
        ),
        size=32,
        epochs=epochs,
        batch_size=128,
        optimizer="adamw",
        base_lr=4e-3,
        weight_decay=1e-4,
        warmup_epochs=0.05 * epochs,
        clip_norm=3.0,
    )
