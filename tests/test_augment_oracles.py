"""Each augmentation against another implementation: torchvision, Pillow, colorsys, or the formula written out."""

from __future__ import annotations

import colorsys
import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import stats
from torch import Tensor
from torchvision.transforms import RandomResizedCrop
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as F

from augaware.augment.color_jitter import ORDERS, ColorJitter
from augaware.augment.crop import Crop, box_to_omega, omega_to_box
from augaware.augment.flip import Flip
from augaware.augment.gaussian_blur import GaussianBlur
from augaware.augment.grayscale import Grayscale
from augaware.augment.pipeline import Pipeline
from augaware.augment.rotate90 import Rotate90
from augaware.augment.solarize import Solarize
from augaware.random import Draws

QUICK = settings(deadline=None, max_examples=25, derandomize=True)


def image(height: int, width: int, seed: int = 0) -> Tensor:
    """(1, 3, height, width) of [0, 1], with zeros, ones and grays."""
    u = Draws.of(seed, 0, torch.arange(height * width), 0).uniform(3, -0.2, 1.2).clamp(0, 1)
    u[::7] = u[::7, :1]
    return u.T.reshape(1, 3, height, width).contiguous()


def close(ours: Tensor, theirs: Tensor, tolerance: float) -> None:
    torch.testing.assert_close(ours, theirs, rtol=0, atol=tolerance)


# --- crop: pixels ---


@st.composite
def boxes(draw: st.DrawFn) -> tuple[int, int, int, int, int, int, int]:
    height, width, size = draw(st.integers(1, 60)), draw(st.integers(1, 60)), draw(st.integers(1, 40))
    h, w = draw(st.integers(1, height)), draw(st.integers(1, width))
    return height, width, size, draw(st.integers(0, height - h)), draw(st.integers(0, width - w)), h, w


def cropped(x: Tensor, size: int, box: tuple[int, int, int, int]) -> Tensor:
    omega = box_to_omega(torch.tensor([box]).float(), torch.tensor([x.shape[2:]]))
    return Crop(size).apply(x, omega)


@QUICK
@given(boxes())
def test_a_crop_is_torchvisions_resized_crop(given_box: tuple[int, int, int, int, int, int, int]) -> None:
    height, width, size, *box = given_box
    x = image(height, width)
    theirs = F.resized_crop(x, *box, [size, size], antialias=True)
    close(cropped(x, size, box), theirs, 1e-4)
    close(Crop(size).batched(x, torch.tensor([box])), theirs, 1e-4)  # the form of a GPU


@pytest.mark.parametrize("box", [(5, 9, 120, 90), (40, 30, 11, 17), (0, 0, 128, 160), (3, 8, 96, 96)], ids=str)
def test_a_crop_of_bytes_is_torchvisions_and_pillows_to_one_grey_level(box: tuple[int, int, int, int]) -> None:
    byte = (image(128, 160) * 255).round().to(torch.uint8)
    ours = (cropped(byte.float() / 255, 96, box)[0] * 255).round()
    theirs = F.resized_crop(byte, *box, [96, 96], InterpolationMode.BILINEAR, antialias=True)[0]
    assert float((ours - theirs.float()).abs().max()) <= 1
    top, left, h, w = box
    picture = Image.fromarray(byte[0].permute(1, 2, 0).numpy()).crop((left, top, left + w, top + h))
    pillows = torch.from_numpy(np.array(picture.resize((96, 96), Image.Resampling.BILINEAR))).permute(2, 0, 1)
    assert float((ours - pillows.float()).abs().max()) <= 1


# --- crop: boxes ---


def sampled_boxes(crop: Crop, height: int, width: int, n: int) -> Tensor:
    sizes = torch.tensor([[height, width]]).expand(n, 2)
    return omega_to_box(crop.sample(Draws.of(0, 0, torch.arange(n), 0), sizes), sizes)


def torchvisions_boxes(crop: Crop, height: int, width: int, n: int) -> Tensor:
    blank = torch.zeros(1, height, width)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return torch.tensor([RandomResizedCrop.get_params(blank, list(crop.scale), list(crop.ratio)) for _ in range(n)])


@pytest.mark.parametrize(
    ("height", "width", "scale"), [(96, 96, (0.2, 1.0)), (200, 130, (0.08, 1.0)), (60, 150, (0.2, 1.0))]
)
def test_boxes_follow_the_law_of_random_resized_crop(height: int, width: int, scale: tuple[float, float]) -> None:
    crop, n = Crop(96, scale=scale), 2500
    ours = sampled_boxes(crop, height, width, n).double().numpy()
    theirs = torchvisions_boxes(crop, height, width, n).double().numpy()
    for read in (
        lambda box: box[:, 2] * box[:, 3],  # area
        lambda box: np.log(box[:, 3] / box[:, 2]),  # aspect
        lambda box: box[:, 0] + box[:, 2] / 2,
        lambda box: box[:, 1] + box[:, 3] / 2,
        lambda box: box[:, 0],
        lambda box: box[:, 1],
    ):
        assert stats.ks_2samp(read(ours), read(theirs)).pvalue > 1e-3


def test_a_box_lies_at_every_place_equally_often() -> None:
    n = 9000
    box = sampled_boxes(Crop(8, scale=(0.25, 0.25), ratio=(1, 1)), 4, 6, n)  # sqrt(24 / 4) is 2 pixels
    assert (box[:, 2:] == 2).all()
    for column, places in ((0, 3), (1, 5)):
        share = torch.bincount(box[:, column].long()).double() / n
        assert len(share) == places
        assert float((share - 1 / places).abs().max()) < 5 * math.sqrt(0.25 / n)


@pytest.mark.parametrize(("height", "width"), [(10, 400), (400, 10), (1, 300), (300, 1), (7, 60)])
def test_an_extreme_image_falls_back_to_torchvisions_central_box(height: int, width: int) -> None:
    crop = Crop(96)
    ours = sampled_boxes(crop, height, width, 20)
    assert torch.equal(ours[:1].expand(20, 4), ours)
    theirs = torchvisions_boxes(crop, height, width, 1)[0].clamp_min(0)
    theirs[2:].clamp_min_(1)
    assert ours[0].tolist() == theirs.tolist()


@QUICK
@given(st.integers(1, 3000), st.integers(1, 3000), st.tuples(st.floats(0.01, 1), st.floats(0.01, 1)).map(sorted))
def test_boxes_are_whole_pixels_inside_the_image_and_come_back_from_omega(height: int, width: int, scale: list) -> None:
    crop, sizes = Crop(8, scale=tuple(scale)), torch.tensor([[height, width]]).expand(50, 2)
    omega = crop.sample(Draws.of(height, width, torch.arange(50), 0), sizes)
    box = omega_to_box(omega, sizes)
    assert torch.equal(box, box.round())
    assert (box[:, :2] >= 0).all()
    assert (box[:, 2:] >= 1).all()
    assert (box[:, :2] + box[:, 2:] <= sizes).all()
    assert torch.equal(box_to_omega(box, sizes), omega)


@QUICK
@given(boxes())
def test_a_box_survives_the_way_through_omega(given_box: tuple[int, int, int, int, int, int, int]) -> None:
    height, width, _, *box = given_box
    sizes = torch.tensor([[height, width]])
    assert omega_to_box(box_to_omega(torch.tensor([box]).float(), sizes), sizes)[0].tolist() == box


# --- colour jitter ---

SOME_ORDERS = [ORDERS[k] for k in (0, 5, 8, 14, 17, 23)]
JITTERS = [(1.4, 0.6, 1.3, 0.08), (0.7, 1.35, 0.65, -0.1), (1.0, 1.0, 1.0, 0.5)]


def omega_of(jitter: ColorJitter, factors: tuple[float, ...], order: tuple[int, ...]) -> Tensor:
    moved = (torch.tensor(factors) - torch.tensor([1.0, 1.0, 1.0, 0.0])) / jitter.width
    return torch.cat((moved, torch.tensor([float(ORDERS.index(order))])))[None]


def test_the_orders_are_all_orders() -> None:
    assert sorted(ORDERS) == sorted(itertools.permutations(range(4)))
    n = 12_000
    omega = ColorJitter(8, p=1).sample(Draws.of(0, 0, torch.arange(n), 0), torch.full((n, 2), 8))
    counts = torch.bincount(omega[:, 4].long(), minlength=24).double()
    assert len(counts) == 24
    assert float((counts / 500 - 1).abs().max()) < 5 / math.sqrt(500)
    r = torch.corrcoef(omega.T.double())  # four amounts and the order, independent of each other
    assert float((r - torch.eye(5)).abs().max()) < 5 / math.sqrt(n)


@pytest.mark.parametrize("order", SOME_ORDERS, ids=str)
@pytest.mark.parametrize("factors", JITTERS, ids=str)
def test_torchvisions_form_is_torchvisions_in_every_order(factors: tuple[float, ...], order: tuple[int, ...]) -> None:
    jitter, x = ColorJitter(8, hue=0.5, form="torchvision"), image(9, 7)
    operations = (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation, F.adjust_hue)
    expected = x
    for k in order:
        expected = operations[k](expected, factors[k])
    close(jitter.apply(x, omega_of(jitter, factors, order)), expected, 1e-5)


def slow_brightness(pixels: list, factor: float) -> list:
    return [tuple(min(max(factor * c, 0), 1) for c in pixel) for pixel in pixels]


def slow_contrast(pixels: list, factor: float) -> list:
    mean = sum(0.2989 * r + 0.587 * g + 0.114 * b for r, g, b in pixels) / len(pixels)
    return [tuple(min(max(factor * c + (1 - factor) * mean, 0), 1) for c in pixel) for pixel in pixels]


def slow_saturation(pixels: list, factor: float) -> list:
    coded = [colorsys.rgb_to_hsv(*pixel) for pixel in pixels]
    return [colorsys.hsv_to_rgb(h, min(max(s * factor, 0), 1), v) for h, s, v in coded]


def slow_hue(pixels: list, turns: float) -> list:
    coded = [colorsys.rgb_to_hsv(*pixel) for pixel in pixels]
    return [colorsys.hsv_to_rgb((h + turns) % 1, s, v) for h, s, v in coded]


SLOW = (slow_brightness, slow_contrast, slow_saturation, slow_hue)
NEUTRAL = (1.0, 1.0, 1.0, 0.0)


def slow_jitter(x: Tensor, factors: tuple[float, ...], order: tuple[int, ...]) -> Tensor:
    pixels = [tuple(p) for p in x[0].flatten(1).T.double().tolist()]
    for k in order:
        pixels = SLOW[k](pixels, factors[k])
    return torch.tensor(pixels).T.reshape(x.shape).float()


@pytest.mark.parametrize("order", SOME_ORDERS, ids=str)
@pytest.mark.parametrize("factors", JITTERS, ids=str)
def test_the_authors_form_is_colorsys_pixel_by_pixel(factors: tuple[float, ...], order: tuple[int, ...]) -> None:
    jitter, x = ColorJitter(8, hue=0.5), image(9, 7)
    close(jitter.apply(x, omega_of(jitter, factors, order)), slow_jitter(x, factors, order), 1e-5)


@pytest.mark.parametrize("operation", range(4), ids=["brightness", "contrast", "saturation", "hue"])
@pytest.mark.parametrize("amount", [0.0, 0.25, 0.9, 1.7])
def test_one_operation_alone_is_its_formula(operation: int, amount: float) -> None:
    jitter, x = ColorJitter(8, 0.8, 0.8, 0.8, 0.5), image(9, 7, seed=1)
    factors = list(NEUTRAL)
    factors[operation] = amount if operation < 3 else amount - 0.9
    omega = omega_of(jitter, tuple(factors), ORDERS[0])
    close(jitter.apply(x, omega), slow_jitter(x, tuple(factors), ORDERS[0]), 2e-6)


def test_factors_lie_in_their_ranges_and_are_uniform() -> None:
    for s in (0.2, 0.4, 0.8, 1.6):
        jitter, n = ColorJitter(8, s, s, s, s / 4, p=1), 5000
        omega = jitter.sample(Draws.of(0, 0, torch.arange(n), 0), torch.full((n, 2), 8))
        for k, (low, high) in enumerate([(max(0, 1 - s), 1 + s)] * 3 + [(-s / 4, s / 4)]):
            factor = jitter.factors(omega)[:, k].double().numpy()
            assert stats.kstest(factor, stats.uniform(low, high - low).cdf).pvalue > 1e-3
    assert omega[:, :3].max() > 0.55  # a range cut at 0 is no longer centred at 1: omega reaches 1.6 / 2.6


def test_a_strength_of_0_moves_nothing() -> None:
    omega = ColorJitter(8, 0, 0.4, 0, 0, p=1).sample(Draws.of(0, 0, torch.arange(50), 0), torch.full((50, 2), 8))
    assert (omega[:, [0, 2, 3]] == 0).all()
    assert (omega[:, 1] != 0).all()


def test_color_diff_is_the_channel_means_before_the_jitter_minus_after() -> None:
    made = Pipeline.from_specs(["flip", "color_jitter(p=0.5)", "grayscale", "solarize"], 9, (0.4,) * 3, (0.2,) * 3)
    x = torch.cat([image(9, 9, seed) for seed in range(8)])
    view = made.view(x, torch.full((8, 2), 9), torch.arange(8), seed=0, epoch=0, number=0)
    jitter = view.omega["color_jitter"]
    after = ColorJitter(9).apply(x, jitter)
    close(view.omega["color_diff"], x.mean(dim=(2, 3)) - after.mean(dim=(2, 3)), 1e-6)
    off = (jitter == 0).all(dim=1)
    assert 0 < off.sum() < 8
    assert (view.omega["color_diff"][off] == 0).all()


# --- the others ---

ON = torch.ones(1, 1)


def test_gray_is_the_weighted_sum_of_the_channels() -> None:
    x = image(6, 5)
    gray = Grayscale(8).apply(x, ON)
    expected = 0.299 * x[:, 0] + 0.587 * x[:, 1] + 0.114 * x[:, 2]
    for channel in range(3):
        close(gray[:, channel], expected, 1e-6)


def test_a_flip_mirrors_left_and_right() -> None:
    x = image(5, 8)
    assert torch.equal(Flip(8).apply(x, ON), F.horizontal_flip(x))


@pytest.mark.parametrize("k", [0, 1, 2, 3])
def test_quarter_turns_are_counter_clockwise(k: int) -> None:
    x = image(6, 6)
    turned = Rotate90(8).apply(x, torch.tensor([[float(k)]]))
    assert torch.equal(turned, torch.rot90(x, k, dims=(2, 3)))
    assert torch.equal(turned, F.rotate(x, 90.0 * k))  # torchvision's angles are counter-clockwise too


@pytest.mark.parametrize("p", [0.5, 1.0])
def test_k_is_0_with_probability_1_minus_3p_over_4_and_the_other_turns_share_the_rest(p: float) -> None:
    n = 20_000
    k = Rotate90(8, p=p).sample(Draws.of(0, 0, torch.arange(n), 0), torch.full((n, 2), 8)).long().flatten()
    share = torch.bincount(k, minlength=4).double() / n
    expected = torch.tensor([1 - 3 * p / 4, p / 4, p / 4, p / 4]).double()
    assert float((share - expected).abs().max()) < 5 * math.sqrt(0.25 / n)


@pytest.mark.parametrize("sigma", [0.1, 0.7, 2.0])
@pytest.mark.parametrize(("size", "shape"), [(96, (21, 33)), (40, (6, 3)), (224, (24, 24))])
def test_a_blur_is_torchvisions(sigma: float, size: int, shape: tuple[int, int]) -> None:
    blur, x = GaussianBlur(size), image(*shape)
    expected = F.gaussian_blur(x, [blur.kernel, blur.kernel], [sigma, sigma])
    close(blur.apply(x, torch.tensor([[sigma]])), expected, 1e-5)


@pytest.mark.parametrize("shape", [(4, 4), (3, 9), (2, 2), (1, 5), (1, 1)])
def test_a_kernel_wider_than_the_image_reflects_again_and_again(shape: tuple[int, int]) -> None:
    blur, x, sigma = GaussianBlur(8, kernel=23), image(*shape), 2.0
    weight = np.exp(-0.5 * (np.arange(-11, 12) / sigma) ** 2)
    weight /= weight.sum()
    padded = np.pad(x[0].double().numpy(), ((0, 0), (11, 11), (11, 11)), mode="reflect")
    for axis in (1, 2):
        padded = np.apply_along_axis(np.convolve, axis, padded, weight, mode="valid")
    close(blur.apply(x, torch.tensor([[sigma]]))[0], torch.from_numpy(padded).float(), 1e-5)


@pytest.mark.parametrize(("size", "kernel"), [(96, 9), (224, 23), (48, 5), (32, 5), (8, 5), (160, 17)])
def test_kernels_are_a_tenth_of_the_view_and_odd(size: int, kernel: int) -> None:
    assert GaussianBlur(size).kernel == kernel
    assert GaussianBlur(size, kernel=3).kernel == 3


def test_sigma_is_uniform_in_its_range_where_it_is_applied() -> None:
    n = 10_000
    sigma = GaussianBlur(96).sample(Draws.of(0, 0, torch.arange(n), 0), torch.full((n, 2), 96))[:, 0]
    assert stats.kstest(sigma[sigma > 0].double().numpy(), stats.uniform(0.1, 1.9).cdf).pvalue > 1e-3


@pytest.mark.parametrize("threshold", [0.0, 0.25, 0.5])
def test_solarize_keeps_what_is_below_the_threshold_and_inverts_the_rest(threshold: float) -> None:
    x = torch.cat((image(6, 5).flatten(), torch.tensor([0.0, 0.25, 0.5, 1.0]), torch.zeros(2))).reshape(1, 3, 8, 4)
    expected = torch.tensor([v if v < threshold else 1 - v for v in x.flatten().tolist()]).reshape(x.shape)
    y = Solarize(8).apply(x, torch.tensor([[threshold]]))
    close(y, expected, 1e-7)
    close(y, F.solarize(x, threshold), 1e-7)


def test_solarize_off_leaves_even_exact_ones_alone() -> None:
    x = torch.ones(1, 3, 2, 2)
    assert torch.equal(Solarize(8).apply(x, torch.tensor([[1.0]])), x)
    assert torch.equal(Solarize(8).apply(x, torch.tensor([[0.999]])), torch.zeros_like(x))
