"""A preset by domain: stained tissue under the microscope."""

from __future__ import annotations

from augaware.recipe import Recipe

__all__ = ["histology"]


def histology(encoder: str = "resnet18", epochs: int = 200, size: int = 224) -> Recipe:
    """Histology, H&E: stains vary between laboratories and mean something, tissue has no up, magnification is fixed.

    What the domain needs: texture, the size of nuclei, how much of which stain; neither up nor left. So all four
    quarter turns and flips, equally likely; crops of no less than .4 of the area, because a nucleus twice as large is
    a finding; and in the place of colour jitter and grayscale, which make colours that no stain makes, the stain
    augmentation: gains and shifts of haematoxylin and eosin, as between laboratories. How strongly a tissue is stained
    can be the answer (in immunohistochemistry it is), so it is not thrown away: AugSelf has the features say how two
    views differ in stain, and CASSLE's projector is told stain, turn, flip and crop, so that the features need not
    forget them. AugSelf does not predict crops here: its target follows a centre through flips, not through turns.

    Where the stain is a nuisance only, as between scanners of one laboratory, leave the awareness out: --set aware=().
    Split by patient, not by tile: neighbouring tiles share their stain.

    Expected: not measured, no histology was at hand. What carries over is colour: on Flowers-102 AugSelf with CASSLE is
    8.6 points above vanilla [4.9, 12.3] (ours, 3 seeds, a narrow network at 24 px; RESULTS.md, section 5).

    augaware pretrain --recipe histology --data TILES --out runs/histology
    """
    return Recipe(
        data="images",
        host="simclr(temperature=0.2)",
        aware=("augself({'stain': 10})", "cassle(condition=('crop', 'flip', 'rotate90', 'stain'))"),
        encoder=encoder,
        augment=(
            "crop(scale=(0.4, 1.0))",
            "flip()",
            "rotate90(p=1.0)",
            "stain(gain=(-0.2, 0.2), shift=(-0.05, 0.05))",
            "color_jitter(0.2, 0.2, 0.0, 0.0)",
            "gaussian_blur(p=0.3, sigma=(0.1, 1.0))",
        ),
        size=size,
        epochs=epochs,
    )
