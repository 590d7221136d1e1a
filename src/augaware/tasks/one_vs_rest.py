"""Many small logistic regressions at once, each class against the rest: what liblinear solves, in the dual form.

    min over w of   1/2 ||w||^2 + sum_i log(1 + exp(f_i)) - t_i f_i        f = X w,  t_i = 1 for the class, else 0

X = [features, 1]: the bias is regularised like a weight (liblinear; scikit-learn with C = 1, intercept_scaling = 1).
The optimum is w = X^T a, so n images need n numbers a, however many features there are, and f = K a with K = X X^T.
Newton's method in f (Rasmussen and Williams: Gaussian Processes for Machine Learning, section 3.4.3); p = sigma(f):

    r = t - p - a,   W = p (1 - p),   a <- a + r - W^1/2 (I + W^1/2 K W^1/2)^-1 W^1/2 K r

liblinear stops at a gradient of 1e-4 of the first; here: at the optimum, up to rounding.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

_GAIN = 1e-14  # of the objective: what the last step may still promise; it is taken, and squares the error
_STEPS = 100  # real features take 5 to 15


def gram(rows: Tensor, columns: Tensor) -> Tensor:
    """x_i . x_j + 1, (..., n, m) float64, of features (..., n, d) and (..., m, d)."""
    return rows.double() @ columns.double().mT + 1


def solve(K: Tensor, labels: Tensor, classes: int) -> Tensor:
    """a (E, n, classes) for Gram matrices K (E, n, n) of support images with ``labels`` (n,), the same for every E.

    f of other images is their Gram matrix with the support, times a; the largest f is the class.
    """
    t = F.one_hot(labels, classes).T.to(K).repeat(len(K), 1)
    return newton(K.repeat_interleave(classes, dim=0), t).view(len(K), classes, -1).mT


def newton(K: Tensor, t: Tensor) -> Tensor:
    """a (P, n) of P problems K (P, n, n), ``t`` (P, n); each leaves as it is done."""
    optimum, live = torch.zeros_like(t), torch.arange(len(t), device=t.device)
    a = f = optimum
    for _ in range(_STEPS):
        p = torch.sigmoid(f)
        W = p * (1 - p)
        root, r = W.sqrt(), t - p - a
        B = root[:, :, None] * K
        B.mul_(root[:, None, :]).diagonal(dim1=1, dim2=2).add_(1)
        Kr = root * times(K, r)
        step = r - root * torch.cholesky_solve(Kr[:, :, None], torch.linalg.cholesky(B))[:, :, 0]
        move = times(K, step)
        value, promised = objective(a, f, t), (r * move).sum(1)
        rounding = _GAIN * (1 + value)
        size = torch.ones_like(value)
        while True:  # the objective is convex: halving is line search enough
            after = objective(a + size[:, None] * step, f + size[:, None] * move, t)
            worse = after > value - 1e-4 * size * promised + rounding
            if not worse.any():
                break
            size = torch.where(worse, size / 2, size)
        a, f = a + size[:, None] * step, f + size[:, None] * move
        optimum[live] = a
        going = promised > rounding
        if not going.any():
            break
        if not going.all():
            live, a, f, t, K = (x[going] for x in (live, a, f, t, K))
    return optimum


def objective(a: Tensor, f: Tensor, t: Tensor) -> Tensor:
    """(P,) of a, f and t, (P, n) each."""
    return (a * f / 2 + F.softplus(f, threshold=40) - t * f).sum(1)


def times(K: Tensor, v: Tensor) -> Tensor:
    """(P, n, n) times (P, n)."""
    return (K @ v[:, :, None])[:, :, 0]
