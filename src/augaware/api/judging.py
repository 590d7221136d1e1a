"""Tasks, suites and analyses as functions, and the page about them.

ENCODER is a run, a run folder, ``timm/NAME``, ``random/NAME``, a ``.safetensors`` file, or a network:
:func:`augaware.frozen.load_encoder` makes one thing of all of them, and says what ``architecture``, ``size``,
``device`` and ``precision`` are.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from augaware.errors import RequestError
from augaware.report.values import Results

if TYPE_CHECKING:
    from augaware.frozen import AnyEncoder
    from augaware.suite import Done

Named = str | os.PathLike[str]
Result = dict[str, Any]


def evaluate(
    encoder: AnyEncoder,
    task: str | Sequence[str] = (),
    *,
    suite: str | None = None,
    data: Named = ".",
    out: Named | None = None,
    against: Sequence[Named] = (),
    architecture: str | None = None,
    size: int | None = None,
    device: str = "auto",
    precision: str = "fp32",
) -> Results:
    """Put tasks to a frozen ENCODER.

    ``task`` one or several, or ``suite``, such as ``"transfer"``: all its tasks on what is there, see
    :func:`evaluate_suite`. ``data`` is ROOT, the folder of data sets. Results are returned and written to ``eval/`` of
    ``out``, which for a run folder is that folder; features are kept beside it.
    """
    from augaware.api.showing import evaluated
    from augaware.evaluate import evaluate as run_tasks
    from augaware.frozen import load_encoder

    specs = (task,) if isinstance(task, str) else tuple(task)
    if bool(specs) == (suite is not None):
        raise RequestError("eval: give either --task SPEC, once or several times, or --suite NAME, such as transfer")
    if against and suite is None:
        raise RequestError("--against adds rows to the table of a suite: give --suite, or leave it out")
    frozen = load_encoder(encoder, architecture, size, device, precision)
    if suite is not None:
        return Results(evaluate_suite(frozen, suite, data=data, out=out, against=against).results, evaluated)
    folder = Path(out) if out is not None else frozen.run.path if frozen.run else None
    return Results(run_tasks(frozen, specs, Path(data), folder / "eval" if folder else None), evaluated)


def evaluate_suite(
    encoder: AnyEncoder,
    suite: str,
    *,
    data: Named,
    out: Named | None = None,
    against: Sequence[Named] = (),
    architecture: str | None = None,
    size: int | None = None,
    device: str = "auto",
    precision: str = "fp32",
    told: Callable[[str, Result | RequestError], None] | None = None,
) -> Done:
    """All tasks of a suite on the data sets below ``data``; stopped, it goes on where it was. Its table, with ranks.

    ``against``: ``out`` of other encoders, a row each. ``told`` hears of each result, or of why there is none.
    """
    from augaware.frozen import load_encoder
    from augaware.suite import run_suite

    frozen = load_encoder(encoder, architecture, size, device, precision)
    folder = Path(out) if out is not None else frozen.run.path if frozen.run else None
    if folder is None:
        raise RequestError(f"--suite keeps its results as it goes: give --out DIR for encoder {frozen.name!r}")
    return run_suite(frozen, suite, Path(data), folder / "eval", [Path(other) for other in against], told)


def analyse(
    encoder: AnyEncoder,
    analysis: str | Sequence[str] = "all",
    *,
    data: Named,
    out: Named | None = None,
    against: AnyEncoder | Sequence[AnyEncoder] = (),
    images: int = 1000,
    seed: int = 0,
    augment: str | Sequence[str] | None = None,
    architecture: str | None = None,
    size: int | None = None,
    device: str = "auto",
    precision: str = "fp32",
    told: Callable[[str], None] | None = None,
) -> Results:
    """Ask what an ENCODER keeps and loses, beside raw pixels, its untrained self and the encoders ``against``.

    ``analysis`` one or several specs of ``augaware list analyses``, or "all". ``data`` is SRC:
    ``images`` of it are looked at, chosen by ``seed``, no labels needed. ``augment``: the augmentations that are asked
    about, beside the library's others; None takes those of the run. Results are returned, and written to
    ``out/analysis`` with a page ``out/analysis.html``; a run folder is its own ``out``. ``told`` hears, in a line, what
    is left out and why, and what begins.
    """
    from augaware.analyse import analyse as run_analyses
    from augaware.analyse import compared_with, looked_at, subject
    from augaware.api.showing import analysed
    from augaware.frozen import load_encoder
    from augaware.report.answer import write_page

    frozen = load_encoder(encoder, architecture, size, device, precision)
    others = tuple(against) if isinstance(against, Sequence) and not isinstance(against, str) else (against,)
    augment = (augment,) if isinstance(augment, str) else augment
    shown = looked_at(os.fspath(data), images, seed, frozen.size, frozen.reading)
    asked = subject(frozen, shown, seed, augment, compared_with(frozen, others))
    folder = Path(out) if out is not None else frozen.run.path if frozen.run else None
    specs = (analysis,) if isinstance(analysis, str) else tuple(analysis)
    results = run_analyses(frozen, asked, specs, folder / "analysis" if folder else None, told)
    if folder is None:
        return Results(results, analysed)
    write_page(folder)
    return Results(results, partial(analysed, folder=folder / "analysis"))


def report(runs: Named | Sequence[Named], *, out: Named, tables: Named | None = None) -> Path:
    """Write one self-contained HTML page about run folders, or folders of results.

    ``tables``: a folder that takes every table of it, as CSV, LaTeX and Markdown.
    """
    from augaware.report.runs import report as write

    given = (runs,) if isinstance(runs, (str, os.PathLike)) else runs
    write([Path(run) for run in given], Path(out), None if tables is None else Path(tables))
    return Path(out)
