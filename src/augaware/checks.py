"""Checks of arguments that every room needs. ``owner`` names the plug-in in the message, as ``"host 'simclr'"``."""

from __future__ import annotations

import math
from typing import Any

from augaware.errors import RequestError


def check_numbers(owner: str, above: float, at_most: float = math.inf, /, **values: Any) -> None:
    """Raise :class:`RequestError` unless above < value <= at_most for each of ``values``, argument -> value."""
    for key, value in values.items():
        if not _is_number(value) or not above < value <= at_most:
            bound = f"a number above {above:g}" + (f", at most {at_most:g}" if at_most < math.inf else "")
            raise RequestError(f"{owner}: {key}={value!r} must be {bound}")


def check_at_least_zero(owner: str, /, **values: Any) -> None:
    """Raise :class:`RequestError` unless each of ``values``, argument -> value, is a number, at least 0."""
    for key, value in values.items():
        if not _is_number(value) or value < 0:
            raise RequestError(f"{owner}: {key}={value!r} must be a number, at least 0")


def check_widths(owner: str, /, **values: Any) -> None:
    """Raise :class:`RequestError` unless each of ``values``, argument -> value, is a whole number above 0."""
    for key, value in values.items():
        if type(value) is not int or value < 1:
            raise RequestError(f"{owner}: {key}={value!r} must be a whole number, at least 1")


def check_flags(owner: str, /, **values: Any) -> None:
    """Raise :class:`RequestError` unless each of ``values``, argument -> value, is True or False."""
    for key, value in values.items():
        if not isinstance(value, bool):
            raise RequestError(f"{owner}: {key}={value!r} must be True or False")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
