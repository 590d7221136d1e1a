"""A data set with its splits, by its name in ROOT, the folder of data sets."""

from __future__ import annotations

import inspect
from pathlib import Path

from augaware import lookup
from augaware.data import layout
from augaware.data.base import Source
from augaware.data.datasets.base import plug_in
from augaware.data.shapes import shapes_splits
from augaware.errors import RequestError, did_you_mean
from augaware.reading import PICTURES, Reading


def open_dataset(
    root: Path | str,
    name: str,
    short_side: int | None = None,
    memory: int = 4 << 30,
    reading: Reading = PICTURES,
) -> dict[str, Source]:
    """The splits of data set ``name`` in the folder ``root``: ``train``, ``val`` and ``test``, unless it has fewer.

    ``root/name`` holds for each split a tar (``train.tar``, ``.tar.gz``, ``.tgz``), shards (``train-000.tar``, ...), a
    folder or a list of files (``train.csv``, ...), as :func:`augaware.data.layout.open_layout` reads them; else the
    plug-in ``name`` of ``augaware list datasets`` reads its published form. ``shapes`` and ``shapes(size=32)`` are
    drawn and need no root. ``short_side``, ``memory`` and ``reading``, of what lies there, as in
    :func:`augaware.data.loader.open_source`; with ``memory`` 0 nothing is decoded. Raises :class:`RequestError`.
    """
    if name.partition("(")[0].strip() == "shapes":
        return _drawn(name)
    known, root = plug_in(name), Path(root).expanduser()
    if not root.is_dir():
        raise RequestError(f"data root {str(root)!r}: there is no such folder")
    if layout.located(root / name):
        whole = known is None or "train" in known.counts
        return layout.open_layout(root / name, name, short_side, memory, whole, reading)
    if known is not None:
        return known(root).splits(short_side, memory)
    held = sorted(p.name for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    if name in held:
        raise RequestError(
            f"data set {name!r}: {root / name} holds no split; expected train.tar and test.tar (or .tar.gz), "
            "shards (train-000.tar, ...), lists (train.csv, ...) or the folders train and test"
        )
    accepted = [*held, "shapes"]
    near = did_you_mean(name, {*accepted, *lookup.names("data.datasets")})
    raise RequestError(
        f"no data set {name!r} in {root}; accepted: {', '.join(accepted)}{near} (augaware list datasets names those "
        "that are known)"
    )


def there(root: Path, name: str) -> bool:
    """Whether data set ``name`` lies in ``root``, in either form: opens no image."""
    known = plug_in(name)
    return bool(layout.located(root / name)) or (known is not None and known(root).present())


def _drawn(name: str) -> dict[str, Source]:
    spec = lookup.parse(name, "data set")
    accepted = list(inspect.signature(shapes_splits).parameters)
    if spec.args or not spec.kwargs.keys() <= set(accepted):
        raise RequestError(f"data set {name!r}: accepted arguments, by name: {', '.join(accepted)}")
    return dict(shapes_splits(**spec.kwargs))
