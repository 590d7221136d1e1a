"""A preset by domain: parts and surfaces in a production line."""

from __future__ import annotations

from augaware.recipe import Recipe

__all__ = ["inspection"]


def inspection(encoder: str = "resnet18", epochs: int = 200, size: int = 224) -> Recipe:
    """Industrial inspection: a defect is a wrong colour, place, size or turn, so the augmentations are weak.

    What the domain needs: all that the usual views erase. The camera stands still and the lamp is known. So mild crops
    (.6 to 1 of the area, nearly square), jitter that is no stronger than an ageing lamp, no grayscale, no flip and no
    turn: a part that lies the wrong way round is a defect. Blur is weak and rare: a scratch is a fine line. Weak views
    are easy to match, and what is left invariant is little; EquiMod predicts the embedding of each view from the plain
    image and omega, with the measured change of colour, and had the best mean rank of the methods compared,
    though no single set told it from AugSelf (RESULTS.md, section 5). A step costs 1.6 times vanilla's.

    Limits: defects smaller than a few pixels of ``size`` are lost before any network sees them; cut large images into
    patches. Where parts come to lie any way round, add "rotate90(p=1.0)" to augment: EquiMod is told of it.

    Expected: not measured, no inspection images were at hand. Nearest: textures (dtd10) +1.8 points above vanilla
    [-6.2, 9.7], colour (Flowers-102) +10.5 [4.5, 16.4] (ours, 3 seeds, a narrow network at 24 px, with strong views;
    RESULTS.md, section 5).

    augaware pretrain --recipe inspection --data IMAGES --out runs/inspection
    """
    return Recipe(
        data="images",
        host="simclr(temperature=0.2)",
        aware=("equimod(lam=2, condition='all')",),
        encoder=encoder,
        augment=(
            "crop(scale=(0.6, 1.0), ratio=(0.9, 1.1))",
            "color_jitter(0.1, 0.1, 0.1, 0.02)",
            "gaussian_blur(p=0.2, sigma=(0.1, 0.8))",
        ),
        size=size,
        epochs=epochs,
    )
