"""What works on the colour of each pixel: jitter, grayscale, solarize, exposure. Compiled by numba."""

from __future__ import annotations

import numpy as np

from augaware.augment.engine.compiled import TILE, compiled, f32, inlined

BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)


@inlined
def clamped(v):
    """v within [0, 1]."""
    return min(max(v, f32(0)), f32(1))


@compiled
def totals(r, g, b):
    """The sum of each channel."""
    R, G, B = f32(0), f32(0), f32(0)
    for p in range(len(r)):
        R += r[p]
    for p in range(len(g)):
        G += g[p]
    for p in range(len(b)):
        B += b[p]
    return R, G, B


@compiled
def brighten(a, factor):
    """Brightness of one channel; its sum."""
    s = f32(0)
    for p in range(len(a)):
        v = clamped(a[p] * factor)
        a[p] = v
        s += v
    return s


@compiled
def blend(a, factor, other):
    """Contrast of one channel: ``other`` is the mean gray, times 1 - factor; its sum."""
    s = f32(0)
    for p in range(len(a)):
        v = clamped(factor * a[p] + other)
        a[p] = v
        s += v
    return s


@compiled
def saturate(r, g, b, factor):
    """S of HSV times factor, at most 1; V - c is proportional to S at fixed H and V."""
    for p in range(len(r)):
        R, G, B = r[p], g[p], b[p]
        v = max(R, max(G, B))
        chroma = v - min(R, min(G, B))
        scale = min(factor, v / max(chroma, f32(1e-12)))
        r[p], g[p], b[p] = v - (v - R) * scale, v - (v - G) * scale, v - (v - B) * scale


@compiled
def saturate_by_gray(r, g, b, factor):
    """Torchvision's saturation: blend with gray."""
    for p in range(len(r)):
        other = (f32(1) - factor) * luma(r[p], g[p], b[p])
        r[p], g[p], b[p] = (
            clamped(factor * r[p] + other),
            clamped(factor * g[p] + other),
            clamped(factor * b[p] + other),
        )


@inlined
def luma(r, g, b):
    """Gray, in the jitter's weights."""
    return f32(0.2989) * r + f32(0.587) * g + f32(0.114) * b


@inlined
def share(k):
    """How much of the chroma a channel lacks at k sixths of a turn."""
    k = k - f32(6) * np.floor(k * f32(1 / 6))
    return min(max(min(k, f32(4) - k), f32(0)), f32(1))


@compiled
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


@compiled
def recolour(r, g, b, a, first, last, by_gray, sums, summed):
    """The operations at places first to last of the order, but for contrast, which needs the whole image.

    The sum of each channel, which is ``sums`` before: in passing where that costs nothing, else where they are to be
    ``summed``.
    """
    operation = BRIGHTNESS
    for place in range(first, last):
        operation = int(a[4 + place])
        factor = a[operation]
        if operation == BRIGHTNESS:
            sums = brighten(r, factor), brighten(g, factor), brighten(b, factor)
        elif operation == HUE:
            turn_hue(r, g, b, factor)
        elif by_gray:
            saturate_by_gray(r, g, b, factor)
        else:
            saturate(r, g, b, factor)
    return sums if operation == BRIGHTNESS or not summed else totals(r, g, b)


@compiled
def jitter(x, a, by_gray, diff):
    """Colour jitter; a: four factors, the four operations in order, whether it is applied.

    ``diff`` (3,) receives the means of the channels before minus after; (0,) where nobody wants them.
    """
    m, at, measured, sums = x.shape[1], 0, len(diff) == 3, (f32(0), f32(0), f32(0))
    while a[4 + at] != CONTRAST:
        at += 1
    gray = f32(0)
    for start in range(0, m, TILE):
        stop = min(m, start + TILE)
        r, g, b = x[0, start:stop], x[1, start:stop], x[2, start:stop]
        if measured or at == 0:
            sums = totals(r, g, b)
        if measured:
            diff[0] += sums[0]
            diff[1] += sums[1]
            diff[2] += sums[2]
        sums = recolour(r, g, b, a, 0, at, by_gray, sums, True)
        gray += luma(sums[0], sums[1], sums[2])
    factor = a[CONTRAST]
    other = (f32(1) - factor) * gray / f32(m)
    for start in range(0, m, TILE):
        stop = min(m, start + TILE)
        r, g, b = x[0, start:stop], x[1, start:stop], x[2, start:stop]
        sums = blend(r, factor, other), blend(g, factor, other), blend(b, factor, other)
        sums = recolour(r, g, b, a, at + 1, 4, by_gray, sums, measured)
        if measured:
            diff[0] -= sums[0]
            diff[1] -= sums[1]
            diff[2] -= sums[2]
    for c in range(len(diff)):
        diff[c] /= f32(m)


@compiled
def grayscale(x):
    """Three times 0.299 R + 0.587 G + 0.114 B."""
    r, g, b = x[0], x[1], x[2]
    for p in range(len(r)):
        gray = f32(0.299) * r[p] + f32(0.587) * g[p] + f32(0.114) * b[p]
        r[p], g[p], b[p] = gray, gray, gray


@compiled
def solarize(x, threshold):
    """Values below the threshold stay, the others are inverted."""
    for c in range(len(x)):
        a = x[c]
        for p in range(len(a)):
            a[p] = a[p] if a[p] < threshold else f32(1) - a[p]


@compiled
def expose(x, a):
    """Times a gain plus an offset, within [0, 1]; a: how many gains there are (1 or one per channel), they, offsets."""
    each = int(a[0])
    for c in range(len(x)):
        place = 1 + (c if each > 1 else 0)
        plane, gain, offset = x[c], a[place], a[place + each]
        for p in range(len(plane)):
            plane[p] = clamped(plane[p] * gain + offset)
