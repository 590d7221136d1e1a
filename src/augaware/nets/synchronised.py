"""BatchNorm over the whole batch when it is spread over processes, as both papers train; on CPUs too."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from augaware.distributed import total, world
from augaware.errors import RequestError


def synchronised(module: nn.Module) -> nn.Module:
    """``module`` with every BatchNorm in it, or itself, replaced by a :class:`SyncBatchNorm`; the rest stays in place.

    Weights, buffers (the same tensors), names, settings and modes stay as they are.
    """
    if isinstance(module, _BatchNorm):
        return _replacement(module)
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, _BatchNorm):
                setattr(parent, name, _replacement(child))
    return module


class SyncBatchNorm(_BatchNorm):
    """torch's, and the same on CPUs, which torch's refuses: (B, C, ...) normalised with the moments of all processes.

    B may differ between processes. With one process or in eval mode it is a plain BatchNorm. It is no subclass of
    torch's, which DDP takes on GPUs alone, but runs torch's forward pass there.
    """

    process_group = None  # all
    _check_input_dim = nn.SyncBatchNorm._check_input_dim
    _check_non_zero_input_channels = nn.SyncBatchNorm._check_non_zero_input_channels

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, ...) -> the same shape; what the replaced layer applied next (timm's drop and act) follows."""
        if not self.training or world() == 1:
            y = _BatchNorm.forward(self, input)
        elif input.is_cuda:
            y = nn.SyncBatchNorm.forward(self, input)  # type: ignore[arg-type]
        else:
            y = self._over_processes(input)
        for layer in self.children():
            y = layer(y)
        return y

    def _over_processes(self, input: Tensor) -> Tensor:
        """Two passes, the mean first: the variance is never a difference of large numbers."""
        x = input.float() if input.dtype in (torch.float16, torch.bfloat16) else input
        per_channel = (1, -1, *[1] * (x.ndim - 2))
        others = [0, *range(2, x.ndim)]
        here = torch.full((1,), x.numel() // x.shape[1], dtype=x.dtype, device=x.device)
        both = total(torch.cat([x.sum(others), here]))
        n, mean = both[-1].detach(), both[:-1] / both[-1].detach()
        centred = x - mean.view(per_channel)
        var = total(centred.square().sum(others)) / n
        self._track(mean.detach(), var.detach() * n / (n - 1))
        y = centred * (var + self.eps).rsqrt().view(per_channel)
        if self.weight is not None:
            y = y * self.weight.view(per_channel)
        if self.bias is not None:
            y = y + self.bias.view(per_channel)
        return y.to(input.dtype)

    @torch.no_grad()
    def _track(self, mean: Tensor, var: Tensor) -> None:
        """Move the running mean and (unbiased) variance; ``momentum=None`` is the average of all steps."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        m = 1 / int(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), m)
        self.running_var.lerp_(var.to(self.running_var.dtype), m)


def _replacement(norm: _BatchNorm) -> SyncBatchNorm:
    if isinstance(norm, SyncBatchNorm):
        return norm
    then = dict(norm.named_children())
    if type(norm).forward not in (_BatchNorm.forward, nn.SyncBatchNorm.forward) and set(then) != {"drop", "act"}:
        raise RequestError(f"encoder: {type(norm).__name__} is a BatchNorm of its own kind, unknown how to synchronise")
    new = SyncBatchNorm(
        norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats, device="meta"
    )
    new.weight, new.bias = norm.weight, norm.bias
    new.running_mean, new.running_var = norm.running_mean, norm.running_var
    new.num_batches_tracked = norm.num_batches_tracked
    for name, layer in then.items():
        new.add_module(name, layer)
    new.training = norm.training
    return new
