"""The stain augmentation against the papers' equations in numpy, and what it does to stains that are mixed by hand."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from augaware import lookup
from augaware.augment.pipeline import Pipeline
from augaware.augment.stain import Stain
from augaware.errors import RequestError
from augaware.random import Draws

# Ruifrok & Johnston (2001): absorption of red, green and blue, each stain normalised to length 1.
HED = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]])
HED /= np.sqrt((HED**2).sum(1, keepdims=True))
SMALLEST = 1 / 255


def mixed(stains: NDArray[np.float64]) -> NDArray[np.float64]:
    """Pixels (..., 3) in [0, 1] of concentrations (..., 3), in optical density."""
    light: NDArray[np.float64] = 10.0 ** -(stains @ HED) - SMALLEST
    return light.clip(0, 1)


def transcribed(pixel: NDArray[np.float64], omega: list[float]) -> NDArray[np.float64]:
    """One pixel (3,) by the equations."""
    density = [-math.log10(value + SMALLEST) for value in pixel]
    h, e, rest = np.linalg.solve(HED.T, density)
    alpha_h, alpha_e = math.expm1(omega[0]), math.expm1(omega[1])
    changed = [(1 + alpha_h) * h + omega[2], (1 + alpha_e) * e + omega[3], rest]
    return np.array([10 ** -sum(changed[s] * HED[s, c] for s in range(3)) - SMALLEST for c in range(3)]).clip(0, 1)


def tissue(n: int, side: int = 8) -> tuple[Tensor, NDArray[np.float64]]:
    """Images (n, 3, side, side) of haematoxylin up to .7, eosin up to .5, a little of the third, and their stains."""
    amounts = np.random.default_rng(0).uniform(0, (0.7, 0.5, 0.1), (n, side, side, 3))
    return torch.from_numpy(mixed(amounts)).permute(0, 3, 1, 2).float(), amounts


def test_every_pixel_is_that_of_the_equations() -> None:
    x = torch.rand(5, 3, 6, 7, generator=torch.Generator().manual_seed(0))
    x[0, :, 0, 0], x[0, :, 0, 1] = 0, 1  # black and white
    omega = Stain(6, gain=(-0.5, 1), shift=(-0.2, 0.2), p=1).sample(
        Draws.of(0, 0, torch.arange(5), 0), torch.full((5, 2), 6)
    )
    made = Stain(6).apply(x, omega).permute(0, 2, 3, 1).double().numpy()
    pixels = x.permute(0, 2, 3, 1).double().numpy()
    for image, by, out in zip(pixels, omega.tolist(), made, strict=True):
        expected = np.array([transcribed(pixel, by) for pixel in image.reshape(-1, 3)])
        np.testing.assert_allclose(out.reshape(-1, 3), expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize(
    ("omega", "gains", "shifts"),
    [
        ([math.log(1.3), 0.0, 0.0, 0.0], [1.3, 1, 1], [0, 0, 0]),
        ([0.0, math.log(0.6), 0.0, 0.0], [1, 0.6, 1], [0, 0, 0]),
        ([0.0, 0.0, 0.1, 0.05], [1, 1, 1], [0.1, 0.05, 0]),
    ],
)
def test_omega_is_a_gain_and_a_shift_of_each_stain(omega: list[float], gains: list[float], shifts: list[float]) -> None:
    x, amounts = tissue(1)
    made = Stain(8).apply(x, torch.tensor([omega]))
    expected = torch.from_numpy(mixed(amounts * gains + shifts)).permute(0, 3, 1, 2).float()
    torch.testing.assert_close(made, expected, rtol=0, atol=1e-5)


def test_there_and_back_is_the_same_image() -> None:
    x, _ = tissue(4)
    omega = torch.tensor([[0.3, -0.2, 0.0, 0.0]]).expand(4, -1)
    torch.testing.assert_close(Stain(8).apply(Stain(8).apply(x, omega), -omega), x, rtol=0, atol=1e-5)


def test_omega_has_the_law_and_the_reach_that_it_says() -> None:
    stain, n = Stain(8, gain=(-0.2, 0.3), shift=(0, 0.1), p=1), 20_000
    omega = stain.sample(Draws.of(0, 0, torch.arange(n), 0), torch.full((n, 2), 8))
    alpha = omega[:, :2].expm1()
    assert -0.2 <= float(alpha.min()) < -0.199 < 0.299 < float(alpha.max()) <= 0.3 + 1e-6
    assert abs(float(alpha.mean()) - 0.05) < 5 * 0.5 / math.sqrt(12 * 2 * n)
    assert 0 <= float(omega[:, 2:].min()) < 1e-3 < 0.099 < float(omega[:, 2:].max()) <= 0.1
    assert float((omega.amax(0) - omega.amin(0)).max()) <= stain.space.reach == pytest.approx(math.log(1.3 / 0.8))
    assert float(stain.space.scaled(stain.space.difference(omega, omega.flip(0))).abs().max()) <= 1


def test_it_acts_in_its_place_between_the_fused_ones() -> None:
    specs = ["crop(scale=(0.5, 1.0))", "flip()", "stain(p=1)", "gaussian_blur(p=1)"]
    x = (tissue(6, 20)[0] * 255).round().to(torch.uint8)
    sizes, index = torch.full((6, 2), 20), torch.arange(6)
    fused, plain = (
        Pipeline.from_specs(specs, 12, (0.5,) * 3, (0.5,) * 3, engine).view(x, sizes, index, 0, 0, 0)
        for engine in ("auto", "plain")
    )
    torch.testing.assert_close(fused.image, plain.image, rtol=0, atol=1e-4)
    assert torch.equal(fused.omega["stain"], plain.omega["stain"])


@pytest.mark.parametrize(
    ("spec", "argument"),
    [("stain(gain=0.2)", "gain"), ("stain(gain=(-1, 1))", "gain"), ("stain(shift=(0.1, 0))", "shift")],
)
def test_a_wrong_argument_is_refused_by_its_name(spec: str, argument: str) -> None:
    with pytest.raises(RequestError, match=rf"^augmentation 'stain': {argument}=[^\n]*$"):
        lookup.build("augment", spec, 12)


def test_the_file_works_as_a_module_of_yours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The docs walk through it: it imports nothing of the library's insides."""
    text = Path(lookup.load("augment", "stain").__init__.__code__.co_filename).read_text()
    imports = {line.split()[1] for line in text.splitlines() if line.startswith("from augaware")}
    assert imports == {"augaware.augment.base", "augaware.random", "augaware.spaces"}
    (tmp_path / "stain_lab").mkdir()
    (tmp_path / "stain_lab" / "stain.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    x, _ = tissue(3)
    omega = torch.tensor([[0.1, 0.2, 0.0, 0.05]]).expand(3, -1)
    assert torch.equal(lookup.build("augment", "stain_lab.stain()", 8).apply(x, omega), Stain(8).apply(x, omega))
