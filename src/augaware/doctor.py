"""What is there: the data sets in ROOT against what the papers use, and what this machine has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from augaware import lookup
from augaware.augment.engine.fused import failure
from augaware.checkpoint import environment
from augaware.data import layout
from augaware.data.datasets.base import plug_in
from augaware.errors import RequestError, did_you_mean

ROOM = "data.datasets"
COLUMNS = ("data set", "state", *layout.SPLITS)
# What some requests need beside augaware's own dependencies, and which.
OPTIONAL = {
    "scipy": "reads the lists of cars, dogs and flowers102: pip install 'augaware[datasets]'",
    "pycocotools": "scores detection: pip install 'augaware[detection]'",
    "transformers": "loads what export --to hf writes: pip install 'augaware[hf]'",
    "datasets": "reads hf:NAME: pip install 'augaware[hf]'",
    "huggingface-hub": "fetches hf:NAME: pip install 'augaware[hf]'",
    "onnx": "export --to onnx: pip install 'augaware[onnx]'",
    "onnxruntime": "export --to onnx: pip install 'augaware[onnx]'",
    "onnxscript": "export --to onnx: pip install 'augaware[onnx]'",
    "tifffile": "reads TIFF images of many channels: pip install 'augaware[microscopy]'",
    "imagecodecs": "reads compressed TIFF images: pip install 'augaware[microscopy]'",
    "lightning": "the adapter for Lightning: pip install 'augaware[lightning]'",
    "wandb": "the logger wandb: pip install 'augaware[wandb]'",
    "mlflow": "the logger mlflow: pip install 'augaware[mlflow]'",
    "albumentationsx": "a peer of augaware bench",
    "kornia": "a peer of augaware bench",
    "lightly": "a peer of augaware bench",
}


def survey(root: Path | str) -> list[dict[str, Any]]:
    """A row for each known data set and for each other in ``root``, by name; opens no image.

    ``{"name", "title", "state", "found", "expected", "note"}``: ``found`` and ``expected`` are images per split.
    ``state`` is ``"complete"``, as the papers use it; ``"present"``, with as many images or more, split in another way;
    ``"subset"``, prepared with fewer images; ``"incomplete"``, published files of which some are missing or damaged;
    or ``"absent"``. ``note`` says why, or how to get it. Raises :class:`RequestError` where ``root`` is no folder.
    """
    root = Path(root).expanduser()
    if not root.is_dir():
        raise RequestError(f"data root {str(root)!r}: there is no such folder")
    known = lookup.names(ROOM)
    others = {p.name for p in root.iterdir() if p.is_dir() and not p.name.startswith(".") and layout.located(p)}
    return [_row(root, name) for name in [*known, *sorted(others - set(known))]]


def download(root: Path | str, name: str) -> None:
    """Fetch data set ``name`` into ``root``. Raises :class:`RequestError` where that cannot be."""
    known = plug_in(name)
    if known is None:
        accepted = lookup.names(ROOM)
        raise RequestError(
            f"--download {name!r} is unknown; accepted: {', '.join(accepted)}{did_you_mean(name, accepted)}"
        )
    known(Path(root).expanduser()).download()


def machine() -> dict[str, Any]:
    """Versions, devices, the engine of the augmentations, and optional packages or what they would be for."""
    reason = failure()
    found = {key: value for key, value in environment().items() if key != "command"}
    return found | {
        "numba": _version("numba"),
        "gpus": torch.cuda.device_count(),
        "engine": "fused" if reason is None else f"plain: {reason}",
        **{package: _version(package) or f"absent ({use})" for package, use in OPTIONAL.items()},
    }


def table(rows: Iterable[Mapping[str, Any]]) -> list[list[str]]:
    """The rows of :func:`survey` as text: found, or found / expected where they differ."""
    return [[row["name"], row["state"], *(_cell(row, split) for split in layout.SPLITS)] for row in rows]


def _row(root: Path, name: str) -> dict[str, Any]:
    known = plug_in(name)
    own, laid = (None if known is None else known(root)), bool(layout.located(root / name))
    expected = {} if own is None else dict(own.counts)
    row: dict[str, Any] = {"name": name, "title": name if own is None else own.title}
    row |= {"state": "absent", "found": {}, "expected": expected, "note": None}
    if not laid and own is not None and not own.present():
        return row | {"note": own.how}
    try:
        if laid:
            row["found"] = layout.counted(root / name, name, own is None or "train" in expected)
        elif own is not None:
            row["found"] = own.found()
    except (RequestError, OSError) as error:
        return row | {"state": "incomplete", "note": str(error)}
    return row | _judged(row["found"], expected, laid or own is None or own.prepared())


def _judged(found: Mapping[str, int], expected: Mapping[str, int], prepared: bool) -> dict[str, str | None]:
    """State and note of what is there."""
    lost = sum(expected.values()) - sum(found.values())
    if not expected:
        return {"state": "present", "note": "no known data set; read by its layout"}
    if found == expected:
        return {"state": "complete", "note": None}
    if prepared and lost > 0:
        return {"state": "subset", "note": f"{lost} images fewer than the papers use, as it was prepared"}
    if prepared or not any(found.get(split, 0) < count for split, count in expected.items()):
        return {"state": "present", "note": "split in another way than in the papers"}
    return {"state": "incomplete", "note": f"{lost} of its images are missing: unpack the archive again"}


def _cell(row: Mapping[str, Any], split: str) -> str:
    found, expected = row["found"].get(split), row["expected"].get(split)
    if found is None and expected is None:
        return ""
    if found == expected or expected is None:
        return str(found)
    return f"{'-' if found is None else found} / {expected}"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
