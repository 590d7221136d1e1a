"""A preset by domain: the earth from above, in three bands."""

from __future__ import annotations

from augaware.recipe import Recipe

__all__ = ["remote_sensing"]


def remote_sensing(encoder: str = "resnet18", epochs: int = 200, size: int = 96) -> Recipe:
    """Satellite and aerial images: colour is the label (crops, water, soil), and there is no up.

    What the domain needs: colour and texture; neither up nor left. So all four quarter turns and flips, equally likely,
    and no grayscale; jitter at a quarter, for haze and the height of the sun. CASSLE's projector is told turn, flip,
    crop and what the jitter did to the mean colour, so that the features need not forget them, such as the direction of
    rows and roads. AugSelf has the features say how two views differ in colour; not in crop: its target follows a
    centre through flips, not through turns. Blur is rare: it is resolution, which means something.

    Where the same place was taken on several days, the days are better views than any jitter: --data
    "pairs('days.csv')" with the day as sine and cosine, and that name in AugSelf's targets. More than three bands: the
    preset's jitter is for three.

    Expected: linear probe on RSSCN7 (top-1, per cent) 55.2 ± 1.2 AugSelf, 46.3 ± 0.6 vanilla, 51.0 an untrained network
    (ours, seeds 20, 21, 22, a narrow network at 24 px for 936 steps on Tiny-ImageNet without turns, with strong jitter;
    RESULTS.md, section 8). The preset itself is not measured.

    augaware pretrain --recipe remote_sensing --data IMAGES --out runs/remote
    """
    return Recipe(
        data="images",
        host="simclr(temperature=0.2)",
        aware=(
            "augself({'color_jitter': 10})",
            "cassle(condition=('color_diff', 'color_jitter', 'crop', 'flip', 'rotate90'))",
        ),
        encoder=encoder,
        augment=(
            "crop(scale=(0.2, 1.0))",
            "flip()",
            "rotate90(p=1.0)",
            "color_jitter(0.2, 0.2, 0.2, 0.05)",
            "gaussian_blur(p=0.2, sigma=(0.1, 1.0))",
        ),
        size=size,
        epochs=epochs,
    )
