"""Other libraries talk while they work; what there is to say we say ourselves."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet(library: str, level: int = logging.ERROR) -> Iterator[None]:
    """Without what the logger ``library`` says below ``level`` meanwhile."""
    logger = logging.getLogger(library)
    before = logger.level
    logger.setLevel(level)
    try:
        yield
    finally:
        logger.setLevel(before)
