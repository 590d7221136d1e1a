"""The papers' evaluation transform: resize the short side, crop the centre."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as F

from augaware.data.base import Source
from augaware.errors import RequestError


def centre_crop(image: Tensor, size: int) -> Tensor:
    """The central square: (..., 3, H, W) uint8 -> (..., 3, size, size) float in [0, 1].

    The short side is resized to ``size`` pixels, bicubic and antialiased, as in the papers' evaluation.
    """
    resized = F.resize(image, [size], interpolation=InterpolationMode.BICUBIC, antialias=True)
    square: Tensor = F.center_crop(resized, [size, size])
    return square.float() / 255


def centre_batch(source: Source, index: Tensor, size: int) -> Tensor:
    """:func:`centre_crop` of the images ``index`` (B,): (B, 3, size, size) float in [0, 1], one row for every index.

    Raises :class:`RequestError` where an image of a source too large to be checked at opening cannot be read.
    """
    batch = source.batch(index)
    if len(batch) < len(index):
        lost = source.names[next(i for i in index.tolist() if i not in batch.index)]
        reason = next((image.reason for image in source.skipped if image.name == lost), "unreadable")
        raise RequestError(f"data {source.name!r}: {lost} cannot be read ({reason}); remove or replace it")
    if bool((batch.sizes == batch.sizes[:1]).all()):
        return centre_crop(batch.pixels, size)
    crops = [
        centre_crop(pixels[:, :h, :w], size) for pixels, (h, w) in zip(batch.pixels, batch.sizes.tolist(), strict=True)
    ]
    return torch.stack(crops)
