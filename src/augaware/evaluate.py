"""From ENCODER to numbers: load any encoder frozen, put tasks to it, write one JSON file per task."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from augaware import lookup
from augaware.checkpoint import Run, check_device, environment, load_weights, seeded_encoder
from augaware.data.base import Source
from augaware.disk import write_file
from augaware.errors import RequestError
from augaware.nets.base import Encoder, build_encoder
from augaware.recipe import Recipe
from augaware.tasks.base import Task

ACCEPTED = "a run folder, timm/NAME, random/NAME or a .safetensors file"
DEFAULT = Recipe(data="")


class Frozen(nn.Module):
    """f as tasks see it: with the input it was trained for and the recipe it came from (empty when not ours)."""

    def __init__(self, f: Encoder, name: str, recipe: dict[str, Any], size: int, mean: Any, std: Any) -> None:
        super().__init__()
        self.f, self.name, self.dim, self.recipe = f.eval().requires_grad_(False), name, f.dim, recipe
        self.size, self.mean, self.std = size, tuple(mean), tuple(std)

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images (B, 3, size, size) -> features (B, dim)."""
        y: Tensor = self.f(images)
        return y


def load_encoder(
    encoder: str, architecture: str | None = None, size: int | None = None, device: str = "auto"
) -> Frozen:
    """ENCODER frozen: a run folder, ``timm/NAME`` (pretrained), ``random/NAME`` or a ``.safetensors`` file.

    A weights file without the ``config.json`` of an export beside it needs its ``architecture`` (an encoder spec).
    ``size`` in pixels overrides what the encoder was trained for. Raises :class:`RequestError`.
    """
    if size is not None and size < 1:
        raise RequestError(f"size={size} must be at least 1 pixel")
    check_device(device)
    path = Path(encoder).expanduser()
    if encoder.endswith(".safetensors"):
        frozen = _from_file(path, architecture)
    elif path.is_dir():
        frozen = _from_run(Run.open(path))
    elif encoder.startswith("random/"):
        f = seeded_encoder(encoder.removeprefix("random/"), seed=0)
        frozen = Frozen(f, encoder, {}, DEFAULT.size, DEFAULT.mean, DEFAULT.std)
    elif encoder.startswith("timm/"):
        frozen = _pretrained_timm(encoder)
    else:
        raise RequestError(f"encoder {encoder!r} was not found; accepted: {ACCEPTED}")
    frozen.size = size or frozen.size
    chosen = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    return frozen.to(chosen, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def _from_run(run: Run) -> Frozen:
    """The exported encoder of a run, or that of its last checkpoint while it is not finished."""
    recipe = run.recipe
    if run.exported.exists():
        spec = _config(run.exported).get("encoder")
        f = build_encoder(spec if isinstance(spec, str) else run.encoder)
        load_weights(f, run.exported)
    else:
        f = build_encoder(run.encoder)
        state = run.load_state()
        if state is None:
            raise RequestError(
                f"run {str(run.path)!r} has no weights yet; continue it with: augaware resume {run.path}"
            )
        weights = {k.removeprefix("online.f."): v for k, v in state["model"].items() if k.startswith("online.f.")}
        f.load_state_dict(weights)
    return Frozen(f, run.path.name, asdict(recipe), recipe.size, recipe.mean, recipe.std)


def _from_file(path: Path, architecture: str | None) -> Frozen:
    if not path.is_file():
        raise RequestError(f"encoder {str(path)!r}: there is no such file")
    config = _config(path)
    spec = architecture or config.get("encoder")
    if not isinstance(spec, str):
        raise RequestError(
            f"encoder {str(path)!r}: there is no config.json beside it; name it with --encoder, as resnet18"
        )
    f = build_encoder(spec)
    load_weights(f, path)
    size, mean, std = (config.get(key, getattr(DEFAULT, key)) for key in ("size", "mean", "std"))
    return Frozen(f, path.stem, {}, size, mean, std)


def _config(weights: Path) -> dict[str, Any]:
    """The ``config.json`` of an export, beside its weights; empty when there is none."""
    beside = weights.with_name("config.json")
    if not beside.is_file():
        return {}
    try:
        config = json.loads(beside.read_text())
    except ValueError:
        config = []
    if not isinstance(config, dict):
        raise RequestError(f"{str(beside)!r} is damaged: not an object in JSON")
    return config


def _pretrained_timm(name: str) -> Frozen:
    import timm
    from timm.data.config import resolve_model_data_config

    f = build_encoder(name)  # an unknown name is said first
    try:
        model = timm.create_model(name.removeprefix("timm/"), pretrained=True, num_classes=0)
    except Exception as error:  # the hub's libraries raise many kinds for one cause
        raise RequestError(
            f"encoder {name!r}: its weights cannot be fetched ({type(error).__name__}; no network?); "
            f"use random/{name} for random weights or a .safetensors file with --encoder {name}"
        ) from None
    config = resolve_model_data_config(model)  # type: ignore[no-untyped-call]
    return Frozen(Encoder(model, f.dim), name, {}, config["input_size"][1], config["mean"], config["std"])


def evaluate(frozen: Frozen, specs: Sequence[str], root: Path | str, out: Path | None = None) -> list[dict[str, Any]]:
    """Run the tasks ``specs`` on data below ``root``; each result is returned, and written to ``out/<task>.json``."""
    tasks: list[tuple[str, Task]] = [(spec, lookup.build("tasks", spec)) for spec in specs]
    results = []
    for spec, task in tasks:
        results.append(run_task(frozen, spec, task, task.splits(root)))
        if out is not None:
            write_result(results[-1], out)
    return results


def run_task(frozen: Frozen, spec: str, task: Task, splits: Mapping[str, Source]) -> dict[str, Any]:
    """One result, as ``eval/<task>.json`` holds it."""
    began = time.perf_counter()
    metrics = task(frozen, splits)
    return {
        "task": spec,
        "dataset": task.dataset,
        "protocol": task.protocol,
        "encoder": frozen.name,
        "size": frozen.size,
        "metrics": metrics,
        "recipe": frozen.recipe,
        "environment": environment(),
        "seconds": round(time.perf_counter() - began, 2),
    }


def write_result(result: Mapping[str, Any], folder: Path) -> None:
    """Write ``folder/<task>.json``."""
    folder.mkdir(parents=True, exist_ok=True)
    write_file(folder / f"{slug(result['task'])}.json", (json.dumps(result, indent=2) + "\n").encode())


def slug(spec: str) -> str:
    """A spec as a file name: ``linear_probe('flowers102')`` is ``linear_probe_flowers102``."""
    return re.sub(r"[^A-Za-z0-9.]+", "_", spec).strip("_")
