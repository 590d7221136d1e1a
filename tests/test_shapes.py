"""The drawn set: a pure function of (seed, index), its factors readable from the pixels."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from augaware.data.shapes import BACKGROUNDS, FACTORS, TEXTURES, Shapes, shapes_splits


def hue(rgb: Tensor) -> Tensor:
    """Hue in turns of (N, 3) colours."""
    angle = torch.atan2(math.sqrt(3) * (rgb[:, 1] - rgb[:, 2]), 2 * rgb[:, 0] - rgb[:, 1] - rgb[:, 2])
    return (angle / (2 * math.pi)) % 1


def apart(a: Tensor, b: Tensor) -> Tensor:
    """Distance on the circle of one turn."""
    return ((a - b + 0.5) % 1 - 0.5).abs()


@pytest.fixture(scope="module")
def drawn() -> tuple[Shapes, Tensor]:
    source = Shapes(1500)
    return source, source.batch(torch.arange(1500)).pixels.float()


@pytest.mark.parametrize("size", [48, 33])
def test_pixels_do_not_depend_on_the_batch(size: int) -> None:
    source = Shapes(300, size, seed=5)
    whole = source.batch(torch.arange(300)).pixels
    some = torch.tensor([299, 3, 150, 3, 64, 7, 128])
    assert torch.equal(source.batch(some).pixels, whole[some])
    assert torch.equal(source.load(150), whole[150])
    assert torch.equal(Shapes(151, size, seed=5).load(150), whole[150])
    assert not torch.equal(Shapes(151, size, seed=6).load(150), whole[150])


def test_factors_are_complete_and_in_range(drawn: tuple[Shapes, Tensor]) -> None:
    factors = drawn[0].factors
    assert set(factors) == set(FACTORS)
    for name, kind in FACTORS.items():
        assert factors[name].shape == (1500,)
        assert (factors[name].dtype == torch.int64) == (kind == "class")
        if kind == "cyclic":
            assert 0 <= factors[name].min() < 0.01 < 0.99 < factors[name].max() < 1
    assert 0.24 <= factors["radius"].min() < factors["radius"].max() <= 0.40
    assert 0.32 <= factors["x"].min() < factors["x"].max() <= 0.68
    for name, count in (("shape", 6), ("texture", len(TEXTURES)), ("background", len(BACKGROUNDS))):
        assert factors[name].bincount().min() > 0.8 * 1500 / count
    assert torch.equal(drawn[0].labels, factors["shape"])
    assert len(drawn[0].classes) == 6


def test_factors_are_independent(drawn: tuple[Shapes, Tensor]) -> None:
    table = torch.stack([values.float() for values in drawn[0].factors.values()])
    correlation = torch.corrcoef(table) - torch.eye(len(table))
    assert correlation.abs().max() < 0.1


def test_hues_are_readable(drawn: tuple[Shapes, Tensor]) -> None:
    source, pixels = drawn
    column, row = ((source.factors[name] * 48).long() for name in ("x", "y"))
    at = pixels[torch.arange(1500), :, row, column]
    assert apart(hue(at), source.factors["object_hue"]).max() < 0.1
    edge = torch.cat([pixels[:, :, 0], pixels[:, :, -1]], 2).median(2).values
    assert apart(hue(edge), source.factors["background_hue"]).median() < 0.02


def test_place_and_size_are_readable(drawn: tuple[Shapes, Tensor]) -> None:
    source, pixels = drawn
    angle = 2 * math.pi * source.factors["background_hue"]
    # A colour's part along the ground's hue does not tell object from ground where hues agree: keep those that differ.
    clear = apart(source.factors["object_hue"], source.factors["background_hue"]) > 0.25
    red, green, blue = pixels.unbind(1)
    chroma = torch.stack([2 * red - green - blue, math.sqrt(3) * (green - blue)])
    along = chroma[0] * angle.cos()[:, None, None] + chroma[1] * angle.sin()[:, None, None]
    inside = (along < 0).float()
    area = inside.sum((1, 2))
    steps = (torch.arange(48) + 0.5) / 48
    x, y = (inside * steps).sum((1, 2)) / area, (inside * steps[:, None]).sum((1, 2)) / area
    keep = clear & (area > 0)
    for name, seen in (("x", x), ("y", y), ("radius", area.sqrt())):
        assert torch.corrcoef(torch.stack([seen[keep], source.factors[name][keep]]))[0, 1] > 0.75, name


def test_orientation_and_level_are_readable_linearly(drawn: tuple[Shapes, Tensor]) -> None:
    source, pixels = drawn
    small = torch.nn.functional.adaptive_avg_pool2d(pixels.mean(1, keepdim=True), 8).flatten(1).double()
    small = torch.cat([(small - small.mean(0)) / 255, torch.ones(1500, 1)], 1)
    angle = 2 * math.pi * source.factors["orientation"]
    wanted = torch.stack([angle.cos(), angle.sin(), source.factors["background_level"]], 1).double()
    fit, held = slice(0, 1100), slice(1100, None)
    ridge = small[fit].T @ small[fit] + 3.0 * torch.eye(small.shape[1])
    guess = small[held] @ torch.linalg.solve(ridge, small[fit].T @ wanted[fit])
    explained = 1 - (guess - wanted[held]).square().mean(0) / wanted[held].var(0)
    assert (explained[:2] > 0.1).all()
    assert explained[2] > 0.5


def test_orientation_turns_the_object_anticlockwise() -> None:
    source = Shapes(400, 48)
    arrows = (source.factors["shape"] == 0) & (source.factors["texture"] == 0)
    quarter = (source.factors["orientation"] - 0.25).abs() < 0.04  # pointing up: wide above the centre, narrow below
    for i in (arrows & quarter).nonzero()[:, 0].tolist():
        x, y, radius = (float(source.factors[name][i]) * 48 for name in ("x", "y", "radius"))
        image = source.load(i).float()
        side = int(x + 0.7 * radius)
        assert 0 < side < 48
        above, below = image[:, int(y - 0.1 * radius), side], image[:, int(y + 0.5 * radius), side]
        centre = image[:, int(y), int(x)]
        turns = [apart(hue(c[None]), source.factors["object_hue"][i]).item() for c in (centre, above, below)]
        assert (
            max(turns[:2]) < 0.06 < turns[2]
            or apart(source.factors["object_hue"][i], source.factors["background_hue"][i]) < 0.1
        )


def test_splits_are_disjoint() -> None:
    splits = shapes_splits(40, 40, 40, size=16)
    pixels = [source.batch(torch.arange(40)).pixels for source in (*splits.values(), Shapes(40, 16))]
    assert len(torch.unique(torch.cat(pixels).flatten(1), dim=0)) == 160
    assert len({source.fingerprint for source in splits.values()}) == 3
