"""ENCODER as tasks see it: any network, frozen, with the input that it was trained for."""

from __future__ import annotations

import copy
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from augaware import auto, lookup
from augaware.augment.plan import recorded
from augaware.checkpoint import EXPORT, Run, check_device, load_weights, seeded_encoder
from augaware.distributed import join
from augaware.errors import RequestError
from augaware.nets.base import Encoder, build_encoder, feature_dim, input_channels
from augaware.objective import Objective
from augaware.reading import PICTURES, Reading
from augaware.recipe import Recipe
from augaware.tasks.kept import Kept

ACCEPTED = "a run folder, an export/ folder of one, timm/NAME, random/NAME or a .safetensors file"
EXPORTS, WEIGHTS = Path(EXPORT).parts
Named = str | os.PathLike[str]
AnyEncoder = Named | nn.Module  # ENCODER in Python: by name, or the network itself
DEFAULT = Recipe(data="")
PRECISIONS = ("fp32", "bf16")


class Frozen(nn.Module):
    """f as tasks see it: with the input it was trained for and the recipe it came from (empty when not ours).

    ``channels`` of an image, one for each number of ``mean``; ``reading``: how files become such images.
    ``architecture`` is the spec of f, where it is known; ``precision`` of its passes, fp32 or bf16; ``run``: the run
    folder that it is of; ``kept``: where its features are kept, if anywhere.
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
        reading: Reading = PICTURES,
    ) -> None:
        super().__init__()
        self.f, self.name, self.dim, self.recipe = f.requires_grad_(False), name, f.dim, recipe
        self.size, self.mean, self.std = size, tuple(mean), tuple(std)
        self.architecture, self.precision = architecture, "fp32"
        self.channels, self.reading = len(self.mean), reading
        self.run: Run | None = None
        self.kept: Kept | None = None
        self.eval()

    def __repr__(self) -> str:
        device = next((p.device for p in self.f.parameters()), "cpu")
        what = f"{self.dim} features of images at {self.size} px, {self.precision} on {device}"
        return f"frozen encoder {self.name}: {self.architecture or type(self.f.backbone).__name__}, {what}"

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images (B, channels, size, size) -> features (B, dim)."""
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            y: Tensor = self.f(images)
        return y

    def check_size(self) -> None:
        """Raises :class:`RequestError` where f does not take an image of ``size``, which a transformer may not."""
        feature_dim(self.f, self.size, self.channels)

    @cached_property
    def fingerprint(self) -> str:
        """The sha256 of the network, its weights and buffers, and the precision: what decides y of an image."""
        state = hashlib.sha256(f"{self.f} {self.precision}".encode())
        for name, weights in self.f.state_dict().items():
            state.update(f"{name} {weights.dtype} {tuple(weights.shape)}".encode())
            state.update(weights.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
        return state.hexdigest()


def load_encoder(
    encoder: AnyEncoder,
    architecture: str | None = None,
    size: int | None = None,
    device: str = "auto",
    precision: str = "fp32",
) -> Frozen:
    """ENCODER frozen: a run folder, ``timm/NAME`` (pretrained), ``random/NAME`` or a ``.safetensors`` file, by name.

    A folder of ``encoder.safetensors`` and ``config.json``, such as a run's ``export``, is one too. A weights file
    without the ``config.json`` of an export beside it needs its ``architecture`` (an encoder spec).
    ``size`` in pixels overrides what the encoder was trained for; ``precision`` is fp32 or bf16. A network of yours is
    copied, as it may train on, and frozen by :func:`freeze`; with ``device`` auto it stays where it is. One that is
    frozen is taken as it is. Raises :class:`RequestError`.
    """
    if isinstance(encoder, Frozen):
        if (architecture, size, device, precision) != (None, None, "auto", "fp32"):
            raise RequestError("size, device, ... of an encoder that is frozen are its own; give them as it is loaded")
        return encoder
    if precision not in PRECISIONS:
        raise RequestError(f"precision {precision!r} is unknown; accepted for evaluation: {', '.join(PRECISIONS)}")
    if size is not None and size < 1:
        raise RequestError(f"size={size} must be at least 1 pixel")
    check_device(device)
    if isinstance(encoder, nn.Module):
        if architecture is not None:
            raise RequestError(f"architecture={architecture!r} is for a .safetensors file; a network has its own")
        frozen = freeze(copy.deepcopy(encoder), size=size)
        here = next((p.device.type for p in frozen.parameters()), "cpu")
        chosen = here if device == "auto" else device
    else:
        frozen = _by_name(os.fspath(encoder), architecture)
        chosen = auto.device().value if device == "auto" else device
    frozen.size, frozen.precision = size or frozen.size, precision
    placed: Frozen = frozen.to(join(chosen), memory_format=torch.channels_last)  # type: ignore[call-overload]
    if size is not None:
        placed.check_size()
    return placed


def _by_name(encoder: str, architecture: str | None) -> Frozen:
    path = Path(encoder).expanduser()
    if encoder.endswith(".safetensors"):
        return _from_file(path, architecture)
    if (path / WEIGHTS).is_file():
        folder = path.absolute()
        return _from_file(path / WEIGHTS, architecture, (folder.parent if folder.name == EXPORTS else folder).name)
    if path.is_dir():
        return _from_run(Run.open(path))
    if encoder.startswith("random/"):
        return _untrained(encoder, encoder.removeprefix("random/"))
    if encoder.startswith("timm/"):
        return _pretrained_timm(encoder)
    raise RequestError(f"encoder {encoder!r} was not found; accepted: {ACCEPTED}")


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
    given = asdict(recipe), recipe.size, recipe.mean, recipe.std
    frozen = Frozen(f, run.path.name, *given, spec, recipe.reading)
    frozen.run = run
    return frozen


def _untrained(encoder: str, spec: str) -> Frozen:
    """Of other channels than RGB, whose mean and spread nobody knows: those of evenly spread pixels."""
    f, channels = seeded_encoder(spec, seed=0), input_channels(spec)
    if channels == 3:
        return Frozen(f, encoder, {}, DEFAULT.size, DEFAULT.mean, DEFAULT.std, spec)
    mean, std = (0.5,) * channels, (12**-0.5,) * channels
    return Frozen(f, encoder, {}, DEFAULT.size, mean, std, spec, Reading(channels))


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
    name: str = "",
    size: int | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    pixel_range: tuple[float, ...] = (),
) -> Frozen:
    """A network of yours, frozen: normalised images (B, C, size, size) -> features (B, dim).

    A model of timm loses its classifier, and what is not given is of its ``pretrained_cfg``; else it is that of a
    recipe: 96 px and ImageNet's mean and standard deviation. These have a number for each channel; with other than
    three, data is read as it is, ``pixel_range`` as in a recipe.
    """
    given: dict[str, Any] = {"name": "encoder", "size": DEFAULT.size, "mean": DEFAULT.mean, "std": DEFAULT.std}
    config = getattr(network, "pretrained_cfg", None)
    if isinstance(config, dict) and callable(reset := getattr(network, "reset_classifier", None)):
        reset(0)
        given |= _of_timm(network) | {"name": config.get("architecture") or "encoder"}
    size, mean, std = size or given["size"], mean or given["mean"], std or given["std"]
    if len(mean) != len(std):
        raise RequestError(f"mean={mean!r} and std={std!r} must have a number for each channel, both")
    f = network if isinstance(network, Encoder) else Encoder(network, feature_dim(network, size, len(mean)))
    reading = Reading(len(mean) if len(mean) != 3 or pixel_range else 0, tuple(pixel_range))
    return Frozen(f, name or given["name"], {}, size, mean, std, reading=reading)


def _from_file(path: Path, architecture: str | None, name: str = "") -> Frozen:
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
    given = _input(config, path.with_name("config.json"))
    f = build_encoder(spec)
    load_weights(f, path)
    return Frozen(f, name or path.stem, {}, given.size, given.mean, given.std, spec, given.reading)


def _input(config: Mapping[str, Any], file: Path) -> Recipe:
    """What an export says of its input, as the fields of a recipe that say it; Raises :class:`RequestError`."""
    said = {key: config[key] for key in ("size", "mean", "std", "pixel_range") if key in config}
    mean = said.get("mean")
    if isinstance(mean, list) and (len(mean) != 3 or "pixel_range" in said):  # of files that are read as they are
        said["channels"] = len(mean)
    try:
        return DEFAULT.changed(said)
    except RequestError as error:
        raise RequestError(f"{str(file)!r} is damaged: {error}") from None


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

    f = build_encoder(name)  # an unknown name is said first
    try:
        model = timm.create_model(name.removeprefix("timm/"), pretrained=True, num_classes=0)
    except Exception as error:  # the hub's libraries raise many kinds for one cause
        raise RequestError(
            f"encoder {name!r}: its weights cannot be fetched ({type(error).__name__}; no network?); "
            f"use random/{name} for random weights or a .safetensors file with --encoder {name}"
        ) from None
    return Frozen(Encoder(model, f.dim), name, {}, **_of_timm(model), architecture=name)


def _of_timm(model: nn.Module) -> dict[str, Any]:
    """Size, mean and std of the images that a model of timm was trained on."""
    from timm.data.config import resolve_model_data_config

    config = resolve_model_data_config(model)  # type: ignore[no-untyped-call]
    return {"size": config["input_size"][1], "mean": config["mean"], "std": config["std"]}
