"""Draws against a transcription with Python integers, and their statistics over 100 000 counters."""

from __future__ import annotations

import math
import zlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from augaware.random import Draws, epoch_order, mix, word

QUICK = settings(deadline=None, max_examples=40, derandomize=True)
N = 100_000
WORDS = st.integers(-(2**63), 2**63 - 1)
COUNTERS = st.integers(-1, 2**40)
FOUR = st.tuples(COUNTERS, COUNTERS, COUNTERS, COUNTERS)

# --- the oracle: splitmix64 as published, on unsigned Python integers ---

GOLDEN = 0x9E3779B97F4A7C15
MASK = (1 << 64) - 1


def slow_mix(z: int) -> int:
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def slow_key(*counters: int) -> int:
    key = 0
    for counter in counters:
        key = slow_mix(key ^ (((counter + 1) * GOLDEN) & MASK))
    return key


def at(seed: int, epoch: int, index: int, view: int) -> Draws:
    return Draws.of(seed, epoch, torch.tensor([index]), view)


@QUICK
@given(WORDS)
def test_mix_is_the_finaliser_of_splitmix64(x: int) -> None:
    assert int(mix(np.array([x & MASK], np.uint64))[0]) == slow_mix(x & MASK)


def test_the_transcription_gives_the_published_outputs_of_splitmix64() -> None:
    # The first three outputs of the reference generator seeded with 1234567, as its authors and Java give them.
    outputs = [slow_mix((1234567 + k * GOLDEN) & MASK) for k in (1, 2, 3)]
    assert outputs == [6457827717110365317, 3203168211198807973, 9817491932198370423]


@QUICK
@given(FOUR, st.integers(0, 100))
def test_a_draw_is_the_hash_of_its_four_counters_and_its_lane(counters: tuple[int, int, int, int], lane: int) -> None:
    drawn = at(*counters).uniform(lane + 1)[0, lane].item()
    assert drawn == (slow_key(*counters, lane) >> 40) / 2**24


@QUICK
@given(FOUR, st.text("abcxyz_090", max_size=8))
def test_a_stream_absorbs_the_crc_of_its_name(counters: tuple[int, int, int, int], name: str) -> None:
    drawn = at(*counters).stream(name).uniform().item()
    assert drawn == (slow_key(*counters, zlib.crc32(name.encode()), 0) >> 40) / 2**24


@QUICK
@given(st.lists(COUNTERS, max_size=4))
def test_a_word_is_the_low_63_bits_of_the_hash(counters: list[int]) -> None:
    assert word(*counters) == slow_key(*counters) & (2**63 - 1)
    assert 0 <= word(*counters) < 2**63


def test_draws_never_change_silently() -> None:
    draws = Draws.of(3, 5, torch.tensor([0, 7, 1_000_003]), 1)
    assert draws.key.tolist() == [6607376724817953651, 5956105474685230343, -8323873841459194322]
    assert draws.stream("crop").uniform().flatten().tolist() == pytest.approx(
        [0.2711540460586548, 0.9338832497596741, 0.7659307718276978], abs=0
    )
    assert draws.integers(1000, 2).tolist() == [[197, 912], [735, 112], [520, 437]]
    assert draws.normal().flatten().tolist() == pytest.approx([0.565289, 1.242900, -1.118973], abs=1e-5)
    assert epoch_order(10, 0, 0).tolist() == [1, 3, 9, 7, 0, 5, 8, 6, 2, 4]
    assert epoch_order(10, 0, 1).tolist() == [6, 2, 4, 1, 9, 3, 7, 0, 8, 5]
    assert (word(0), word(1, 2, 3)) == (7070836379803831727, 987287528436925835)


# --- a draw belongs to its sample ---


@QUICK
@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=12), st.integers(0, 11))
def test_a_draw_depends_on_neither_place_nor_company(index: list[int], place: int) -> None:
    place %= len(index)
    together, alone = Draws.of(1, 2, torch.tensor(index), 0), at(1, 2, index[place], 0)
    assert torch.equal(together.uniform(5)[place], alone.uniform(5)[0])
    assert torch.equal(together.stream("a").normal(2)[place], alone.stream("a").normal(2)[0])


def test_a_draw_depends_on_no_earlier_draw() -> None:
    draws = Draws.of(0, 0, torch.arange(9), 0)
    first = draws.uniform(3)
    draws.stream("other").normal(7)
    torch.manual_seed(1)
    assert torch.equal(draws.uniform(3), first)
    assert torch.equal(draws.uniform(8)[:, :3], first)  # asking for more changes nothing either


def test_draws_leave_torchs_own_generator_alone() -> None:
    before = torch.get_rng_state()
    Draws.of(0, 0, torch.arange(9), 0).normal(2)
    epoch_order(9, 0, 0)
    assert torch.equal(torch.get_rng_state(), before)


def test_no_draws_for_no_samples() -> None:
    draws = Draws.of(0, 0, torch.arange(0), 0)
    assert len(draws) == 0
    assert draws.uniform(3).shape == draws.normal(3).shape == draws.integers(4, 3).shape == (0, 3)


def test_counters_far_and_near_give_different_keys() -> None:
    keys = [Draws.of(s, e, torch.arange(500), v).key for s in range(5) for e in range(8) for v in range(5)]
    assert len(torch.cat(keys).unique()) == 5 * 8 * 5 * 500


# --- statistics; every bound is five standard errors, and the counters are fixed ---


def numbers(seed: int = 0, epoch: int = 0, view: int = 0, start: int = 0, stream: str | None = None) -> torch.Tensor:
    draws = Draws.of(seed, epoch, torch.arange(start, start + N), view)
    return (draws if stream is None else draws.stream(stream)).uniform()[:, 0].double()


def test_uniform_numbers_are_uniform() -> None:
    u = Draws.of(0, 0, torch.arange(N), 0).uniform(3)
    assert u.dtype == torch.float32
    assert u.min() >= 0
    assert u.max() < 1
    assert torch.allclose(u.double().mean(0), torch.tensor(0.5).double(), atol=5 / math.sqrt(12 * N))
    assert torch.allclose(u.double().var(0), torch.tensor(1 / 12).double(), atol=5 / math.sqrt(180 * N))
    counts = torch.histc(u[:, 0], 256, 0, 1)
    chi_square = float(((counts - N / 256) ** 2 / (N / 256)).sum())
    assert abs(chi_square - 255) < 5 * math.sqrt(2 * 255)


def test_uniform_numbers_fill_the_range_asked_for() -> None:
    draws = Draws.of(0, 0, torch.arange(N), 0)
    u = draws.uniform(2, -3.0, 5.0)
    assert torch.allclose(u, -3 + 8 * draws.uniform(2))
    assert u.min() < -2.99
    assert u.max() > 4.99


PAIRS = {
    "views": {"view": 1},
    "epochs": {"epoch": 1},
    "seeds": {"seed": 1},
    "indices": {"start": 1},
    "distant indices": {"start": 2**32},
    "streams": {"stream": "crop"},
}


@pytest.mark.parametrize("other", PAIRS.values(), ids=PAIRS)
def test_neighbours_are_uncorrelated(other: dict) -> None:
    pair = torch.stack((numbers(), numbers(**other)))
    for sign in (pair, (pair - 0.5).abs()):  # of the values, and of their distances from the middle
        assert abs(torch.corrcoef(sign)[0, 1]) < 5 / math.sqrt(N)


def test_seed_epoch_and_view_are_not_interchangeable() -> None:
    thrice = torch.stack((numbers(seed=1), numbers(epoch=1), numbers(view=1)))
    assert float((torch.corrcoef(thrice) - torch.eye(3)).abs().max()) < 5 / math.sqrt(N)


def test_lanes_and_streams_of_one_sample_are_uncorrelated() -> None:
    draws = Draws.of(0, 0, torch.arange(N), 0)
    columns = torch.cat([draws.uniform(6), draws.stream("a").uniform(3), draws.stream("b").uniform(3)], dim=1)
    r = torch.corrcoef(columns.T.double())
    assert float((r - torch.eye(12)).abs().max()) < 5 / math.sqrt(N)


def test_flipping_any_bit_of_a_counter_flips_half_of_the_hash() -> None:
    index = torch.arange(2000)
    base = Draws.of(0, 0, index, 0).key
    for bit in range(0, 40, 3):
        changed = base ^ Draws.of(0, 0, index ^ (1 << bit), 0).key
        flips = torch.stack([(changed >> k) & 1 for k in range(64)]).double().mean(1)  # (64,)
        assert float((flips - 0.5).abs().max()) < 6 * 0.5 / math.sqrt(2000), bit


@pytest.mark.parametrize("p", [0.0, 0.2, 0.8, 1.0])
def test_happens_with_its_probability(p: float) -> None:
    happened = Draws.of(0, 0, torch.arange(N), 0).happens(p)
    assert happened.shape == (N, 1)
    assert happened.dtype == torch.bool
    assert abs(float(happened.double().mean()) - p) <= 5 * math.sqrt(p * (1 - p) / N)


def test_normal_numbers_are_normal_and_uncorrelated() -> None:
    z = Draws.of(0, 0, torch.arange(N), 0).normal(3).double()
    assert z.isfinite().all()
    for column in z.T:
        assert stats.kstest(column.numpy(), "norm").pvalue > 1e-4
    assert float((torch.corrcoef(z.T) - torch.eye(3)).abs().max()) < 5 / math.sqrt(N)


@pytest.mark.parametrize("n", [1, 4, 7])
def test_integers_are_uniform(n: int) -> None:
    drawn = Draws.of(0, 0, torch.arange(N), 0).integers(n)
    assert drawn.dtype == torch.int64
    share = torch.bincount(drawn.flatten(), minlength=n).double() / N
    assert len(share) == n
    assert float((share - 1 / n).abs().max()) <= 5 * math.sqrt((1 / n) * (1 - 1 / n) / N)


# --- the order of an epoch ---


@pytest.mark.parametrize("n", [0, 1, 2, 1000])
def test_an_epochs_order_is_a_permutation(n: int) -> None:
    assert torch.equal(epoch_order(n, 4, 2).sort().values, torch.arange(n))


def test_every_epoch_and_seed_has_its_own_order() -> None:
    orders = [tuple(epoch_order(50, seed, epoch).tolist()) for seed in range(4) for epoch in range(4)]
    assert len(set(orders)) == 16
    assert orders[0] == tuple(epoch_order(50, 0, 0).tolist())


def test_every_sample_comes_at_every_place() -> None:
    places = torch.stack([epoch_order(5, 0, epoch) for epoch in range(1000)])
    share = torch.stack([(places == sample).double().mean(0) for sample in range(5)])
    assert float((share - 0.2).abs().max()) < 5 * math.sqrt(0.2 * 0.8 / 1000)
