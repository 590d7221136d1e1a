"""One batch spread over processes: the few collectives that the losses need. With one process each is the identity.

The rule that every loss follows: **the mean over processes of the loss, and of its gradients, is that of one process
with the whole batch.** What couples the images of a batch is gathered; what does not stays local. The collectives
carry gradients: their backward pass is the true adjoint, summed over processes, so that the mean which data-parallel
training takes is exact.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def join(device: str) -> str:
    """The device of this process, of kind ``device``; where torchrun started several, they become one group."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return device
    if device == "cuda":
        device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
        torch.cuda.set_device(device)
    if not dist.is_initialized():
        dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    return device


def world() -> int:
    """The number of processes."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """The number of this process, from 0."""
    return dist.get_rank() if world() > 1 else 0


def _summed(x: Tensor) -> Tensor:
    """The sum over processes; a copy, as others may read x, in the one layout that all processes share."""
    x = x.clone(memory_format=torch.contiguous_format)
    dist.all_reduce(x)
    return x


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        x = x.contiguous()
        parts = [torch.empty_like(x) for _ in range(world())]
        dist.all_gather(parts, x)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return local(_summed(grad))


class _Total(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return _summed(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return _summed(grad)


def gather(x: Tensor) -> Tensor:
    """The rows of all processes, (B, ...) -> (world B, ...), in the order of their numbers; carries gradients."""
    if world() == 1:
        return x
    gathered: Tensor = _Gather.apply(x)
    return gathered


def local(x: Tensor) -> Tensor:
    """This process's rows of a gathered tensor."""
    return x.chunk(world())[rank()]


def total(x: Tensor) -> Tensor:
    """The sum over processes; carries gradients."""
    if world() == 1:
        return x
    summed: Tensor = _Total.apply(x)
    return summed


@torch.no_grad()
def averaged(numbers: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The mean over processes of each scalar, which for a loss is that of the whole batch."""
    if world() == 1 or not numbers:
        return dict(numbers)
    mean = _summed(torch.stack([value.float() for value in numbers.values()])) / world()
    return dict(zip(numbers, mean.unbind(), strict=True))
