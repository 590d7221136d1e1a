"""The papers' evaluation transform: resize the short side, crop the centre; and what normalises and shows images."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from augaware.data.base import ImageBatch, Source
from augaware.errors import RequestError
from augaware.random import epoch_order

MEASURED = 512  # images that say what mean and std are


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


def channel_moments(source: Source, seed: int) -> dict[str, tuple[float, ...]]:
    """mean and std of each channel, of [0, 1] pixels of 512 images drawn by ``seed``, to six decimals.

    A channel that is the same everywhere has a std of 1: it is centred, not blown up.
    """
    total = squares = torch.zeros(source.channels, dtype=torch.float64)
    count, top = 0, torch.iinfo(source.dtype).max
    for index in torch.split(epoch_order(len(source), seed, 0)[:MEASURED].sort().values, 32):
        for image in source.batch(index).cut():
            x = image.flatten(1).double() / top
            total, squares, count = total + x.sum(1), squares + x.square().sum(1), count + x.shape[1]
    if not count:
        raise RequestError(f"data {source.name!r}: no image to measure mean and std of can be read")
    mean = total / count
    std = (squares / count - mean.square()).clamp_min(0).sqrt()
    rounded = [round(s, 6) or 1.0 for s in std.tolist()]
    return {"mean": tuple(round(m, 6) for m in mean.tolist()), "std": tuple(rounded)}


def as_rgb(images: Tensor, like: Tensor | None = None) -> Tensor:
    """What people see of images (..., C, H, W) in [0, 1]: the first three channels, (..., 3, H, W); one is gray.

    Each is stretched so that 1 % of the pixels of ``like``, by default of ``images``, is black and 1 % is white.
    """
    like = images if like is None else like
    shown, measured = (x[..., :3, :, :] for x in (images, like))
    flat = measured.movedim(-3, 0).flatten(1).float()
    flat = flat[:, :: max(1, flat.shape[1] // 100_000)]
    low, high = (torch.quantile(flat, q, dim=1)[:, None, None] for q in (0.01, 0.99))
    shown = ((shown - low) / (high - low).clamp_min(1e-6)).clamp(0, 1)
    if shown.shape[-3] == 1:
        return shown.repeat_interleave(3, -3)
    blank = shown.new_zeros(*shown.shape[:-3], 3 - shown.shape[-3], *shown.shape[-2:])
    return torch.cat((shown, blank), -3)
