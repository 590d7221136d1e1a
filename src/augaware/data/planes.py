"""Image files as data: the planes that a file holds, 8 or 16 bits, where a picture would be RGB.

    .npy             (H, W), (H, W, C) or (C, H, W): the smaller of the outer dimensions is C
    PNG              gray, RGB or RGBA of 8 or 16 bits: 1, 3 or 4 channels
    TIFF             a page of so many samples, or pages of one size and one sample each; what Pillow does not read
                     takes tifffile, an optional package (``pip install 'augaware[microscopy]'``)
    JPEG and others  as Pillow opens them, 8 bits

Floats are refused: what their 1 means is not agreed upon, and to guess it from the values of each image would undo the
very differences of exposure that one may want to keep. ``np.rint(65535 * x.clip(0, 1)).astype(np.uint16)`` says it.
"""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from augaware.data.base import Unreadable
from augaware.reading import Reading

NUMPY, PNG, TIFFS = b"\x93NUMPY", b"\x89PNG\r\n\x1a\n", (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
PNG_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}  # by the header's type of colour
BITS, SAMPLES = 258, 277  # TIFF's tags
LEVELS = (np.uint8, np.uint16)

# The filters of `warnings` belong to the process, so only one thread at a time may change them. Headers are short:
# the slow part, decompressing pixels, runs outside this lock and in parallel.
_HEADER = threading.Lock()


def opened(content: bytes) -> Image.Image:
    """A Pillow image whose header alone is read."""
    with _HEADER, warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        image = Image.open(io.BytesIO(content))
        if image.format != "PNG":  # whose EXIF may come after the pixels
            image.getexif()  # here, where warnings about it are silenced; Pillow keeps the result
    return image


def planes(content: bytes, reading: Reading, short_side: int | None = None) -> Tensor:
    """The image of a file: (``reading.channels``, H, W) uint8 or uint16, its short side shrunk to ``short_side``.

    Raises :class:`Unreadable` where the file holds another number of channels or other numbers, and whatever Pillow
    and tifffile raise for damaged bytes.
    """
    array = _read(content, reading.channels, short_side)
    if array.dtype.newbyteorder("=") not in LEVELS:
        raise Unreadable(f"{array.dtype.name} numbers; uint8 and uint16 are read, so scale these to one of them")
    _check(len(array), array.shape[1:], reading.channels)
    if reading.pixel_range:
        low, high = reading.pixel_range
        top = np.iinfo(array.dtype).max
        array = np.rint(((array.astype(np.float64) - low) / (high - low)).clip(0, 1) * top).astype(array.dtype)
    kind = np.uint8 if array.dtype.itemsize == 1 else np.uint16
    return fitted(torch.from_numpy(np.array(array, kind, order="C")), short_side)


def fitted(pixels: Tensor, short_side: int | None) -> Tensor:
    """Planes (C, H, W), shrunk where their short side exceeds ``short_side``: bicubic, antialiased."""
    height, width = pixels.shape[1:]
    if short_side is None or min(height, width) <= short_side:
        return pixels
    width, height = shrunk((width, height), short_side)
    if pixels.dtype == torch.uint8:  # Pillow's bicubic filter to within rounding, four times as fast
        return F.interpolate(pixels[None], (height, width), mode="bicubic", antialias=True)[0].contiguous()
    small = F.interpolate(pixels[None].float(), (height, width), mode="bicubic", antialias=True)[0]
    return small.round_().clamp_(0, torch.iinfo(pixels.dtype).max).to(pixels.dtype).contiguous()


def shrunk(size: tuple[int, int], short_side: int) -> tuple[int, int]:
    """``size`` with its short side brought down to ``short_side``, same shape; never larger."""
    scale = min(1.0, short_side / min(size))
    width, height = (max(1, round(s * scale)) for s in size)
    return width, height


def held(content: bytes) -> tuple[int, str]:
    """How many channels a file holds, and in a few words what a picture of it would not show; "" where nothing."""
    if content[:6] == NUMPY:
        array = _array(content)
        return _channels(array.shape, 0), f"an array of {array.dtype.name}"
    if content[:8] == PNG and content[24] == 16:
        return PNG_CHANNELS.get(content[25], 3), "16 bits a channel"
    if content[:4] in TIFFS:
        try:
            with opened(content) as image:
                tags: Any = getattr(image, "tag_v2", {})
                pages, bits = getattr(image, "n_frames", 1), max(tags.get(BITS, (1,)))
                told = [f"{pages} pages"] * (pages > 1) + [f"{bits} bits a channel"] * (bits > 8)
                return pages * int(tags.get(SAMPLES, 1)), " of ".join(told)
        except Exception:  # nor will it be read
            return 3, ""
    return 3, ""


def _read(content: bytes, channels: int, short_side: int | None) -> np.ndarray[Any, Any]:
    """The planes (C, H, W) of a file, of any numbers."""
    if content[:6] == NUMPY:
        array = _array(content)
        if array.ndim == 2:
            return array[None]
        return array if len(array) == _channels(array.shape, channels) else array.transpose(2, 0, 1)
    if content[:8] == PNG and len(content) > 25 and content[24] == 16 and content[25] != 0:
        return _wide_png(content)
    if content[:4] in TIFFS:
        return _tiff(content, channels)
    with opened(content) as image:
        if short_side is not None:
            image.draft(None, shrunk(image.size, 2 * short_side))  # as decode() does
        return _bands(image)


def _wide_png(content: bytes) -> np.ndarray[Any, Any]:
    """RGB and RGBA of 16 bits, of which Pillow keeps the upper 8; the lower are the upper of what is read swapped."""
    halves = []
    for order in ("B", "L"):
        image: Any = opened(content)
        with image:
            codec, extents, offset, mode = image.tile[0]
            if mode != f"{image.mode};16B":
                raise Unreadable("gray and alpha of 16 bits; save it as an array, .npy")
            image.tile = [(codec, extents, offset, f"{image.mode};16{order}")]
            halves.append(np.asarray(image).transpose(2, 0, 1).astype(np.uint16))
    return 256 * halves[0] + halves[1]


def _array(content: bytes) -> np.ndarray[Any, Any]:
    """The array of a .npy file, not copied; nothing in it is executed."""
    file = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(file)
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, by_columns, dtype = header(file)
    except ValueError as error:
        raise Unreadable(f"damaged array: {' '.join(str(error).split())}") from None
    if dtype.hasobject:
        raise Unreadable("an array of Python objects, which is not read: it may hold code")
    if len(shape) not in (2, 3) or not all(type(n) is int and n > 0 for n in shape):
        raise Unreadable(f"an array of shape {shape}; accepted: (H, W), (H, W, C) and (C, H, W)")
    count, at = int(np.prod(shape, dtype=object)), file.tell()
    if len(content) != at + count * dtype.itemsize or not dtype.itemsize:
        raise Unreadable(f"damaged array: {len(content) - at} bytes where shape {shape} has {count * dtype.itemsize}")
    return np.frombuffer(content, dtype, offset=at).reshape(shape, order="F" if by_columns else "C")


def _channels(shape: tuple[int, ...], wanted: int) -> int:
    """How many channels an array has."""
    if len(shape) == 2:
        return 1
    first, last = shape[0], shape[2]
    if first == last or (wanted in (first, last) and wanted * 2 > first + last):
        both = first == last
        found = (
            "both ends are as long" if both else f"its smaller end is {min(first, last)}, and {wanted} are asked for"
        )
        raise Unreadable(f"an array of shape {shape}: which are the channels? {found}; save it as (C, H, W) with C < W")
    return min(first, last)


def _bands(image: Image.Image) -> np.ndarray[Any, Any]:
    """The bands of a Pillow image, upright; a palette is what its colours are."""
    ImageOps.exif_transpose(image, in_place=True)
    if image.mode in ("1", "P", "PA"):
        image = image.convert("L" if image.mode == "1" else "RGBA" if image.has_transparency_data else "RGB")
    array = np.asarray(image)
    if image.mode == "I" and array.min() >= 0 and array.max() < 1 << 16:
        array = array.astype(np.uint16)
    return array[None] if array.ndim == 2 else array.transpose(2, 0, 1)


def _tiff(content: bytes, channels: int) -> np.ndarray[Any, Any]:
    """By Pillow where it gives all that the file holds, else by tifffile."""
    try:
        with opened(content) as image:
            tags: Any = getattr(image, "tag_v2", {})
            bits, pages = set(tags.get(BITS, (1,))), getattr(image, "n_frames", 1)
            if pages == 1 and (bits <= {1, 8} or (bits == {16} and image.mode[:2] == "I;")):
                return _bands(image)
            if pages == channels and int(tags.get(SAMPLES, 1)) == 1 and bits <= {8, 16} and len(bits) == 1:
                return _stacked(image, pages)
    except UnidentifiedImageError:  # five samples, and others that no picture has
        pass
    try:
        import tifffile
    except ImportError:
        raise Unreadable(
            "a TIFF that Pillow cannot read in full; install tifffile: pip install 'augaware[microscopy]'"
        ) from None
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        series = file.series[0]
        axes = [(axis, n) for axis, n in zip(series.axes, series.shape, strict=True) if n > 1 or axis in "YX"]
        others = [n for axis, n in axes if axis not in "YX"]
        if len(others) > 1 or len(axes) - len(others) != 2:
            raise Unreadable(f"a TIFF of axes {series.axes} and shape {series.shape}; accepted: Y, X and one other")
        sides = [n for axis, n in axes if axis in "YX"]
        _check(others[0] if others else 1, sides, channels)  # before it is expanded
        try:
            array = np.asarray(series.asarray()).reshape([n for _, n in axes])
        except ValueError as error:
            if "imagecodecs" in str(error):
                raise Unreadable("a compressed TIFF; install what expands it: pip install imagecodecs") from None
            raise
    place = next((i for i, (axis, _) in enumerate(axes) if axis not in "YX"), None)
    return array[None] if place is None else np.moveaxis(array, place, 0)


def _stacked(image: Image.Image, pages: int) -> np.ndarray[Any, Any]:
    """All pages of an image, one sample each."""
    found = []
    for page in range(pages):
        image.seek(page)
        _check(1, image.size, 1)
        found.append(np.array(image))
        if found[-1].shape != found[0].shape or found[-1].ndim != 2:
            raise Unreadable(f"pages of several sizes: {found[0].shape} and {found[-1].shape}")
    return np.stack(found)


def _check(found: int, sides: Iterable[int], wanted: int) -> None:
    """Raise :class:`Unreadable` for another number of channels, or planes of more pixels than a picture may have."""
    if found != wanted:
        raise Unreadable(f"it holds {found} channel{'s' * (found > 1)} where channels={wanted}")
    most = Image.MAX_IMAGE_PIXELS
    if most is not None and np.prod(list(sides), dtype=object) > most:
        raise Unreadable(f"more than {most} pixels")
