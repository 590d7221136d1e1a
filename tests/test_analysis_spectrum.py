"""The spectrum against numpy and a known power law; alignment and uniformity by hand; the jackknife's intervals."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from augaware import lookup
from augaware.analysis.intervals import jackknife
from augaware.analysis.spectrum import GRID, power_law
from augaware.analysis.subject import Subject
from augaware.awareness.base import Embedding
from augaware.data.shapes import Shapes
from augaware.metrics import alignment, effective_rank, uniformity
from known_encoders import Constant, FlipBlind, Keeps, TurnBlind
from small_subjects import asked, numbers

SPECTRUM, ALIGNMENT = lookup.build("analysis", "spectrum"), lookup.build("analysis", "alignment")
FEW = Shapes(n=20)


def given(y: torch.Tensor, z: torch.Tensor | None = None) -> Subject:
    """A subject whose plain images have these features."""
    subject = asked(Keeps, Shapes(n=len(y)))
    subject._seen[frozenset(), 0, 1.0, True] = Embedding({}, y, y[:, :0] if z is None else z)
    return subject


def gaussian(n: int, d: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("d", [12, 70, 150])
def test_the_spectrum_is_numpys(d):
    y = gaussian(100, d) * torch.arange(1, d + 1) ** -0.6 + 3
    table = numbers(SPECTRUM, given(y))
    eigenvalues = np.linalg.eigvalsh(np.cov(y.double().numpy().T))[::-1][: min(99, d)]
    shares = np.cumsum(eigenvalues) / eigenvalues.sum()
    at = sorted(key[3] for key in table if key[0] == "variance")
    assert at == [i for i in GRID if i <= min(99, d)]
    assert at[:8] == [1, 2, 3, 5, 7, 10, *at[6:8]]
    for i in at:
        assert table["variance", "", "y", i].value == pytest.approx(shares[i - 1])
    assert table["effective_rank", "", "y", None].value == pytest.approx(effective_rank(y))
    last = min(50, d)
    i = np.arange(5, last + 1)
    slope, level = np.polyfit(np.log(i), np.log(eigenvalues[4:last]), 1, w=i**-0.5)  # numpy squares its weights
    assert table["alpha", f"components 5 to {last}", "y", None].value == pytest.approx(-slope)
    t = np.log(eigenvalues[4:last])
    sse, sst = (
        np.average((t - s) ** 2, weights=1 / i) for s in (slope * np.log(i) + level, np.average(t, weights=1 / i))
    )
    assert table["r2", f"components 5 to {last}", "y", None].value == pytest.approx(1 - sse / sst)


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0, 2.3])
def test_a_power_law_is_found_again(alpha):
    eigenvalues = 7 * torch.arange(1, 51, dtype=torch.float64) ** -alpha
    eigenvalues[:4] = 1e6  # those before the fifth do not matter
    found, r2 = power_law(eigenvalues)
    assert found == pytest.approx(alpha, abs=1e-9)
    assert r2 == pytest.approx(1)  # of a flat spectrum too, which rounding alone bends


def test_alpha_of_samples_lies_near_that_of_their_covariance():
    y = gaussian(3000, 60) * torch.arange(1, 61) ** -0.5
    n = numbers(SPECTRUM, given(y))["alpha", "components 5 to 50", "y", None]
    assert n.value == pytest.approx(1, abs=0.1)
    assert 0 < n.high - n.low < 0.2


def test_z_has_a_spectrum_of_its_own():
    y, z = gaussian(60, 30), gaussian(60, 12, seed=1)
    table, alone = numbers(SPECTRUM, given(y, z)), numbers(SPECTRUM, given(z))
    for (measure, of, stage, at), n in alone.items():
        assert stage == "y"
        assert table[measure, of, "z", at].value == n.value
    assert table["effective_rank", "", "y", None].value > 20


def test_a_collapsed_encoder_uses_no_direction():
    table = numbers(SPECTRUM, asked(Constant, FEW))
    assert {key: n.value for key, n in table.items()} == {("effective_rank", "", "y", None): 0.0}
    one = gaussian(40, 1) @ gaussian(1, 5)
    table = numbers(SPECTRUM, given(one))
    assert table["effective_rank", "", "y", None].value == pytest.approx(1)
    assert table["variance", "", "y", 1].value == pytest.approx(1)
    assert not any(key[0] == "alpha" for key in table)


def test_what_keeps_less_uses_fewer_directions():
    keeps, blind = (numbers(SPECTRUM, asked(kind))["effective_rank", "", "y", None] for kind in (Keeps, TurnBlind))
    assert blind.high < keeps.low


def test_few_images_are_enough_and_a_handful_is_refused():
    assert any(key[0] == "alpha" for key in numbers(SPECTRUM, asked(Keeps, FEW)))
    for n in (5, 6):
        numbers(SPECTRUM, asked(Keeps, Shapes(n=n)))
        numbers(ALIGNMENT, asked(Keeps, Shapes(n=n)))
    for analysis in (SPECTRUM, ALIGNMENT):
        assert "4 images have no sp" in analysis.refusal(asked(Keeps, Shapes(n=4)))


def test_the_jackknife_of_a_mean_is_its_standard_error():
    x = gaussian(20, 3).double()
    found = jackknife(20, lambda rows: x[rows].mean(0))
    for column, (value, low, high) in enumerate(found):
        reach = 1.96 * float(x[:, column].std()) / math.sqrt(20)
        assert (value, low, high) == pytest.approx((float(x[:, column].mean()), value - reach, value + reach))


@pytest.mark.parametrize("spread", [lambda y: effective_rank(y), lambda y: uniformity(y)])
def test_the_jackknife_covers_what_other_images_give(spread):
    # The interval's half width is about twice the deviation between independent sets of images.
    sets = [gaussian(200, 10, seed) * torch.arange(1, 11) for seed in range(40)]
    values = [spread(y) for y in sets]
    reach = [
        (high - low) / 2 for y in sets for _, low, high in jackknife(200, lambda r, y=y: torch.tensor([spread(y[r])]))
    ]
    assert np.mean(reach) == pytest.approx(1.96 * np.std(values), rel=0.35)


def test_alignment_and_uniformity_by_hand():
    subject = asked(Keeps, FEW)
    table = numbers(ALIGNMENT, subject)
    unit = lambda y: y.double() / y.double().norm(dim=1, keepdim=True)  # noqa: E731
    plain = unit(subject.embed().y)
    one, two = (unit(subject.embed(subject.alone.own, number, always=False).y) for number in (0, 1))
    between = torch.cdist(plain, plain).square()
    n = len(plain)
    for name in subject.alone.names:
        expected = (plain - unit(subject.embed([name]).y)).square().sum(1).mean()
        assert table["alignment", name, "y", None].value == pytest.approx(float(expected))
    trained = (one - two).square().sum(1).mean()
    assert table["alignment", "as in training", "y", None].value == pytest.approx(float(trained))
    assert table["alignment", "another image", "y", None].value == pytest.approx(float(between.sum() / (n * (n - 1))))
    expected = []
    for x in (one, two):
        kernel = (-2 * torch.cdist(x, x).square()).exp()
        expected.append(math.log(float(kernel.sum() - n) / (n * (n - 1))))
    assert table["uniformity", "as in training", "y", None].value == pytest.approx(np.mean(expected), rel=1e-5)


def test_the_blind_are_aligned():
    keeps, turn, flip = (numbers(ALIGNMENT, asked(kind)) for kind in (Keeps, TurnBlind, FlipBlind))
    assert turn["alignment", "rotate90", "y", None].value == pytest.approx(0, abs=1e-9)
    assert flip["alignment", "flip", "y", None].value == pytest.approx(0, abs=1e-9)
    for name in ("rotate90", "flip"):
        assert keeps["alignment", name, "y", None].low > 0.05
        assert keeps["alignment", name, "y", None].high < 1.5 * keeps["alignment", "another image", "y", None].value


def test_a_collapsed_encoder_is_aligned_and_not_uniform():
    table = numbers(ALIGNMENT, asked(Constant, FEW))
    assert all(n.value == pytest.approx(0, abs=1e-9) for n in table.values())
    assert alignment(torch.ones(3, 2), torch.ones(3, 2)) == 0
