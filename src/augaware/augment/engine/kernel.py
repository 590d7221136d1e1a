"""The fused kernel: one image at a time through all of its augmentations while it is in cache. Compiled by numba.

A view under way is ``x`` (C, n * n) float32 in [0, 1], each plane **column by column**: what is contiguous in x is a
column of the image. The resampling makes it so, whose passes both run along contiguous memory. A blur runs across the
columns, turns the image and runs across again; so it leaves the rows contiguous. What works on pixels alone does not
notice, flip and rotate90 turn such an image back, and ``write`` turns one that still lies by columns.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from augaware.augment.engine.blur import blur, gaussian
from augaware.augment.engine.colour import expose, grayscale, jitter, solarize
from augaware.augment.engine.compiled import f32, options
from augaware.augment.engine.resample import ROWS, resample
from augaware.augment.engine.turn import flip, turn_planes
from augaware.augment.engine.write import HIGH, WIDE, write

FLIP, JITTER, BLEND_JITTER, GRAYSCALE, BLUR, SOLARIZE, ROTATE90, EXPOSE = range(8)
OPERATIONS = {
    "flip": FLIP,
    "jitter": JITTER,
    "blend_jitter": BLEND_JITTER,
    "grayscale": GRAYSCALE,
    "blur": BLUR,
    "solarize": SOLARIZE,
    "rotate90": ROTATE90,
    "expose": EXPOSE,
}


@intrinsic
def next_of(_, taken):
    """taken[0]++, as one step for all threads: what it was."""

    def generate(context, builder, signature, arguments):
        counter = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        return builder.atomic_rmw("add", counter, ir.Constant(ir.IntType(64), 1), "monotonic")

    return types.int64(taken), generate


def kernel(sources: str) -> Any:
    """The kernel, compiled at its first call and kept on disk.

    numba compiles anew when this file changes, or what is in the closure: hence ``sources``, for the files beside it.
    """

    @njit(cache=True, **options)
    def fused(
        data,
        offsets,
        sizes,
        boxes,
        numbers,
        out,
        diff,
        unit,
        n,
        codes,
        places,
        kernels,
        scale,
        shift,
        kind,
        planar,
        taken,
    ):
        """Views of B images, written to ``out`` (B, bytes) as ``scale * x + shift``, per channel.

        Image b is (C, H, W) = (C, *sizes[b]) in ``data`` (M,), from ``offsets[b]`` on. ``boxes`` (B, 4) int32: top,
        left, height, width of the crop. ``unit`` takes a pixel to [0, 1]. Operation k is ``codes[k]``; its arguments
        begin in column ``places[k]`` of ``numbers`` (B, P), and a blur has ``kernels[k]`` taps. ``diff`` (B, 3)
        receives what the jitter did to the mean of each channel: before minus after; (B, 0) where nobody wants it.
        ``kind`` of numbers; (C, n, n) if ``planar``, else (n, n, C). Threads share the work by calling this at once
        with one ``taken`` (1,), the count of images begun.
        """
        if len(sources) == 0:
            return
        channels = len(scale)
        height = width = widest = 1
        for b in range(len(boxes)):
            height, width = max(height, boxes[b, 2]), max(width, boxes[b, 3])
        for k in range(len(codes)):
            widest = max(widest, kernels[k])
        x = np.empty((channels, n * n), np.float32)
        y = np.empty((channels, n * n), np.float32)  # turned or blurred, x goes here, and they change places
        columns = np.empty(width * n, np.float32)
        rows = np.empty(ROWS * width, np.float32)
        most = 2 * (max(height, width) // n + 2) + 1
        down = np.empty((n, most + 2), np.float32)
        across = np.empty((n, most + 2), np.float32)
        weights = np.empty(widest // 2 + 3, np.float32)
        tiles = np.empty(channels * HIGH * WIDE, np.float32)
        strip = np.empty(channels * HIGH * n, np.float32)
        while True:
            b = next_of(taken)
            if b < 0 or b >= len(boxes):
                break
            image = data[offsets[b] : offsets[b] + channels * sizes[b, 0] * sizes[b, 1]]
            first = 1 if len(codes) > 0 and codes[0] == FLIP else 0
            mirrored = first == 1 and numbers[b, places[0]] > f32(0.5)
            image = image.reshape(channels, sizes[b, 0], sizes[b, 1])
            resample(image, boxes[b], unit, n, mirrored, x, columns, rows, down, across)
            by_rows = False
            for k in range(first, len(codes)):
                code, a = codes[k], numbers[b, places[k] :]
                if by_rows and code in (FLIP, ROTATE90):
                    turn_planes(x, n, y)
                    x, y, by_rows = y, x, False
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
                    radius = gaussian(a[0], kernels[k], weights)
                    if radius > 0:
                        blur(x, n, weights, radius, y)
                        x, y, by_rows = y, x, not by_rows
                elif code == SOLARIZE:
                    if a[0] < f32(1):
                        solarize(x, a[0])
                elif code == EXPOSE:
                    if a[0] > f32(0.5):
                        expose(x, a)
                else:  # quarter turns counter-clockwise: pixel (r, c) comes from (c, n - 1 - r)
                    for _ in range(int(a[0])):
                        flip(x, n)
                        turn_planes(x, n, y)
                        x, y = y, x
            write(x, n, by_rows, scale, shift, out[b], kind, planar, tiles, strip)

    return fused


SOURCES = sorted(Path(__file__).parent.glob("*.py"))
fused = kernel(hashlib.sha256(b"".join(path.read_bytes() for path in SOURCES)).hexdigest())
