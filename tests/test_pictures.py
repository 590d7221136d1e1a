"""The pictures are PNG files of the right size that show the views."""

from __future__ import annotations

import io

import pytest
import torch
from PIL import Image

from augaware.augment.pipeline import Pipeline
from augaware.data.shapes import Shapes
from augaware.picture import _caption, views_png

SOURCE = Shapes(n=8)
INDEX = torch.arange(3)


def opened(png: bytes) -> Image.Image:
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    picture = Image.open(io.BytesIO(png))
    picture.load()
    return picture.convert("RGB")


def pipeline(*specs: str) -> Pipeline:
    return Pipeline.from_specs(specs, 32, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


EVERYTHING = pipeline("crop", "flip", "color_jitter", "grayscale", "gaussian_blur", "solarize", "rotate90")


def cell(png: bytes, rows: int, columns: int) -> tuple[float, float]:
    """Width and height of one place in the grid, in pixels."""
    picture = opened(png)
    return picture.width / columns, picture.height / rows


def test_views_are_drawn_in_a_row_per_image() -> None:
    width, height = cell(views_png(SOURCE, [EVERYTHING] * 2, INDEX, seed=0), 3, 3)
    assert 100 <= width <= 400
    assert width < height <= 2 * width  # omega is written below
    wider = cell(views_png(SOURCE, [EVERYTHING] * 3, INDEX[:1], seed=0), 1, 4)
    assert wider == pytest.approx((width, height), abs=1)


def test_the_caption_of_a_view_is_its_omega() -> None:
    batch = SOURCE.batch(INDEX)
    everything = pipeline("crop", "flip(p=1)", "color_jitter(p=0)", "grayscale(p=0)", "rotate90(p=0)")
    view = everything.view(batch.pixels, batch.sizes, batch.index, 0, 0, 0)
    view.omega["crop"][1] = torch.tensor([0.25, 0.5, 0.5, 1])
    view.omega["rotate90"][1] = 3
    assert _caption(everything, view.omega, everything.spaces, 1).split("\n") == [
        "crop 0.25 0.50 0.50 1.00",
        "flip 1",
        "color_jitter off",
        "grayscale off",
        "rotate90 3",
        "color_diff 0.00 0.00 0.00",
    ]


def test_the_picture_of_the_views_is_a_function_of_the_seed() -> None:
    one, again, other = (views_png(SOURCE, [EVERYTHING] * 2, INDEX[:1], seed) for seed in (0, 0, 1))
    assert one == again
    assert one != other


def test_the_views_shown_are_the_views_made() -> None:
    # Solarised at 0 a view is its image's negative: black and white swap places in the picture too.
    plain, negative = (
        opened(views_png(SOURCE, [pipeline(f"solarize(p={p}, threshold=(0, 0))")], INDEX[:1], seed=0)) for p in (0, 1)
    )
    there = [torch.tensor(p.getpixel((round(0.75 * p.width), round(0.35 * p.height)))) for p in (plain, negative)]
    assert ((there[0] + there[1] - 255).abs() <= 3).all()
