"""Numbers as people read them."""

from __future__ import annotations

import math
from collections.abc import Iterable

from augaware.report.parts import Cell, Value

MISSING = "–"
HUGE = 1e9  # numbers from here on are written with powers of ten


def mean(cell: Cell) -> float:
    """The number of a cell, NaN for text and None."""
    if cell is None or isinstance(cell, str):
        return math.nan
    try:
        return float(cell.mean if isinstance(cell, Value) else cell)
    except OverflowError:  # an integer of hundreds of digits
        return math.nan


def decimals(cells: Iterable[Cell]) -> int:
    """Digits after the point that suit a column: none for integers, fewer for larger numbers."""
    present = [cell for cell in cells if math.isfinite(mean(cell))]
    if all(isinstance(cell, int) for cell in present):
        return 0
    largest = max(abs(mean(cell)) for cell in present)
    return 1 if largest >= 10 else 2 if largest >= 1 else 3


def plain(value: float, digits: int) -> str:
    """One number: ``–`` for NaN, a true minus sign, powers of ten only where digits would run away."""
    if math.isnan(value):
        return MISSING
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    return f"{value:.2g}".replace("-", "−") if _runs_away(value, digits) else _fixed(value, digits)


def _fixed(value: float, digits: int) -> str:
    if not math.isfinite(value) or abs(value) >= HUGE:
        return plain(value, digits)
    text = f"{value:.{digits}f}"
    return text.replace("-", "−" if any(sign in text for sign in "123456789") else "")


def _runs_away(value: float, digits: int) -> bool:
    return abs(value) >= HUGE or (digits > 0 and 0 < abs(value) < 0.5 * 10**-digits)


def clear(cell: Cell) -> int:
    """1 for a value whose interval is all above zero, -1 for all below, 0 for anything else."""
    if not isinstance(cell, Value) or cell.interval is None or not all(map(math.isfinite, cell.interval)):
        return 0
    low, high = cell.interval
    return 1 if low > 0 else -1 if high < 0 else 0


def shown(cell: Cell, digits: int, signed: bool = False) -> str:
    """A cell as text, with its uncertainty; ``signed`` with a plus before what is above zero."""
    if signed and not isinstance(cell, bool | str) and mean(cell) > 0:
        return f"+{text}" if (text := shown(cell, digits))[:1].isdigit() else text
    if cell is None:
        return MISSING
    if isinstance(cell, str):
        return cell
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    text = plain(mean(cell), 0 if isinstance(cell, int) else digits)
    if isinstance(cell, Value) and cell.interval and max(map(abs, cell.interval)) >= 0.5 * 10**-digits:
        text = _fixed(mean(cell), digits)  # beside its uncertainty a small mean needs no powers of ten
    if not isinstance(cell, Value) or text == MISSING or cell.interval is None:
        return text
    if cell.sd is None:
        low, high = (plain(end, digits) for end in cell.interval)
        return f"{text} [{low}, {high}]"
    if math.isnan(cell.sd):
        return text
    return f"{text} ± {cell.sd:.2g}" if _runs_away(mean(cell), digits) else f"{text} ± {cell.sd:.{digits}f}"


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers, about ``count`` of them, that cover low to high; the first and last enclose it."""
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [i * step for i in range(first, last + 1)]
