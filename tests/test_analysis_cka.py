"""CKA: the estimator's laws and its unbiasedness, known encoders, and what it refuses."""

from __future__ import annotations

import itertools

import pytest
import torch

from augaware import lookup
from augaware.analysis.cka import cka, gram, hsic
from augaware.data.shapes import Shapes
from known_encoders import ColourBlind, Constant, FlipBlind, Keeps
from small_subjects import asked, numbers

CKA = lookup.build("analysis", "cka")


def gaussian(n: int, d: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def likeness(x: torch.Tensor, y: torch.Tensor) -> float:
    return float(cka(gram(x), gram(y)))


def biased(x: torch.Tensor, y: torch.Tensor) -> float:
    x, y = x - x.mean(0), y - y.mean(0)
    return float((x.T @ y).square().sum() / ((x.T @ x).norm() * (y.T @ y).norm()))


def test_hsic_is_the_u_statistic_of_song():
    # E over distinct i, j, q, r of K_ij L_ij + K_ij L_qr - 2 K_ij L_iq, by counting.
    K, L = gram(gaussian(7, 3)), gram(gaussian(7, 2, 1))
    terms = [K[i, j] * (L[i, j] + L[q, r] - 2 * L[i, q]) for i, j, q, r in itertools.permutations(range(7), 4)]
    expected = float(sum(terms) / len(terms))
    assert float(hsic(K, L)) / (7 * 4) == pytest.approx(expected)


def test_the_same_features_turned_scaled_and_moved_are_the_same():
    x = gaussian(100, 8)
    turn = torch.linalg.qr(gaussian(8, 8, 1)).Q
    assert likeness(x, x) == pytest.approx(1)
    assert likeness(x, -3 * x @ turn + 5) == pytest.approx(1)
    assert likeness(x, x @ gaussian(8, 8, 2)) < 0.95  # not so for any linear map


@pytest.mark.parametrize("d", [20, 100, 400])
def test_independent_features_are_not_alike_however_wide(d):
    found = [likeness(gaussian(150, d, 2 * s), gaussian(150, d, 2 * s + 1)) for s in range(10)]
    assert abs(sum(found) / 10) < 0.03
    assert biased(gaussian(150, d), gaussian(150, d, 1)) > 0.1  # what the plain estimator says of them


def test_part_of_the_features_is_alike_in_part():
    x, noise = gaussian(2000, 10), gaussian(2000, 10, 1)
    # HSIC(x, [x, noise]) = 10, of norms sqrt(10) and sqrt(20).
    assert likeness(x, torch.cat([x, noise], dim=1)) == pytest.approx(0.5**0.5, abs=0.02)


def test_the_wide_and_the_narrow_are_compared_by_image():
    others = {kind.__name__: asked(kind) for kind in (Keeps, FlipBlind, ColourBlind, Constant)}
    table = numbers(CKA, asked(Keeps, references=others))
    same = table["cka", "Keeps", "y", None]
    assert (same.value, same.low, same.high) == pytest.approx((1, 1, 1))
    blind, flip = (table["cka", name, "y", None] for name in ("ColourBlind", "FlipBlind"))
    for n in (blind, flip):
        assert 0.1 < n.low < n.value < n.high < 0.99
    assert ("cka", "Constant", "y", None) not in table
    y, z = (others[name].embed().y for name in ("Keeps", "FlipBlind"))
    assert flip.value == pytest.approx(likeness(y, z))


def test_the_interval_leaves_out_blocks_of_images():
    from augaware.analysis import intervals

    subject = asked(Keeps, Shapes(n=24), {"flip": asked(FlipBlind, Shapes(n=24))})
    n = numbers(CKA, subject)["cka", "flip", "y", None]
    x, y = subject.embed().y.double(), subject.references["flip"].embed().y.double()
    K, L = gram(x), gram(y)
    without = []
    for block in range(intervals.BLOCKS):
        rows = [i for i in range(24) if i % intervals.BLOCKS != block]
        without.append(float(cka(K[rows][:, rows], L[rows][:, rows])))
    spread = torch.tensor(without, dtype=torch.float64)
    error = (19 / 20 * (spread - spread.mean()).square().sum()).sqrt()
    assert (n.high - n.low) / 2 == pytest.approx(1.96 * float(error))
    moved = [likeness(x[rows], y[rows]) for rows in (list(range(1, 24)), list(range(23)))]
    assert moved == pytest.approx([float(cka(gram(x[r]), gram(y[r]))) for r in (list(range(1, 24)), list(range(23)))])


def test_what_cannot_be_compared_is_refused():
    assert "nothing to compare it with" in CKA.refusal(asked(Keeps))
    seven = Shapes(n=7)
    assert "7 images are too few" in CKA.refusal(asked(Keeps, seven, {"flip": asked(FlipBlind, seven)}))
    eight = Shapes(n=8)
    numbers(CKA, asked(Keeps, eight, {"flip": asked(FlipBlind, eight)}))
    assert not numbers(CKA, asked(Constant, eight, {"flip": asked(FlipBlind, eight)}))
