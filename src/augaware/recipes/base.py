"""What recipes share: the laws of views that several papers use, and how an argument is refused.

Of all ``paper_*`` recipes: "code" is the authors' released code, read; "memory" is a recollection of the paper that was
not checked. Deviations that all of them share: images are shrunk to a short side of three views as they are read; crops
are antialiased bilinear (BYOL, Barlow Twins, VICReg, DINO: bicubic); the jitter's order is drawn per image; rates and
EMA coefficients change at every step where code changes them once an epoch; networks start as in AugSelf's code. No
``paper_*`` or ``augself_*`` recipe has been run here at full length.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from augaware.errors import RequestError, did_you_mean

K = TypeVar("K", str, int)
V = TypeVar("V")

IMAGENET = "imagenet/train"
MOCO_LAW = (  # MoCo v2 and SimSiam, code: torchvision's operations on PIL images
    "crop(scale=(0.2, 1.0))",
    "flip(p=0.5)",
    "color_jitter(0.4, 0.4, 0.4, 0.1, p=0.8, form='torchvision')",
    "grayscale(p=0.2)",
    "gaussian_blur(p=0.5)",
)
BYOL_SECOND = "gaussian_blur(p=0.1)", "solarize(p=0.2, threshold=(0.5, 0.5))"  # where the second view differs
BYOL_VIEWS = ("view()", f"view(change={list(BYOL_SECOND)!r})")


def byol_law(form: str = "torchvision", scale: tuple[float, float] = (0.08, 1.0)) -> tuple[str, ...]:
    """BYOL's first view (code), which MoCo v3, Barlow Twins, VICReg and DINO took over; ``form`` as in color_jitter."""
    return (
        f"crop(scale={scale!r})",
        "flip(p=0.5)",
        f"color_jitter(0.4, 0.4, 0.2, 0.1, p=0.8, form={form!r})",
        "grayscale(p=0.2)",
        "gaussian_blur(p=1.0)",
        "solarize(p=0.0, threshold=(0.5, 0.5))",
    )


def chosen(recipe: str, key: str, value: K, accepted: Mapping[K, V]) -> V:
    """What ``accepted`` holds for argument ``key`` of ``recipe``. Raises :class:`RequestError` for another value."""
    if not isinstance(value, (str, int)) or value not in accepted:
        names = [str(name) for name in accepted]
        raise RequestError(
            f"recipe {recipe!r}: {key}={value!r} is unknown; accepted: {', '.join(names)}"
            f"{did_you_mean(str(value), names)}"
        )
    return accepted[value]
