"""Metrics against slow loops, and collapse warnings on collapsed and healthy embeddings."""

from __future__ import annotations

import math

import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, r2_score

from augaware import metrics
from augaware.errors import RequestError


def gaussian(n: int, d: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def unit(z: torch.Tensor) -> torch.Tensor:
    return z / z.norm(dim=1, keepdim=True)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(metrics, "_BLOCK", 7)  # so that every test crosses block borders


def test_accuracies_by_hand():
    labels = torch.tensor([0, 0, 0, 2])
    pred = torch.tensor([0, 0, 1, 2])
    assert metrics.top1(pred, labels) == 3 / 4
    assert metrics.class_average(pred, labels) == pytest.approx((2 / 3 + 1) / 2)  # class 1 is not among the labels
    assert metrics.standard_error(0.5, 100) == pytest.approx(0.05)


def test_class_average_is_balanced_accuracy():
    g = torch.Generator().manual_seed(0)
    labels, pred = torch.randint(5, (200,), generator=g), torch.randint(7, (200,), generator=g)
    with pytest.warns(UserWarning, match="y_pred contains classes"):
        expected = balanced_accuracy_score(labels.numpy(), pred.numpy())
    assert metrics.class_average(pred, labels) == pytest.approx(expected)


def test_r2_is_scikit_learns():
    target, noise = gaussian(50, 3).double(), gaussian(50, 3, seed=1).double()
    assert metrics.r2(target + noise, target) == pytest.approx(r2_score(target.numpy(), (target + noise).numpy()))
    assert metrics.r2(target[:, 0], target[:, 0]) == 1
    assert metrics.r2(target.mean(0).expand(50, 3), target) == pytest.approx(0, abs=1e-6)
    assert metrics.r2(torch.ones(4), torch.ones(4)) == 1
    assert metrics.r2(torch.zeros(4), torch.ones(4)) == 0


@pytest.mark.parametrize("k", [1, 5, 30])
def test_knn_is_a_slow_vote(k):
    g = torch.Generator().manual_seed(1)
    memory, queries = gaussian(30, 4), gaussian(20, 4, seed=2)
    labels, truth = torch.randint(3, (30,), generator=g), torch.randint(3, (20,), generator=g)
    hits = 0
    for query, label in zip(unit(queries), truth, strict=True):
        cosines = [float(query @ row) for row in unit(memory)]
        votes = [0.0, 0.0, 0.0]
        for j in sorted(range(30), key=cosines.__getitem__)[-k:]:
            votes[labels[j]] += math.exp(cosines[j] / 0.07)
        hits += votes.index(max(votes)) == label
    assert metrics.knn_accuracy(memory, labels, queries, truth, k) == hits / 20


@pytest.mark.parametrize("k", [0, 4])
def test_knn_refuses_a_k_without_neighbours(k):
    z = gaussian(3, 2)
    with pytest.raises(RequestError, match=f"k {k} is not in 1..3"):
        metrics.knn_accuracy(z, torch.zeros(3).long(), z, torch.zeros(3).long(), k)


def test_pairwise_metrics_are_slow_loops():
    z, other = unit(gaussian(20, 5)), unit(gaussian(20, 5, seed=1))
    pairs = [(i, j) for i in range(20) for j in range(20) if i != j]
    squared = [float((z[i] - z[j]).square().sum()) for i, j in pairs]
    cosines = [float(z[i] @ z[j]) for i, j in pairs]
    lengths = torch.linspace(0.1, 9, 20)[:, None]  # every metric normalises
    uniformity = math.log(sum(math.exp(-2 * s) for s in squared) / len(pairs))
    assert metrics.uniformity(lengths * z) == pytest.approx(uniformity, rel=1e-5)
    assert metrics.mean_offdiagonal_cosine(lengths * z) == pytest.approx(sum(cosines) / len(pairs), abs=1e-6)
    aligned = sum(float((a - b).square().sum()) for a, b in zip(z, other, strict=True)) / 20
    assert metrics.alignment(lengths * z, other) == pytest.approx(aligned, rel=1e-5)
    matched = sum(int((other @ row).argmax()) == i for i, row in enumerate(z)) / 20
    assert metrics.instance_match(lengths * z, other) == matched
    assert metrics.instance_match(z, 3 * z) == 1


def test_spread():
    z = gaussian(4000, 16)
    assert metrics.feature_std(z) == pytest.approx(1 / 4, rel=0.02)
    assert metrics.effective_rank(z) == pytest.approx(16, rel=0.01)
    two = torch.zeros(40, 16)
    two[:10, 0], two[10:20, 0], two[20:30, 1], two[30:, 1] = 1, -1, 1, -1
    assert metrics.effective_rank(two + 5) == pytest.approx(2)
    same = z[:1].expand(50, 16)
    assert metrics.effective_rank(same) == 0
    assert metrics.feature_std(same) == pytest.approx(0, abs=1e-6)


def test_healthy_embeddings_raise_no_warning():
    assert metrics.collapse_warning(gaussian(256, 32)) is None
    assert metrics.collapse_warning(gaussian(256, 32).relu()) is None
    assert metrics.collapse_warning(gaussian(256, 1)) is None  # one dimension cannot hold two directions


@pytest.mark.parametrize(
    ("z", "sign"),
    [
        (torch.ones(64, 32), "standard deviation"),
        (gaussian(64, 32) * 0.01 + 1, "mean cosine"),
        (gaussian(64, 1) * torch.ones(32), "directions in use"),
        (gaussian(64, 32) / 0, "NaN or infinity"),
    ],
    ids=["constant", "one way", "a line", "not finite"],
)
def test_collapse_warns_in_one_line(z, sign):
    warning = metrics.collapse_warning(z)
    assert warning is not None
    assert sign in warning
    assert "lower the learning rate" in warning.lower()
    assert "\n" not in warning
