"""The EMA target: a copy of a module that follows it slowly (Mean Teacher, MoCo, BYOL)."""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import nn

M = TypeVar("M", bound=nn.Module)


def ema_copy(module: M) -> M:
    """A copy that takes no gradient."""
    target = copy.deepcopy(module)
    for parameter in target.parameters():
        parameter.requires_grad_(False)
    return target


@torch.no_grad()
def ema_update(target: nn.Module, online: nn.Module, m: float) -> None:
    """target <- m target + (1 - m) online, parameters only.

    Buffers are not averaged: the target's BN statistics come from its own forward passes, as in the authors' code.
    """
    torch._foreach_lerp_(list(target.parameters()), list(online.parameters()), 1 - m)  # one launch for all
