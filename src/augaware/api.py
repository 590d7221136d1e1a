"""The commands as functions of the same names: what the command line calls, and what a script or a notebook calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from augaware.errors import RequestError

if TYPE_CHECKING:
    from torch import nn

    from augaware.suite import Done

Result = dict[str, Any]


def pretrain(
    data: str | None = None,
    *,
    out: str | Path,
    recipe: str | None = None,
    host: str | None = None,
    aware: str | Sequence[str] | None = None,
    encoder: str | None = None,
    init_from: str | Path | None = None,
    size: int | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    seed: int | None = None,
    device: str | None = None,
    precision: str | None = None,
    set: Mapping[str, Any] | None = None,  # the command line's --set
) -> Path:
    """Pretrain an encoder on the images of ``data`` and return the new run folder ``out``.

    Starts from ``recipe`` (a name of ``augaware list recipes``) or from the defaults of
    :class:`augaware.recipe.Recipe`; what is given here changes it, then what ``set`` names. ``init_from``, a run folder
    or a ``.safetensors`` file, gives f its first weights. Raises :class:`RequestError` for a wrong request, before
    anything is written, and :class:`augaware.errors.RunError` where a run cannot go on.
    """
    from augaware import lookup
    from augaware.pretrain import start
    from augaware.recipe import Recipe

    fields = {
        "data": data,
        "host": host,
        "aware": (aware,) if isinstance(aware, str) else aware,
        "encoder": encoder,
        "init": None if init_from is None else str(init_from),
        "size": size,
        "epochs": epochs,
        "batch_size": batch_size,
        "seed": seed,
        "device": device,
        "precision": precision,
    }
    given = {key: value for key, value in fields.items() if value is not None} | dict(set or {})
    if recipe is not None:
        return start(lookup.build("recipes", recipe).changed(given), out).path
    if "data" not in given:
        raise RequestError(
            "--data is missing; name a folder of images, a tar, torchvision:NAME or shapes, or a --recipe"
        )
    return start(Recipe.from_fields(given), out).path


def resume(run: str | Path) -> Path:
    """Continue the stopped run in the folder ``run``; the result is that of a run that was never stopped."""
    from augaware.pretrain import resume as resume_run

    return resume_run(run).path


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
    shown = looked_at(data, images, seed, frozen.size)
    asked = subject(frozen, shown, seed, augment, run, compared_with(frozen, others))
    folder = Path(out) if out is not None else run.path if run is not None else None
    specs = (analysis,) if isinstance(analysis, str) else tuple(analysis)
    results = run_analyses(frozen, asked, specs, folder / "analysis" if folder else None, told)
    if folder is not None:
        write_page(folder)
    return results


def export(encoder: str, *, to: str, out: str | Path, architecture: str | None = None) -> Path:
    """Write an encoder's weights for another library: ``to="detectron2"``, the new file ``out``, ending in .pth.

    ``encoder`` and ``architecture`` as in :func:`evaluate`. Raises :class:`RequestError`.
    """
    from augaware.detectron2 import write_detectron2
    from augaware.frozen import load_encoder

    if to != "detectron2":
        raise RequestError(f"--to {to!r} is unknown; accepted: detectron2")
    write_detectron2(load_encoder(encoder, architecture, device="cpu").f, out)
    return Path(out)


def doctor(data: str | Path | None = None, *, download: str | None = None) -> Result:
    """What is there: ``{"datasets": [...]}`` in the folder ``data``, ROOT, or what this machine has.

    See :func:`augaware.doctor.survey` and :func:`augaware.doctor.machine`. ``download`` fetches that data set into ROOT
    first. Raises :class:`RequestError`.
    """
    from augaware.doctor import download as fetch
    from augaware.doctor import machine, survey

    if download is not None and data is None:
        raise RequestError(f"--download {download!r}: --data ROOT is missing, the folder of data sets to fetch it into")
    if download is not None and data is not None:
        fetch(data, download)
    return machine() if data is None else {"datasets": survey(data)}


def report(runs: str | Path | Sequence[str | Path], *, out: str | Path, tables: str | Path | None = None) -> Path:
    """Write one self-contained HTML page about run folders, or folders of results.

    ``tables``: a folder that takes every table of it, as CSV and LaTeX.
    """
    from augaware.report.runs import report as write

    given = (runs,) if isinstance(runs, (str, Path)) else runs
    write([Path(run) for run in given], Path(out), None if tables is None else Path(tables))
    return Path(out)


def store(data: str, *, out: str | Path, size: int | None = None) -> Path:
    """Decode the images of ``data`` for views of ``size`` pixels into the store ``out``; the folder that holds them.

    A run with ``store=out`` in its recipe reads them there. A store that is whole is left as it is, one that was
    interrupted is built to its end.
    """
    from augaware.data.loader import open_source
    from augaware.data.mapped import Mapped
    from augaware.progress import Display
    from augaware.recipe import Recipe

    recipe = Recipe.from_fields({"data": data, "store": str(out)} | ({} if size is None else {"size": size}))
    with Display("decoding", total=1) as display:
        source = open_source(data, recipe.decoded_side, progress=display.reading, store=recipe.store, say=display.line)
    assert isinstance(source, Mapped)
    return source.folder


def check_store(store: str | Path) -> list[str]:
    """Read all of a store against its checksums: a line for each image that is damaged, none where all is sound."""
    from augaware.data.mapped import check
    from augaware.progress import Display

    with Display("checking", total=1) as display:
        return check(str(store), display.reading)


def views(
    data: str,
    *,
    out: str | Path,
    count: int = 6,
    size: int | None = None,
    seed: int = 0,
    set: Mapping[str, Any] | None = None,  # the command line's --set
) -> Path:
    """Draw ``count`` images of ``data``, the views of each and their omega into the PNG file ``out``."""
    import torch

    from augaware.augment.plan import pipelines
    from augaware.checkpoint import refuse_existing
    from augaware.data.loader import open_source
    from augaware.disk import write_output
    from augaware.picture import views_png
    from augaware.recipe import Recipe

    if count < 1:
        raise RequestError(f"count={count} must be at least 1")
    refuse_existing(out)
    chosen = {"size": size} if size is not None else {}
    recipe = Recipe.from_fields({"data": data, **chosen, **dict(set or {})})
    planned = pipelines(recipe)
    source = open_source(data, recipe.decoded_side, store=recipe.store)
    picture = views_png(source, planned, torch.arange(min(count, len(source))), seed)
    write_output(out, picture)
    return Path(out)


def bench(spec: str, *, peers: bool = False, data: str | None = None, json: str | Path | None = None) -> Result:
    """Measure how fast: ``"augment"``, or with arguments, ``"augment(sizes=[96], rounds=15)"``.

    ``peers``: other libraries too, where they are installed. ``data``: SRC of the images; None draws them. Returns
    ``{"bench", "rows": [{"side", "size", "threads", "per_core", "wall", "spread", ...}], "environment", ...}``
    (:func:`augaware.bench.rows.rows`), and writes it to the new file ``json``.
    """
    from json import dumps

    from augaware.bench.run import run
    from augaware.checkpoint import environment, refuse_existing
    from augaware.disk import write_output

    if json is not None:
        refuse_existing(json, option="--json")
    record = run(spec, peers, data)
    record["environment"] = environment() | record.pop("machine")
    if json is not None:
        write_output(json, (dumps(record, indent=2) + "\n").encode(), option="--json")
    return record
