"""Pretraining as a function: what ``augaware pretrain`` and ``augaware resume`` call."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from augaware.api.listing import ANY
from augaware.api.run import Run
from augaware.errors import RequestError

Named = str | os.PathLike[str]
SOURCES = "name a folder, tars or a list of images, hf:NAME, torchvision:NAME, shapes"


def pretrain(
    data: Named | None = None,
    *,
    out: Named,
    recipe: str | None = None,
    host: str | None = None,
    aware: str | Sequence[str] | None = None,
    encoder: str | None = None,
    init_from: Named | None = None,
    size: int | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    seed: int | None = None,
    device: str | None = None,
    precision: str | None = None,
    set: Mapping[str, Any] | None = None,  # the command line's --set
) -> Run:
    """Pretrain an encoder on the images of ``data`` and return the run in the new folder ``out``.

    Starts from ``recipe`` (a name of ``augaware list recipes``) or from the defaults of
    :class:`augaware.recipe.Recipe`; what is given here changes it, then what ``set`` names. ``init_from``, a run folder
    or a ``.safetensors`` file, gives f its first weights. Raises :class:`RequestError` for a wrong request, before
    anything is written, and :class:`augaware.errors.RunError` where a run cannot go on.
    """
    from augaware import lookup
    from augaware.pretrain import start
    from augaware.recipe import Recipe

    fields = {
        "data": None if data is None else os.fspath(data),
        "host": host,
        "aware": (aware,) if isinstance(aware, str) else aware,
        "encoder": encoder,
        "init": None if init_from is None else os.fspath(init_from),
        "size": size,
        "epochs": epochs,
        "batch_size": batch_size,
        "seed": seed,
        "device": device,
        "precision": precision,
    }
    given = {key: value for key, value in fields.items() if value is not None} | dict(set or {})
    if recipe is None and "data" not in given:
        raise RequestError(f"--data is missing; {SOURCES}, or a recipe")
    made = Recipe.from_fields(given) if recipe is None else lookup.build("recipes", recipe).changed(given)
    if made.data == ANY and "data" not in given and not Path(ANY).exists():
        raise RequestError(f"--data is missing: recipe {recipe!r} is for images of your own; {SOURCES}")
    return Run(start(made, Path(out)).path)


def resume(run: Named) -> Run:
    """Continue the stopped run in the folder ``run``; the result is that of a run that was never stopped."""
    from augaware.pretrain import resume as resume_run

    return Run(resume_run(Path(run)).path)


def demo(out: Named | None = None, *, quick: bool = False) -> Path:
    """The main job on drawn images, in a new folder: ``out``, or else augaware-demo, -2, ...; returns its page.

    ``quick``: one seed and fewer steps, a look and no evidence.
    """
    from augaware.demo import demo as run_demo

    endings = itertools.chain([""], (f"-{number}" for number in itertools.count(2)))
    fresh = (folder for folder in (Path(f"augaware-demo{ending}") for ending in endings) if not folder.exists())
    return run_demo(next(fresh) if out is None else Path(out), quick)
