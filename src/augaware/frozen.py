"""ENCODER as tasks see it: any network, frozen, with the input that it was trained for."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from augaware.checkpoint import Run, check_device, load_weights, seeded_encoder
from augaware.distributed import join
from augaware.errors import RequestError
from augaware.nets.base import Encoder, build_encoder
from augaware.recipe import Recipe
from augaware.tasks.kept import Kept

ACCEPTED = "a run folder, timm/NAME, random/NAME or a .safetensors file"
DEFAULT = Recipe(data="")
PRECISIONS = ("fp32", "bf16")


class Frozen(nn.Module):
    """f as tasks see it: with the input it was trained for and the recipe it came from (empty when not ours).

    ``precision`` of its passes, fp32 or bf16; ``kept``: where its features are kept, if anywhere.
    """

    def __init__(self, f: Encoder, name: str, recipe: dict[str, Any], size: int, mean: Any, std: Any) -> None:
        super().__init__()
        self.f, self.name, self.dim, self.recipe = f.eval().requires_grad_(False), name, f.dim, recipe
        self.size, self.mean, self.std = size, tuple(mean), tuple(std)
        self.precision = "fp32"
        self.kept: Kept | None = None

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images (B, 3, size, size) -> features (B, dim)."""
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            y: Tensor = self.f(images)
        return y

    @cached_property
    def fingerprint(self) -> str:
        """The sha256 of the network, its weights and buffers, and the precision: what decides y of an image."""
        state = hashlib.sha256(f"{self.f} {self.precision}".encode())
        for name, weights in self.f.state_dict().items():
            state.update(f"{name} {weights.dtype} {tuple(weights.shape)}".encode())
            state.update(weights.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
        return state.hexdigest()


def load_encoder(
    encoder: str,
    architecture: str | None = None,
    size: int | None = None,
    device: str = "auto",
    precision: str = "fp32",
) -> Frozen:
    """ENCODER frozen: a run folder, ``timm/NAME`` (pretrained), ``random/NAME`` or a ``.safetensors`` file.

    A weights file without the ``config.json`` of an export beside it needs its ``architecture`` (an encoder spec).
    ``size`` in pixels overrides what the encoder was trained for; ``precision`` is fp32 or bf16. Raises
    :class:`RequestError`.
    """
    if precision not in PRECISIONS:
        raise RequestError(f"precision {precision!r} is unknown; accepted for evaluation: {', '.join(PRECISIONS)}")
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
    frozen.size, frozen.precision = size or frozen.size, precision
    chosen = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    chosen = join(chosen)
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
