"""Tasks, suites and analyses as functions, and the page about them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from augaware.errors import RequestError

if TYPE_CHECKING:
    from torch import nn

    from augaware.suite import Done

Result = dict[str, Any]


def evaluate(
    encoder: str,
    task: str | Sequence[str] = (),
    *,
    suite: str | None = None,
    data: str | Path = ".",
    out: str | Path | None = None,
    against: Sequence[str | Path] = (),
    architecture: str | None = None,
    size: int | None = None,
    device: str = "auto",
    precision: str = "fp32",
) -> list[Result]:
    """Put tasks to a frozen encoder: a run folder, ``timm/NAME``, ``random/NAME`` or a ``.safetensors`` file.

    ``task`` one or several, or ``suite``, such as ``"transfer"``: all its tasks on what is there, see
    :func:`evaluate_suite`. ``data`` is ROOT, the folder of data sets. Results are returned and written to ``eval/`` of
    ``out``, which for a run folder is that folder; features are kept beside it.
    """
    from augaware.evaluate import evaluate as run_tasks
    from augaware.frozen import load_encoder

    specs = (task,) if isinstance(task, str) else tuple(task)
    if bool(specs) == (suite is not None):
        raise RequestError("eval: give either --task SPEC, once or several times, or --suite NAME, such as transfer")
    if suite is not None:
        return evaluate_suite(
            encoder,
            suite,
            data=data,
            out=out,
            against=against,
            architecture=architecture,
            size=size,
            device=device,
            precision=precision,
        ).results
    if against:
        raise RequestError("--against adds rows to the table of a suite: give --suite, or leave it out")
    frozen = load_encoder(encoder, architecture, size, device, precision)
    folder = Path(out) if out is not None else Path(encoder) if frozen.recipe else None
    return run_tasks(frozen, specs, data, folder / "eval" if folder else None)


def evaluate_suite(
    encoder: str,
    suite: str,
    *,
    data: str | Path,
    out: str | Path | None = None,
    against: Sequence[str | Path] = (),
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
    if out is None and not frozen.recipe:
        raise RequestError(f"--suite keeps its results as it goes: give --out DIR for encoder {encoder!r}")
    folder = Path(encoder if out is None else out) / "eval"
    return run_suite(frozen, suite, data, folder, [Path(other) for other in against], told)


def analyse(
    encoder: str | nn.Module,
    analysis: str | Sequence[str] = "all",
    *,
    data: str,
    out: str | Path | None = None,
    against: str | Sequence[str] = (),
    images: int = 1000,
    seed: int = 0,
    augment: str | Sequence[str] | None = None,
    architecture: str | None = None,
    size: int | None = None,
    device: str = "auto",
    precision: str = "fp32",
    told: Callable[[str], None] | None = None,
) -> list[Result]:
    """Ask what an encoder keeps and loses, beside raw pixels, its untrained self and the encoders ``against``.

    ``encoder`` as in :func:`evaluate`, or a network of yours (wrap it with :func:`augaware.frozen.freeze` to say its
    size and normalisation). ``analysis`` one or several specs of ``augaware list analyses``, or "all". ``data`` is SRC:
    ``images`` of it are looked at, chosen by ``seed``, no labels needed. ``augment``: the augmentations that are asked
    about, beside the library's others; None takes those of the run. Results are returned, and written to
    ``out/analysis`` with a page ``out/analysis.html``; a run folder is its own ``out``. ``told`` hears, in a line, what
    is left out and why, and what begins.
    """
    from augaware.analyse import analyse as run_analyses
    from augaware.analyse import compared_with, looked_at, subject, whom
    from augaware.report.answer import write_page

    frozen, run = whom(encoder, architecture, size, device, precision)
    others = (against,) if isinstance(against, str) else against
    augment = (augment,) if isinstance(augment, str) else augment
    shown = looked_at(data, images, seed, frozen.size, frozen.reading)
    asked = subject(frozen, shown, seed, augment, run, compared_with(frozen, others))
    folder = Path(out) if out is not None else run.path if run is not None else None
    specs = (analysis,) if isinstance(analysis, str) else tuple(analysis)
    results = run_analyses(frozen, asked, specs, folder / "analysis" if folder else None, told)
    if folder is not None:
        write_page(folder)
    return results


def report(runs: str | Path | Sequence[str | Path], *, out: str | Path, tables: str | Path | None = None) -> Path:
    """Write one self-contained HTML page about run folders, or folders of results.

    ``tables``: a folder that takes every table of it, as CSV and LaTeX.
    """
    from augaware.report.runs import report as write

    given = (runs,) if isinstance(runs, (str, Path)) else runs
    write([Path(run) for run in given], Path(out), None if tables is None else Path(tables))
    return Path(out)
