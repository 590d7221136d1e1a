"""The fused kernel: one image at a time through all of its augmentations while it is in cache. Compiled by numba.

A view under way is ``x`` (C, n * n) float32 in [0, 1], each plane **column by column**: what is contiguous in x is a
column of the image. So both passes of the resampling and of the blur run along contiguous memory, and all that works
on pixels alone does not notice. The image is turned back where the view is written.

Every function here has its definition in the ``apply`` of an augmentation, and the tests hold it to that. Loops index
from 0 over slices: numba lets LLVM use vector instructions where it sees that no index is negative.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

FLIP, JITTER, BLEND_JITTER, GRAYSCALE, BLUR, SOLARIZE, ROTATE90 = range(7)
OPERATIONS = {
    "flip": FLIP,
    "jitter": JITTER,
    "blend_jitter": BLEND_JITTER,
    "grayscale": GRAYSCALE,
    "blur": BLUR,
    "solarize": SOLARIZE,
    "rotate90": ROTATE90,
}
BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)
TILE = 1024  # pixels that go through the colour operations at once: three planes of them fit the first cache
ROWS = 16  # rows that are turned into columns at once
NOTHING = 1e-7  # relative weight below which a tap of the blur is left out: float32 does not see it

_fast: dict[str, Any] = {
    "nogil": True,
    "error_model": "numpy",
    "fastmath": {"contract", "reassoc", "nsz", "arcp", "nnan", "ninf"},
}
f32 = np.float32


@njit(cache=True, **_fast)
def fused(data, offsets, sizes, boxes, numbers, out, diff, unit, n, codes, places, kernels, scale, shift):
    """Views of B images, written to ``out`` (B, n, n, C) as ``scale * x + shift``, per channel.

    Image b is (C, H, W) = (C, *sizes[b]) in ``data`` (M,), from ``offsets[b]`` on. ``boxes`` (B, 4) int32: top, left,
    height, width of the crop. ``unit`` takes a pixel to [0, 1]. Operation k is
    ``codes[k]``; its arguments begin in column ``places[k]`` of ``numbers`` (B, P), and a blur has ``kernels[k]`` taps.
    ``diff`` (B, 3) receives what the jitter did to the mean of each channel: before minus after.
    """
    channels = out.shape[3]
    height = width = 1
    for b in range(len(boxes)):
        height, width = max(height, boxes[b, 2]), max(width, boxes[b, 3])
    widest = 0
    for k in range(len(codes)):
        widest = max(widest, kernels[k])
    border = widest // 2 + 4
    x = np.empty((channels, n * n), np.float32)
    work = np.empty(max(width, n + 2 * border) * n, np.float32)
    rows = np.empty((ROWS, width), np.float32)
    most = 2 * (max(height, width) // n + 2) + 1
    down = np.empty((n, most + 2), np.float32)
    across = np.empty((n, most + 2), np.float32)
    for b in range(len(boxes)):
        image = data[offsets[b] : offsets[b] + channels * sizes[b, 0] * sizes[b, 1]]
        first = 1 if len(codes) > 0 and codes[0] == FLIP else 0
        mirrored = first == 1 and numbers[b, places[0]] > f32(0.5)
        resample(
            image.reshape(channels, sizes[b, 0], sizes[b, 1]), boxes[b], unit, n, mirrored, x, work, rows, down, across
        )
        for k in range(first, len(codes)):
            code, a = codes[k], numbers[b, places[k] :]
            if code == FLIP:
                if a[0] > f32(0.5):
                    flip(x, n)
            elif code in (JITTER, BLEND_JITTER):
                if a[8] > f32(0.5):
                    jitter(x, a, code == BLEND_JITTER, diff[b])
            elif code == GRAYSCALE:
                if a[0] > f32(0.5):
                    grayscale(x)
            elif code == BLUR:
                if a[0] > f32(0):
                    blur(x, n, a[0], kernels[k], work)
            elif code == SOLARIZE:
                if a[0] < f32(1):
                    solarize(x, a[0])
            else:
                for _ in range(int(a[0])):
                    quarter_turn(x, n, work)
        write(x, n, scale, shift, out[b])


@njit(**_fast)
def taps(length, n, table):
    """Antialiased linear resampling of ``length`` pixels to n: row i is first pixel, number of weights, weights."""
    step = length / n
    support = max(step, 1.0)
    for i in range(n):
        centre = (i + 0.5) * step
        low = max(math.floor(centre - support - 0.5), 0)
        high = min(math.ceil(centre + support - 0.5), length - 1)
        total, count = 0.0, 0
        for p in range(low, high + 1):
            weight = 1 - abs(p + 0.5 - centre) / support
            if weight > 0:
                if count == 0:
                    table[i, 0] = p
                table[i, 2 + count] = weight
                total += weight
                count += 1
        table[i, 1] = count
        for k in range(count):
            table[i, 2 + k] /= f32(total)


@njit(**_fast)
def resample(image, box, unit, n, mirrored, x, columns, rows, down, across):
    """Crop and resize image (C, H, W): rows by ``down``, turned into columns, those by ``across``; mirrored or not."""
    top, left, height, width = box[0], box[1], box[2], box[3]
    taps(height, n, down)
    taps(width, n, across)
    for c in range(len(x)):
        for start in range(0, n, ROWS):
            many = min(ROWS, n - start)
            for d in range(many):
                low, count, row = top + int(down[start + d, 0]), int(down[start + d, 1]), rows[d]
                weight = down[start + d, 2] * unit
                source = image[c, low, left : left + width]
                for p in range(width):
                    row[p] = weight * f32(source[p])
                for t in range(1, count):
                    weight = down[start + d, 2 + t] * unit
                    source = image[c, low + t, left : left + width]
                    for p in range(width):
                        row[p] += weight * f32(source[p])
            for p in range(width):
                column = columns[p * n + start : p * n + start + many]
                for d in range(many):
                    column[d] = rows[d, p]
        for j in range(n):
            low, count = int(across[j, 0]), int(across[j, 1])
            place = (n - 1 - j if mirrored else j) * n
            target = x[c, place : place + n]
            weight = across[j, 2]
            column = columns[low * n : low * n + n]
            for i in range(n):
                target[i] = weight * column[i]
            for t in range(1, count):
                weight = across[j, 2 + t]
                column = columns[(low + t) * n : (low + t) * n + n]
                for i in range(n):
                    target[i] += weight * column[i]


@njit(**_fast)
def flip(x, n):
    """Columns in reverse."""
    for c in range(len(x)):
        for j in range(n // 2):
            one, two = x[c, j * n : j * n + n], x[c, (n - 1 - j) * n : (n - j) * n]
            for i in range(n):
                one[i], two[i] = two[i], one[i]


@njit(**_fast)
def quarter_turn(x, n, work):
    """One quarter turn counter-clockwise: pixel (r, c) comes from (c, n - 1 - r)."""
    for c in range(len(x)):
        copy(x[c], 0, 1, work, 0, n * n)
        for j in range(n):
            copy(work, (n - 1) * n + j, -n, x[c], j * n, n)


@njit(inline="always")
def clamped(v):
    """v within [0, 1]."""
    return min(max(v, f32(0)), f32(1))


@njit(**_fast)
def total(a):
    """The sum."""
    s = f32(0)
    for p in range(len(a)):
        s += a[p]
    return s


@njit(**_fast)
def brighten(a, factor):
    """Brightness of one channel."""
    for p in range(len(a)):
        a[p] = clamped(a[p] * factor)


@njit(**_fast)
def blend(a, factor, other):
    """Contrast of one channel: ``other`` is the mean gray, times 1 - factor."""
    for p in range(len(a)):
        a[p] = clamped(factor * a[p] + other)


@njit(**_fast)
def saturate(r, g, b, factor):
    """S of HSV times factor, at most 1; V - c is proportional to S at fixed H and V."""
    for p in range(len(r)):
        R, G, B = r[p], g[p], b[p]
        v = max(R, max(G, B))
        chroma = v - min(R, min(G, B))
        scale = min(factor, v / max(chroma, f32(1e-12)))
        r[p], g[p], b[p] = v - (v - R) * scale, v - (v - G) * scale, v - (v - B) * scale


@njit(**_fast)
def saturate_by_gray(r, g, b, factor):
    """Torchvision's saturation: blend with gray."""
    for p in range(len(r)):
        other = (f32(1) - factor) * luma(r[p], g[p], b[p])
        r[p], g[p], b[p] = (
            clamped(factor * r[p] + other),
            clamped(factor * g[p] + other),
            clamped(factor * b[p] + other),
        )


@njit(inline="always")
def luma(r, g, b):
    """Gray, in the jitter's weights."""
    return f32(0.2989) * r + f32(0.587) * g + f32(0.114) * b


@njit(inline="always")
def share(k):
    """How much of the chroma a channel lacks at k sixths of a turn."""
    k = k - f32(6) * np.floor(k * f32(1 / 6))
    return min(max(min(k, f32(4) - k), f32(0)), f32(1))


@njit(**_fast)
def turn_hue(r, g, b, turns):
    """H of HSV plus turns."""
    by = f32(6) * turns
    for p in range(len(r)):
        R, G, B = r[p], g[p], b[p]
        v = max(R, max(G, B))
        chroma = v - min(R, min(G, B))
        red, green = v == R, v == G
        across = (G - B) if red else ((B - R) if green else (R - G))
        sector = f32(0) if red else (f32(2) if green else f32(4))
        k = across / max(chroma, f32(1e-12)) + sector + by
        r[p], g[p], b[p] = (
            v - chroma * share(k + f32(5)),
            v - chroma * share(k + f32(3)),
            v - chroma * share(k + f32(1)),
        )


@njit(**_fast)
def recolour(r, g, b, a, first, last, by_gray):
    """The operations at places first to last of the order, but for contrast, which needs the whole image."""
    for place in range(first, last):
        operation = int(a[4 + place])
        factor = a[operation]
        if operation == BRIGHTNESS:
            brighten(r, factor)
            brighten(g, factor)
            brighten(b, factor)
        elif operation == HUE:
            turn_hue(r, g, b, factor)
        elif by_gray:
            saturate_by_gray(r, g, b, factor)
        else:
            saturate(r, g, b, factor)


@njit(**_fast)
def jitter(x, a, by_gray, diff):
    """Colour jitter; a: four factors, the four operations in order, whether it is applied."""
    m, at = x.shape[1], 0
    while a[4 + at] != CONTRAST:
        at += 1
    gray = f32(0)
    for start in range(0, m, TILE):
        stop = min(m, start + TILE)
        r, g, b = x[0, start:stop], x[1, start:stop], x[2, start:stop]
        diff[0] += total(r)
        diff[1] += total(g)
        diff[2] += total(b)
        recolour(r, g, b, a, 0, at, by_gray)
        gray += luma(total(r), total(g), total(b))
    factor = a[CONTRAST]
    other = (f32(1) - factor) * gray / f32(m)
    for start in range(0, m, TILE):
        stop = min(m, start + TILE)
        r, g, b = x[0, start:stop], x[1, start:stop], x[2, start:stop]
        blend(r, factor, other)
        blend(g, factor, other)
        blend(b, factor, other)
        recolour(r, g, b, a, at + 1, 4, by_gray)
        diff[0] -= total(r)
        diff[1] -= total(g)
        diff[2] -= total(b)
    for c in range(3):
        diff[c] /= f32(m)


@njit(**_fast)
def grayscale(x):
    """Three times 0.299 R + 0.587 G + 0.114 B."""
    r, g, b = x[0], x[1], x[2]
    for p in range(len(r)):
        gray = f32(0.299) * r[p] + f32(0.587) * g[p] + f32(0.114) * b[p]
        r[p], g[p], b[p] = gray, gray, gray


@njit(**_fast)
def solarize(x, threshold):
    """Values below the threshold stay, the others are inverted."""
    for c in range(len(x)):
        a = x[c]
        for p in range(len(a)):
            a[p] = a[p] if a[p] < threshold else f32(1) - a[p]


@njit(**_fast)
def reflected(p, n):
    """Place p beyond 0..n-1, reflected at the borders as often as it takes."""
    period = max(2 * (n - 1), 1)
    p = p % period
    return p if p < n else period - p


@njit(**_fast)
def blur(x, n, sigma, kernel, work):
    """Gaussian blur, borders reflected."""
    radius = kernel // 2
    w = np.zeros(radius + 5, np.float32)
    whole = f32(0)
    for t in range(radius + 1):
        w[t] = math.exp(-0.5 * (t / sigma) ** 2)
        whole += w[t] if t == 0 else f32(2) * w[t]
    while radius > 0 and w[radius] < f32(NOTHING) * whole:
        radius -= 1
    if radius == 0:
        return
    for t in range(len(w)):
        w[t] = w[t] / whole if t <= radius else f32(0)
    radius += radius % 2  # two pairs of taps at a time
    padded = n + 2 * radius
    block = max(1, TILE // n) * n
    for c in range(len(x)):
        plane = x[c]
        for across in range(2):  # first along the columns, then across them, each time from a copy with borders
            if across:
                for j in range(padded):
                    copy(plane, reflected(j - radius, n) * n, 1, work, j * n, n)
            else:
                for j in range(n):
                    copy(plane, j * n, 1, work, j * padded + radius, n)
                    for i in range(radius):
                        work[j * padded + i] = plane[j * n + reflected(i - radius, n)]
                        work[j * padded + radius + n + i] = plane[j * n + reflected(n + i, n)]
            step, gap, length = (n, block, block) if across else (1, padded, n)
            for line in range((n * n + length - 1) // length):
                start, stop = line * length, min(n * n, (line + 1) * length)
                weigh(work, radius * step + line * gap, step, w, radius, plane, start, stop)


@njit(**_fast)
def copy(a, p, step, out, o, n):
    """n numbers of a, from p on, to out, from o on."""
    if p < 0 or o < 0:  # never: it tells LLVM that no index is negative
        return
    for i in range(n):
        out[o + i] = a[p + i * step]


@njit(**_fast)
def weigh(a, at, step, w, radius, out, start, stop):
    """out[start + i] = sum over t of w[|t|] a[at + t step + i], |t| <= radius, which is even."""
    for t in range(1, radius, 2):
        near, far = t * step, (t + 1) * step
        centre = w[0] if t == 1 else f32(0)
        two_pairs(a, at, at - near, at + near, at - far, at + far, centre, w[t], w[t + 1], out, start, stop - start)


@njit(**_fast)
def two_pairs(a, m, p1, q1, p2, q2, w0, w1, w2, out, o, n):
    """Four taps of a blur and its centre, added to out; those with the centre (w0 > 0) are the first."""
    if m < 0 or p1 < 0 or q1 < 0 or p2 < 0 or q2 < 0 or o < 0:  # never: it tells LLVM that no index is negative
        return
    if w0 > f32(0):
        for i in range(n):
            out[o + i] = w0 * a[m + i] + w1 * (a[p1 + i] + a[q1 + i]) + w2 * (a[p2 + i] + a[q2 + i])
    else:
        for i in range(n):
            out[o + i] += w1 * (a[p1 + i] + a[q1 + i]) + w2 * (a[p2 + i] + a[q2 + i])


@njit(**_fast)
def write(x, n, scale, shift, out):
    """out (n, n, C) = scale x + shift, turned back to rows, some rows at a time."""
    if len(x) == 3:
        r, g, b = x[0], x[1], x[2]
        f0, f1, f2 = scale[0], scale[1], scale[2]
        d0, d1, d2 = shift[0], shift[1], shift[2]
        for start in range(0, n, ROWS):
            many = min(ROWS, n - start)
            for j in range(n):
                at = j * n + start
                red, green, blue = r[at : at + many], g[at : at + many], b[at : at + many]
                pixels = out[start : start + many, j]
                for i in range(many):
                    pixels[i, 0] = f0 * red[i] + d0
                    pixels[i, 1] = f1 * green[i] + d1
                    pixels[i, 2] = f2 * blue[i] + d2
        return
    for c in range(len(x)):
        for j in range(n):
            for i in range(n):
                out[i, j, c] = scale[c] * x[c, j * n + i] + shift[c]
