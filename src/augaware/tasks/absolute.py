"""The papers' linear regression: sum of absolute errors, its strength chosen among 45 on the validation split.

    min over W, b of   sum_i ||W x_i + b - y_i||_1 + w (||W||^2 + ||b||^2)

Summed, not averaged; w has no 1/2; the bias is regularised (CASSLE, 300W: criterion and strengths of its linear
evaluation). Given w every target is a convex problem of its own, with one optimum: how it is found is ours to choose.

Paper: w swept upwards by L-BFGS, warm-started, kinks or not. Here: float64, from the largest w down, by ADMM
(Boyd et al. 2011, section 6.1) on the residuals e = y - Z theta, all targets at once, each with its own step rho:

    c = y - e + u / rho        theta = Z^T c / (s + 2w / rho)        u, e: what lies in [-1, 1] of
    u + rho (y - Z theta), and the rest over rho

* As in :mod:`augaware.tasks.logistic` the constant 1 joins x and x turns to the principal axes, Z: there
  Z^T Z = diag(s), so one decomposition serves every target, strength and rho.
* u' = rho (c - Z theta) has Z^T u' = 2w theta to rounding, and keeps it when it is clipped to the box and what that
  changed in the span of Z is given back. Then k u' with k = 1 / max(1, |u'|) is feasible in the dual, max of
  u y - ||Z^T u||^2 / 4w over |u_i| <= 1, and bounds the optimum from below.

**Tolerance.** A target is done when this bound proves its objective within 3e-3 of the optimum, relative (and 1e-6 of
sum |y|, for what is predicted exactly). The proof is coarse: on 800 real faces the sum of the objectives is within 5e-4
of that of a run three times as exact at every w, and r2_pooled on val within 1e-4 (4e-3 at w above 5e3, far from its
best). A target that needs more than 20,000 steps is taken as it is then.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

import torch
from torch import Tensor

from augaware.tasks.logistic import STRENGTHS, Score, edge_warning, principal_axes, swept, with_one
from augaware.threads import one_thread

Split = tuple[Tensor, Tensor]  # features (n, d), targets (n, t)

TOLERANCE = 3e-3
_FLOOR = 1e-6  # of sum |y|
_RELAXED = 1.7  # over-relaxation (Boyd et al., section 3.4.3)
_CHECK = 10  # steps between two looks at the bound and at rho
_ADAPT, _STEPS = 300, 20000  # rho is settled then, as convergence needs; and a step to stop at come what may
_FURTHER = 0.56  # w falls by this factor along the grid, and an optimum moves about as w does


@dataclass(frozen=True)
class State:
    """Residuals e and dual u, (n, t) each, and rho (t,): where ADMM stands."""

    e: Tensor
    u: Tensor
    rho: Tensor

    def beyond(self, before: State) -> State:
        """The line from the optimum ``before`` through this one, continued to the next strength."""
        e, u = (b + _FURTHER * (b - a) for a, b in ((before.e, self.e), (before.u, self.u)))
        return State(e, u.clamp(-1, 1), self.rho)


class Absolute:
    """The objective above on ``features`` (n, d) and ``targets`` (n, t), and its minimum for any w.

    ``weights`` are (d + 1, t) float64, the bias in the last row; ``theta`` (r, t) are the same on the principal axes.
    """

    def __init__(self, features: Tensor, targets: Tensor, tolerance: float = TOLERANCE) -> None:
        self.Z, self.s, self.V = principal_axes(features)
        self.y, self.tolerance = targets.double(), tolerance

    def start(self, theta: Tensor) -> State:
        """Where to start from ``theta`` (r, t); zeros are the optimum of a large w."""
        e = self.y - self.Z @ theta
        return State(e, e.sign(), 1 / e.abs().mean(0).clamp_min(1e-12))

    def minimise(self, w: float, start: State) -> tuple[Tensor, State]:
        """The optimum theta (r, t) for ``w``. Targets leave as they are done: the last steps are of few columns."""
        theta = torch.empty(len(self.s), self.y.shape[1], dtype=self.y.dtype, device=self.y.device)
        end = State(start.e.clone(), start.u.clone(), start.rho.clone())
        live = torch.arange(len(start.rho), device=self.y.device)
        y, e, u, rho = self.y, start.e, start.u, start.rho
        for step in count(1):
            c = y - e + u / rho
            t = self.Z.T @ c / (self.s + 2 * w / rho)
            f = self.Z @ t
            if step % _CHECK == 0:
                done = self.gap(w, y, f, t, rho * (c - f)) <= 0
                if step >= _STEPS:
                    done[:] = True
                if done.any():
                    at, keep = live[done], ~done
                    theta[:, at], end.rho[at] = t[:, done], rho[done]
                    end.e[:, at], end.u[:, at] = e[:, done], u[:, done]
                    live, rho = live[keep], rho[keep]
                    y, e, u, f = y[:, keep], e[:, keep], u[:, keep], f[:, keep]
                if not len(live):
                    return theta, end
            r = y - _RELAXED * f - (1 - _RELAXED) * (y - e)
            a = u + rho * r
            u = a.clamp(-1, 1)
            e, old = (a - u) / rho, e
            if step % _CHECK == 0 and step <= _ADAPT:
                rho = rho * self.balance(y - f - e, e - old)
        raise AssertionError  # count does not end

    def gap(self, w: float, y: Tensor, f: Tensor, t: Tensor, dual: Tensor) -> Tensor:
        """How far each target's objective may be above its optimum, less what is tolerated, (t,); ``dual`` is u'."""
        penalty = w * t.square().sum(0)
        clipped = dual.clamp(-1, 1)
        dual = clipped + self.Z @ (self.Z.T @ (dual - clipped) / self.s)
        k = 1 / dual.abs().amax(0).clamp_min(1)
        primal = (y - f).abs().sum(0) + penalty
        return primal - k * (dual * y).sum(0) + k * k * penalty - self.tolerance * primal - _FLOOR * y.abs().sum(0)

    def balance(self, primal: Tensor, dual: Tensor) -> Tensor:
        """The factor (t,) on rho that brings the two residuals together (Boyd et al., section 3.4.1); 1 if near.

        ``primal`` y - Z theta - e and ``dual``, the change of e, of which theta sees what lies in the span of Z.
        """
        ratio = primal.norm(dim=0) / (self.Z.T @ dual / self.s.sqrt()).norm(dim=0).clamp_min(1e-300)
        factor = ratio.sqrt().clamp(0.2, 5)
        return torch.where((factor > 1.5) | (factor < 1 / 1.5), factor, torch.ones_like(factor))

    def path(self, strengths: tuple[float, ...] = STRENGTHS) -> Iterator[tuple[float, Tensor]]:
        """(w, weights) for each w from the largest down; ``strengths`` ascend, evenly spaced in the logarithm."""
        state = before = self.start(torch.zeros_like(self.Z.T @ self.y))
        for w in reversed(strengths):
            theta, after = self.minimise(w, state.beyond(before))
            state, before = after, state
            yield w, self.V @ theta

    def solve(self, w: float, weights: Tensor) -> Tensor:
        """The optimal weights for one ``w``, starting from ``weights``, for instance those of another training set."""
        optimum: Tensor = self.V @ self.minimise(w, self.start(self.V.T @ weights))[0]
        return optimum


@dataclass(frozen=True)
class Selected:
    """The chosen w, its score on val, the test images' prediction (m, t), a warning when w is on the grid's edge."""

    w: float
    val: float
    prediction: Tensor
    warning: str | None


def select(train: Split, val: Split, test: Tensor, score: Score, strengths: tuple[float, ...] = STRENGTHS) -> Selected:
    """Fit train for every w, take the smallest w of the best val score, refit on train + val, predict ``test`` (m, d).

    ``score`` is of (prediction, targets), -1 or more.
    """
    both = torch.cat([train[0], val[0]]), torch.cat([train[1], val[1]])
    with one_thread():
        path = Absolute(*train).path(strengths)
        best, w, weights = swept(path, lambda fitted: score(with_one(val[0]) @ fitted, val[1]))
        prediction = with_one(test) @ Absolute(*both).solve(w, weights)
    return Selected(w, best, prediction, edge_warning(w, strengths))
