"""The table of spaces, and the losses that a head pays when it predicts nothing."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from augaware import lookup
from augaware.random import Draws
from augaware.spaces import Binary, Cyclic, Interval, Space

QUICK = settings(deadline=None, max_examples=25, derandomize=True)
REALS = st.floats(-2, 2, width=32)


def column(values: list) -> Tensor:
    return torch.tensor(values, dtype=torch.float32).reshape(len(values), -1)


def pairs(values: st.SearchStrategy) -> st.SearchStrategy:
    return st.lists(st.tuples(values, values), min_size=1, max_size=6).map(lambda rows: list(zip(*rows, strict=True)))


# --- omega_diff ---


@QUICK
@given(pairs(st.tuples(REALS, REALS, REALS)))
def test_an_interval_differs_by_subtraction(pair: list) -> None:
    w1, w2 = (column(list(w)) for w in pair)
    assert torch.equal(Interval(3).difference(w1, w2), w1 - w2)
    assert torch.equal(Interval(3).difference(w2, w1), -(w1 - w2))


@QUICK
@given(pairs(st.integers(0, 1)))
def test_a_binary_difference_says_whether_the_flags_are_equal(pair: list) -> None:
    expected = column([float(a == b) for a, b in zip(*pair, strict=True)])
    w1, w2 = (column(list(w)) for w in pair)
    assert torch.equal(Binary().difference(w1, w2), expected)
    assert torch.equal(Binary().difference(w2, w1), expected)


@QUICK
@given(pairs(st.integers(0, 4)))
def test_a_cyclic_difference_is_the_turn_from_the_second_to_the_first(pair: list) -> None:
    w1, w2 = (column(list(w)) for w in pair)
    forth, back = Cyclic(5).difference(w1, w2), Cyclic(5).difference(w2, w1)
    assert forth.tolist() == [(a - b) % 5 for a, b in zip(*pair, strict=True)]
    assert ((forth + back) % 5 == 0).all()


# --- L_aug, written out ---

P = torch.tensor([[0.3, -1.2], [2.0, 0.0], [-0.7, 0.4]])


def test_an_interval_pays_the_mean_square_of_tanh_minus_difference() -> None:
    target = torch.tensor([[0.5, -0.5], [1.0, 0.1], [0.0, -1.0]])
    terms = [(math.tanh(p) - t) ** 2 for p, t in zip(P.flatten().tolist(), target.flatten().tolist(), strict=True)]
    assert Interval(2).loss(P, target).item() == pytest.approx(sum(terms) / 6, rel=1e-6)


def test_a_binary_space_pays_the_cross_entropy_of_its_logit() -> None:
    equal = torch.tensor([[1.0], [0.0], [1.0]])
    terms = []
    for logit, y in zip(P[:, 0].tolist(), equal[:, 0].tolist(), strict=True):
        p = 1 / (1 + math.exp(-logit))
        terms.append(-math.log(p if y else 1 - p))
    assert Binary().loss(P[:, :1], equal).item() == pytest.approx(sum(terms) / 3, rel=1e-6)


def test_a_cyclic_space_pays_the_cross_entropy_over_residues() -> None:
    turn = torch.tensor([1, 0, 1])
    terms = [math.log(sum(map(math.exp, row))) - row[k] for row, k in zip(P.tolist(), turn.tolist(), strict=True)]
    assert Cyclic(2).loss(P, turn).item() == pytest.approx(sum(terms) / 3, rel=1e-6)


# --- laws of every space ---

SPACES = [Interval(), Interval(4), Binary(), Cyclic(2), Cyclic(4)]
EACH = pytest.mark.parametrize("space", SPACES, ids=repr)


def some_omega(space: Space, seed: int, n: int = 7) -> Tensor:
    draws = Draws.of(seed, 0, torch.arange(n), 0)
    if isinstance(space, Interval):
        return draws.uniform(space.d, -0.5, 0.5)
    return draws.integers(space.n if isinstance(space, Cyclic) else 2).float()


@EACH
def test_widths_are_as_announced(space: Space) -> None:
    w1, w2 = some_omega(space, 0), some_omega(space, 1)
    assert space.encode(w1).shape == (7, space.inputs)
    assert space.encode(w1).dtype == torch.float32
    loss = space.loss(torch.zeros(7, space.outputs), space.difference(w1, w2))
    assert loss.shape == ()
    assert loss > 0


@EACH
def test_columns_past_the_spaces_own_are_seen_by_no_awareness(space: Space) -> None:
    w1, w2 = some_omega(space, 0), some_omega(space, 1)
    hidden = torch.arange(7.0)[:, None]
    longer = torch.cat((w1, hidden), dim=1)
    assert torch.equal(space.encode(longer), space.encode(w1))
    assert torch.equal(space.difference(longer, torch.cat((w2, -hidden), dim=1)), space.difference(w1, w2))


@EACH
def test_the_loss_falls_when_the_prediction_moves_to_the_difference(space: Space) -> None:
    target = space.difference(some_omega(space, 0), some_omega(space, 1))
    if isinstance(space, Cyclic):
        right = torch.nn.functional.one_hot(target, space.n) * 9.0
    else:
        right = torch.atanh(target) if isinstance(space, Interval) else 18 * target - 9
    assert space.loss(right, target) < 1e-3
    assert space.loss(-right, target) > space.loss(torch.zeros_like(right), target)


def test_a_cyclic_code_is_one_hot_and_knows_that_it_turns() -> None:
    code = Cyclic(4).encode(column([0, 3, 4, -1]))
    assert code.tolist() == [[1, 0, 0, 0], [0, 0, 0, 1], [1, 0, 0, 0], [0, 0, 0, 1]]


# --- spec/methods.md: a head that predicts nothing pays this much on the papers' augmentations ---

NOTHING = [
    ("color_jitter", 0.1333, 0.0015),  # 2 * .8 / 12: two independent U(-.5, .5), each applied with p = .8
    ("crop(scale=(0.2, 1.0))", 0.0312, 0.0005),
    ("crop(scale=(0.08, 1.0))", 0.0479, 0.0007),
    ("flip", 0.693, 0.0005),
    ("rotate90", 1.386, 0.0005),
]


@pytest.mark.parametrize(("spec", "expected", "tolerance"), NOTHING)
def test_predicting_nothing_costs_what_the_papers_numbers_say(spec: str, expected: float, tolerance: float) -> None:
    n = 40_000
    augmentation = lookup.build("augment", spec, 96)
    sizes = torch.full((n, 2), 1000)
    w1, w2 = (augmentation.sample(Draws.of(0, 0, torch.arange(n), view), sizes) for view in (0, 1))
    difference = augmentation.space.difference(w1, w2)
    loss = augmentation.space.loss(torch.zeros(n, augmentation.space.outputs), difference)
    assert loss.item() == pytest.approx(expected, abs=tolerance)


def test_crops_centre_and_size_differ_as_the_papers_numbers_say() -> None:
    crop, index, sizes = lookup.build("augment", "crop", 96), torch.arange(40_000), torch.full((40_000, 2), 1000)
    w1, w2 = (crop.sample(Draws.of(0, 0, index, view), sizes) for view in (0, 1))
    squares = crop.space.difference(w1, w2).square().mean(0)
    assert squares[:2].mean().item() == pytest.approx(0.0167, abs=5e-4)
    assert squares[2:].mean().item() == pytest.approx(0.046, abs=1e-3)
