"""Less memory for more time: activations of f that are not kept, but computed again in the backward pass.

*In chunks* (gradient caching: Gao, Zhang, Han, Callan, Scaling Deep Contrastive Learning Batch Size under Memory
Limited Setup, RepL4NLP 2021): y_k = f(x_k) chunk by chunk without a graph; g and the loss on all y at once; then, with
dL/dy known, each chunk a second time, backward. The loss couples all images of the batch and its gradient is exact; in
memory are the activations of one chunk, and y. *In stages* (Chen, Xu, Zhang, Guestrin, Training Deep Nets with
Sublinear Memory Cost, 2016): the input of each stage is kept, and one stage at a time has activations.

The second pass draws what the first drew (dropout) and leaves batch statistics alone. A BatchNorm normalises what it
sees: in stages the whole batch, so all is exact; in chunks the images of a chunk, and its running statistics move once
a chunk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from augaware.errors import RequestError
from augaware.nets.base import Encoder


def in_chunks(f: nn.Module, images: int, x: Tensor, *told: Tensor) -> Tensor:
    """f(x, ...), (B, D), on at most ``images`` rows at a time, in chunks of almost equal size; 0 is all at once."""
    if not images or len(x) <= images:
        whole: Tensor = f(x, *told)
        return whole
    parts = zip(*(torch.tensor_split(t, -(-len(x) // images)) for t in (x, *told)), strict=True)
    return torch.cat([_again(f, f, *part) for part in parts])


def in_stages(f: Encoder) -> None:
    """Make f forget the activations of its stages: the parts of its sequences (ResNet's and ViT's blocks).

    Weights and their names stay as they are. Raises :class:`RequestError` where f has no such parts.
    """
    if f.reads is not None:  # its stages have their weights during the first pass only
        raise RequestError(
            f"recompute: the weights of this encoder are made from {f.reads!r} anew for each batch, so that its stages "
            "cannot be computed again; use --set chunk=..., which computes all of f again"
        )
    found = list(stages(f.backbone))
    if not found:
        raise RequestError(f"recompute: {type(f.backbone).__name__} has no sequence of stages; use --set chunk=...")
    for stage in found:
        kind = type(stage)
        stage.__class__ = type(f"Recomputed{kind.__name__}", (Recomputed, kind), {})


class Recomputed(nn.Module):
    """Stands before a module's own class: its forward pass, twice."""

    def forward(self, *inputs: Tensor) -> Tensor:
        """As the module's own."""
        return _again(self, super().forward, *inputs)


def stages(module: nn.Module) -> Iterator[nn.Module]:
    """A network's stages: the parts with parts of their own of the outermost sequences."""
    sequence = isinstance(module, (nn.Sequential, nn.ModuleList))
    for child in module.children():
        if sequence and any(True for _ in child.children()):
            yield child
        else:
            yield from stages(child)


def _again(module: nn.Module, forward: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
    """forward(*inputs) of ``module``, computed again when its gradient is wanted."""

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _statistics_kept(module)

    y: Tensor = checkpoint(forward, *inputs, use_reentrant=False, context_fn=contexts)
    return y


@contextmanager
def _statistics_kept(module: nn.Module) -> Iterator[None]:
    """Running statistics do not move inside."""
    norms = [m for m in module.modules() if isinstance(m, _BatchNorm) and m.training and m.track_running_stats]
    before = [(m, m.momentum, None if (n := m.num_batches_tracked) is None else n.clone()) for m in norms]
    for m in norms:
        m.momentum = 0.0  # they move by nothing
    try:
        yield
    finally:
        for m, momentum, number in before:
            m.momentum = momentum
            if m.num_batches_tracked is not None and number is not None:
                m.num_batches_tracked.copy_(number)
