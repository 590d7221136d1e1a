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

from augaware import lookup
from augaware.augment.plan import recorded
from augaware.checkpoint import Run, check_device, load_weights, seeded_encoder
from augaware.distributed import join
from augaware.errors import RequestError
from augaware.nets.base import Encoder, build_encoder, feature_dim
from augaware.objective import Objective
from augaware.recipe import Recipe
from augaware.tasks.kept import Kept

ACCEPTED = "a run folder, timm/NAME, random/NAME or a .safetensors file"
DEFAULT = Recipe(data="")
PRECISIONS = ("fp32", "bf16")


class Frozen(nn.Module):
    """f as tasks see it: with the input it was trained for and the recipe it came from (empty when not ours).

    ``architecture`` is the spec of f, where it is known; ``precision`` of its passes, fp32 or bf16; ``kept``: where its
    features are kept, if anywhere.
    """

    def __init__(
        self,
        f: Encoder,
        name: str,
        recipe: dict[str, Any],
        size: int,
        mean: Any,
        std: Any,
        architecture: str | None = None,
    ) -> None:
        super().__init__()
        self.f, self.name, self.dim, self.recipe = f.eval().requires_grad_(False), name, f.dim, recipe
        self.size, self.mean, self.std = size, tuple(mean), tuple(std)
        self.architecture, self.precision = architecture, "fp32"
        self.kept: Kept | None = None

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images (B, 3, size, size) -> features (B, dim)."""
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            y: Tensor = self.f(images)
        return y

    def check_size(self) -> None:
        """Raises :class:`RequestError` where f does not take an image of ``size``, which a transformer may not."""
        feature_dim(self.f, self.size)

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
        spec = encoder.removeprefix("random/")
        frozen = Frozen(seeded_encoder(spec, seed=0), encoder, {}, DEFAULT.size, DEFAULT.mean, DEFAULT.std, spec)
    elif encoder.startswith("timm/"):
        frozen = _pretrained_timm(encoder)
    else:
        raise RequestError(f"encoder {encoder!r} was not found; accepted: {ACCEPTED}")
    frozen.size, frozen.precision = size or frozen.size, precision
    chosen = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    chosen = join(chosen)
    placed: Frozen = frozen.to(chosen, memory_format=torch.channels_last)  # type: ignore[call-overload]
    if size is not None:
        placed.check_size()
    return placed


def _from_run(run: Run) -> Frozen:
    """The exported encoder of a run, or that of its last checkpoint while it is not finished."""
    recipe, spec = run.recipe, run.encoder
    if run.exported.exists():
        found = _config(run.exported).get("encoder")
        if isinstance(found, str):
            lookup.check_trusted([found], str(run.exported.with_name("config.json")))
            spec = found
        f = build_encoder(spec)
        load_weights(f, run.exported)
    else:
        f = build_encoder(spec)
        state = run.load_state()
        if state is None:
            raise RequestError(
                f"run {str(run.path)!r} has no weights yet; continue it with: augaware resume {run.path}"
            )
        weights = {k.removeprefix("online.f."): v for k, v in state["model"].items() if k.startswith("online.f.")}
        f.load_state_dict(weights)
    return Frozen(f, run.path.name, asdict(recipe), recipe.size, recipe.mean, recipe.std, spec)


def load_objective(run: Run, f: Encoder) -> Objective | None:
    """All that a run trained, of its last checkpoint, around its encoder ``f``; None where that is not kept.

    Raises :class:`RequestError` where the checkpoint is not of the run's recipe.
    """
    state = run.load_state()
    if state is None:
        return None
    weights = {k: v for k, v in state["model"].items() if not k.startswith("online.f.")}
    widths = [len(v) for k, v in weights.items() if k.startswith("online.g.") and v.ndim == 2]
    classes = widths[-1] if widths else None  # where the host has classes, z has one number for each
    objective = Objective.from_specs(f, run.recipe.host, run.recipe.aware, recorded(run.recipe), classes)
    try:
        missing = objective.load_state_dict(weights, strict=False)
    except RuntimeError as error:
        raise RequestError(f"the checkpoint of {str(run.path)!r} does not fit its recipe.json: {error}") from None
    lost = [name for name in missing.missing_keys if not name.startswith("online.f.")]
    if lost or missing.unexpected_keys:
        raise RequestError(
            f"the checkpoint of {str(run.path)!r} does not fit its recipe.json: it has other parts, such as "
            f"{[*lost, *missing.unexpected_keys][0]!r}"
        )
    return objective.requires_grad_(False).eval()


def freeze(
    network: nn.Module,
    name: str = "encoder",
    size: int = DEFAULT.size,
    mean: tuple[float, float, float] = DEFAULT.mean,  # type: ignore[assignment]
    std: tuple[float, float, float] = DEFAULT.std,  # type: ignore[assignment]
) -> Frozen:
    """A network of yours, frozen: normalised images (B, 3, size, size) -> features (B, dim)."""
    f = network if isinstance(network, Encoder) else Encoder(network, feature_dim(network, size))
    return Frozen(f, name, {}, size, mean, std)


def _from_file(path: Path, architecture: str | None) -> Frozen:
    if not path.is_file():
        raise RequestError(f"encoder {str(path)!r}: there is no such file")
    config = _config(path)
    spec = architecture or config.get("encoder")
    if not isinstance(spec, str):
        raise RequestError(
            f"encoder {str(path)!r}: there is no config.json beside it; name it with --encoder, as resnet18"
        )
    if architecture is None:
        lookup.check_trusted([spec], str(path.with_name("config.json")))
    f = build_encoder(spec)
    load_weights(f, path)
    size, mean, std = (config.get(key, getattr(DEFAULT, key)) for key in ("size", "mean", "std"))
    return Frozen(f, path.stem, {}, size, mean, std, spec)


def _config(weights: Path) -> dict[str, Any]:
    """The ``config.json`` of an export, beside its weights; empty when there is none."""
    beside = weights.with_name("config.json")
    if not beside.is_file():
        return {}
    try:
        config = json.loads(beside.read_text())
    except (ValueError, RecursionError):
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
    return Frozen(Encoder(model, f.dim), name, {}, config["input_size"][1], config["mean"], config["std"], name)
