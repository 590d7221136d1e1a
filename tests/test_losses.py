"""Losses against slow transcriptions of the published formulas."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from augaware.losses import nt_xent


def slow_nt_xent(z_1: Tensor, z_2: Tensor, temperature: float) -> float:
    """SimCLR's equation 1, one pair at a time, in Python's float64."""
    n = len(z_1)
    z = [row.double().tolist() for row in (*z_1, *z_2)]

    def cosine(a: list[float], b: list[float]) -> float:
        return sum(p * q for p, q in zip(a, b, strict=True)) / (math.hypot(*a) * math.hypot(*b))

    total = 0.0
    for i in range(2 * n):
        partner = i + n if i < n else i - n
        others = sum(math.exp(cosine(z[i], z[k]) / temperature) for k in range(2 * n) if k != i)
        total -= math.log(math.exp(cosine(z[i], z[partner]) / temperature) / others)
    return total / (2 * n)


def embeddings(n: int, d: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    z_1 = torch.randn(n, d, generator=generator)
    return z_1, z_1 + torch.randn(n, d, generator=generator)


@pytest.mark.parametrize("temperature", [0.07, 0.2, 1.0])
@pytest.mark.parametrize(("n", "d"), [(2, 3), (7, 5), (16, 8)])
def test_nt_xent_is_equation_1_pair_by_pair(n: int, d: int, temperature: float) -> None:
    z_1, z_2 = embeddings(n, d)
    assert nt_xent(3 * z_1, z_2, temperature).item() == pytest.approx(
        slow_nt_xent(z_1, z_2, temperature), rel=1e-6, abs=1e-6
    )


def test_collapsed_embeddings_cost_log_2n_minus_1() -> None:
    z = torch.ones(9, 4)
    assert nt_xent(z, 5 * z, 0.2).item() == pytest.approx(math.log(17), abs=1e-6)


def test_random_unit_embeddings_cost_a_little_more_than_collapsed_ones() -> None:
    n, d, temperature = 256, 128, 0.2
    generator = torch.Generator().manual_seed(1)
    found = nt_xent(*torch.randn(2, n, d, generator=generator), temperature).item()
    assert found == pytest.approx(math.log(2 * n - 1) + 1 / (2 * d * temperature**2), abs=0.06)


def test_nt_xent_ignores_the_order_of_images_and_of_views() -> None:
    z_1, z_2 = embeddings(12, 6)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(3))
    loss = nt_xent(z_1, z_2, 0.2).item()
    assert nt_xent(z_1[order], z_2[order], 0.2).item() == pytest.approx(loss, abs=1e-6)
    assert nt_xent(z_2, z_1, 0.2).item() == pytest.approx(loss, abs=1e-6)
    assert abs(nt_xent(z_1, z_2[order], 0.2).item() - loss) > 0.1  # but not which view belongs to which image


def test_the_gradient_of_nt_xent_is_that_of_the_slow_loop() -> None:
    z_1, z_2 = embeddings(4, 3)
    z_1.requires_grad_(True)
    nt_xent(z_1, z_2, 0.5).backward()
    step = 1e-5
    for row in range(4):
        for column in range(3):
            moved = torch.zeros(4, 3, dtype=torch.float64)
            moved[row, column] = step
            at = z_1.detach().double()
            slope = (slow_nt_xent(at + moved, z_2, 0.5) - slow_nt_xent(at - moved, z_2, 0.5)) / (2 * step)
            assert z_1.grad is not None
            assert z_1.grad[row, column].item() == pytest.approx(slope, abs=1e-5)


def test_half_precision_embeddings_are_compared_in_float32() -> None:
    z_1, z_2 = (z.bfloat16() for z in embeddings(8, 16))
    found = nt_xent(z_1, z_2, 0.1)
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(slow_nt_xent(z_1, z_2, 0.1), abs=1e-5)
