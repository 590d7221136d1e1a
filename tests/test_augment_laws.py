"""Laws that hold for every augmentation by name, and for the pipeline that chains them."""

from __future__ import annotations

import inspect
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from augaware import lookup
from augaware.augment.base import Augmentation
from augaware.augment.pipeline import Pipeline
from augaware.errors import RequestError
from augaware.random import Draws
from augaware.spaces import Cyclic

NAMES = lookup.names("augment")
EACH = pytest.mark.parametrize("name", NAMES)
WITH_P = pytest.mark.parametrize(
    "name", [n for n in NAMES if "p" in inspect.signature(lookup.load("augment", n)).parameters]
)
MEAN, STD = (0.43, 0.42, 0.39), (0.27, 0.26, 0.27)


def build(name: str, size: int = 12, **arguments: Any) -> Augmentation:
    """The augmentation, applied to every sample unless told otherwise."""
    make = lookup.load("augment", name)
    if "p" in inspect.signature(make).parameters:
        arguments = {"p": 1.0, **arguments}
    return make(size, **arguments)


def images(n: int, height: int = 12, width: int | None = None) -> Tensor:
    """Images of [0, 1] with exact zeros and ones, plain gray ones and saturated pixels among them."""
    width = width or height
    x = Draws.of(7, 0, torch.arange(n), 0).uniform(3 * height * width, -0.2, 1.2).clamp(0, 1)
    x = x.reshape(n, 3, height, width)
    x[1::4] = x[1::4, :1]
    return x


def draws(n: int, view: int = 0) -> Draws:
    return Draws.of(0, 0, torch.arange(n), view)


def sampled(augmentation: Augmentation, n: int, size: int = 12) -> Tensor:
    return augmentation.sample(draws(n), torch.full((n, 2), size))


def identity(augmentation: Augmentation, n: int) -> Tensor:
    return torch.tensor([augmentation.identity]).expand(n, -1).clone()


# --- omega ---


@EACH
def test_omega_has_the_columns_of_the_identity_and_room_for_its_space(name: str) -> None:
    augmentation = build(name)
    omega = sampled(augmentation, 9)
    assert omega.shape == (9, len(augmentation.identity))
    assert omega.dtype == torch.float32
    assert omega.isfinite().all()
    assert augmentation.space.encode(omega).shape == (9, augmentation.space.inputs)
    assert augmentation.name == name


@EACH
def test_omega_belongs_to_the_sample_and_not_to_the_batch(name: str) -> None:
    augmentation = build(name)
    sizes = torch.tensor([[20 + i, 30 - i] for i in range(16)])
    together = augmentation.sample(Draws.of(0, 3, torch.arange(16), 1), sizes)
    some = torch.tensor([11, 2, 7])
    assert torch.equal(augmentation.sample(Draws.of(0, 3, some, 1), sizes[some]), together[some])


@WITH_P
def test_p_0_is_always_the_identity(name: str) -> None:
    augmentation = build(name, p=0)
    assert torch.equal(sampled(augmentation, 500), identity(augmentation, 500))


@WITH_P
@pytest.mark.parametrize("p", [0.3, 1.0])
def test_p_is_the_share_of_samples_that_change(name: str, p: float) -> None:
    augmentation, n = build(name, p=p), 4000
    applied = (sampled(augmentation, n) != identity(augmentation, n)).any(dim=1).double().mean()
    drawn_identity = 1 / augmentation.space.n if isinstance(augmentation.space, Cyclic) else 0
    expected = p * (1 - drawn_identity)
    assert abs(applied - expected) <= 5 * math.sqrt(expected * (1 - expected) / n)


# --- pixels ---


@EACH
def test_the_identity_changes_nothing_bit_for_bit(name: str) -> None:
    augmentation, x = build(name), images(6)
    assert torch.equal(augmentation.apply(x, identity(augmentation, 6)), x)


@EACH
@pytest.mark.parametrize("size", [1, 2, 3, 8, 40])
def test_views_are_float_images_of_the_asked_size_in_0_to_1(name: str, size: int) -> None:
    augmentation, x = build(name, size), images(5, size)
    y = augmentation.apply(x, sampled(augmentation, 5, size))
    assert y.shape == (5, 3, size, size)
    assert y.dtype == torch.float32
    assert y.min() >= -1e-6
    assert y.max() <= 1 + 1e-6


@EACH
def test_something_changes_where_it_is_applied(name: str) -> None:
    augmentation, x = build(name), images(8)
    omega = sampled(augmentation, 8)
    applied = (omega != identity(augmentation, 8)).any(dim=1)
    changed = (augmentation.apply(x, omega) != x).flatten(1).any(dim=1)
    coloured = torch.arange(8) % 4 != 1  # a gray image stays gray
    assert torch.equal(changed[coloured], applied[coloured])


@EACH
def test_a_stored_omega_replays_the_pixels_bit_for_bit(name: str) -> None:
    augmentation, x = build(name), images(6)
    omega = sampled(augmentation, 6)
    stored = torch.tensor(omega.tolist())
    assert torch.equal(augmentation.apply(x, omega), augmentation.apply(x, stored))


@EACH
def test_applying_changes_neither_the_images_nor_omega(name: str) -> None:
    augmentation, x = build(name), images(6)
    for omega in (sampled(augmentation, 6), torch.cat((identity(augmentation, 3), sampled(augmentation, 3)))):
        x_before, omega_before = x.clone(), omega.clone()
        augmentation.apply(x, omega)
        assert torch.equal(x, x_before)
        assert torch.equal(omega, omega_before)


@EACH
def test_a_batch_is_its_samples_one_by_one(name: str) -> None:
    augmentation, x = build(name), images(9)
    omega = sampled(augmentation, 9)
    omega[::3] = identity(augmentation, 3)
    batched = augmentation.apply(x, omega)
    alone = torch.cat([augmentation.apply(x[i : i + 1], omega[i : i + 1]) for i in range(9)])
    torch.testing.assert_close(batched, alone, rtol=0, atol=1e-6)


@EACH
def test_rows_that_are_not_applied_are_untouched_bit_for_bit(name: str) -> None:
    augmentation, x = build(name), images(9)
    omega = sampled(augmentation, 9)
    off = torch.tensor([0, 3, 4, 8])
    omega[off] = identity(augmentation, 4)
    assert torch.equal(augmentation.apply(x, omega)[off], x[off])


@EACH
def test_an_empty_batch_stays_empty(name: str) -> None:
    augmentation = build(name)
    omega = augmentation.sample(draws(0), torch.zeros(0, 2))
    assert omega.shape == (0, len(augmentation.identity))
    assert augmentation.apply(images(0), omega).shape == (0, 3, 12, 12)


@EACH
def test_what_is_measured_is_announced_and_is_nothing_for_an_unchanged_view(name: str) -> None:
    augmentation, x = build(name), images(5)
    y = augmentation.apply(x, sampled(augmentation, 5))
    measured, unchanged = augmentation.measure(x, y), augmentation.measure(x, x)
    assert measured.keys() == unchanged.keys() == augmentation.measures.keys()
    for key, space in augmentation.measures.items():
        assert space.encode(measured[key]).shape == (5, space.inputs)
        assert (measured[key] != 0).any()
        assert (unchanged[key] == 0).all()


# --- wrong requests ---


@WITH_P
@pytest.mark.parametrize("p", [2, -0.1, float("nan"), "half", None])
def test_p_must_be_a_probability(name: str, p: object) -> None:
    with pytest.raises(RequestError, match=rf"^augmentation '{name}': p=.* is not a probability") as refused:
        lookup.load("augment", name)(12, p=p)
    assert "\n" not in str(refused.value)


WRONG = [
    ("crop(scale=(0.5, 0.2))", "scale"),
    ("crop(scale=(0.5, 2))", "scale"),
    ("crop(scale=0.5)", "scale"),
    ("crop(scale=(0, 1))", "scale"),
    ("crop(ratio=(0, 1))", "ratio"),
    ("crop(ratio=('1', 2))", "ratio"),
    ("crop(ratio=(1, 1e999))", "ratio"),
    ("color_jitter(brightness=-0.1)", "brightness"),
    ("color_jitter(contrast='strong')", "contrast"),
    ("color_jitter(saturation=1e999)", "saturation"),
    ("color_jitter(hue=0.6)", "hue"),
    ("color_jitter(form='pil')", "form"),
    ("gaussian_blur(sigma=(0, 1))", "sigma"),
    ("gaussian_blur(sigma=(2, 1))", "sigma"),
    ("gaussian_blur(kernel=4)", "kernel"),
    ("gaussian_blur(kernel=0)", "kernel"),
    ("solarize(threshold=(0.5, 1.5))", "threshold"),
]


@pytest.mark.parametrize(("spec", "argument"), WRONG)
def test_a_wrong_argument_is_refused_by_its_name(spec: str, argument: str) -> None:
    with pytest.raises(RequestError, match=rf"^augmentation '{spec.split('(')[0]}': .*{argument}") as refused:
        lookup.build("augment", spec, 12)
    assert "\n" not in str(refused.value)


# --- the pipeline ---

ALL = ["crop", *(name for name in NAMES if name != "crop")]


def pipeline(specs: list[str] | None = None, size: int = 10) -> Pipeline:
    return Pipeline.from_specs(ALL if specs is None else specs, size, MEAN, STD)


def pixels(n: int, height: int = 17, width: int = 23) -> tuple[Tensor, Tensor, Tensor]:
    """uint8 images, their sizes and their indices."""
    x = (images(n, height, width) * 255).to(torch.uint8)
    return x, torch.tensor([[height, width]]).expand(n, 2), torch.arange(n)


def test_a_view_is_normalised_and_says_all_that_made_it() -> None:
    made = pipeline()
    view = made.view(*pixels(6), seed=0, epoch=0, number=0)
    assert view.image.shape == (6, 3, 10, 10)
    assert view.image.dtype == torch.float32
    assert view.omega.keys() == made.spaces.keys() == {*NAMES, "color_diff"}
    shown = made.displayed(view)
    assert shown.min() >= 0
    assert shown.max() <= 1
    by_hand = shown - torch.tensor(MEAN)[:, None, None]
    torch.testing.assert_close(by_hand / torch.tensor(STD)[:, None, None], view.image, rtol=0, atol=1e-5)


def test_a_view_is_replayed_bit_for_bit_from_its_omega() -> None:
    x, sizes, index = pixels(40)  # more than are resampled at once
    view = pipeline().view(x, sizes, index, seed=0, epoch=0, number=0)
    again = pipeline().apply(x, sizes, view.omega)
    assert torch.equal(again.image, view.image)
    assert all(torch.equal(again.omega[name], view.omega[name]) for name in view.omega)


def test_a_view_is_drawn_again_from_four_integers() -> None:
    x, sizes, index = pixels(40)
    whole = pipeline().view(x, sizes, index, seed=3, epoch=2, number=1)
    one = pipeline().view(x[21:22], sizes[21:22], index[21:22], seed=3, epoch=2, number=1)
    torch.testing.assert_close(one.image[0], whole.image[21], rtol=0, atol=1e-5)  # 1e-5 after dividing by std
    drawn = [name for name in one.omega if name != "color_diff"]
    assert all(torch.equal(one.omega[name][0], whole.omega[name][21]) for name in drawn)


@pytest.mark.parametrize("change", [{"seed": 1}, {"epoch": 1}, {"number": 1}], ids=str)
def test_another_seed_epoch_or_number_is_another_view(change: dict[str, int]) -> None:
    batch, counters = pixels(6), {"seed": 0, "epoch": 0, "number": 0}
    one, other = pipeline().view(*batch, **counters), pipeline().view(*batch, **(counters | change))
    assert (one.omega["crop"] != other.omega["crop"]).any(dim=1).all()
    assert (one.image != other.image).flatten(1).any(dim=1).all()


@EACH
def test_adding_an_augmentation_does_not_change_what_the_others_draw(name: str) -> None:
    sizes = torch.tensor([[30, 40]]).expand(20, 2)
    everything = pipeline().sample(draws(20), sizes)
    others = pipeline([other for other in ALL if other != name]).sample(draws(20), sizes)
    assert others.keys() == everything.keys() - {name}
    assert all(torch.equal(others[other], everything[other]) for other in others)


def test_augmentations_draw_independently_of_each_other() -> None:
    n = 20_000
    omega = pipeline().sample(draws(n), torch.full((n, 2), 64))
    for column in range(2):  # the two leading columns of each; crop's h and w go together by definition
        table = torch.stack([w[:, min(column, w.shape[1] - 1)].double() for w in omega.values()])
        assert float((torch.corrcoef(table) - torch.eye(len(ALL))).abs().max()) < 5 / math.sqrt(n)


def test_padding_is_never_seen() -> None:
    shapes = [(17, 23), (9, 31), (30, 8), (1, 5), (12, 12)]
    singles = [pixels(5, h, w)[0][i] for i, (h, w) in enumerate(shapes)]
    padded = (Draws.of(1, 1, torch.arange(5), 1).uniform(3 * 33 * 35) * 256).to(torch.uint8).reshape(5, 3, 33, 35)
    for row, image in zip(padded, singles, strict=True):
        row[:, : image.shape[1], : image.shape[2]] = image
    sizes, index = torch.tensor(shapes), torch.arange(5)
    together = pipeline().view(padded, sizes, index, seed=0, epoch=0, number=0)
    for i, image in enumerate(singles):
        alone = pipeline().view(image[None], sizes[i : i + 1], index[i : i + 1], seed=0, epoch=0, number=0)
        torch.testing.assert_close(together.image[i], alone.image[0], rtol=0, atol=1e-5)
        assert torch.equal(together.omega["crop"][i], alone.omega["crop"][0])


def test_bytes_and_floats_of_the_same_image_give_the_same_view() -> None:
    x, sizes, index = pixels(4)
    counters = {"seed": 0, "epoch": 0, "number": 0}
    of_bytes = pipeline().view(x, sizes, index, **counters)
    of_floats = pipeline().view(x.float() / 255, sizes, index, **counters)
    torch.testing.assert_close(of_floats.image, of_bytes.image, rtol=0, atol=1e-5)


def test_a_pipeline_without_crop_shows_the_whole_image() -> None:
    x, sizes, index = pixels(3, 10, 10)
    view = pipeline(["flip(p=0)"]).view(x, sizes, index, seed=0, epoch=0, number=0)
    torch.testing.assert_close(pipeline().displayed(view), x.float() / 255, rtol=0, atol=1e-6)


def test_a_view_of_no_images_is_an_empty_view() -> None:
    view = pipeline().view(*pixels(0), seed=0, epoch=0, number=0)
    assert view.image.shape == (0, 3, 10, 10)
    assert {len(w) for w in view.omega.values()} == {0}


def test_making_a_view_does_not_change_the_source_images() -> None:
    x, sizes, index = pixels(5)
    before = x.clone()
    pipeline().view(x, sizes, index, seed=0, epoch=0, number=0)
    assert torch.equal(x, before)


@pytest.mark.parametrize(
    ("specs", "message"),
    [
        (["crop", "flip", "flip(p=0.1)"], "'flip' stands twice"),
        (["crop", "crop"], "'crop' stands twice"),
        (["flip", "crop"], "'crop' must come first"),
        (["crop", "flop"], "unknown augmentation 'flop'.*did you mean 'flip'"),
    ],
)
def test_a_pipeline_that_makes_no_sense_is_refused(specs: list[str], message: str) -> None:
    with pytest.raises(RequestError, match=message) as refused:
        pipeline(specs)
    assert "\n" not in str(refused.value)
