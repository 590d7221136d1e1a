"""Weights that load strictly into torchvision's own network, its classifier replaced by the identity."""

from __future__ import annotations

import json
from pathlib import Path
from typing import ClassVar

from safetensors import safe_open
from safetensors.torch import load_file, save
from torch import nn

from augaware.checkpoint import plain_weights
from augaware.exports.base import Export, Reader, normalised
from augaware.exports.networks import in_torchvision
from augaware.frozen import Frozen

__all__ = ["Torchvision"]


class Torchvision(Export):
    """A .safetensors file for torchvision's network of that name: ResNets, and any torchvision/NAME.

    Its metadata say which network, where its classifier was, mean, std and size, and how to load it.
    """

    library: ClassVar[str] = "torchvision"
    ending: ClassVar[str] = ".safetensors"

    def write(self, frozen: Frozen, place: Path, run: Path | None) -> None:
        """The weights under torchvision's names."""
        name, head = in_torchvision(frozen)
        said = {"format": "pt", "network": name, "classifier": head, "load": _lines(name, head, place.name)}
        numbers = {"mean": list(frozen.mean), "std": list(frozen.std), "size": frozen.size}
        place.write_bytes(save(plain_weights(frozen.f), said | {k: json.dumps(v) for k, v in numbers.items()}))

    def read(self, place: Path) -> Reader:
        """``get_model``, its classifier taken off, and a strict ``load_state_dict``."""
        from torchvision import models

        said = _metadata(place)
        model = models.get_model(said["network"], weights=None)
        model.set_submodule(said["classifier"], nn.Identity())
        model.load_state_dict(load_file(place))
        model.eval()
        return lambda pixels: model(normalised(pixels, json.loads(said["mean"]), json.loads(said["std"])))

    def usage(self, place: Path) -> str:
        """The lines of its metadata."""
        said = _metadata(place)
        return _lines(said["network"], said["classifier"], str(place))


def _metadata(place: Path) -> dict[str, str]:
    with safe_open(place, "pt") as file:
        return dict(file.metadata())


def _lines(name: str, head: str, file: str) -> str:
    return (
        "import safetensors.torch, torch, torchvision\n"
        f"model = torchvision.models.get_model({name!r})\n"
        f"model.set_submodule({head!r}, torch.nn.Identity())\n"
        f"model.load_state_dict(safetensors.torch.load_file({file!r}))"
    )
