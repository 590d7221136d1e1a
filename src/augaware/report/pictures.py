"""Pictures made small enough for a page, sheets of tiles cut into their rows. Nothing fails on a stranger's PNG."""

from __future__ import annotations

import base64
import io
import struct
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

PNG = b"\x89PNG\r\n\x1a\n"
GAP, ROW, COLUMN = 6, 126, 110  # pixels of a sheet of augaware.tasks.sheet: around its tiles, and from one to the next
WIDEST, STRIP = 1400, 720  # pixels of a page's picture, and of a row of a sheet
LARGEST = 40_000_000  # pixels that are worth decoding
QUALITY = 78


@dataclass(frozen=True)
class Shot:
    """A picture of a page: its ``kind``, its bytes in base64, and its pixels."""

    kind: str
    data: str
    width: int
    height: int


def size(png: bytes) -> tuple[int, int] | None:
    """Width and height that a PNG states, None for what is none or cannot be shown."""
    if not png.startswith(PNG) or len(png) < 33:
        return None
    width, height = struct.unpack(">II", png[16:24])
    return (width, height) if 0 < width * height <= LARGEST else None


def sound(png: bytes) -> bool:
    """Whether a picture can be shown."""
    return _opened(png) is not None


def shot(png: bytes) -> Shot:
    """The picture as WebP where that is smaller, else as it is."""
    width, height = size(png) or (1, 1)
    plain = Shot("png", base64.b64encode(png).decode(), width, height)
    image = _opened(png)
    if image is None:
        return plain
    small = _packed(image)
    return small if len(small.data) < len(plain.data) or small.width < width else plain


def rows(pngs: Sequence[bytes]) -> list[list[Shot]] | None:
    """Row -> picture -> that row of its sheet; None where these are no sheets of one size."""
    sizes = {size(png) for png in pngs}
    found = next(iter(sizes)) if len(sizes) == 1 else None
    if found is None or (found[0] - GAP) % COLUMN or (found[1] - GAP) % ROW or found[1] <= ROW:
        return None
    images = [_opened(png) for png in pngs]
    whole = [image for image in images if image is not None]
    if len(whole) < len(images):
        return None
    tops = range(GAP, found[1] - GAP, ROW)
    return [[_packed(image.crop((0, top - 2, found[0], top + ROW - GAP)), STRIP) for image in whole] for top in tops]


def _opened(png: bytes) -> Image | None:
    """The decoded picture, None for one that is damaged or too large."""
    from PIL import Image

    if size(png) is None:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd chunks
            return Image.open(io.BytesIO(png), formats=["PNG"]).convert("RGB")
    except Exception:  # whatever a decoder says of a stranger's bytes
        return None


def _packed(image: Image, widest: int = WIDEST) -> Shot:
    """WebP: without loss where there are few colours, as in a plot."""
    if image.width > widest:
        image = image.resize((widest, max(1, round(image.height * widest / image.width))))
    file = io.BytesIO()
    few = image.getcolors(4096) is not None
    image.save(file, "WEBP", lossless=few, quality=QUALITY, method=2)
    return Shot("webp", base64.b64encode(file.getvalue()).decode(), image.width, image.height)
