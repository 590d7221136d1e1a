"""MoCo v2 (He, Fan, Wu, Xie, Girshick, CVPR 2020; Chen, Fan, Girshick, He: Improved Baselines with Momentum
Contrastive Learning, 2020).

    q = n(g(f(v_1))),  k = n(g'(f'(v_2)))         n(.) = L2 normalisation, f', g' the EMA target
    L = -log( exp(q.k / T) / (exp(q.k / T) + sum_{k- in queue} exp(q.k- / T)) )

Asymmetric: view 1 is the query, view 2 the key. paper: shuffled BN; AugSelf's and CASSLE's code and here: BN over all
processes. The paper moves the target before it encodes the keys, which is the same as after the optimiser's step.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from augaware.checks import check_flags, check_numbers, check_widths
from augaware.distributed import gather
from augaware.errors import RequestError
from augaware.hosts.base import ContrastiveHost, HostSetting
from augaware.losses import against
from augaware.nets.heads import mlp

__all__ = ["MoCoV2"]


class MoCoV2(ContrastiveHost):
    """A query attracts its key, the EMA target's other view, and is repelled by a queue of earlier keys.

    ``queue``: what is remembered. ``"key"`` as published; ``"query"``, as AugSelf's and CASSLE's released code does,
    remembers n(z_1); a number is the length of a queue of keys, short for ``length``. ``bn``: BN in the projector's
    hidden layer as in AugSelf and CASSLE; the paper's projector has none. The queue starts as random unit vectors, so
    the loss starts low, near log(1 + K exp(-1/T + 1/(2 d T^2))), and rises while the queue fills.
    """

    online = slice(0, 1)
    target = slice(1, 2)

    def __init__(
        self,
        setting: HostSetting,
        queue: str | int = "key",
        length: int = 65536,
        temperature: float = 0.2,
        momentum: float = 0.999,
        proj_hidden_dim: int | None = None,
        proj_output_dim: int = 128,
        bn: bool = True,
    ) -> None:
        super().__init__()
        if isinstance(queue, int):
            length = queue
        remembers = "key" if isinstance(queue, int) else queue
        if remembers not in ("key", "query"):
            raise RequestError(f"host 'moco_v2': queue={queue!r} is unknown; accepted: 'key', 'query', or a length")
        self.widths = (setting.dim if proj_hidden_dim is None else proj_hidden_dim, proj_output_dim)
        check_numbers("host 'moco_v2'", 0, temperature=temperature)
        check_numbers("host 'moco_v2'", 0, 1, momentum=momentum)
        check_flags("host 'moco_v2'", bn=bn)
        check_widths("host 'moco_v2'", **{"queue" if isinstance(queue, int) else "length": length})
        check_widths("host 'moco_v2'", proj_hidden_dim=self.widths[0], proj_output_dim=proj_output_dim)
        self.remembers, self.temperature, self.momentum = remembers, temperature, momentum
        self.hidden = "bn" if bn else "relu"
        self.queue: Tensor
        self.place: Tensor
        self.register_buffer("queue", F.normalize(torch.randn(length, proj_output_dim), dim=1))
        self.register_buffer("place", torch.zeros((), dtype=torch.int64))

    def projector(self, d_in: int) -> nn.Module:
        """d_in - hidden - output."""
        return mlp((d_in, *self.widths), hidden=self.hidden)

    def loss(self, online: Sequence[Tensor], target: Sequence[Tensor], foils: Sequence[Tensor] = ()) -> Tensor:
        """CE of [q.k, q.Queue] / T with label 0."""
        (z_1,), (z_2,) = online, target
        q, k = F.normalize(z_1, dim=1), F.normalize(z_2, dim=1)
        return self.score((q * k).sum(dim=1), against(q @ self.queue.T, q, foils), self.temperature)

    def after_step(self, online: Sequence[Tensor], target: Sequence[Tensor]) -> None:
        """The batch's keys replace the oldest entries, wrapping around; the same on every process."""
        new = gather(F.normalize((target if self.remembers == "key" else online)[0], dim=1))
        length = len(self.queue)
        new = new[-length:]
        where = (self.place + torch.arange(len(new), device=new.device)) % length
        self.queue[where] = new
        self.place.add_(len(new)).remainder_(length)
