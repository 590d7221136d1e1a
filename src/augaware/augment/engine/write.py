"""Normalise a view and write it: by pixels or by planes, float32, bfloat16 or uint8. Compiled by numba."""

from __future__ import annotations

import numpy as np

from augaware.augment.engine.compiled import compiled, f32
from augaware.augment.engine.turn import turn

FLOAT32, BFLOAT16, UINT8 = range(3)
HIGH, WIDE = 32, 64  # of the tiles that are turned: three of them fit the first cache


@compiled
def write(x, n, by_rows, scale, shift, out, kind, planar, tiles, strip):
    """out = scale x + shift, row by row, (n, n, C) or planar; HIGH rows at a time."""
    channels, area = len(x), n * n
    for top in range(0, n, HIGH):
        high = min(HIGH, n - top)
        # what is not float32 is rounded from a strip of it
        to, start, plane = (out.view(np.float32), top * n, area) if kind == FLOAT32 else (strip, 0, high * n)
        for left in range(0, n, WIDE):
            wide = min(WIDE, n - left)
            source, at, down, gap = (x.reshape(-1), top * n + left, n, area)
            if not by_rows:
                source, at, down, gap = (tiles, 0, WIDE, HIGH * WIDE)
                for c in range(channels):
                    turn(x[c], left * n + top, n, wide, high, tiles, c * gap, WIDE)
            for i in range(high):
                pixels = source[at + i * down :]
                if channels == 3 and not planar:
                    interleave(pixels, gap, wide, scale, shift, to[3 * (start + i * n + left) :])
                else:
                    for c in range(channels):
                        place, stride = (c * plane, 1) if planar else (c, channels)
                        target = to[place + stride * (start + i * n + left) :]
                        for j in range(wide):
                            target[j * stride] = scale[c] * pixels[c * gap + j] + shift[c]
        if kind != FLOAT32:
            pieces = channels if planar else 1
            for c in range(pieces):
                many = channels // pieces * high * n
                pack(strip[c * many :], many, out, c * area + channels // pieces * top * n, kind)


@compiled
def interleave(x, gap, n, scale, shift, out):
    """out (n, 3) = scale x + shift of three planes, ``gap`` apart."""
    r, g, b, pixels = x[:n], x[gap : gap + n], x[2 * gap : 2 * gap + n], out[: 3 * n]
    f0, f1, f2 = scale[0], scale[1], scale[2]
    d0, d1, d2 = shift[0], shift[1], shift[2]
    for j in range(n):
        pixels[3 * j] = f0 * r[j] + d0
        pixels[3 * j + 1] = f1 * g[j] + d1
        pixels[3 * j + 2] = f2 * b[j] + d2


@compiled
def pack(a, n, out, o, kind):
    """n numbers of a, rounded to the nearest bfloat16 or uint8, to out, from number o on."""
    if kind == BFLOAT16:
        bits, short = a[:n].view(np.uint32), out.view(np.uint16)[o : o + n]
        for p in range(n):
            short[p] = (bits[p] + np.uint32(0x7FFF) + ((bits[p] >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
    else:
        byte = out[o : o + n]
        for p in range(n):
            byte[p] = np.uint8(min(max(a[p], f32(0)), f32(255)) + f32(0.5))
