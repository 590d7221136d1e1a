"""A recipe: a run as data. Plain values only, so that it is written to JSON, compared and changed field by field."""

from __future__ import annotations

import ast
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, get_type_hints

from augaware.errors import RequestError, did_you_mean
from augaware.reading import Reading

OPTIMIZERS = ("sgd", "adamw", "lars")
PRECISIONS = ("auto", "fp32", "bf16")
DEVICES = ("auto", "cpu", "cuda")
COMPILE = ("auto", "yes", "no")
STRATEGIES = ("ddp", "fsdp")

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
MULTICHANNEL_AUGMENT = (  # what acts on any number of channels; one exposure for each: exposure(channels=5)
    "crop(scale=(0.2, 1.0))",
    "flip()",
    "rotate90()",
    "exposure()",
    "gaussian_blur(p=0.5)",
)
DEFAULT_AUGMENT = (
    "crop(scale=(0.2, 1.0))",
    "flip()",
    "color_jitter(0.4, 0.4, 0.4, 0.1)",
    "grayscale(p=0.2)",
    "gaussian_blur(p=0.5)",
)


@dataclass(frozen=True)
class Recipe:
    """One pretraining run. Plug-ins are specs: calls written as text, ``"simclr(temperature=0.2)"``.

    The defaults are the shared setting of AugSelf and CASSLE on STL10 (SGD, lr 0.03 per 256 images, weight decay
    5e-4, cosine); the learning rate there falls once per epoch, here at every step.
    """

    data: str  # SRC: a folder, a tar, torchvision:NAME, shapes
    host: str = "simclr()"
    aware: tuple[str, ...] = ()  # none is vanilla
    encoder: str = "resnet18"
    init: str = ""  # weights of f to start from: a run folder or a .safetensors file, FILE#digest once it has been read
    augment: tuple[str, ...] = DEFAULT_AUGMENT
    views: tuple[str, ...] = ("view(2)",)  # how many, and where one differs: augment/plan.py
    size: int = 96  # side of a view in pixels
    channels: int = 0  # 0: files are pictures, RGB of 8 bits; n: they are read as they are, n channels of 8 or 16 bits
    pixel_range: tuple[float, ...] = ()  # (low, high) of these pixels is [0, 1]; () is the range of 8 or 16 bits
    mean: tuple[float, ...] = IMAGENET_MEAN  # of [0, 1] pixels; with channels, ImageNet's stand for those of the data
    std: tuple[float, ...] = IMAGENET_STD
    epochs: int = 200
    batch_size: int = 256
    seed: int = 0
    optimizer: str = "sgd"
    base_lr: float = 0.03  # per 256 images: lr = base_lr * batch_size / 256
    weight_decay: float = 5e-4
    weight_decay_end: float = 0.0  # half a cosine to it over the run; 0 keeps weight_decay
    momentum: float = 0.9  # of SGD and LARS
    exclude_1d: bool = False  # biases and normalisation: no weight decay, no adaptation by LARS
    lr_1d: float = 1.0  # their learning rate, times the others'
    warmup_epochs: float = 0.0  # linear
    warmup_from: float = 0.0  # where the warm-up starts, times the peak
    final_lr: float = 0.0  # where the cosine ends, times the peak
    clip_norm: float = 0.0  # largest norm of the gradient; 0 is no clipping
    device: str = "auto"
    precision: str = "auto"  # bf16 where the hardware computes it, else fp32
    engine: str = "auto"  # how views are made: fused where that works, else plain
    compile: str = "auto"  # whether torch.compile makes f: yes for long runs on a GPU, else no
    log_steps: int = 10
    loggers: tuple[str, ...] = ()  # where numbers go beside metrics.jsonl and TensorBoard
    checkpoint_seconds: float = 30.0  # also at the end of each epoch; 0 is after every step
    checkpoints: int = 2  # how many are kept: the newest, and those before it
    snapshots: int = 0  # encoders kept along the way, evenly spaced, for curves over training
    health_images: int = 1024  # images of the health panel, once per epoch; 0 is none
    memory_gib: float = 4.0  # decoded images are kept in memory up to this size
    store: str = ""  # a folder that keeps them between runs instead, of any size
    chunk: int = 0  # views that f takes at a time, computed twice, with the loss of the whole batch; 0 is all, once
    recompute: bool = False  # compute f's stages again in the backward pass, in the place of keeping them
    strategy: str = "ddp"  # what several processes do: ddp, each all weights; fsdp, each a part of them
    stuck_seconds: float = 600.0  # a process that others wait for so long ends the run
    known: tuple[str, ...] = ()  # spaces of what the data knows of each photograph; said by the data

    def __post_init__(self) -> None:
        hints = get_type_hints(Recipe)
        for field in fields(self):
            value = getattr(self, field.name)
            object.__setattr__(self, field.name, _typed(field.name, value, hints[field.name]))
        for name in ("size", "epochs", "batch_size", "log_steps", "checkpoints"):
            _at_least(name, getattr(self, name), 1)
        _at_least("batch_size", self.batch_size, 2)  # a contrast needs another image
        for name in (
            *(
                "seed",
                "weight_decay",
                "weight_decay_end",
                "momentum",
                "lr_1d",
                "warmup_epochs",
                "warmup_from",
                "final_lr",
            ),
            *("clip_norm", "checkpoint_seconds", "snapshots", "health_images", "memory_gib", "chunk", "channels"),
        ):
            _at_least(name, getattr(self, name), 0)
        _at_least("stuck_seconds", self.stuck_seconds, 1)
        if self.health_images == 1:
            raise RequestError("health_images=1 must be 0, for none, or at least 2: the panel compares images")
        if not 0 < self.base_lr < math.inf:
            raise RequestError(f"base_lr={self.base_lr!r} must be a number above 0")
        if self.warmup_epochs > self.epochs:
            raise RequestError(f"warmup_epochs={self.warmup_epochs:g} is longer than the run, epochs={self.epochs}")
        self._check_channels()
        if self.known:
            from augaware.spaces import known_spaces  # torch, which a recipe does without

            known_spaces(self.known)
        choices = {"optimizer": OPTIMIZERS, "precision": PRECISIONS, "device": DEVICES, "strategy": STRATEGIES}
        choices["compile"] = COMPILE
        for name, accepted in choices.items():
            if getattr(self, name) not in accepted:
                value = getattr(self, name)
                raise RequestError(f"{name}={value!r} is unknown; accepted: {', '.join(accepted)}")

    def _check_channels(self) -> None:
        """Raise :class:`RequestError` for other numbers per channel than there are, and for a range of nothing."""
        count = 3 if self.measuring else self.channels or 3
        said = {3: "three"}.get(count, str(count))
        for name in ("mean", "std"):
            if len(getattr(self, name)) != count or (name == "std" and min(self.std) <= 0):
                raise RequestError(
                    f"{name}={getattr(self, name)!r} must be {said} numbers, one per channel; std above 0"
                )
        low, high = self.pixel_range if len(self.pixel_range) == 2 else (0, 0)
        if self.pixel_range and not (self.channels and 0 <= low < high <= 65535):
            raise RequestError(
                f"pixel_range={self.pixel_range!r} must be (low, high) of pixels that channels=n reads as they are, "
                "such as (0, 4095) of a sensor of 12 bits, or () for all that 8 or 16 bits hold"
            )

    @property
    def reading(self) -> Reading:
        """How files become pixels."""
        return Reading(self.channels, self.pixel_range)

    @property
    def measuring(self) -> bool:
        """Whether mean and std are yet to be measured: files read as they are do not have ImageNet's."""
        return self.channels > 0 and (self.mean, self.std) == (IMAGENET_MEAN, IMAGENET_STD)

    @property
    def decoded_side(self) -> int:
        """Images are shrunk to this short side as they are read: a crop of a fifth of the area stays above ``size``."""
        return 3 * self.size

    def to_json(self) -> str:
        """The recipe as JSON text."""
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Recipe:
        """Read :meth:`to_json`'s text. Raises :class:`RequestError` for unknown or ill-typed fields."""
        values = json.loads(text)
        if not isinstance(values, dict):
            raise TypeError(f"a recipe is an object in JSON, not {type(values).__name__}")
        return cls.from_fields(values)

    @classmethod
    def from_fields(cls, values: Mapping[str, Any]) -> Recipe:
        """A recipe of the given fields, defaults for the others."""
        check_fields(values)
        return cls(**dict[str, Any](values))

    def changed(self, values: Mapping[str, Any]) -> Recipe:
        """The recipe with some fields changed."""
        check_fields(values)
        return replace(self, **dict(values))


def check_fields(values: Mapping[str, Any]) -> None:
    """Raise :class:`RequestError` for a key that is no field of a recipe."""
    accepted = [field.name for field in fields(Recipe)]
    for key in values:
        if key not in accepted:
            raise RequestError(
                f"unknown recipe field {key!r}; accepted: {', '.join(accepted)}{did_you_mean(key, accepted)}"
            )


def parse_settings(settings: Sequence[str]) -> dict[str, Any]:
    """``["base_lr=0.1", "host=simclr()"]`` as fields; values are literals, or text where they are not."""
    values: dict[str, Any] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals:
            raise RequestError(f"--set {setting!r} is not of the form key=value, such as base_lr=0.1")
        try:
            values[key.strip()] = ast.literal_eval(text)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            values[key.strip()] = text
    check_fields(values)
    return values


def _at_least(name: str, value: float, least: float) -> None:
    if not value >= least or math.isinf(value):
        raise RequestError(f"{name}={value!r} must be at least {least:g}")


def _typed(name: str, value: Any, hint: Any) -> Any:
    """``value`` as the field's type; an int stands for a float and a list for a tuple."""
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint in (int, float, str, bool):
        if type(value) is not hint:
            raise RequestError(f"{name}={value!r} must be of type {hint.__name__}")
        return value
    if isinstance(value, str) or not isinstance(value, (tuple, list)):
        value = (value,)
    if hint == tuple[str, ...]:
        if not all(isinstance(v, str) for v in value):
            raise RequestError(f"{name}={value!r} must be a list of specs, each a text")
        return tuple(value)
    if not all(isinstance(v, (int, float)) for v in value):
        raise RequestError(f"{name}={value!r} must be a list of numbers")
    return tuple(float(v) for v in value)
