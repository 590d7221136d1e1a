"""Losses against slow transcriptions of the published formulas."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from augaware.losses import contrast, nt_xent, sinkhorn


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


def slow_contrast(q: Tensor, k: Tensor, temperature: float) -> float:
    """InfoNCE in one direction, one query at a time; q and k are not normalised here."""
    queries, keys = q.tolist(), k.tolist()
    total = 0.0
    for i, a in enumerate(queries):
        scores = [math.exp(sum(x * y for x, y in zip(a, b, strict=True)) / temperature) for b in keys]
        total -= math.log(scores[i] / sum(scores))
    return total / len(queries)


@pytest.mark.parametrize("temperature", [0.07, 0.2, 1.0])
def test_contrast_is_infonce_query_by_query(temperature: float) -> None:
    q, k = (F.normalize(z.double(), dim=1) for z in embeddings(7, 5))
    assert contrast(q, k, temperature).item() == pytest.approx(slow_contrast(q, k, temperature), rel=1e-9)
    assert contrast(q, k, temperature).item() != pytest.approx(contrast(k, q, temperature).item(), abs=1e-4)


def test_contrast_of_unrelated_or_equal_vectors_costs_about_log_n() -> None:
    q, k = torch.randn(2, 256, 512, generator=torch.Generator().manual_seed(2))
    found = contrast(F.normalize(q, dim=1), F.normalize(k, dim=1), 0.2).item()
    assert found == pytest.approx(math.log(256) + 1 / (2 * 512 * 0.2**2), abs=0.03)
    assert contrast(torch.ones(9, 4), torch.ones(9, 4), 0.2).item() == pytest.approx(math.log(9), abs=1e-6)


# Sinkhorn


def scores_of(n: int, c: int, d: int = 16, seed: int = 0) -> Tensor:
    """Cosines of random embeddings with random prototypes."""
    torch.manual_seed(seed)
    return (F.normalize(torch.randn(n, d), dim=1) @ F.normalize(torch.randn(c, d), dim=1).T).double()


def slow_sinkhorn(scores: list[list[float]], epsilon: float, iterations: int) -> list[list[float]]:
    """Algorithm 1 of SwAV as it is written: exp, then in turns prototypes to 1/C and samples to 1/B, times B."""
    q = [[math.exp(s / epsilon) for s in row] for row in scores]
    b, c = len(q), len(q[0])
    for _ in range(iterations):
        for k in range(c):
            mass = sum(row[k] for row in q)
            for row in q:
                row[k] *= 1 / (c * mass)
        for row in q:
            mass = sum(row)
            for k in range(c):
                row[k] *= 1 / (b * mass)
    return [[b * value for value in row] for row in q]


@pytest.mark.parametrize(("n", "c"), [(12, 5), (5, 12), (1, 3), (3, 1)])
@pytest.mark.parametrize("iterations", [1, 3, 10])
def test_sinkhorn_is_its_algorithm_number_by_number(n: int, c: int, iterations: int) -> None:
    scores = scores_of(n, c)
    expected = torch.tensor(slow_sinkhorn(scores.tolist(), 0.05, iterations), dtype=torch.float64)
    torch.testing.assert_close(sinkhorn(scores, 0.05, iterations), expected, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(sinkhorn(scores.float(), 0.05, iterations), expected.float(), rtol=2e-5, atol=1e-7)


def test_sinkhorn_rows_are_distributions_and_columns_share_the_batch() -> None:
    scores = scores_of(256, 100, d=128)
    for iterations, off in ((3, 0.025), (100, 1e-7)):
        q = sinkhorn(scores, 0.05, iterations)
        assert (q >= 0).all()
        torch.testing.assert_close(q.sum(dim=1), torch.ones(256).double(), rtol=0, atol=1e-12)
        share = q.sum(dim=0) * 100 / 256
        assert (share - 1).abs().max() < off
    plain = torch.softmax(scores / 0.05, dim=1).sum(dim=0) * 100 / 256
    assert (plain - 1).abs().max() > 0.3  # which is what it is for


def test_sinkhorn_does_not_overflow() -> None:
    scores = 1e4 * scores_of(20, 6).float()
    assert (scores / 0.05).exp().isinf().any()
    q = sinkhorn(scores, 0.05)
    assert q.isfinite().all()
    torch.testing.assert_close(q.sum(dim=1), torch.ones(20), rtol=0, atol=1e-5)
    torch.testing.assert_close(sinkhorn(scores_of(20, 6) + 1e3, 0.05), sinkhorn(scores_of(20, 6), 0.05))


def test_sinkhorn_carries_no_gradient() -> None:
    assert not sinkhorn(scores_of(4, 3).requires_grad_(True), 0.05).requires_grad
