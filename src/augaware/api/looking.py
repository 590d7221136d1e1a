"""What is there, how views look, how fast they are made, images decoded once: as functions."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from augaware.errors import RequestError
from augaware.report.values import Record

Named = str | os.PathLike[str]


def doctor(data: Named | None = None, *, download: str | None = None) -> Record:
    """What is there: ``{"datasets": [...]}`` in the folder ``data``, ROOT, or what this machine has.

    See :func:`augaware.doctor.survey` and :func:`augaware.doctor.machine`. ``download`` fetches that data set into ROOT
    first. Raises :class:`RequestError`.
    """
    from augaware.api import showing
    from augaware.doctor import download as fetch
    from augaware.doctor import machine, survey

    if download is not None and data is None:
        raise RequestError(f"--download {download!r}: --data ROOT is missing, the folder of data sets to fetch it into")
    if download is not None and data is not None:
        fetch(Path(data), download)
    if data is None:
        return Record(machine(), showing.machine)
    return Record({"datasets": survey(Path(data))}, showing.surveyed)


def views(
    data: Named,
    *,
    out: Named,
    count: int = 6,
    size: int | None = None,
    seed: int = 0,
    set: Mapping[str, Any] | None = None,  # the command line's --set
) -> Path:
    """Draw ``count`` images of ``data``, the views of each and their omega into the PNG file ``out``."""
    import torch

    from augaware.augment.plan import pipelines
    from augaware.checkpoint import refuse_existing
    from augaware.data.centre import channel_moments
    from augaware.data.loader import open_source
    from augaware.disk import write_output
    from augaware.picture import views_png
    from augaware.recipe import Recipe

    if count < 1:
        raise RequestError(f"count={count} must be at least 1")
    out = Path(out)
    refuse_existing(out)
    chosen = {"size": size} if size is not None else {}
    recipe = Recipe.from_fields({"data": os.fspath(data), **chosen, **dict(set or {})})
    planned = pipelines(recipe)
    source = open_source(recipe.data, recipe.decoded_side, store=recipe.store, reading=recipe.reading)
    if recipe.measuring:
        planned = pipelines(recipe.changed(channel_moments(source, recipe.seed)))
    picture = views_png(source, planned, torch.arange(min(count, len(source))), seed)
    write_output(out, picture)
    return out


def store(
    data: Named,
    *,
    out: Named,
    size: int | None = None,
    set: Mapping[str, Any] | None = None,  # the command line's --set
) -> Path:
    """Decode the images of ``data`` for views of ``size`` pixels into the store ``out``; the folder that holds them.

    A run with ``store=out`` in its recipe, and the channels and pixel_range that ``set`` says, reads them there. A
    store that is whole is left as it is, one that was interrupted is built to its end.
    """
    from augaware.data.loader import open_source
    from augaware.data.mapped import Mapped
    from augaware.data.paired import Paired
    from augaware.progress import Display
    from augaware.recipe import Recipe

    chosen = {} if size is None else {"size": size}
    recipe = Recipe.from_fields({**chosen, **dict(set or {}), "data": os.fspath(data), "store": os.fspath(out)})
    with Display("decoding", total=1) as display:
        source = open_source(
            recipe.data,
            recipe.decoded_side,
            progress=display.reading,
            store=recipe.store,
            say=display.line,
            reading=recipe.reading,
        )
    kept = source.photographs if isinstance(source, Paired) else source
    assert isinstance(kept, Mapped)
    return kept.folder


def check_store(out: Named) -> list[str]:
    """Read all of a store against its checksums: a line for each image that is damaged, none where all is sound.

    On the command line: ``augaware store DIR --check``.
    """
    from augaware.data.mapped import check
    from augaware.progress import Display

    with Display("checking", total=1) as display:
        return check(os.fspath(out), display.reading)


def bench(spec: str, *, peers: bool = False, data: Named | None = None, json: Named | None = None) -> Record:
    """Measure how fast: ``"augment"``, or with arguments, ``"augment(sizes=[96], rounds=15)"``.

    ``peers``: other libraries too, where they are installed. ``data``: SRC of the images; None draws them. Returns
    ``{"bench", "rows": [{"side", "size", "threads", "per_core", "wall", "spread", ...}], "environment", ...}``
    (:func:`augaware.bench.rows.rows`), and writes it to the new file ``json``.
    """
    from json import dumps

    from augaware.api.showing import benched
    from augaware.bench.run import run
    from augaware.checkpoint import environment, refuse_existing
    from augaware.disk import write_output

    file = None if json is None else Path(json)
    if file is not None:
        refuse_existing(file, option="--json")
    record = run(spec, peers, None if data is None else os.fspath(data))
    record["environment"] = environment() | record.pop("machine")
    if file is not None:
        write_output(file, (dumps(record, indent=2) + "\n").encode(), option="--json")
    return Record(record, benched)
