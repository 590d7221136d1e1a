"""Laws that hold for every augmentation by name, and for the pipeline that chains them."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from augaware import lookup
from augaware.augment.pipeline import Pipeline
from augaware.errors import RequestError
from augaware.laws.augmentation import LAWS, images
from augaware.laws.base import Given, Law
from augaware.random import Draws

NAMES = lookup.names("augment")
EACH = pytest.mark.parametrize("name", NAMES)
MEAN, STD = (0.43, 0.42, 0.39), (0.27, 0.26, 0.27)


def draws(n: int, view: int = 0) -> Draws:
    return Draws.of(0, 0, torch.arange(n), view)


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
@EACH
def test_the_laws_of_augmentations(name: str, law: Law) -> None:
    assert law(Given("augment", name)) == ""


def test_the_name_of_an_augmentation_is_that_of_its_file() -> None:
    assert [lookup.build("augment", name, 12).name for name in NAMES] == NAMES


# --- wrong requests ---


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
