"""Gaussian blur. Compiled by numba."""

from __future__ import annotations

import math

from augaware.augment.engine.compiled import TILE, compiled, f32
from augaware.augment.engine.turn import turn

NOTHING = 1e-7  # relative weight below which a tap is left out: float32 does not see it


@compiled
def reflected(p, n):
    """Place p beyond 0..n-1, reflected at the borders as often as it takes."""
    period = max(2 * (n - 1), 1)
    p = p % period
    return p if p < n else period - p


@compiled
def gaussian(sigma, kernel, w):
    """The weights w[|t|] of a blur of ``kernel`` taps that float32 sees: t up to the radius, which is even; 0: none."""
    if sigma <= 0:
        return 0
    radius, whole = kernel // 2, f32(0)
    for t in range(radius + 1):
        w[t] = math.exp(-0.5 * (t / sigma) ** 2)
        whole += w[t] if t == 0 else f32(2) * w[t]
    while radius > 0 and w[radius] < f32(NOTHING) * whole:
        radius -= 1
    for t in range(radius + 1):
        w[t] /= whole
    w[radius + 1] = 0
    return radius + radius % 2  # two pairs of taps at a time


@compiled
def blur(x, n, w, radius, out):
    """Gaussian blur, borders reflected: across the columns, turned, across again. ``out`` lies turned."""
    for c in range(len(x)):
        blur_across(x[c], n, w, radius, out[c])
        turn(out[c], 0, n, n, n, x[c], 0, n)
        blur_across(x[c], n, w, radius, out[c])


@compiled
def blur_across(a, n, w, radius, out):
    """out = sum over t of w[|t|] a moved by t columns, |t| <= radius; several columns at a time inside the borders."""
    j = 0
    while j < n:
        many = min(max(TILE // n, 1), n - radius - j) if j >= radius and j < n - radius else 1
        for t in range(1, radius, 2):
            p1, q1 = reflected(j - t, n) * n, reflected(j + t, n) * n
            p2, q2 = reflected(j - t - 1, n) * n, reflected(j + t + 1, n) * n
            centre = w[0] if t == 1 else f32(0)
            two_pairs(a, p1, q1, p2, q2, centre, w[t], w[t + 1], out, j * n, many * n)
        j += many


@compiled
def two_pairs(a, p1, q1, p2, q2, w0, w1, w2, out, o, n):
    """Four taps of a blur and its centre, added to out; those with the centre (w0 > 0) are the first."""
    if p1 < 0 or q1 < 0 or p2 < 0 or q2 < 0 or o < 0:  # never: it tells LLVM that no index is negative
        return
    if w0 > f32(0):
        for i in range(n):
            out[o + i] = w0 * a[o + i] + w1 * (a[p1 + i] + a[q1 + i]) + w2 * (a[p2 + i] + a[q2 + i])
    else:
        for i in range(n):
            out[o + i] += w1 * (a[p1 + i] + a[q1 + i]) + w2 * (a[p2 + i] + a[q2 + i])
