"""A preset by domain: faces and their landmarks, poses, what has a left and a right."""

from __future__ import annotations

from augaware.recipe import Recipe

__all__ = ["faces"]


def faces(encoder: str = "resnet18", epochs: int = 200, size: int = 96) -> Recipe:
    """Faces and landmarks: position and side are the answer, so nothing is flipped and crops are mild.

    What the domain needs: where things are, and on which side. A flip swaps the left eye with the right one, so there
    is none; nor turns. Crops keep half of the area or more: invariance to where a crop was taken from is blindness to
    where the eye is. Light and skin vary between photographs and are not the answer here: jitter as usual. EquiMod with
    the paper's weight was level with vanilla on landmarks, as IFM and E-SSL were, and unlike them gained elsewhere.

    Limits: no method compared here keeps landmarks better than vanilla, and raw pixels read them best (RESULTS.md,
    section 5): look at pixels and at vanilla (--set aware=()) beside it.

    Expected: landmarks of face_keypoints68, pooled R2 times 100: EquiMod 92.5 ± 0.1, vanilla 92.5 ± 0.5, pixels 95.2
    (ours, seeds 20, 21, 22, a narrow network at 24 px for 936 steps on Tiny-ImageNet, with flips and crops from .2;
    RESULTS.md, section 5). The preset itself is not measured.

    augaware pretrain --recipe faces --data IMAGES --out runs/faces
    """
    return Recipe(
        data="images",
        host="simclr(temperature=0.2)",
        aware=("equimod()",),
        encoder=encoder,
        augment=(
            "crop(scale=(0.5, 1.0))",
            "color_jitter(0.4, 0.4, 0.4, 0.1)",
            "grayscale(p=0.2)",
            "gaussian_blur(p=0.5)",
        ),
        size=size,
        epochs=epochs,
    )
