"""The images of a bench: natural ones, or drawn to be like them, in the sizes that pretraining meets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from PIL import Image, ImageOps
from safetensors.torch import load_file, save_file
from torch import Tensor

from augaware.data.loader import open_source
from augaware.errors import RequestError
from augaware.ragged import Ragged, packed, starts
from augaware.random import Draws

MIXED = 128  # views from this size on come from images of mixed sizes, smaller ones from images of their own size
SMALLEST, LARGEST = 256 / 224, 500 / 224  # sides of those, times the view's: ImageNet's after a usual shrinking


def shapes(size: int, count: int) -> Tensor:
    """Heights and widths (count, 2) int64 of the images from which views of ``size`` are made."""
    if size < MIXED:
        return torch.full((count, 2), size)
    drawn = Draws.of(0, 0, torch.arange(count), 0).stream("sizes").uniform(2, SMALLEST * size, LARGEST * size)
    return drawn.round().long()


def described(size: int) -> str:
    """The sizes of :func:`shapes` in words."""
    if size < MIXED:
        return f"{size} px: {size}x{size}"
    return f"{size} px: sides of {SMALLEST * size:.0f} to {LARGEST * size:.0f}"


def write(folder: Path, size: int, count: int, data: str | None) -> str:
    """Write ``count`` images for views of ``size`` into ``folder``; the images' own sizes in words, if resized."""
    wanted = shapes(size, count)
    if data is None:
        images, origin = [draw(number, h, w) for number, (h, w) in enumerate(wanted.tolist())], ""
    else:
        pictures = list(read(data, count, round(LARGEST * max(size, MIXED))))
        sides = sorted(min(picture.size) for picture in pictures)
        origin = f"short sides {sides[0]} to {sides[-1]}"
        images = [fitted(pictures[n % len(pictures)], h, w) for n, (h, w) in enumerate(wanted.tolist())]
    save_file({"data": packed(images).data, "sizes": wanted.contiguous()}, place(folder, size))
    return origin


def load(folder: Path, size: int) -> Ragged:
    """The images that :func:`write` wrote."""
    found = load_file(place(folder, size))
    return Ragged(found["data"], starts(found["sizes"]), found["sizes"])


def place(folder: Path, size: int) -> Path:
    """The file of the images for views of ``size``."""
    return folder / f"images-{size}.safetensors"


def read(data: str, count: int, short_side: int) -> Iterator[Image.Image]:
    """Up to ``count`` images from all over SRC ``data``. Raises :class:`RequestError`."""
    source = open_source(data, short_side, memory=0)  # memory 0: only those that are asked for are decoded
    found = 0
    for index in torch.linspace(0, len(source) - 1, min(count, len(source))).long():
        for image in source.batch(index[None]).cut():
            found += 1
            yield Image.fromarray(image.permute(1, 2, 0).numpy())
    if not found:
        raise RequestError(f"data {data!r}: none of the images that were tried can be read")


def fitted(picture: Image.Image, height: int, width: int) -> Tensor:
    """The largest centre of this shape, resized (bicubic) to (3, height, width) uint8."""
    from torchvision.transforms.v2.functional import pil_to_tensor

    resized = ImageOps.fit(picture, (width, height), Image.Resampling.BICUBIC)
    image: Tensor = pil_to_tensor(resized)
    return image


def draw(number: int, height: int, width: int) -> Tensor:
    """A drawn image (3, height, width) uint8 with what natural ones have.

    That is noise with a falling spectrum, more of it in light than in colour, and edges.
    """
    draws = Draws.of(0, 0, torch.tensor([number]), 1)
    noise = draws.stream("noise").normal(3 * height * width).reshape(3, height, width)
    y, x = torch.fft.fftfreq(height)[:, None], torch.fft.rfftfreq(width)[None]
    falloff = torch.sqrt(x**2 + y**2).clamp_min(1 / max(height, width)) ** -1.5  # so that neighbours agree as there
    noise = torch.fft.irfft2(torch.fft.rfft2(noise) * falloff, s=(height, width))
    noise = noise / noise.std(dim=(1, 2), keepdim=True).clamp_min(1e-6)
    mix = torch.tensor([[0.20, 0.07, 0.03], [0.20, -0.03, 0.03], [0.20, -0.04, -0.06]])  # light and two colours
    image = 0.45 + torch.einsum("cd,dhw->chw", mix, noise)
    rows, columns = torch.arange(height)[:, None] / height, torch.arange(width)[None] / width
    for part in range(6):  # discs, each in front of those before it
        centre_y, centre_x, radius, *colour = draws.stream(f"disc {part}").uniform(6)[0].tolist()
        inside = (rows - centre_y) ** 2 + (columns - centre_x) ** 2 < (0.05 + 0.2 * radius) ** 2
        image = torch.where(inside, image + 0.5 * (torch.tensor(colour)[:, None, None] - 0.5), image)
    return image.clamp(0, 1).mul(255).round().to(torch.uint8)
