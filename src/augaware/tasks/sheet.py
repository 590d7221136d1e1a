"""A sheet of pictures: rows of square images, each in a coloured frame with a line of text below. PNG bytes.

A row may have a title on its left, of one line or more.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from augaware.data.centre import as_rgb

SIDE, FRAME, TEXT, GAP = 96, 4, 16, 6  # pixels: of an image, its frame, the text below, and between cells
PLAIN, GOOD, BAD = "#333333", "#1a9641", "#d7191c"


@dataclass(frozen=True)
class Tile:
    """An image (C, SIDE, SIDE) in [0, 1], the ``caption`` below and the colour of the ``frame``.

    Where C is not 3, :func:`augaware.data.centre.as_rgb` is shown.
    """

    image: Tensor
    caption: str
    frame: str


def sheet_size(rows: int, columns: int, margin: int = 0) -> tuple[int, int]:
    """Width and height in pixels; ``margin``: of the titles."""
    cell = SIDE + 2 * FRAME
    return GAP + margin + columns * (cell + GAP), GAP + rows * (cell + TEXT + GAP)


def sheet_png(rows: Sequence[Sequence[Tile]], titles: Sequence[str] = ()) -> bytes:
    """Rows of equally many tiles, with their ``titles``, if any; a caption that is too long is cut."""
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default()
    lines = [line for title in titles for line in _written(title).split("\n")]
    margin = max([0, *(GAP + round(font.getlength(line)) for line in lines)])
    sheet = Image.new("RGB", sheet_size(len(rows), len(rows[0]), margin), "white")
    draw = ImageDraw.Draw(sheet)
    cell = SIDE + 2 * FRAME
    for r, row in enumerate(rows):
        top = GAP + r * (cell + TEXT + GAP)
        if titles:
            draw.text((GAP, top + cell // 2), _written(titles[r]), fill="black", font=font, anchor="lm")
        for c, tile in enumerate(row):
            left = GAP + margin + c * (cell + GAP)
            draw.rectangle((left, top, left + cell - 1, top + cell - 1), fill=tile.frame)
            image = tile.image if len(tile.image) == 3 else as_rgb(tile.image)
            pixels = image.clamp(0, 1).mul(255).round().byte().permute(1, 2, 0).cpu().numpy()
            sheet.paste(Image.fromarray(pixels), (left + FRAME, top + FRAME))
            text = _written(tile.caption)
            while font.getlength(text) > cell:
                text = text[:-1]
            draw.text((left, top + cell + 1), text, fill="black", font=font)
    file = io.BytesIO()
    _fewer_colours(sheet).save(file, "PNG")
    return file.getvalue()


def _fewer_colours(sheet: Any) -> Any:
    """A sheet of photographs in 256 colours, a third of the bytes: such that none is far from its own, dithered."""
    from PIL import Image

    if sheet.getcolors(256) is not None:
        return sheet  # it has no more
    few = sheet.resize([max(side // 4, 1) for side in sheet.size], Image.Resampling.NEAREST)  # all would take seconds
    palette = few.quantize(256, Image.Quantize.MAXCOVERAGE)
    return sheet.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG)


def _written(text: str) -> str:
    """All of it that Pillow's own font can write."""
    return text.encode("latin-1", "replace").decode("latin-1")
