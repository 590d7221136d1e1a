"""Which network of timm or torchvision an encoder is: the one of that name with the same tensors, all of them."""

from __future__ import annotations

import inspect
from typing import Any

from torch import nn

from augaware import lookup
from augaware.errors import RequestError
from augaware.frozen import Frozen
from augaware.nets.base import LIBRARIES, classifier


def in_timm(frozen: Frozen) -> tuple[str, dict[str, Any], nn.Module]:
    """timm's architecture, the arguments that make it and such a network. Raises :class:`RequestError`."""
    import timm

    name, arguments = _named(frozen), {}
    if name == "vit_small":
        name, arguments = "vit_small_patch16_224", _vit(str(frozen.architecture))
    if frozen.channels != 3:
        arguments |= {"in_chans": frozen.channels}
    model = None
    if name in timm.list_models():
        model = timm.create_model(name, pretrained=False, num_classes=0, **arguments)
    return name, arguments, _same(frozen, model, "timm")


def check_rgb(frozen: Frozen, library: str) -> None:
    """Raise :class:`RequestError` for an encoder of other channels, for a library whose networks have three."""
    if frozen.channels != 3:
        raise RequestError(
            f"encoder {frozen.architecture or frozen.name!r} takes {frozen.channels} channels, and {library}'s networks"
            " have three; use --to timm or hf, or --to onnx, which takes any encoder"
        )


def in_torchvision(frozen: Frozen) -> tuple[str, str]:
    """torchvision's name and where that network has its classifier. Raises :class:`RequestError`."""
    from torchvision import models

    check_rgb(frozen, "torchvision")
    name, head, model = _named(frozen), "", None
    if name in models.list_models(module=models):
        model = models.get_model(name, weights=None)
        head = classifier(model, name)
        model.set_submodule(head, nn.Identity())
    _same(frozen, model, "torchvision")
    return name, head


def _named(frozen: Frozen) -> str:
    """The name in the spec of f, without a library's or a tag of weights; a network of timm says its own."""
    if frozen.architecture is None:
        config = getattr(frozen.f.backbone, "pretrained_cfg", None)
        return str(config.get("architecture", "")) if isinstance(config, dict) else ""
    library, slash, rest = frozen.architecture.partition("/")
    if slash and library in LIBRARIES:
        return lookup.parse(rest, "encoder").name.partition(".")[0]
    return lookup.parse(frozen.architecture, "encoder").name


def _vit(spec: str) -> dict[str, Any]:
    """The arguments of timm's ViT that make ours of ``spec``."""
    parsed = lookup.parse(spec, "encoder")
    bound = inspect.signature(lookup.load("nets", parsed.name)).bind(*parsed.args, **parsed.kwargs)
    bound.apply_defaults()
    named = {"img_size": "size", "patch_size": "patch", "num_heads": "heads"}
    return {theirs: bound.arguments[ours] for theirs, ours in named.items()} | {"dynamic_img_size": True}


def _same(frozen: Frozen, model: nn.Module | None, library: str) -> nn.Module:
    """``model``, where it has the names and shapes of f's tensors."""
    found = None if model is None else {k: v.shape for k, v in model.state_dict().items()}
    if model is None or found != {k: v.shape for k, v in frozen.f.backbone.state_dict().items()}:
        raise RequestError(
            f"encoder {frozen.architecture or frozen.name!r}: {library} has no network with these tensors, as of those "
            "with a CIFAR stem and of augaware's own, such as tiny; use --to onnx, which takes any encoder"
        )
    return model
