"""A folder in the layout of timm on the Hugging Face Hub, which transformers reads too.

    model.safetensors   the weights, under timm's names
    config.json         architecture, model_args, num_classes 0, num_features, pretrained_cfg: input and normalisation

timm's own transform made of it is the papers': the short side is resized to the size, bicubic, and the centre cropped.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save

from augaware.checkpoint import plain_weights
from augaware.exports.base import Reader, normalised
from augaware.exports.networks import in_timm
from augaware.frozen import Frozen


def write_folder(frozen: Frozen, place: Path, beside: Mapping[str, Any]) -> None:
    """Write the folder ``place``; ``beside`` is what else its config says. Raises :class:`RequestError`."""
    architecture, arguments, model = in_timm(frozen)
    known: dict[str, Any] = model.pretrained_cfg  # type: ignore[assignment]
    config = {
        "architecture": architecture,
        "num_classes": 0,
        "num_features": frozen.dim,
        **({"model_args": arguments} if arguments else {}),
        "pretrained_cfg": {
            "custom_load": False,
            "input_size": [frozen.channels, frozen.size, frozen.size],
            "fixed_input_size": known.get("fixed_input_size", False) and not arguments.get("dynamic_img_size", False),
            "interpolation": "bicubic",
            "crop_pct": 1.0,
            "crop_mode": "center",
            "mean": list(frozen.mean),
            "std": list(frozen.std),
            "num_classes": 0,
            "pool_size": None,
            "first_conv": known.get("first_conv"),
            "classifier": known.get("classifier"),
        },
        **beside,
    }
    place.mkdir()
    (place / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    (place / "model.safetensors").write_bytes(save(plain_weights(frozen.f), {"format": "pt"}))


def read_folder(place: Path) -> Reader:
    """timm's own reading of it."""
    import timm
    from timm.data.config import resolve_model_data_config

    model = timm.create_model(f"local-dir:{place}", pretrained=True).eval()
    config = resolve_model_data_config(model)  # type: ignore[no-untyped-call]
    return lambda pixels: model(normalised(pixels, config["mean"], config["std"]))
