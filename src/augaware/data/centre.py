"""The papers' evaluation transform: resize the short side, crop the centre."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from augaware.data.base import ImageBatch, Source
from augaware.errors import RequestError


def centre_crop(image: Tensor, size: int, short_side: int | None = None) -> Tensor:
    """The central square: (..., C, H, W) uint8 or uint16 -> (..., C, size, size) float in [0, 1].

    The short side is resized to ``short_side`` pixels, at least and by default ``size``, bicubic and antialiased, as in
    the papers' evaluation: within two grey levels of torchvision's ``Resize`` and ``CenterCrop`` on a Pillow image
    (whose import would double a short command).
    """
    *lead, channels, height, width = image.shape
    top_level = torch.iinfo(image.dtype).max
    pixels = image.reshape(-1, channels, height, width).float()
    short, wanted = min(height, width), short_side or size
    if short != wanted:
        height, width = wanted * height // short, wanted * width // short
        pixels = F.interpolate(pixels, (height, width), mode="bicubic", antialias=True).round_().clamp_(0, top_level)
    top, left = round((height - size) / 2), round((width - size) / 2)
    return pixels[..., top : top + size, left : left + size].reshape(*lead, channels, size, size) / top_level


def centre_batch(source: Source, index: Tensor, size: int, short_side: int | None = None) -> Tensor:
    """:func:`centre_crop` of the images ``index`` (B,): (B, C, size, size) float in [0, 1], one row for every index.

    Raises :class:`RequestError` as :func:`whole` does.
    """
    batch = whole(source.batch(index), source, index)
    if bool((batch.sizes == batch.sizes[:1]).all()):
        return centre_crop(batch.pixels, size, short_side)
    return torch.stack([centre_crop(image, size, short_side) for image in batch.cut()])


def whole(batch: ImageBatch, source: Source, index: Tensor) -> ImageBatch:
    """``batch``, which ``source`` gave for ``index`` (B,).

    Raises :class:`RequestError` where an image of a source too large to be checked at opening could not be read.
    """
    if len(batch) < len(index):
        lost = source.names[next(i for i in index.tolist() if i not in batch.index)]
        reason = next((image.reason for image in source.skipped if image.name == lost), "unreadable")
        raise RequestError(f"data {source.name!r}: {lost} cannot be read ({reason}); remove or replace it")
    return batch
