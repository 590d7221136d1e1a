"""Encoders by name: f maps normalised images (B, 3, H, W) to features y, (B, dim)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import torch
from torch import Tensor, nn

from augaware import lookup
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
        """Normalised images (B, 3, H, W) -> features (B, dim), after global pooling."""
        y: Tensor = self.backbone(x)
        return y


def build_encoder(spec: str) -> Encoder:
    """The encoder that ``spec`` names, with random weights.

    A plug-in of this room or a dotted module of yours (``"resnet18(stem='cifar')"``), or any network of a library:
    ``"timm/resnet26"``, ``"torchvision/resnet34(stem='cifar')"``. Raises :class:`RequestError` for an unknown name.
    """
    library, slash, rest = spec.strip().partition("/")
    if not slash or "(" in library:  # the slash of an argument, as in branched('timm/resnet18')
        backbone = lookup.build("nets", spec)
    elif library in LIBRARIES:
        parsed = lookup.parse(rest, "encoder")
        extra = set(parsed.kwargs) - {"stem"}
        if extra or parsed.args:
            raise RequestError(f"encoder {spec!r}: the only argument is stem, 'imagenet' (default) or 'cifar'")
        make = _from_timm if library == "timm" else _from_torchvision
        backbone = make(parsed.name)
        if parsed.kwargs.get("stem", "imagenet") != "imagenet":
            small_image_stem(backbone, parsed.kwargs["stem"])
    else:
        raise RequestError(f"encoder {spec!r}: unknown library {library!r}; accepted: {', '.join(LIBRARIES)}")
    return backbone if isinstance(backbone, Encoder) else Encoder(backbone, feature_dim(backbone))


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


def feature_dim(backbone: nn.Module, side: int | None = None) -> int:
    """The width of what the backbone returns, from one blank image of ``side`` pixels in eval mode."""
    side = side or _input_side(backbone)
    name, device = (
        type(getattr(backbone, "backbone", backbone)).__name__,
        next((p.device for p in backbone.parameters()), None),
    )
    with evaluating(backbone), torch.no_grad():
        try:
            y = backbone(torch.zeros(1, 3, side, side, device=device))
        except (RuntimeError, ValueError, TypeError, AssertionError) as error:  # networks refuse a size in many ways
            raise RequestError(
                f"encoder: {name} cannot take images of 3 x {side} x {side} ({' '.join(str(error).split())[:200]}); "
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


def _from_timm(name: str) -> nn.Module:
    import timm

    accepted = timm.list_models()
    if name.partition(".")[0] not in accepted:
        raise RequestError(f"encoder 'timm/{name}': timm has no such model{did_you_mean(name, accepted)}")
    model: nn.Module = timm.create_model(name, pretrained=False, num_classes=0)
    return model


def _from_torchvision(name: str) -> nn.Module:
    from torchvision import models

    accepted = models.list_models(module=models)
    if name not in accepted:
        raise RequestError(f"encoder 'torchvision/{name}': torchvision has no such model{did_you_mean(name, accepted)}")
    model: nn.Module = models.get_model(name, weights=None)
    remove_classifier(model, name)
    return model


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
