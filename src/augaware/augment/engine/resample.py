"""Crop and resize, antialiased. Compiled by numba."""

from __future__ import annotations

import math

from augaware.augment.engine.compiled import compiled, f32
from augaware.augment.engine.turn import turn

ROWS = 16  # rows that are turned into columns at once


@compiled
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
        if count == 1:
            table[i, 3] = 0  # the first two are taken at once
        for k in range(count):
            table[i, 2 + k] /= f32(total)


@compiled
def resample(image, box, unit, n, mirrored, x, columns, rows, down, across):
    """Crop and resize image (C, H, W): rows by ``down``, turned into columns, those by ``across``; mirrored or not."""
    top, left, height, width = box[0], box[1], box[2], box[3]
    taps(height, n, down)
    taps(width, n, across)
    for c in range(len(x)):
        for start in range(0, n, ROWS):
            many = min(ROWS, n - start)
            for d in range(many):
                low, count = top + int(down[start + d, 0]), int(down[start + d, 1])
                row = rows[d * width : (d + 1) * width]
                u, v = down[start + d, 2] * unit, down[start + d, 3] * unit
                one = image[c, low, left : left + width]
                two = image[c, low + min(count - 1, 1), left : left + width]
                for p in range(width):
                    row[p] = u * f32(one[p]) + v * f32(two[p])
                for t in range(2, count):
                    u = down[start + d, 2 + t] * unit
                    one = image[c, low + t, left : left + width]
                    for p in range(width):
                        row[p] += u * f32(one[p])
            turn(rows, 0, width, many, width, columns, start, n)
        for j in range(n):
            low, count = int(across[j, 0]), int(across[j, 1])
            place = (n - 1 - j if mirrored else j) * n
            target = x[c, place : place + n]
            u, v, next_one = across[j, 2], across[j, 3], low + min(count - 1, 1)
            one, two = columns[low * n : low * n + n], columns[next_one * n : next_one * n + n]
            for i in range(n):
                target[i] = u * one[i] + v * two[i]
            for t in range(2, count):
                u, one = across[j, 2 + t], columns[(low + t) * n : (low + t) * n + n]
                for i in range(n):
                    target[i] += u * one[i]
