"""The fused engine makes the views that the plain form of each augmentation defines."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchvision.transforms.v2.functional import resized_crop

import augaware.augment.engine
from augaware import lookup
from augaware.augment.base import Augmentation
from augaware.augment.color_jitter import ORDERS, ColorJitter
from augaware.augment.crop import omega_to_box
from augaware.augment.engine import fused, kernel
from augaware.augment.engine.fused import Memory
from augaware.augment.flip import Flip
from augaware.augment.pipeline import Pipeline
from augaware.data.base import ImageBatch
from augaware.data.root import open_dataset
from augaware.data.shapes import Shapes
from augaware.errors import RequestError
from augaware.pretrain import start
from augaware.random import Draws
from augaware.recipe import Recipe
from augaware.spaces import Interval

TOLERANCE = 1e-4  # of [0, 1]
ALL = ("crop", "flip", "rotate90", "color_jitter", "grayscale", "gaussian_blur", "solarize")
ANY_CHANNELS = ("crop", "flip", "rotate90", "gaussian_blur", "solarize")
ALWAYS = {
    "crop": "crop(scale=(0.05, 1.0))",
    "flip": "flip(p=1.0)",
    "rotate90": "rotate90(p=1.0)",
    "color_jitter": "color_jitter(0.8, 0.8, 0.8, 0.5, p=1.0)",
    "grayscale": "grayscale(p=1.0)",
    "gaussian_blur": "gaussian_blur(p=1.0)",
    "solarize": "solarize(p=1.0)",
}


def pipeline(*specs: str, size: int = 16, channels: int = 3, engine: str = "fused") -> Pipeline:
    return Pipeline.from_specs(specs, size, (0.4,) * channels, (0.25,) * channels, engine)


def noise(n: int, channels: int, height: int, width: int, dtype: torch.dtype = torch.uint8, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(n, channels, height, width, generator=generator)
    x[: n // 3] = (x[: n // 3] * 3).floor() / 2.5  # ties between channels, blacks
    return x.clamp(0, 1) if dtype == torch.float32 else (x.clamp(0, 1) * torch.iinfo(dtype).max).to(dtype)


def assert_equal_views(of: Pipeline, pixels: Tensor, sizes: Tensor | None = None, seed: int = 0) -> None:
    if sizes is None:
        sizes = torch.tensor([pixels.shape[2:]]).repeat(len(pixels), 1)
    omega = of.sample(Draws.of(seed, 0, torch.arange(len(pixels)), 0), sizes)
    given = {name: w.clone() for name, w in omega.items()}
    one, two = of.apply(pixels, sizes, omega), of.plain(pixels, sizes, omega)
    assert one.image.shape == two.image.shape == (len(pixels), pixels.shape[1], of.size, of.size)
    torch.testing.assert_close(of.displayed(one), of.displayed(two), rtol=0, atol=TOLERANCE)
    assert one.omega.keys() == two.omega.keys()
    for name in one.omega:
        torch.testing.assert_close(one.omega[name], two.omega[name], rtol=0, atol=0 if name in given else 1e-5)
    assert all(torch.equal(omega[name], w) for name, w in given.items())


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("size", [1, 2, 17, 40])
def test_each_augmentation(name: str, size: int) -> None:
    for height, width in ((1, 1), (3, 50), (40, 29)):
        assert_equal_views(pipeline(ALWAYS[name], size=size), noise(12, 3, height, width))


@pytest.mark.parametrize("form", ["hsv", "torchvision"])
def test_each_order_of_the_jitter(form: str) -> None:
    jitter = ColorJitter(16, 0.8, 0.8, 0.8, 0.5, form=form)
    of = Pipeline([jitter], 16, (0.5,) * 3, (0.5,) * 3, "fused")
    pixels, sizes = noise(len(ORDERS), 3, 16, 16), torch.full((len(ORDERS), 2), 16)
    moved = torch.rand(len(ORDERS), 4, generator=torch.Generator().manual_seed(1)) - 0.5
    omega = {"color_jitter": torch.cat((moved, torch.arange(float(len(ORDERS)))[:, None]), dim=1)}
    one, two = of.apply(pixels, sizes, omega), of.plain(pixels, sizes, omega)
    torch.testing.assert_close(of.displayed(one), of.displayed(two), rtol=0, atol=TOLERANCE)
    torch.testing.assert_close(one.omega["color_diff"], two.omega["color_diff"], rtol=0, atol=1e-5)


@pytest.mark.parametrize("engine", ["fused", "plain"])
@pytest.mark.parametrize("form", ["hsv", "torchvision"])
def test_whether_it_is_measured_changes_no_pixel(form: str, engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    b, size = 2 * len(ORDERS), 50  # 2500 pixels are more than a tile
    of = Pipeline([ColorJitter(size, 0.8, 0.8, 0.8, 0.5, form=form)], size, (0.5,) * 3, (0.5,) * 3, engine)
    pixels, sizes = noise(b, 3, 60, 60), torch.full((b, 2), 60)
    omega = of.sample(Draws.of(0, 0, torch.arange(b), 0), sizes)
    omega["color_jitter"][:, 4] = torch.arange(b) % len(ORDERS)
    everything, named = of.apply(pixels, sizes, omega), of.apply(pixels, sizes, omega, ["color_diff", "nothing"])
    monkeypatch.setattr(ColorJitter, "measure", None)  # to call it would be an error
    nothing = of.apply(pixels, sizes, omega, ())
    assert torch.equal(nothing.image, everything.image)
    assert torch.equal(named.image, everything.image)
    assert everything.omega.keys() == named.omega.keys() == {"color_jitter", "color_diff"} == of.spaces.keys()
    assert torch.equal(named.omega["color_diff"], everything.omega["color_diff"])
    assert nothing.omega.keys() == {"color_jitter"}


@pytest.mark.parametrize(
    "order", list(itertools.permutations(("flip", "color_jitter", "gaussian_blur", "rotate90")))[::5]
)
def test_any_order_of_augmentations(order: tuple[str, ...]) -> None:
    assert_equal_views(pipeline("crop()", *order, "solarize()", "grayscale()"), noise(16, 3, 30, 20))


@settings(max_examples=40, deadline=None)  # the first example may compile
@given(
    n=st.integers(0, 5),
    size=st.integers(1, 70),
    height=st.integers(1, 130),
    width=st.integers(1, 130),
    channels=st.sampled_from([1, 3, 5]),
    dtype=st.sampled_from([torch.uint8, torch.uint16, torch.float32]),
    seed=st.integers(0, 1000),
)
def test_any_shape_and_type(
    n: int, size: int, height: int, width: int, channels: int, dtype: torch.dtype, seed: int
) -> None:
    of = pipeline(*(ALL if channels == 3 else ANY_CHANNELS), size=size, channels=channels)
    assert_equal_views(of, noise(n, channels, height, width, dtype), seed=seed)


@pytest.mark.parametrize(("source", "size"), [(512, 512), (512, 3), (7, 512)])
def test_large_and_small(source: int, size: int) -> None:
    assert_equal_views(pipeline(*ALL, size=size), noise(3, 3, source, source))


def test_images_of_several_sizes_in_one_batch_and_strided_memory() -> None:
    sizes = torch.tensor([[30, 20], [5, 40], [33, 1]])
    pixels = noise(3, 3, 33, 40)
    for image, (height, width) in zip(pixels, sizes.tolist(), strict=True):
        image[:, height:], image[:, :, width:] = 0, 0
    assert_equal_views(pipeline(*ALL), pixels, sizes)
    strided = noise(6, 3, 40, 60)[::2].flip(0).transpose(2, 3)[:, :, ::3, 1:]
    assert_equal_views(pipeline(*ALL), strided)
    assert_equal_views(pipeline(*ALL), noise(4, 3, 20, 20).contiguous(memory_format=torch.channels_last))


@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.uint8])
@pytest.mark.parametrize("channels", [1, 3])
def test_what_is_written(dtype: torch.dtype, planar: bool, channels: int) -> None:
    # a view may lie by rows or by columns when it is written: blurred or not; 70 px are whole tiles and parts of them
    augmentations = [lookup.build("augment", s, 70) for s in ("crop()", "flip()", "gaussian_blur(p=0.5)")]
    colours = (0.4,) * channels, (0.25,) * channels
    of = Pipeline(augmentations, 70, *colours, "fused", dtype, planar)
    exact = Pipeline(augmentations, 70, *colours, "plain")
    pixels, sizes = noise(8, channels, 60, 50), torch.tensor([[60, 50]]).repeat(8, 1)
    found, plain, float32 = (p.view(pixels, sizes, torch.arange(8), 0, 0, 0).image for p in (of, of_plain(of), exact))
    assert found.dtype == plain.dtype == dtype
    layout = torch.contiguous_format if planar else torch.channels_last
    assert found.is_contiguous(memory_format=layout)
    assert plain.is_contiguous(memory_format=layout)
    expected = float32.to(dtype) if dtype != torch.uint8 else ((float32 * 0.25 + 0.4) * 255).round().to(dtype)
    step = {torch.float32: 1e-4, torch.bfloat16: 2 / 128, torch.uint8: 1}[dtype]
    torch.testing.assert_close(found.float(), expected.float(), rtol=0, atol=step)
    torch.testing.assert_close(plain.float(), expected.float(), rtol=0, atol=step)
    assert (found != expected).float().mean() < (1 if dtype == torch.float32 else 0.02)  # rounding goes to the nearest


def of_plain(of: Pipeline) -> Pipeline:
    mean, std = of.mean.flatten().tolist(), of.std.flatten().tolist()
    return Pipeline(of.augmentations, of.size, mean, std, "plain", of.dtype, of.planar)


def test_a_type_that_views_cannot_have() -> None:
    with pytest.raises(RequestError, match=r"dtype=torch\.float64 .* accepted: torch\.float32, torch\.bfloat16"):
        Pipeline([], 8, (0.5,) * 3, (0.5,) * 3, dtype=torch.float64)


def test_the_number_of_threads_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    of, pixels = pipeline(*ALL), noise(7, 3, 30, 30)
    found = []
    for threads in (1, 2, 3, 16):  # of.view() asks how many there are, and changes nothing
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        found.append(of.view(pixels, torch.full((7, 2), 30), torch.arange(7), 0, 0, 0))
    assert all(torch.equal(found[0].image, view.image) for view in found)
    assert all(torch.equal(found[0].omega["color_diff"], view.omega["color_diff"]) for view in found)


def assert_torchvisions_crop(batch: ImageBatch) -> None:
    of = Pipeline.from_specs(["crop(scale=(0.08, 1.0))"], 48, (0.0,) * 3, (1.0,) * 3, "fused")
    for number, (padded, (height, width)) in enumerate(zip(batch.pixels, batch.sizes.tolist(), strict=True)):
        image = padded[:, :height, :width]
        sizes = torch.tensor([image.shape[1:]])
        view = of.view(image[None], sizes, torch.tensor([number]), 0, 0, 0)
        box = [int(v) for v in omega_to_box(view.omega["crop"], sizes)[0]]
        theirs = resized_crop(image, *box, [48, 48], antialias=True)
        assert ((view.image[0] * 255).round() - theirs).abs().max() <= 1


def test_crop_and_resize_are_torchvisions_to_one_gray_level() -> None:
    assert_torchvisions_crop(Shapes(n=12, size=64).batch(torch.arange(12)))


def test_crop_and_resize_of_photographs_are_torchvisions_to_one_gray_level(real_data: Path) -> None:
    if not (real_data / "flowers102").is_dir():
        pytest.skip(f"no flowers102 in {real_data}: set AUGAWARE_DATA")
    assert_torchvisions_crop(open_dataset(real_data, "flowers102")["val"].batch(torch.arange(24)))


# --- what the kernel does not know


class Tint(Augmentation):
    """A user's augmentation: one channel is made brighter."""

    space = Interval(1)
    identity = (0.0,)
    name = "tint"
    measures: ClassVar = {"tint_mean": Interval(1, measured=True)}

    def __init__(self, size: int) -> None:
        self.size = size

    def sample(self, draws: Draws, sizes: Tensor) -> Tensor:
        return draws.uniform(1)

    def apply(self, x: Tensor, omega: Tensor) -> Tensor:
        x = x.clone()
        x[:, 0] = (x[:, 0] + omega[:, :, None] / 2).clamp(0, 1)
        return x

    def measure(self, before: Tensor, after: Tensor) -> dict[str, Tensor]:
        return {"tint_mean": (after - before).mean(dim=(1, 2, 3))[:, None]}


class Mirror(Flip):
    """A user's flip, upside down: the kernel's flip is not its."""

    name = "mirror"

    def apply(self, x: Tensor, omega: Tensor) -> Tensor:
        return x.flip(2)


@pytest.mark.parametrize("place", [0, 1, 2, 3])
def test_a_users_augmentation_acts_at_its_place_and_the_others_stay_fused(
    place: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[Augmentation] = list(pipeline("flip()", "color_jitter()", "gaussian_blur()").augmentations)
    built.insert(place, Tint(16))
    of = Pipeline(built, 16, (0.4,) * 3, (0.25,) * 3, "fused")
    assert_equal_views(of, noise(8, 3, 20, 20))

    def never(*_: Any) -> Tensor:
        raise AssertionError("in its plain form")

    for a in built:
        if a.fused is not None:
            monkeypatch.setattr(type(a), "apply", never)
            assert "fused" in vars(type(a))
    of.view(noise(8, 3, 20, 20), torch.full((8, 2), 20), torch.arange(8), 0, 0, 0)


@pytest.mark.parametrize("engine", ["fused", "plain"])
def test_of_what_a_users_augmentation_measures_that_alone_is_told_which_is_wanted(engine: str) -> None:
    built = [*pipeline("flip()", "color_jitter()").augmentations, Tint(16)]
    of = Pipeline(built, 16, (0.4,) * 3, (0.25,) * 3, engine)
    pixels, sizes = noise(8, 3, 20, 20), torch.full((8, 2), 20)
    omega = of.sample(Draws.of(0, 0, torch.arange(8), 0), sizes)
    everything = of.apply(pixels, sizes, omega)
    for wanted in ((), ("tint_mean",), ("color_diff",), ("color_diff", "tint_mean")):
        view = of.apply(pixels, sizes, omega, wanted)
        assert view.omega.keys() == {*omega, *wanted}
        assert torch.equal(view.image, everything.image)
        assert all(torch.equal(w, everything.omega[name]) for name, w in view.omega.items())


def test_an_apply_of_its_own_is_not_taken_for_its_parents() -> None:
    of = Pipeline([Mirror(16, p=1.0)], 16, (0.4,) * 3, (0.25,) * 3, "fused")
    pixels = noise(2, 3, 16, 16)
    view = of.view(pixels, torch.full((2, 2), 16), torch.arange(2), 0, 0, 0)
    torch.testing.assert_close(of.displayed(view), pixels.flip(2) / 255, rtol=0, atol=1e-5)


# --- where it cannot be used


def clear() -> None:
    fused.missing.cache_clear()
    fused.failure.cache_clear()


def test_without_numba_views_are_plain_and_the_log_says_why(
    small: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "augaware.augment.engine.kernel", None)
    monkeypatch.delattr(augaware.augment.engine, "kernel", raising=False)
    clear()
    try:
        assert pipeline("flip()", engine="auto").fused is None
        with pytest.raises(RequestError, match="engine='fused' cannot be used: numba does not work here"):
            pipeline("flip()")
        run = start(small, tmp_path / "run")
        assert "views by the plain engine: numba does not work here" in (run.path / "log.txt").read_text()
    finally:
        clear()


def test_a_kernel_that_does_not_compile_is_done_without(
    small: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise ValueError("no such instruction\nand more lines")

    monkeypatch.setattr(kernel, "fused", broken)
    clear()
    try:
        reason = r"numba does not work here \(no such instruction\)"
        run = start(small, tmp_path / "run")
        assert re.search(f"views by the plain engine: {reason}$", (run.path / "log.txt").read_text(), re.MULTILINE)
        with pytest.raises(RequestError, match=f"^engine='fused' cannot be used: {reason}; repair numba, or use"):
            start(small.changed({"engine": "fused"}), tmp_path / "other")
        assert not (tmp_path / "other").exists()
        of, pixels = pipeline("flip()", engine="auto"), noise(2, 3, 16, 16)
        sizes = torch.full((2, 2), 16)
        omega = of.sample(Draws.of(0, 0, torch.arange(2), 0), sizes)
        assert torch.equal(of.apply(pixels, sizes, omega).image, of.plain(pixels, sizes, omega).image)
    finally:
        clear()


def test_the_log_says_which_engine(small: Recipe, tmp_path: Path) -> None:
    for name in ("fused", "plain"):
        run = start(small.changed({"engine": name}), tmp_path / name)
        assert f"views by the {name} engine" in (run.path / "log.txt").read_text()


def test_an_unknown_engine() -> None:
    with pytest.raises(
        RequestError, match="engine='fuse' is unknown; accepted: auto, fused, plain; did you mean 'fused'"
    ):
        pipeline("flip()", engine="fuse")


def test_channels_that_do_not_fit() -> None:
    pixels, sizes = noise(2, 5, 16, 16), torch.full((2, 2), 16)
    with pytest.raises(RequestError, match="'color_jitter' needs images of 3 channels, these have 5; leave it out"):
        pipeline("color_jitter()", channels=5).view(pixels, sizes, torch.arange(2), 0, 0, 0)
    with pytest.raises(RequestError, match="mean has 3 numbers and std 3, the images have 5 channels"):
        pipeline("flip()").view(pixels, sizes, torch.arange(2), 0, 0, 0)


def test_warming_up_compiles_in_a_thread_of_its_own() -> None:
    assert fused.warm().result() is None


DIGEST = """
import hashlib, torch
from augaware.augment.pipeline import Pipeline
from augaware.ragged import packed
g, found = torch.Generator().manual_seed(0), hashlib.sha256()
images = packed([torch.randint(0, 256, (3, h, 70 - h), dtype=torch.uint8, generator=g) for h in range(24, 46)], 3)
specs = ["crop()", "flip()", "color_jitter(p=1.0)", "grayscale()", "gaussian_blur()", "solarize()", "exposure()"]
for size in (16, 24, 33):
    for dtype in (torch.float32, torch.bfloat16, torch.uint8):
        for planar in (False, True):
            parts = Pipeline.from_specs(specs, size, (0.48, 0.45, 0.4), (0.27, 0.26, 0.28)).augmentations
            views = Pipeline(parts, size, (0.48, 0.45, 0.4), (0.27, 0.26, 0.28), "fused", dtype, planar)
            view = views.view(images, images.sizes, torch.arange(len(images)), 0, 0, 0)
            found.update(view.image.contiguous().view(torch.uint8).numpy().tobytes())
print(found.hexdigest())
"""


@pytest.mark.long
def test_the_process_that_compiles_the_kernel_makes_the_same_bits_as_those_that_read_it(tmp_path: Path) -> None:
    """... or a run that the first process on a machine began would go on to other weights in the second."""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    found = [
        subprocess.run([sys.executable, "-c", DIGEST], env=environment, capture_output=True, text=True, check=True)
        for _ in range(2)
    ]
    assert list(tmp_path.rglob("*.nbc"))
    assert found[0].stdout == found[1].stdout != ""


def test_memory_is_lent_again_once_its_view_is_gone() -> None:
    memory = Memory()
    one = memory.lend(10, torch.float32).view(2, 5).T
    two = memory.lend(10, torch.float32)
    places = {one.data_ptr(), two.data_ptr()}
    assert len(places) == 2  # both are held
    part = one[1:].numpy()
    del one
    assert memory.lend(10, torch.float32).data_ptr() not in places  # a part of it still is
    del part
    again = memory.lend(10, torch.float32)
    assert again.data_ptr() in places - {two.data_ptr()}
    other = memory.lend(10, torch.bfloat16)
    assert other.dtype == torch.bfloat16
    assert other.data_ptr() != two.data_ptr()


def test_views_under_way_are_the_views() -> None:
    of, pixels, sizes = pipeline(*ALL), noise(9, 3, 30, 30), torch.full((9, 2), 30)
    omegas = [of.sample(Draws.of(0, 0, torch.arange(9), number), sizes) for number in range(3)]
    begun = [of.begin(pixels, sizes, omega) for omega in omegas]
    for wait, omega in zip(begun, omegas, strict=True):
        assert torch.equal(wait().image, of.apply(pixels, sizes, omega).image)
