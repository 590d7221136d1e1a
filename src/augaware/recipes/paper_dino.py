"""DINO with ViT-S/16 and multi-crop as published on ImageNet (Caron et al., ICCV 2021)."""

from __future__ import annotations

from augaware.recipe import Recipe
from augaware.recipes.base import BYOL_SECOND, IMAGENET, byol_law, chosen

__all__ = ["paper_dino"]

PRESETS = {100: (512, 0.04, 0), 300: (1024, 0.07, 30)}  # batch, teacher's last temperature, epochs until it


def paper_dino(epochs: int = 100) -> Recipe:
    """DINO's own ViT-S/16 setting: 2 views of 224 and 8 of 96 px, AdamW, rising weight decay; 100 or 300 epochs.

    Code (facebookresearch/dino, README and main_dino.py): the README's two runs, 100 epochs of batch 512 with a teacher
    at .04, 300 of 1024 with one that rises to .07 in 30 epochs; 65536 outputs, student .1, m from .996 to 1, outputs
    fixed in the first epoch; AdamW, lr 5e-4 per 256 to 1e-6, 10 epochs of warm-up, weight decay from .04 to .4, none on
    biases and normalisation; crops (.4, 1) and (.05, .4) of the area, BYOL's jitter, gray and solarize, blur 1, .1 and
    .5. Code: gradients clipped at 3 per parameter; here: their common norm. Code: stochastic depth .1; here: none.
    Code, 300 epochs: last layer without weight normalisation; here: with it. Batches: 8 and 16 GPUs with the code's 64.

    Expected: k-NN and linear top-1 on ImageNet 69.3 and about 73.8 at 100 epochs, 73.3 and about 76.1 at 300 (authors'
    README; its linear probe reads four blocks, from memory). Not run by us.

    augaware pretrain --recipe "paper_dino(epochs=300)" --data imagenet/train --out runs/dino
    """
    batch_size, temperature, warmup = chosen("paper_dino", "epochs", epochs, PRESETS)
    base_lr = 5e-4
    small = ["crop(scale=(0.05, 0.4))", "gaussian_blur(p=0.5, kernel=23)"]
    return Recipe(
        data=IMAGENET,
        host=(
            "dino(output_dim=65536, student_temperature=0.1, teacher_temperature=0.04, "
            f"teacher_temperature_end={temperature}, warmup_epochs={warmup}, momentum=0.996, freeze_epochs=1)"
        ),
        encoder="vit_small(heads=6, positions='learned', freeze_patches=False)",
        augment=byol_law(scale=(0.4, 1.0)),
        views=("view()", f"view(change={list(BYOL_SECOND)!r})", f"view(8, size=96, change={small!r})"),
        size=224,
        epochs=epochs,
        batch_size=batch_size,
        optimizer="adamw",
        base_lr=base_lr,
        weight_decay=0.04,
        weight_decay_end=0.4,
        exclude_1d=True,
        warmup_epochs=10.0,
        final_lr=1e-6 / (base_lr * batch_size / 256),
        clip_norm=3.0,
    )
