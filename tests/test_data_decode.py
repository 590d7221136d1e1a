"""Every kind of image file becomes the right RGB pixels, or is refused with a reason."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from augaware.data.base import Unreadable
from augaware.data.centre import centre_crop
from augaware.data.decode import decode

RAMP = np.linspace(0, 1, 32, dtype=np.float64)[None, :].repeat(16, 0)  # (16, 32), dark to light


def encode(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def photo(width: int = 40, height: int = 30) -> Image.Image:
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / 5 + c) * np.cos(y / 4 - c) * 100 + 128 for c in range(3)]
    return Image.fromarray(np.stack(waves, -1).astype(np.uint8))


def expected(levels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.rint(levels * 255).astype(np.uint8)).expand(3, -1, -1)


def test_rgb_is_unchanged() -> None:
    image = photo()
    assert torch.equal(decode(encode(image)), torch.from_numpy(np.array(image)).permute(2, 0, 1))
    assert decode(encode(image)).is_contiguous()


@pytest.mark.parametrize("form", ["PNG", "TIFF", "PPM"])
def test_sixteen_bit_grey_keeps_its_range(form: str) -> None:
    content = encode(Image.fromarray(np.rint(RAMP * 65535).astype(np.uint16)), form)
    assert torch.equal(decode(content), expected(RAMP))


@pytest.mark.parametrize("levels", [RAMP, RAMP * 255], ids=["unit", "bytes"])
def test_float_grey_keeps_its_range(levels: np.ndarray) -> None:
    assert torch.equal(decode(encode(Image.fromarray(levels.astype(np.float32)), "TIFF")), expected(RAMP))


@pytest.mark.parametrize("levels", [np.full((4, 4), np.nan), np.full((4, 4), -1.0), np.full((4, 4), 1e6)])
def test_grey_levels_without_a_known_range_are_refused(levels: np.ndarray) -> None:
    with pytest.raises(Unreadable, match="grey levels"):
        decode(encode(Image.fromarray(levels.astype(np.float32)), "TIFF"))


@pytest.mark.parametrize("mode", ["L", "1"])
def test_grey_and_bilevel(mode: str) -> None:
    grey = Image.fromarray(np.rint(RAMP * 255).astype(np.uint8)).convert(mode)
    pixels = decode(encode(grey))
    assert torch.equal(pixels, torch.from_numpy(np.array(grey.convert("L"))).expand(3, -1, -1))


def test_what_is_transparent_shows_white() -> None:
    image = photo().convert("RGBA")
    image.putalpha(Image.fromarray(np.where(np.arange(40) < 20, 0, 255).astype(np.uint8)[None].repeat(30, 0)))
    grey = image.convert("LA")
    assert (decode(encode(image))[..., :20] == 255).all()
    assert (decode(encode(grey))[..., :20] == 255).all()
    assert torch.equal(decode(encode(image))[..., 20:], decode(encode(photo()))[..., 20:])


def test_palette_with_and_without_transparency() -> None:
    image = Image.new("P", (4, 4), 1)
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putpixel((0, 0), 0)
    assert decode(encode(image))[:, 0, 0].tolist() == [10, 20, 30]
    one = decode(encode(image, transparency=0))
    some = decode(encode(image, transparency=bytes([0, 255])))
    assert one[:, 0, 0].tolist() == some[:, 0, 0].tolist() == [255, 255, 255]
    assert one[:, 1, 1].tolist() == some[:, 1, 1].tolist() == [200, 100, 50]


def test_cmyk() -> None:
    content = encode(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", quality=95)
    red, green, blue = decode(content).float().mean((1, 2)).tolist()
    assert red > 230
    assert max(green, blue) < 25


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_exif_orientation_is_applied(form: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying on its left side: turn clockwise to view
    image = photo(48, 32)
    pixels = decode(encode(image, form, exif=exif))
    assert pixels.shape == (3, 48, 32)
    assert (pixels.float() - decode(encode(image.transpose(Image.Transpose.ROTATE_270))).float()).abs().mean() < 4


def test_shrinks_the_short_side_and_never_enlarges() -> None:
    large = photo(400, 300)
    for form in ("JPEG", "PNG"):
        small = decode(encode(large, form), short_side=60)
        assert small.shape == (3, 60, 80)
        direct = np.array(large.resize((80, 60), Image.Resampling.BICUBIC), dtype=np.float32)
        assert (small.float() - torch.from_numpy(direct).permute(2, 0, 1)).abs().mean() < 4
    assert decode(encode(photo()), short_side=100).shape == (3, 30, 40)
    assert decode(encode(photo(500, 2)), short_side=1).shape == (3, 1, 250)


@pytest.mark.parametrize(("width", "height", "side"), [(400, 300, 288), (301, 407, 96), (90, 64, 63), (640, 65, 3)])
def test_shrinks_as_pillow_does(width: int, height: int, side: int) -> None:
    image = photo(width, height)
    small = decode(encode(image), side)
    theirs = np.array(image.resize((small.shape[2], small.shape[1]), Image.Resampling.BICUBIC), dtype=np.int16)
    assert min(small.shape[1:]) == side
    assert small.is_contiguous()
    assert np.abs(small.permute(1, 2, 0).numpy() - theirs).max() <= 2


@pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_truncated_files_are_unreadable(form: str, share: float) -> None:
    content = encode(photo(120, 90), form)
    with pytest.raises(Unreadable) as error:
        decode(content[: int(len(content) * share)])
    assert str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("content", "reason"), [(b"", "empty"), (b"not an image\n" * 9, "not an image")])
def test_no_image(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "x.jpg"
    path.write_bytes(content)
    with pytest.raises(Unreadable, match=reason):
        decode(path)
    with pytest.raises(Unreadable, match="No such file"):
        decode(tmp_path / "none.jpg")


def test_too_many_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    content = encode(photo())
    for limit in (1000, 100):  # Pillow warns above its limit and raises above twice the limit
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with pytest.raises(Unreadable, match=f"more than {limit} pixels"):
            decode(content)


@pytest.mark.parametrize("short_side", [None, 55])
@pytest.mark.parametrize(("width", "height"), [(97, 64), (64, 97), (33, 48), (224, 300)])
def test_centre_crop_is_pillows(width: int, height: int, short_side: int | None) -> None:
    image, size = photo(width, height), 48
    scale = (short_side or size) / min(width, height)
    resized = image.resize((int(width * scale), int(height * scale)), Image.Resampling.BICUBIC)
    left, top = round((resized.width - size) / 2), round((resized.height - size) / 2)
    theirs = np.array(resized.crop((left, top, left + size, top + size)), dtype=np.float32)
    ours = centre_crop(decode(encode(image)), size, short_side)
    assert ours.shape == (3, size, size)
    assert ours.min() >= 0
    assert ours.max() <= 1
    assert (ours * 255 - torch.from_numpy(theirs).permute(2, 0, 1)).abs().max() <= 2


def test_an_image_that_claims_billions_of_pixels_is_not_decoded() -> None:
    """A PNG of a few bytes whose header says 60000 x 60000."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0))
    bomb = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1 << 20))) + chunk(b"IEND", b"")
    with pytest.raises(Unreadable, match=r"more than \d+ pixels"):
        decode(bomb)
