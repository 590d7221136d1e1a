"""Rows become columns, in registers; and what else moves pixels without changing them. Compiled by numba."""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from augaware.augment.engine.compiled import compiled


@intrinsic
def turn_eight(_, a, p, step, out, o, pitch):
    """out[o + i * pitch + k] = a[p + k * step + i] for i, k < 8, in registers: 24 shuffles instead of 64 loads."""

    def generate(context, builder, signature, arguments):
        eight, picks = ir.VectorType(ir.FloatType(), 8), ir.VectorType(ir.IntType(32), 8)
        source, target = (context.make_array(signature.args[k])(context, builder, arguments[k]).data for k in (0, 3))

        def place(base, start, k, stride):
            index = builder.add(start, builder.mul(ir.Constant(ir.IntType(64), k), stride))
            return builder.bitcast(builder.gep(base, [index]), eight.as_pointer())

        def mixed(one, two, order):
            return builder.shuffle_vector(one, two, ir.Constant(picks, order))

        rows = [builder.load(place(source, arguments[1], k, arguments[2]), align=4) for k in range(8)]
        by_one = [
            mixed(rows[k], rows[k + 1], order)
            for k in (0, 2, 4, 6)
            for order in ([0, 8, 1, 9, 4, 12, 5, 13], [2, 10, 3, 11, 6, 14, 7, 15])
        ]
        by_two = [
            mixed(by_one[k], by_one[k + 2], order)
            for k in (0, 1, 4, 5)
            for order in ([0, 1, 8, 9, 4, 5, 12, 13], [2, 3, 10, 11, 6, 7, 14, 15])
        ]
        for half, order in enumerate(([0, 1, 2, 3, 8, 9, 10, 11], [4, 5, 6, 7, 12, 13, 14, 15])):
            for k in range(4):
                column = mixed(by_two[k], by_two[k + 4], order)
                builder.store(column, place(target, arguments[4], 4 * half + k, arguments[5]), align=4)
        return context.get_dummy_value()

    return types.void(a, types.int64, types.int64, out, types.int64, types.int64), generate


@compiled
def turn(a, p, step, rows, columns, out, o, pitch):
    """out[o + i * pitch + k] = a[p + k * step + i] for k < rows, i < columns."""
    if p < 0 or step < 0 or o < 0 or pitch < 0:  # never: it tells LLVM that no index is negative
        return
    whole = columns - columns % 8
    for k in range(0, rows, 8):
        if k + 8 <= rows:
            for i in range(0, whole, 8):
                turn_eight(a, p + k * step + i, step, out, o + i * pitch + k, pitch)
        for d in range(k, min(k + 8, rows)):
            for i in range(whole if k + 8 <= rows else 0, columns):
                out[o + i * pitch + d] = a[p + d * step + i]


@compiled
def turn_planes(x, n, out):
    """Rows become columns in each plane."""
    for c in range(len(x)):
        turn(x[c], 0, n, n, n, out[c], 0, n)


@compiled
def flip(x, n):
    """Columns in reverse."""
    for c in range(len(x)):
        for j in range(n // 2):
            one, two = x[c, j * n : j * n + n], x[c, (n - 1 - j) * n : (n - j) * n]
            for i in range(n):
                one[i], two[i] = two[i], one[i]
