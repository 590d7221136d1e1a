"""Checkpoints of the papers' own code, and of others that are a prefix away, as an encoder folder.

    AugSelf, CASSLE     ckpt-N.pth: {"backbone", "projector", "predictor", "ss_predictor", "optimizers", ...}
    MoCo                {"state_dict": {"module.encoder_q.conv1.weight", ...}}
    solo-learn          {"state_dict": {"backbone.conv1.weight", ...}}
    lightly             the same, or its Sequential of torchvision's parts: {"state_dict": {"backbone.0.weight", ...}}
    torchvision, DINO   {"conv1.weight", ...}; {"teacher", "student"}

The encoder is where the names are, whatever stands before them; DataParallel's ``module.`` is one such prefix. Of
several the online one is taken: a momentum encoder, a target or a teacher only where it is alone. Nothing is executed:
tensors and plain containers are read (``weights_only``), and a file that needs more is refused.
"""

from __future__ import annotations

import html
import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import Tensor

from augaware.checkpoint import EXPORT, plain_weights, refuse_existing
from augaware.disk import drafted
from augaware.errors import RequestError
from augaware.nets.base import build_encoder
from augaware.nets.residual import shapes

STL10 = {"size": 96, "mean": [0.43, 0.42, 0.39], "std": [0.27, 0.26, 0.27]}  # as both papers' code has them
IMAGENET100 = {"size": 224, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
RESNETS = {
    ("BasicBlock", (2, 2, 2, 2)): "resnet18",
    ("BasicBlock", (3, 4, 6, 3)): "torchvision/resnet34",
    ("Bottleneck", (3, 4, 6, 3)): "resnet50",
    ("Bottleneck", (3, 4, 23, 3)): "torchvision/resnet101",
    ("Bottleneck", (3, 8, 36, 3)): "torchvision/resnet152",
}
PARTS = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4"}  # of a Sequential
FOLLOWS = re.compile(r"(momentum|target|teacher|ema)|(encoder|backbone)_k(\.|$)|key_encoder")  # a moving average
MARKS = ("conv1.weight", "layer4.0.conv1.weight")  # by which a ResNet is found
COUNT = "num_batches_tracked"


@dataclass(frozen=True)
class Imported:
    """The folder that was made: the spec of its encoder, the input it is taken to have, and why; what was left out."""

    path: Path
    encoder: str
    size: int
    because: str
    taken: str
    left_out: Mapping[str, int]

    def __fspath__(self) -> str:
        return str(self.path)

    def __str__(self) -> str:
        left = ", ".join(f"{name} ({count})" for name, count in self.left_out.items())
        said = (
            f"wrote {self.path / Path(EXPORT).name}: {self.encoder}, the tensors of {self.taken}; images of "
            f"{self.size} px {self.because}; left out: {left or 'nothing'}"
        )
        return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in said)  # names are a stranger's

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(str(self))}</p>"


def import_official(file: Path | str, out: Path | str, encoder: str | None = None) -> Imported:
    """Write the encoder of the checkpoint ``file`` to the new folder ``out``; ``encoder`` is its spec, if not a ResNet.

    Raises :class:`RequestError` for a file that cannot be read, or holds no such encoder.
    """
    file, out = Path(file).expanduser(), Path(out)
    refuse_existing(out)
    tensors = _flat(_read(file))
    expected = None if encoder is None else build_encoder(encoder)
    names = MARKS if expected is None else [k for k in expected.backbone.state_dict() if not k.endswith(COUNT)]
    marks = MARKS if not names or set(MARKS) <= set(names) else (names[0], names[-1])
    tensors, prefix = _found(tensors, marks, file, encoder)
    found = {key.removeprefix(prefix): t for key, t in tensors.items() if key.startswith(prefix)}
    spec = encoder or _resnet(found, file)
    f = expected or build_encoder(spec)
    own = f.backbone.state_dict()
    for key, ours in own.items():
        if key not in found and not key.endswith(COUNT):  # which torch had not always
            raise RequestError(f"checkpoint {str(file)!r} does not fit {spec!r}: it has no {prefix + key!r}")
        if key in found and found[key].shape != ours.shape:
            raise RequestError(
                f"checkpoint {str(file)!r} does not fit {spec!r}: {prefix + key!r} has the shape "
                f"{tuple(found[key].shape)}, not {tuple(ours.shape)}"
            )
        if key in found and not _plain(found[key], ours):
            raise RequestError(
                f"checkpoint {str(file)!r} does not fit {spec!r}: {prefix + key!r} is of {found[key].dtype}, "
                f"{found[key].layout}, on {found[key].device}; accepted: plain numbers as those of {ours.dtype}"
            )
    f.backbone.load_state_dict({key: found.get(key, ours) for key, ours in own.items()})
    setting, because = _setting(file, spec)
    config = {"encoder": spec, "dim": f.dim, **setting, "imported_from": file.name}
    with drafted(out) as place:
        place.mkdir()
        (place / "config.json").write_text(json.dumps(config, indent=2) + "\n")
        (place / Path(EXPORT).name).write_bytes(save(plain_weights(f)))
    rest = Counter(
        _owner(key, prefix) for key in tensors if key.removeprefix(prefix) not in own or not key.startswith(prefix)
    )
    return Imported(out, spec, int(setting["size"]), because, repr(prefix.rstrip(".") or file.name), dict(rest))


def _plain(found: Tensor, ours: Tensor) -> bool:
    """Whether one can be copied into the other: not sparse, quantised or empty, nor numbers of another kind."""
    whole = found.layout == torch.strided and found.device.type == "cpu" and not found.is_quantized
    kind = found.is_floating_point(), found.is_complex()
    return whole and kind == (ours.is_floating_point(), ours.is_complex())


def _read(file: Path) -> Any:
    """What the file holds, of tensors and plain containers."""
    if not file.is_file():
        raise RequestError(f"checkpoint {str(file)!r}: there is no such file")
    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch, zip and pickle raise many kinds for one cause
        said = str(error)
    if "weights" in said.lower() and ("unsupported" in said.lower() or "global" in said.lower()):
        needs = re.search(r"GLOBAL ([\w.]+)", said)
        raise RequestError(
            f"checkpoint {str(file)!r} holds more than tensors{f' ({needs[1]})' if needs else ''}, and to read that "
            "is to run it; if you trust it, keep its tensors alone: "
            "torch.save(torch.load(FILE, weights_only=False)['state_dict'], 'tensors.pth')"
        )
    raise RequestError(f"checkpoint {str(file)!r} cannot be read: it is damaged, cut short or no checkpoint of torch")


def _flat(value: Any, prefix: str = "", depth: int = 4) -> dict[str, Tensor]:
    """All tensors in nested dicts, by their dotted names, but for those of optimisers."""
    found: dict[str, Tensor] = {}
    for key, part in value.items() if isinstance(value, Mapping) else ():
        if isinstance(part, Tensor) and isinstance(key, str):
            found[prefix + key] = part
        elif depth and isinstance(part, Mapping) and isinstance(key, str) and not key.startswith("optimizer"):
            found |= _flat(part, f"{prefix}{key}.", depth - 1)
    return found


def _found(
    tensors: dict[str, Tensor], marks: tuple[str, str], file: Path, encoder: str | None
) -> tuple[dict[str, Tensor], str]:
    """The tensors under the names of a ResNet or of ``encoder``, and what stands before them.

    A Sequential of torchvision's parts has its numbers turned into names where no names are found.
    """
    named = tensors
    for _ in range(2):
        places = {key.removesuffix(marks[0]) for key in named if key.endswith(marks[0])}
        places = {p for p in places if (not p or p.endswith(".")) and all(p + mark in named for mark in marks)}
        if places:
            break
        named = {_by_name(key): t for key, t in tensors.items()}
    online = {p for p in places if not FOLLOWS.search(p)} or places
    if len(online) == 1:
        return named, online.pop()
    if online:
        raise RequestError(
            f"checkpoint {str(file)!r} holds several encoders: {', '.join(sorted(map(repr, online)))}; save the "
            "tensors of one to a file of their own"
        )
    looked = f"{encoder!r}" if encoder else "a ResNet; say which encoder it is with --encoder, such as vit_small"
    some = ", ".join(repr(key) for key in sorted(tensors)[:3])
    raise RequestError(
        f"checkpoint {str(file)!r} holds no tensors by the names of {looked} (found: {some or 'no tensors at all'})"
    )


def _by_name(key: str) -> str:
    """``backbone.4.0.conv1.weight`` as ``backbone.layer1.0.conv1.weight``: the first number of a name is a part."""
    before, number, after = re.match(r"((?:[A-Za-z_]\w*\.)*)(\d+)?(.*)", key, re.DOTALL).groups()  # type: ignore[union-attr]
    return f"{before}{PARTS.get(number, number or '')}{after}"


def _resnet(weights: Mapping[str, Tensor], file: Path) -> str:
    """The spec of the ResNet that these tensors are of."""
    made = shapes(weights)
    spec = RESNETS.get((made["block"].__name__, tuple(made["layers"])))
    if spec is None or made.get("groups", 1) != 1 or made.get("width_per_group", 64) != 64:
        raise RequestError(
            f"checkpoint {str(file)!r}: a ResNet with {made['layers']} blocks of this width is none of "
            f"{', '.join(RESNETS.values())}; say which with --encoder, such as torchvision/wide_resnet50_2"
        )
    return spec if weights["conv1.weight"].shape[-1:] != (3,) else f"{spec}(stem='cifar')"


def _setting(file: Path, spec: str) -> tuple[dict[str, Any], str]:
    """The input that the encoder had: as args.json beside the checkpoint says, else the papers' with this network."""
    try:
        data = json.loads(file.with_name("args.json").read_text())["dataset"]
        return dict(STL10 if data.startswith("stl10") else IMAGENET100), f"(args.json: {data[:40]})"
    except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError):
        pass
    small = "resnet18" in spec
    return dict(STL10 if small else IMAGENET100), f"(the papers' {'STL10' if small else 'ImageNet100'}; else: --size)"


def _owner(key: str, prefix: str) -> str:
    """Whose tensor it is, as people say it: the part of its name after the encoder's prefix, or else the first."""
    parts = key.removeprefix(prefix).split(".") if prefix and key.startswith(prefix) else key.split(".")
    return next((part for part in parts if part not in ("module", "state_dict", "model")), key)
