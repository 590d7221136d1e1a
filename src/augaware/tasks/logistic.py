"""The papers' linear classifier: multinomial logistic regression, its strength chosen among 45 on the validation split.

    min over W, b of   sum_i CE(W x_i + b, y_i) + w (||W||^2 + ||b||^2)

The loss is summed, not averaged; w has no 1/2; the bias is regularised (AugSelf and CASSLE, linear evaluation). The
problem is convex and has one optimum, so how it is found is ours to choose.

Paper: w swept upwards by L-BFGS, warm-started. Authors' code: the same in float32, which stalls before the optimum at
small w. Here: from the largest w down, by Newton's method in float64, until a step is predicted to gain less than 3e-6
of the objective. The Hessian is never formed: conjugate gradients need its products with a vector alone, and these,
which choose nothing but the direction, are taken in float32. On three sets of real features every w ends within 1e-6
nats per sample of scikit-learn's at tolerance 1e-7, with the same choice and scores (RESULTS.md); the worst seen, 4,000
images of 100 classes and 128 trained features, is 6e-5 at w = 1e-6 and less above. It is quick by what changes no
optimum:

* the constant 1 joins x as one more feature, and x turns to the principal axes of the training set: ||.||^2 does not
  see a rotation. Axes without data leave, so there are never more axes than images;
* the Hessian's diagonal on these axes preconditions it. Where that is not enough (few features, many images, small w),
  its blocks do, one per class: they are formed once the products for one w have cost as much, r / 2 of them, and kept;
* a direction is as exact as it is worth (inexact Newton: Nocedal and Wright, chapter 7);
* theta is smooth in log w, so the next start continues the line through the last two optima.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from augaware.tasks.features import Labelled

STRENGTHS: tuple[float, ...] = tuple(float(w) for w in np.logspace(-6, 5, 45))
_ENOUGH = 3e-6  # of the objective, that a step must be predicted to gain
_SHARE, _LEAST = 0.03, 0.02  # a direction is refined while that gains: of its gain so far, of what is enough
_LARGEST = 1 << 28  # numbers in the blocks: 1 GiB
_LOG_NOTHING = -60.0  # what is less likely changes no sum, but with denormal numbers the same sums are slower

Score = Callable[[Tensor, Tensor], float]


def with_one(features: Tensor) -> Tensor:
    """[X, 1]: (n, d) -> (n, d + 1) float64."""
    return torch.cat([features.double(), features.new_ones(len(features), 1, dtype=torch.float64)], dim=1)


def predict(features: Tensor, weights: Tensor) -> Tensor:
    """The most likely class, (n,) int64, of ``features`` (n, d) under ``weights`` (d + 1, c), the bias last."""
    return (with_one(features) @ weights).argmax(1)


def principal_axes(features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Z = [X, 1] V of ``features`` X (n, d), with Z^T Z = diag(s): Z (n, r), s (r, 1) and V (d + 1, r)."""
    X = with_one(features)
    # Fewer images than features: the axes lie in the images' span. An orthonormal basis of it, as V must be one.
    span = torch.linalg.qr(X.T).Q if X.shape[0] < X.shape[1] else None
    Z = X if span is None else X @ span
    s, V = torch.linalg.eigh(Z.T @ Z)
    # Below this an axis holds rounding of float32 features, and the penalty alone decides its weights: 0.
    axes = s > 1e-13 * s[-1]
    V = V[:, axes]
    return Z @ V, s[axes, None], V if span is None else span @ V


class Logistic:
    """The objective above on ``features`` (n, d) and ``labels`` (n,) int64 in 0..classes-1, and its minimum for any w.

    ``weights`` are (d + 1, c) float64, the bias in the last row; ``theta`` (r, c) are the same on the principal axes.
    """

    def __init__(self, features: Tensor, labels: Tensor, classes: int) -> None:
        self.Z, self.s, self.V = principal_axes(features)
        self.ZY = self.Z.T @ F.one_hot(labels, classes).double()
        self.factors: Tensor | None = None  # of the blocks that precondition the Hessian
        self.products = 0  # of the Hessian and a vector, for this w or since its blocks were formed
        self.U = (self.Z / self.s.T.sqrt()).float()  # U^T U = 1: what float32 can hold, however the features are scaled

    def loss(self, theta: Tensor, w: float) -> tuple[float, Tensor, Tensor]:
        """The objective and its gradient at ``theta`` (r, c), and the probabilities (n, c)."""
        logits = self.Z @ theta
        top = logits.amax(1, keepdim=True)
        P = logits.sub_(top).clamp_(min=_LOG_NOTHING).exp_()
        total = P.sum(1, keepdim=True)
        value = (top + total.log()).sum() - (self.ZY * theta).sum() + w * theta.square().sum()
        P /= total
        return float(value), (self.Z.T @ P).sub_(self.ZY).add_(theta, alpha=2 * w), P

    def direction(self, gradient: Tensor, P: Tensor, w: float, least: float) -> tuple[Tensor, float]:
        """About -H^-1 ``gradient`` (r, c), H the Hessian where the probabilities are ``P``, and the gain predicted.

        Preconditioned conjugate gradients (Nocedal and Wright, algorithm 5.3) in the axes of U, until one of them gains
        less than ``least``, or than 3 % of the gain so far.
        """
        root, penalty = self.s.sqrt(), (2 * w / self.s).float()
        spread = (P * (1 - P)).float()
        curvature = (self.U * self.U).T @ spread + penalty
        top, P = P.argmax(1, keepdim=True), P.float()
        unit = float((gradient / root).norm().clamp_min(1e-300))  # squares of small numbers are nothing in float32
        residual = (gradient / root / -unit).float()
        d, q, rz = torch.zeros_like(residual), torch.zeros_like(residual), residual.new_ones(())
        gain = 0.0
        while True:
            self.products += 1
            z = residual / curvature if self.factors is None else solved(self.factors, residual)
            before, rz = rz, (residual * z).sum()
            q = z + rz / before * q
            change = self.U @ q  # of the logits, and, as only differences count, against the likeliest class:
            change -= change.gather(1, top)  # 1 - p is lost in float32 where p is nearly 1
            change.sub_((P * change).sum(1, keepdim=True)).mul_(P)
            Hq = (self.U.T @ change).addcmul_(penalty, q)
            step = rz / (q * Hq).sum().clamp_min(1e-30)
            d += step * q
            residual -= step * Hq
            gained = float(step * rz) / 2 * unit**2
            gain += gained
            if not gained > max(_SHARE * gain, least):
                break
        if self.products > len(self.s) / 2 and self.ZY.numel() * len(self.s) <= _LARGEST:
            self.factors, self.products = factors(self.U, spread, penalty), 0
        return d * (unit / root), gain

    def minimise(self, theta: Tensor, w: float) -> Tensor:
        """The optimum for ``w``, starting from ``theta`` (r, c): Newton's method.

        The objective is strictly convex, so every direction leads down and halving it is line search enough.
        """
        value, gradient, P = self.loss(theta, w)
        self.products = 0
        while True:
            direction, gain = self.direction(gradient, P, w, _LEAST * _ENOUGH * value)
            if gain <= _ENOUGH * value:
                return theta + direction  # what it gains is too little to look at
            slope, t = float((gradient * direction).sum()), 1.0
            after, gradient, P = self.loss(theta + direction, w)
            while after > value + 1e-4 * t * slope and t > 1e-9:
                t /= 2
                after, gradient, P = self.loss(theta + t * direction, w)
            if after >= value:
                return theta  # nothing left but rounding
            theta, value = theta + t * direction, after

    def path(self, strengths: tuple[float, ...] = STRENGTHS) -> Iterator[tuple[float, Tensor]]:
        """(w, weights) for each w from the largest down; ``strengths`` ascend, evenly spaced in the logarithm."""
        theta = before = torch.zeros_like(self.ZY)
        for w in reversed(strengths):
            theta, before = self.minimise(2 * theta - before, w), theta
            yield w, self.V @ theta

    def solve(self, w: float, weights: Tensor) -> Tensor:
        """The optimal weights for one ``w``, starting from ``weights``, for instance those of another training set."""
        optimum: Tensor = self.V @ self.minimise(self.V.T @ weights, w)
        return optimum


def factors(U: Tensor, spread: Tensor, penalty: Tensor) -> Tensor:
    """Of each class's block B of the Hessian the inverse of its Cholesky factor, (c, r, r) float32."""
    one, found = torch.eye(U.shape[1], dtype=torch.float64, device=U.device), []
    for p in spread.T:
        B = ((U.T * p) @ U).double()
        B.diagonal().add_(penalty[:, 0] + 1e-5 * B.diagonal().max())  # more than float32's rounding
        found.append(torch.linalg.solve_triangular(torch.linalg.cholesky(B), one, upper=False).float())
    return torch.stack(found)


def solved(factors: Tensor, x: Tensor) -> Tensor:
    """B^-1 x for ``x`` (r, c), class by class."""
    return (factors.mT @ (factors @ x.T[:, :, None]))[:, :, 0].T


@dataclass(frozen=True)
class Selected:
    """The chosen strength, its scores on validation and test, and a warning when it lies on the edge of the grid."""

    w: float
    val: float
    test: float
    warning: str | None


def select(
    train: Labelled,
    val: Labelled,
    test: Labelled,
    classes: int,
    score: Score,
    strengths: tuple[float, ...] = STRENGTHS,
) -> Selected:
    """Fit train for every w, take the smallest w of the best val score, refit on train + val, score test once."""
    path = Logistic(train.features, train.labels, classes).path(strengths)
    best, w, weights = swept(path, lambda fitted: score(predict(val.features, fitted), val.labels))
    both = train + val
    weights = Logistic(both.features, both.labels, classes).solve(w, weights)
    return Selected(w, best, score(predict(test.features, weights), test.labels), edge_warning(w, strengths))


def swept(path: Iterator[tuple[float, Tensor]], score: Callable[[Tensor], float]) -> tuple[float, float, Tensor]:
    """The best ``score``, -1 or more, along a path of falling w, and the w and weights that have it."""
    best, w, weights = -1.0, 0.0, torch.empty(0)
    for candidate, fitted in path:
        reached = score(fitted)
        if reached >= best:  # strengths fall: >= keeps the smallest, the paper's first in ascending order
            best, w, weights = reached, candidate, fitted
    return best, w, weights


def edge_warning(w: float, strengths: tuple[float, ...]) -> str | None:
    """What to say of a chosen ``w`` that is the first or the last of ``strengths``."""
    edge = {strengths[0]: "smallest", strengths[-1]: "largest"}.get(w)
    return None if edge is None else f"the best w {w:g} is the {edge} of the grid: a better one may lie beyond it"
