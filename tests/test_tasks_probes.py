"""The probes' solvers against scikit-learn and against a slow transcription of the papers' sweep."""

from __future__ import annotations

import time
import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from sklearn.linear_model import Ridge as SklearnRidge

from augaware.metrics import top1
from augaware.tasks import logistic
from augaware.tasks.features import Labelled
from augaware.tasks.logistic import (
    STRENGTHS,
    Logistic,
    factors,
    predict,
    principal_axes,
    select,
    solved,
    with_one,
)
from augaware.tasks.ridge import Ridge


def clusters(n: int, d: int, c: int, seed: int, noise: float = 1.5) -> Labelled:
    """Positive, correlated and badly scaled, as pooled ReLU features are."""
    fixed = torch.Generator().manual_seed(99)
    means, mixing = torch.randn(c, d, generator=fixed), torch.randn(d, d, generator=fixed) / torch.arange(1, d + 1)
    labels = torch.arange(n) % c
    z = means[labels] + noise * torch.randn(n, d, generator=torch.Generator().manual_seed(seed))
    return Labelled((z @ mixing.T + 0.5).relu(), labels)


def objective(data: Labelled, weights: torch.Tensor, w: float) -> float:
    """Sum of cross-entropies + w (||W||^2 + ||b||^2), per sample."""
    logits = with_one(data.features) @ weights
    return float(F.cross_entropy(logits, data.labels, reduction="sum") + w * weights.square().sum()) / len(data)


def papers_sweep(train, val, test, c, strengths):
    """The papers' classifier: w ascending, warm-started L-BFGS, first strictly best, a copy refitted on train + val."""

    def fit(data: Labelled, w: float) -> None:
        optimiser = torch.optim.LBFGS(
            linear.parameters(), 1, 5000, tolerance_grad=1e-10, tolerance_change=0, line_search_fn="strong_wolfe"
        )

        def closure() -> torch.Tensor:
            optimiser.zero_grad()
            loss = F.cross_entropy(linear(data.features.double()), data.labels, reduction="sum")
            loss = loss + w * sum(p.square().sum() for p in linear.parameters())
            loss.backward()
            return loss

        optimiser.step(closure)

    def accuracy(data: Labelled) -> float:
        return top1(linear(data.features.double()).argmax(1), data.labels)

    linear = torch.nn.Linear(train.features.shape[1], c, dtype=torch.float64)
    vals, states = [], []
    for w in strengths:
        fit(train, w)
        vals.append(accuracy(val))
        states.append({k: v.clone() for k, v in linear.state_dict().items()})
    best = vals.index(max(vals))
    linear.load_state_dict(states[best])
    fit(train + val, strengths[best])
    return vals, strengths[best], accuracy(test)


def test_grid_is_the_papers():
    assert len(STRENGTHS) == 45
    assert STRENGTHS[0] == pytest.approx(1e-6)
    assert STRENGTHS[-1] == pytest.approx(1e5)


def test_path_reaches_scikit_learns_optimum():
    data = clusters(300, 12, 5, seed=0)
    features = with_one(data.features).numpy()
    for i, (w, weights) in enumerate(Logistic(data.features, data.labels, 5).path()):
        if i % 8 == 4:  # 3e3 to 1e-5
            sk = LogisticRegression(C=1 / (2 * w), fit_intercept=False, tol=1e-9, max_iter=20000, solver="newton-cg")
            optimum = torch.from_numpy(sk.fit(features, data.labels.numpy()).coef_.T.copy())
            assert abs(objective(data, weights, w) - objective(data, optimum, w)) < 1e-4


def test_more_dimensions_than_images():
    data = clusters(40, 90, 4, seed=0)
    problem = Logistic(data.features, data.labels, 4)
    assert len(problem.s) <= 40  # axes without data are left out
    weights = problem.solve(0.1, torch.zeros(91, 4, dtype=torch.float64))
    sk = LogisticRegression(C=5.0, fit_intercept=False, tol=1e-9, max_iter=20000, solver="newton-cg")
    optimum = sk.fit(with_one(data.features).numpy(), data.labels.numpy()).coef_.T
    assert abs(objective(data, weights, 0.1) - objective(data, torch.from_numpy(optimum.copy()), 0.1)) < 1e-5


@pytest.mark.parametrize(("n", "d"), [(60, 200), (400, 20)])
def test_each_strength_ends_at_the_optimum_of_scikit_learn(n, d):
    """Where the classes are told apart without an error the objective is small, and the optimum as near."""
    data = clusters(n, d, 8, seed=3, noise=3)
    features = with_one(data.features).numpy()
    for i, (w, weights) in enumerate(Logistic(data.features, data.labels, 8).path()):
        if i % 11 == 0:  # 1e5 to 1e-6
            sk = LogisticRegression(C=1 / (2 * w), fit_intercept=False, tol=1e-9, max_iter=20000)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                optimum = torch.from_numpy(sk.fit(features, data.labels.numpy()).coef_.T.copy())
            best = objective(data, optimum, w)
            assert objective(data, weights, w) - best < 2e-5 * best, w


def test_blocks_of_the_hessian_change_no_optimum(monkeypatch):
    data = clusters(300, 12, 5, seed=0)
    formed = []
    monkeypatch.setattr(logistic, "factors", lambda *given: formed.append(given) or factors(*given))
    quick = list(Logistic(data.features, data.labels, 5).path())
    assert formed
    monkeypatch.setattr(logistic, "_LARGEST", 0)
    formed.clear()
    plain = list(Logistic(data.features, data.labels, 5).path())
    assert not formed
    for (w, a), (_, b) in zip(quick, plain, strict=True):
        assert objective(data, a, w) == pytest.approx(objective(data, b, w), rel=2e-4)


def test_blocks_are_those_of_the_hessian():
    data = clusters(50, 6, 3, seed=0)
    problem = Logistic(data.features, data.labels, 3)
    P = torch.softmax(torch.randn(50, 3, generator=torch.Generator().manual_seed(0)), dim=1)
    penalty = torch.rand(len(problem.s), 1)
    found = factors(problem.U, P - P * P, penalty)
    x = torch.randn(len(problem.s), 3)
    for k in range(3):
        B = problem.U.T @ torch.diag(P[:, k] * (1 - P[:, k])) @ problem.U + torch.diag(penalty[:, 0])
        torch.testing.assert_close(B @ solved(found, x)[:, k], x[:, k], atol=2e-3, rtol=2e-3)


def test_a_gradient_of_zero_is_the_optimum():
    """The two classes are one: the weights stay 0."""
    features = torch.ones(4, 3)
    theta = list(Logistic(features, torch.tensor([0, 1, 0, 1]), 2).path((0.1, 1.0)))
    assert all(torch.equal(weights, torch.zeros(4, 2, dtype=torch.float64)) for _, weights in theta)


@pytest.mark.parametrize("scale", [1e-4, 1e15])
def test_features_of_any_scale(scale):
    """The directions are found in float32."""
    data = clusters(100, 5, 3, seed=0)
    w, scaled = 0.1 * scale**2, Labelled(data.features * scale, data.labels)
    bare = Logistic(data.features - data.features.mean(0), data.labels, 3)
    assert bare.U.isfinite().all()
    weights = Logistic(scaled.features, scaled.labels, 3).solve(w, torch.zeros(6, 3, dtype=torch.float64))
    start = objective(scaled, torch.zeros(6, 3, dtype=torch.float64), w)
    assert objective(scaled, weights, w) < 0.99 * start


@pytest.mark.parametrize("n", [30, 200])
def test_axes_are_orthonormal_and_principal(n):
    """With fewer images than features too."""
    X = clusters(n, 90, 4, seed=0).features
    Z, s, V = principal_axes(X)
    torch.testing.assert_close(V.T @ V, torch.eye(len(s), dtype=torch.float64), atol=1e-12, rtol=0)
    torch.testing.assert_close(Z.T @ Z, torch.diag(s[:, 0]), atol=1e-12 * float(s.max()), rtol=0)
    torch.testing.assert_close(Z @ V.T, with_one(X), atol=1e-5 * float(X.max()), rtol=0)


def test_gradient_of_the_objective():
    data = clusters(30, 4, 3, seed=0)
    problem = Logistic(data.features, data.labels, 3)
    theta = torch.randn_like(problem.ZY).requires_grad_()
    value = 30 * torch.tensor(objective(data, (problem.V @ theta).detach(), 0.3))
    assert problem.loss(theta.detach(), 0.3)[0] == pytest.approx(float(value), rel=1e-6)
    logits = problem.Z @ theta
    (F.cross_entropy(logits, data.labels, reduction="sum") + 0.3 * theta.square().sum()).backward()
    torch.testing.assert_close(problem.loss(theta.detach(), 0.3)[1], theta.grad)


def test_a_confident_classifier_costs_no_more_than_an_unsure_one():
    """Classes e^-700 apart have denormal probabilities, with which a processor may multiply many times slower."""
    generator = torch.Generator().manual_seed(0)
    features, labels = torch.randn(1000, 32, generator=generator), torch.arange(1000) % 50
    problem = Logistic(features, labels, 50)
    unsure = torch.randn(len(problem.s), 50, generator=generator, dtype=torch.float64)

    def least(theta):
        times = []
        for _ in range(9):
            began = time.process_time()
            for _ in range(5):
                problem.loss(theta, 1e-6)
            times.append(time.process_time() - began)
        return min(times)

    sure = 100 * unsure
    P = torch.softmax(problem.Z @ sure, dim=1)
    assert 0 < P[P > 0].min() < torch.finfo(torch.float64).tiny
    torch.testing.assert_close(problem.loss(sure, 0.0)[1], problem.Z.T @ P - problem.ZY, rtol=1e-12, atol=1e-12)
    assert least(sure) < 2 * least(unsure)


def test_selection_is_the_papers_sweep():
    train, val, test = (clusters(n, 6, 4, seed=i, noise=2.5) for i, n in enumerate((80, 200, 200)))
    strengths = tuple(float(w) for w in np.logspace(-1, 3, 5))
    vals, w, score = papers_sweep(train, val, test, 4, strengths)
    chosen = select(train, val, test, 4, top1, strengths)
    ours = {
        w: top1(predict(val.features, weights), val.labels)
        for w, weights in Logistic(train.features, train.labels, 4).path(strengths)
    }
    assert list(ours) == sorted(strengths, reverse=True)
    assert [ours[w] for w in strengths] == pytest.approx(vals, abs=1.01 / len(val))  # one image may turn
    assert chosen.w == w
    assert chosen.val == pytest.approx(max(vals), abs=1.01 / len(val))
    assert chosen.test == pytest.approx(score, abs=1.01 / len(test))


def test_equal_scores_take_the_smallest_strength_and_the_edge_warns():
    easy = clusters(60, 8, 3, seed=0, noise=0.01)
    chosen = select(easy, easy, easy, 3, top1, (1e-3, 1e-2, 1e-1))
    assert (chosen.w, chosen.val, chosen.test) == (1e-3, 1.0, 1.0)
    assert chosen.warning is not None
    assert "smallest of the grid" in chosen.warning


def test_a_strength_inside_the_grid_does_not_warn():
    train, val, test = (clusters(n, 20, 4, seed=i, noise=6) for i, n in enumerate((100, 400, 10)))
    chosen = select(train, val, test, 4, top1)
    assert STRENGTHS[0] < chosen.w < STRENGTHS[-1]
    assert chosen.warning is None


@pytest.mark.parametrize("strength", [1e-3, 0.1, 10.0])
def test_ridge_is_scikit_learns(strength):
    data, queries = clusters(50, 12, 5, seed=0).features, clusters(20, 12, 5, seed=1).features
    targets = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    ridge = Ridge(data)
    sk = SklearnRidge(alpha=strength * ridge.unit).fit(data.double().numpy(), targets.double().numpy())
    expected = torch.from_numpy(sk.predict(queries.double().numpy()))
    torch.testing.assert_close(ridge.predict(targets, strength, queries), expected, atol=1e-8, rtol=1e-6)


def test_ridge_on_features_that_do_not_vary_predicts_the_mean():
    prediction = Ridge(torch.ones(10, 4)).predict(torch.arange(10.0)[:, None], 1.0, torch.ones(2, 4))
    torch.testing.assert_close(prediction, torch.full((2, 1), 4.5, dtype=torch.float64))
