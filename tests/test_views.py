"""How crop's omega meets flip: the worked values of spec/papers.md 2.3 and AugSelf's mirroring rule of 2.1."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from augaware.augment.color_jitter import ColorJitter
from augaware.augment.crop import box_to_omega, omega_to_box
from augaware.augment.pipeline import Pipeline
from augaware.random import Draws
from augaware.spaces import Binary, Interval
from augaware.views import View, condition, difference

SPACES = {"crop": Interval(4), "flip": Binary()}
CASSLE = ("crop", "color_jitter", "color_diff", "gaussian_blur", "grayscale", "flip")
PIPELINE = Pipeline.from_specs(
    ["crop", "flip", "color_jitter", "grayscale", "gaussian_blur"], 8, (0.4, 0.4, 0.4), (0.3, 0.3, 0.3)
)


def views(n: int = 64) -> tuple[View, View]:
    index = torch.arange(n)
    pixels = (Draws.of(9, 0, index, 0).uniform(3 * 16 * 16) * 256).to(torch.uint8).reshape(n, 3, 16, 16)
    sizes = torch.full((n, 2), 16)
    first, second = (PIPELINE.view(pixels, sizes, index, seed=0, epoch=0, number=number) for number in (0, 1))
    return first, second


def crop_and_flip(crop: list[float], flipped: bool) -> dict[str, Tensor]:
    return {"crop": torch.tensor([crop]), "flip": torch.tensor([[float(flipped)]])}


# --- the worked values ---


def test_a_worked_crop_and_its_mirror_image() -> None:
    box, sizes = torch.tensor([[50.0, 20.0, 100.0, 80.0]]), torch.tensor([[200, 160]])
    omega = box_to_omega(box, sizes)
    assert omega.tolist() == [[0.5, 0.375, 0.5, 0.5]]
    assert omega_to_box(omega, sizes).tolist() == box.tolist()
    for flipped, x in ((False, 0.375), (True, 0.625)):
        told = condition({"crop": omega, "flip": torch.tensor([[float(flipped)]])}, SPACES, ["crop"])
        assert told.tolist() == [[0.5, x, 0.5, 0.5]]


def test_a_worked_colour_jitter() -> None:
    factors = ColorJitter(96).factors(torch.tensor([[0.5, -0.5, 0.0, 0.25]]))
    assert factors[0].tolist() == pytest.approx([1.4, 0.6, 1.0, 0.05])


# --- CASSLE: every view is told in its own orientation ---


def test_a_condition_is_the_encoded_omega_in_alphabetical_order() -> None:
    omega = views()[0].omega
    told = condition(omega, PIPELINE.spaces, CASSLE)
    assert told.shape == (64, 14)
    crop = omega["crop"].clone()
    crop[:, 1] = torch.where(omega["flip"][:, 0] == 1, 1 - crop[:, 1], crop[:, 1])
    jitter = omega["color_jitter"][:, :4]  # the fifth column is the order, told to nobody
    others = (omega["flip"], omega["gaussian_blur"], omega["grayscale"])
    assert torch.equal(told, torch.cat((omega["color_diff"], jitter, crop, *others), dim=1))


def test_a_condition_is_the_same_in_whatever_order_it_is_asked_for() -> None:
    omega = views()[0].omega
    assert torch.equal(condition(omega, PIPELINE.spaces, CASSLE), condition(omega, PIPELINE.spaces, reversed(CASSLE)))
    readme = condition(omega, PIPELINE.spaces, [name for name in CASSLE if name != "flip"])
    assert readme.shape == (64, 13)


def test_a_condition_without_flip_is_mirrored_all_the_same() -> None:
    omega = views()[0].omega
    alone, both = condition(omega, PIPELINE.spaces, ["crop"]), condition(omega, PIPELINE.spaces, ["crop", "flip"])
    assert torch.equal(alone, both[:, :4])
    flipped = omega["flip"][:, 0] == 1
    assert 0 < flipped.sum() < 64
    assert (alone[flipped, 1] != omega["crop"][flipped, 1]).any()


# --- AugSelf: both centres as the first view sees them ---


@pytest.mark.parametrize("flip_1", [False, True])
@pytest.mark.parametrize("flip_2", [False, True])
def test_both_centres_are_mirrored_where_the_first_view_is_flipped(flip_1: bool, flip_2: bool) -> None:
    one, two = crop_and_flip([0.5, 0.375, 0.5, 0.5], flip_1), crop_and_flip([0.25, 0.5, 0.75, 0.25], flip_2)
    sign = -1 if flip_1 else 1
    assert difference(one, two, SPACES, "crop").tolist() == [[0.25, sign * (0.375 - 0.5), -0.25, 0.25]]


def test_the_reversed_pair_negates_x_only_where_the_flips_agree() -> None:
    one, two = (view.omega for view in views())
    forth, back = (difference(a, b, PIPELINE.spaces, "crop") for a, b in ((one, two), (two, one)))
    agree = (one["flip"] == two["flip"])[:, 0]
    assert 0 < agree.sum() < 64
    torch.testing.assert_close(back[agree, 1], -forth[agree, 1], rtol=0, atol=1e-6)
    torch.testing.assert_close(back[~agree, 1], forth[~agree, 1], rtol=0, atol=1e-6)
    assert torch.equal(back[:, [0, 2, 3]], -forth[:, [0, 2, 3]])


def test_differences_other_than_crops_ask_for_no_flip() -> None:
    one, two = (view.omega for view in views())
    for name in ("color_jitter", "color_diff", "gaussian_blur", "grayscale", "flip"):
        expected = PIPELINE.spaces[name].difference(one[name], two[name])
        assert torch.equal(difference(one, two, PIPELINE.spaces, name), expected)


def test_a_pipeline_without_flips_mirrors_nothing() -> None:
    one, two = ({"crop": view.omega["crop"]} for view in views())
    assert torch.equal(difference(one, two, SPACES, "crop"), one["crop"] - two["crop"])
    assert torch.equal(condition(one, SPACES, ["crop"]), one["crop"])


def test_reading_omega_does_not_change_it() -> None:
    one, two = (view.omega for view in views())
    copy = {name: value.clone() for name, value in one.items()}
    difference(one, two, PIPELINE.spaces, "crop")
    condition(one, PIPELINE.spaces, CASSLE)
    assert all(torch.equal(one[name], copy[name]) for name in copy)


def test_a_view_is_as_long_as_its_batch() -> None:
    assert len(views(5)[0]) == 5
