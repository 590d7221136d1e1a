"""Encoders by name: f maps normalised images (B, C, H, W) to features y, (B, dim); C is 3 if the spec says no other."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from augaware import lookup
from augaware.checks import check_widths
from augaware.errors import RequestError, did_you_mean

LIBRARIES = ("timm", "torchvision")


class Encoder(nn.Module):
    """f: a backbone with the width of its pooled features.

    ``reads`` names the omega that f takes as its second argument, (B, columns); None, and this class, takes none.
    ``branches``: the features are those of so many networks, side by side.
    """

    reads: str | None = None
    branches: int = 1

    def __init__(self, backbone: nn.Module, dim: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        """Normalised images (B, C, H, W) -> features (B, dim), after global pooling."""
        y: Tensor = self.backbone(x)
        return y


def build_encoder(spec: str) -> Encoder:
    """The encoder that ``spec`` names, with random weights.

    A plug-in of this room or a dotted module of yours (``"resnet18(stem='cifar')"``), or any network of a library:
    ``"timm/resnet26"``, ``"torchvision/resnet34(stem='cifar')"``. ``channels=5`` in a spec: images of five. timm's
    networks are then initialised as timm does, torchvision's first convolution as :func:`first_of` says. Raises
    :class:`RequestError` for an unknown name.
    """
    library, slash, rest = spec.strip().partition("/")
    if not slash or "(" in library:  # the slash of an argument, as in branched('timm/resnet18')
        backbone = lookup.build("nets", spec)
    elif library in LIBRARIES:
        parsed = lookup.parse(rest, "encoder")
        extra = set(parsed.kwargs) - {"stem", "channels"}
        if extra or parsed.args:
            raise RequestError(
                f"encoder {spec!r}: its arguments are stem, 'imagenet' (default) or 'cifar', and channels"
            )
        channels = input_channels(spec)
        make = _from_timm if library == "timm" else _from_torchvision
        backbone = make(parsed.name, channels)
        if parsed.kwargs.get("stem", "imagenet") != "imagenet":
            small_image_stem(backbone, parsed.kwargs["stem"])
    else:
        raise RequestError(f"encoder {spec!r}: unknown library {library!r}; accepted: {', '.join(LIBRARIES)}")
    if isinstance(backbone, Encoder):
        return backbone
    return Encoder(backbone, feature_dim(backbone, channels=input_channels(spec)))


def input_channels(spec: str) -> int:
    """Of how many channels an encoder spec takes images: what it says, or the encoder in it; 3 where none does."""
    parsed = lookup.parse(spec.strip().removeprefix("timm/").removeprefix("torchvision/"), "encoder")
    if "channels" in parsed.kwargs:
        check_widths(f"encoder {spec!r}", channels=parsed.kwargs["channels"])
        return int(parsed.kwargs["channels"])
    inner = parsed.kwargs.get("encoder", parsed.args[0] if parsed.args else None)
    return input_channels(inner) if isinstance(inner, str) and _takes(parsed.name, "encoder") else 3


def with_channels(spec: str, channels: int) -> str:
    """``spec`` for images of so many ``channels``; unchanged where they are 3 or it says so.

    Raises :class:`RequestError` where it says another number, or its network takes no other than 3.
    """
    if input_channels(spec) == channels:
        return spec
    library, slash, rest = spec.strip().partition("/")
    library = f"{library}/" if slash and "(" not in library else ""
    parsed = lookup.parse(rest if library else spec, "encoder")
    told = input_channels(spec)
    if told != 3 or (not library and not _takes(parsed.name, "channels") and not _takes(parsed.name, "encoder")):
        takes = f"takes images of {told} channels" if told != 3 else "has no argument channels: give your function one"
        raise RequestError(f"encoder {spec!r} {takes}, and those of the data have {channels}")
    args, kwargs = list(parsed.args), dict(parsed.kwargs)
    if library or _takes(parsed.name, "channels"):
        kwargs["channels"] = channels
    elif args:
        args[0] = with_channels(args[0], channels)
    else:
        kwargs["encoder"] = with_channels(kwargs.get("encoder", "resnet18"), channels)
    given = [*map(repr, args), *(f"{key}={value!r}" for key, value in kwargs.items())]
    return f"{library}{parsed.name}({', '.join(given)})"


def _takes(name: str, argument: str) -> bool:
    """Whether the encoder of this room, or of a module of yours, has such an argument."""
    if "." not in name and not lookup.has("nets", name):
        return False
    return argument in inspect.signature(lookup.load("nets", name)).parameters


class Modular(Protocol):
    """What :func:`evaluating` needs of a network; an ``nn.Module`` has it."""

    def eval(self) -> nn.Module:
        """Leave training mode."""

    def modules(self) -> Iterator[nn.Module]:
        """The network and all its parts."""


@contextmanager
def evaluating(network: Modular) -> Iterator[None]:
    """Eval mode inside, each module's training flag restored after: batch statistics stay bit for bit as they were."""
    training = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, flag in training.items():
            module.training = flag


def feature_dim(backbone: nn.Module, side: int | None = None, channels: int = 3) -> int:
    """The width of what the backbone returns, from one blank image of ``side`` pixels in eval mode."""
    side = side or _input_side(backbone)
    name, device = (
        type(getattr(backbone, "backbone", backbone)).__name__,
        next((p.device for p in backbone.parameters()), None),
    )
    with evaluating(backbone), torch.no_grad():
        try:
            y = backbone(torch.zeros(1, channels, side, side, device=device))
        except (RuntimeError, ValueError, TypeError, AssertionError) as error:  # networks refuse a size in many ways
            said = " ".join(str(error).split())[:200]
            raise RequestError(
                f"encoder: {name} cannot take images of {channels} x {side} x {side} ({said}); "
                "say the size that it takes: --size 224, or freeze(network, size=224)"
            ) from None
    if not isinstance(y, torch.Tensor) or y.ndim != 2:
        shape = tuple(y.shape) if isinstance(y, torch.Tensor) else f"a {type(y).__name__}"
        raise RequestError(f"encoder: {name} returns {shape}; pooled (B, dim) is needed")
    return int(y.shape[1])


def _input_side(backbone: nn.Module) -> int:
    """The side a network insists on (ViT), else 64."""
    configured = getattr(backbone, "default_cfg", {}).get("input_size") if hasattr(backbone, "default_cfg") else None
    fixed = getattr(backbone, "image_size", None)  # torchvision's ViT
    return int(fixed or (configured[1] if configured and hasattr(backbone, "patch_embed") else 64))


def _from_timm(name: str, channels: int) -> nn.Module:
    import timm

    accepted = timm.list_models()
    if name.partition(".")[0] not in accepted:
        raise RequestError(f"encoder 'timm/{name}': timm has no such model{did_you_mean(name, accepted)}")
    wide: dict[str, Any] = {} if channels == 3 else {"in_chans": channels}
    model: nn.Module = timm.create_model(name, pretrained=False, num_classes=0, **wide)
    return model


def _from_torchvision(name: str, channels: int) -> nn.Module:
    from torchvision import models

    accepted = models.list_models(module=models)
    if name not in accepted:
        raise RequestError(f"encoder 'torchvision/{name}': torchvision has no such model{did_you_mean(name, accepted)}")
    model: nn.Module = models.get_model(name, weights=None)
    remove_classifier(model, name)
    if channels != 3:
        first_of(model, channels)
    return model


def first_of(model: nn.Module, channels: int) -> None:
    """Give the one convolution of ``model`` that takes 3 channels ``channels``.

    Weights ~ N(0, s^2 3 / channels), s the deviation of those that it had: what comes out of it keeps its variance.
    """
    found = [(name, m) for name, m in model.named_modules() if isinstance(m, nn.Conv2d) and m.in_channels == 3]
    if len(found) != 1:
        raise RequestError(
            f"encoder: {type(model).__name__} has {len(found)} convolutions of 3 channels, so its first is not known; "
            f"use the timm form of it: timm/NAME(channels={channels})"
        )
    name, conv = found[0]
    new = nn.Conv2d(
        channels,
        conv.out_channels,
        conv.kernel_size,  # type: ignore[arg-type]
        conv.stride,  # type: ignore[arg-type]
        conv.padding,  # type: ignore[arg-type]
        bias=conv.bias is not None,
    )
    nn.init.normal_(new.weight, 0, float(conv.weight.detach().std()) * math.sqrt(3 / channels))
    if new.bias is not None:
        nn.init.zeros_(new.bias)
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, new)


def remove_classifier(model: nn.Module, name: str) -> None:
    """Replace the last linear layer of a torchvision classifier by the identity, so that it returns its features."""
    model.set_submodule(classifier(model, name), nn.Identity())


def classifier(model: nn.Module, name: str) -> str:
    """Where the last linear layer of the torchvision classifier ``name`` is: ``"fc"``, ``"classifier.1"``."""
    for attribute in ("fc", "head", "heads", "classifier"):
        head = getattr(model, attribute, None)
        if isinstance(head, nn.Linear) or (attribute == "heads" and head is not None):
            return attribute
        if isinstance(head, nn.Sequential) and isinstance(head[-1], nn.Linear):
            return f"{attribute}.{len(head) - 1}"
    raise RequestError(f"encoder 'torchvision/{name}': no classifier to take off was found; use the timm form of it")


def small_image_stem(model: nn.Module, stem: str) -> None:
    """The CIFAR stem of a ResNet: a 3x3 convolution of stride 1 and no max-pooling, for images of about 32 px."""
    conv, pool = getattr(model, "conv1", None), getattr(model, "maxpool", None)
    if stem != "cifar":
        raise RequestError(f"encoder: stem={stem!r} is unknown; accepted: 'imagenet', 'cifar'")
    if not isinstance(conv, nn.Conv2d) or pool is None:
        raise RequestError(f"encoder: stem='cifar' is for ResNets; {type(model).__name__} has no conv1 and maxpool")
    model.conv1 = nn.Conv2d(conv.in_channels, conv.out_channels, 3, stride=1, padding=1, bias=conv.bias is not None)
    model.maxpool = nn.Identity()
