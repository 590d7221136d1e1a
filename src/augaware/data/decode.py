"""Bytes to pixels: every kind of image file becomes (3, H, W) uint8, RGB, upright, or the planes that it holds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from augaware.data.base import Unreadable
from augaware.data.planes import fitted, opened, planes, shrunk
from augaware.reading import PICTURES, Reading

EXTENSIONS = frozenset(
    [".bmp", ".gif", ".jfif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"]
)
ARRAYS = frozenset([".npy"])  # data, never a picture
DECODING = 1  # raised when the same file gives other pixels than before: stores are made anew


def decode(data: bytes | Path, short_side: int | None = None, reading: Reading = PICTURES) -> Tensor:
    """Decode an image file, given as bytes or as a path: (3, H, W) uint8, RGB, or what ``reading`` asks for.

    Grey, palette and CMYK images become RGB; 16-bit and float grey levels are scaled to 0..255, not clipped; what is
    transparent shows white, as a viewer shows it (Pillow's ``convert`` would uncover whatever colour lies beneath);
    the EXIF orientation is applied; of an animation the first frame is taken. An image whose short side exceeds
    ``short_side`` pixels is shrunk to it, antialiased (bicubic); none is enlarged.

    Raises :class:`Unreadable` for everything that cannot be decoded in full: a missing, empty or truncated file, no
    image at all, or so many pixels (Pillow's limit of about 89 million) that it would exhaust the memory.
    """
    try:
        content = data if isinstance(data, bytes) else data.read_bytes()
        if not content:
            raise Unreadable("the file is empty")
        if reading.channels:
            return planes(content, reading, short_side)
        with opened(content) as image:
            if short_side is not None:
                # JPEG decodes at 1/2, 1/4 or 1/8 for less than half the time; twice the target keeps the antialiasing
                # honest.
                image.draft(None, shrunk(image.size, 2 * short_side))
            return to_pixels(image, short_side)
    except Unreadable:
        raise
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise Unreadable(f"more than {Image.MAX_IMAGE_PIXELS} pixels") from None
    except UnidentifiedImageError:
        raise Unreadable("not an image") from None
    except OSError as error:
        raise Unreadable(error.strerror or str(error)) from None
    except Exception as error:  # Pillow's parsers raise SyntaxError, struct.error, IndexError, ... on damaged bytes
        raise Unreadable(f"damaged image ({type(error).__name__}: {' '.join(str(error).split())})") from None


def to_pixels(image: Image.Image, short_side: int | None = None) -> Tensor:
    """A Pillow image as :func:`decode` describes: (3, H, W) uint8. Raises :class:`Unreadable` or what Pillow raises."""
    ImageOps.exif_transpose(image, in_place=True)
    if image.mode[0] in "IF":
        image = _grey_levels(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    image = image if image.mode == "RGB" else image.convert("RGB")
    if short_side is None or min(image.size) <= short_side:
        planes = bytearray().join(plane.tobytes() for plane in image.split())  # faster than to reorder an array
        return torch.frombuffer(planes, dtype=torch.uint8).view(3, image.height, image.width)
    return fitted(torch.from_numpy(np.array(image)).permute(2, 0, 1), short_side)


def _grey_levels(image: Image.Image) -> Image.Image:
    """A grey image of 16 or 32 bits or of floats (modes I;16, I, F) in 8 bits, keeping its range.

    Integers are 16-bit levels (Pillow opens a 16-bit file as I;16 or I). Floats are in [0, 1] or, when one exceeds 1,
    8-bit levels.
    """
    levels = np.asarray(image, dtype=np.float64)
    low, high = levels.min(), levels.max()
    top = 65535.0 if image.mode[0] == "I" else 1.0 if high <= 1 else 255.0
    if not (low >= 0 and high <= top):  # also false for nan
        raise Unreadable(f"grey levels {low:g} to {high:g} where 0 to {top:g} is expected")
    return Image.fromarray(np.rint(levels * (255.0 / top)).astype(np.uint8))
