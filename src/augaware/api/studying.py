"""A grid of recipes and seeds as a function."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path


def study(
    file: str | Path,
    *,
    data: str | Path = ".",
    out: str | Path,
    earlier: str | Path | None = None,
    told: Callable[[str], None] = lambda line: None,
) -> Path:
    """Make every cell of the study in ``file`` (:class:`augaware.grid.Study`) below ``out``, those that are not there.

    ``data`` is ROOT, the folder of data sets. Returns ``out/study.json``, which :func:`report` reads. Start it again to
    go on, and several times at once to have several at work. ``earlier``: a study.json, of which cells with the
    same recipe are taken over, numbers without weights. ``told`` hears which cell begins. Raises
    :class:`RequestError` before anything is trained.
    """
    from augaware.study import run_study

    return run_study(file, data, out, earlier, told)
