"""The papers' linear classifier: multinomial logistic regression, its strength chosen among 45 on the validation split.

    min over W, b of   sum_i CE(W x_i + b, y_i) + w (||W||^2 + ||b||^2)

The loss is summed, not averaged; w has no 1/2; the bias is regularised (AugSelf and CASSLE, linear evaluation). The
problem is convex and has one optimum, so how it is found is ours to choose.

Paper: w swept upwards by L-BFGS, warm-started. Authors' code: the same in float32, which stalls before the optimum at
small w. Here: float64, from the largest w down, each solved until a step gains less than 3e-7 of the objective. On real
features that ends within 5e-5 nats per sample of the optimum; validation accuracy moves by at most two images in five
hundred at any w. (Far below any w that was ever chosen, where the classes can almost be told apart without an error, it
may end earlier: at w < 1e-5 4,000 images of 100 classes ended 1e-2 above the best that was seen.) Three steps make it
quick, and none changes the optimum:

* the constant 1 joins x as one more feature, and x turns to the principal axes of the training set: ||.||^2 does not
  see a rotation. Axes without data leave;
* on axis j the Hessian is about H0 = p(1 - p) s_j + 2w, with p = 1/c and s_j the sum of squares: L-BFGS starts from it;
* theta is smooth in log w, so the next start continues the line through the last two optima.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from augaware.tasks.features import Labelled

STRENGTHS: tuple[float, ...] = tuple(float(w) for w in np.logspace(-6, 5, 45))
_RELATIVE_GAIN = 3e-7
_MEMORY = 10
_LOG_NOTHING = -200.0  # what is less likely changes no sum, but with denormal numbers the same sums are slower

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
    s, V = torch.linalg.eigh(X.T @ X)
    # Below this an axis holds rounding of float32 features, and the penalty alone decides its weights: 0.
    axes = s > 1e-13 * s[-1]
    V = V[:, axes]
    return X @ V, s[axes, None], V


class Logistic:
    """The objective above on ``features`` (n, d) and ``labels`` (n,) int64 in 0..classes-1, and its minimum for any w.

    ``weights`` are (d + 1, c) float64, the bias in the last row; ``theta`` (r, c) are the same on the principal axes.
    """

    def __init__(self, features: Tensor, labels: Tensor, classes: int) -> None:
        self.Z, self.s, self.V = principal_axes(features)
        self.ZY = self.Z.T @ F.one_hot(labels, classes).double()

    def loss(self, theta: Tensor, w: float) -> tuple[float, Tensor]:
        """The objective and its gradient at ``theta`` (r, c), weights on the principal axes."""
        logits = self.Z @ theta
        top = logits.amax(1, keepdim=True)
        P = logits.sub_(top).clamp_(min=_LOG_NOTHING).exp_()
        total = P.sum(1, keepdim=True)
        value = (top + total.log()).sum() - (self.ZY * theta).sum() + w * theta.square().sum()
        P /= total
        return float(value), (self.Z.T @ P).sub_(self.ZY).add_(theta, alpha=2 * w)

    def minimise(self, theta: Tensor, w: float) -> Tensor:
        """The optimum for ``w``, starting from ``theta`` (r, c): L-BFGS (Nocedal and Wright, algorithm 7.4).

        The objective is strictly convex, so every step has positive curvature and halving it is line search enough.
        """
        p = 1 / theta.shape[1]
        H0 = p * (1 - p) * self.s + 2 * w
        steps: deque[tuple[Tensor, Tensor]] = deque(maxlen=_MEMORY)
        value, gradient = self.loss(theta, w)
        while True:
            direction = -quasi_newton(gradient, H0, steps)
            slope, t = float((gradient * direction).sum()), 1.0
            after, new = self.loss(theta + t * direction, w)
            while after > value + 1e-4 * t * slope and t > 1e-9:
                t /= 2
                after, new = self.loss(theta + t * direction, w)
            if after >= value:
                return theta  # nothing left but rounding
            theta = theta + t * direction
            if value - after <= _RELATIVE_GAIN * value:
                return theta
            steps.append((t * direction, new - gradient))
            value, gradient = after, new

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


def quasi_newton(gradient: Tensor, H0: Tensor, steps: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """H^-1 gradient, H being the diagonal ``H0`` corrected by the last ``steps`` (s, the change of gradient y)."""
    q, alphas = gradient.clone(), []
    for s, y in reversed(steps):
        alphas.append((s * q).sum() / (s * y).sum())
        q -= alphas[-1] * y
    q /= H0
    if steps:
        s, y = steps[-1]
        q *= (s * y).sum() / (y * y / H0).sum()  # the scale that the last step saw
    for (s, y), alpha in zip(steps, reversed(alphas), strict=True):
        q += (alpha - (y * q).sum() / (s * y).sum()) * s
    return q


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
