"""Pretraining as a function: what ``augaware pretrain`` and ``augaware resume`` call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from augaware.errors import RequestError


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
            "--data is missing; name a folder, tars or a list of images, hf:NAME, torchvision:NAME, shapes, or a recipe"
        )
    return start(Recipe.from_fields(given), out).path


def resume(run: str | Path) -> Path:
    """Continue the stopped run in the folder ``run``; the result is that of a run that was never stopped."""
    from augaware.pretrain import resume as resume_run

    return resume_run(run).path
