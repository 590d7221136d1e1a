"""An encoder whose last stage is there several times (LooC++, Xiao et al., ICLR 2021)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from augaware.checks import check_widths
from augaware.errors import RequestError
from augaware.nets.base import Encoder, build_encoder

__all__ = ["branched"]


def branched(encoder: str = "resnet18", branches: int = 2) -> Encoder:
    """``encoder`` with ``branches`` last stages beside each other; D is so many times its own, branch after branch.

    The last stage is a ResNet's layer4, or the last part with convolutions of a plain sequence. Each starts with
    weights of its own.
    """
    check_widths("encoder 'branched'", branches=branches)
    if not isinstance(encoder, str):
        raise RequestError(f"encoder 'branched': encoder={encoder!r} must be a spec in quotes, such as 'resnet18'")
    found = [build_encoder(encoder) for _ in range(branches)]
    parts = [_last_stage(f.backbone, encoder) for f in found]
    f, (holder, name) = found[0], parts[0]
    setattr(holder, name, Fork([getattr(*part) for part in parts]))
    f.dim, f.branches = branches * f.dim, branches
    return f


class Fork(nn.Module):
    """Stages that read the same maps; their channels side by side."""

    def __init__(self, stages: Sequence[nn.Module]) -> None:
        super().__init__()
        self.stages = nn.ModuleList(stages)

    def forward(self, x: Tensor) -> Tensor:
        """(B, c, H, W) -> (B, branches x channels, H', W')."""
        return torch.cat([stage(x) for stage in self.stages], dim=1)


def _last_stage(backbone: nn.Module, encoder: str) -> tuple[nn.Module, str]:
    """Where the last stage is kept: a module and the name of its child."""
    if isinstance(getattr(backbone, "layer4", None), nn.Module):
        return backbone, "layer4"
    if isinstance(backbone, nn.Sequential):
        for name, child in reversed(list(backbone.named_children())):
            if any(isinstance(m, nn.Conv2d) for m in child.modules()):
                return backbone, name
    raise RequestError(f"encoder 'branched': {encoder!r} has no last stage to repeat; use a ResNet, such as resnet18")
