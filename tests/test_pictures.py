"""The pictures are PNG files of the right size that show the views."""

from __future__ import annotations

import io

import pytest
import torch
from PIL import Image

from augaware.augment.pipeline import Pipeline
from augaware.data.shapes import Shapes
from augaware.picture import neighbours_png, views_png

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


def test_views_are_drawn_in_a_row_per_image() -> None:
    two = opened(views_png(SOURCE, EVERYTHING, INDEX, seed=0))
    assert two.width == pytest.approx(3 * 135, abs=2)  # the image and two views, 1.35 inches of 100 dots each
    assert two.height == pytest.approx(3 * 210, abs=2)
    three = opened(views_png(SOURCE, EVERYTHING, INDEX[:1], seed=0, views=3))
    assert three.width == pytest.approx(4 * 135, abs=2)
    assert three.height == pytest.approx(210, abs=2)


def test_the_picture_of_the_views_is_a_function_of_the_seed() -> None:
    one, again, other = (views_png(SOURCE, EVERYTHING, INDEX[:1], seed) for seed in (0, 0, 1))
    assert one == again
    assert one != other


def test_the_views_shown_are_the_views_made() -> None:
    # Solarised at 0 a view is its image's negative: black and white swap places in the picture too.
    plain, negative = (
        opened(views_png(SOURCE, pipeline(f"solarize(p={p}, threshold=(0, 0))"), INDEX[:1], seed=0, views=1))
        for p in (0, 1)
    )
    middle = [(270 + 135) // 2, 60]
    there = [torch.tensor(picture.getpixel(tuple(middle))) for picture in (plain, negative)]
    assert ((there[0] + there[1] - 255).abs() <= 3).all()


def test_neighbours_are_drawn_in_a_row_per_query_and_encoder() -> None:
    features = {"ours": torch.eye(8)[:, :4] + 0.1, "random": SOURCE.factors["x"][:, None].float()}
    picture = opened(neighbours_png(SOURCE, features, queries=[0, 5], k=3, size=24))
    assert picture.width == pytest.approx(4 * 135, abs=2)
    assert picture.height == pytest.approx(4 * 151, abs=4)


def test_the_nearest_neighbour_is_shown_beside_its_query() -> None:
    # 0 and 6 point the same way; put beside another query the picture differs.
    toward = torch.tensor([[1.0, 0], [0, 1], [0, 1], [0, 1], [0, 1], [0, 1], [2, 0.1], [0, 1]])
    elsewhere = toward.clone()
    elsewhere[[6, 3]] = toward[[3, 6]]
    one, again, other = (
        neighbours_png(SOURCE, {"f": features}, queries=[0], k=1, size=24)
        for features in (toward, 5 * toward, elsewhere)
    )
    assert one == again
    assert one != other
