"""SwAV (Caron, Misra, Mairal, Goyal, Bojanowski, Joulin: Unsupervised Learning of Visual Features by Contrasting
Cluster Assignments, NeurIPS 2020).

    z_v = n(g(y_v)),   s_v = z_v c^T                     scores of the prototypes c, unit vectors
    Q_i = Sinkhorn(s_i / epsilon)                        codes of the first two views, no gradient
    L   = mean_{i in 1, 2} mean_{v != i} -sum Q_i log softmax(s_v / T)

Multi-crop: views beyond the first two (small crops) are predicted from, and get no codes of their own. The codes are
balanced over the batch of all processes, and with a queue over earlier embeddings too.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from augaware.checks import check_at_least_zero, check_numbers, check_widths
from augaware.distributed import gather, local
from augaware.errors import RequestError
from augaware.hosts.base import Host, HostSetting, Moment
from augaware.losses import sinkhorn
from augaware.nets.heads import mlp

__all__ = ["SwAV"]

CODED = 2  # the views that get codes: the first two


class SwAV(Host):
    """Predict the cluster assignment of one view from every other view; any number of views, two at least.

    ``prototypes``: 3000 in the paper, 100 in AugSelf. ``freeze``: steps in which the prototypes do not move (paper 313,
    or 5005 at a batch of 256; AugSelf 409). ``queue``: embeddings remembered per coded view to balance small batches
    (paper: 3840 at a batch of 256, from epoch 15), 0 is none; used once it is full. ``scale``: paper 1; AugSelf's code
    adds the two terms up, which is 2. Starts at log(prototypes) + 1 / (2 d T^2), times ``scale``.
    """

    multi_crop = True

    def __init__(
        self,
        setting: HostSetting,
        prototypes: int = 100,
        temperature: float = 0.1,
        epsilon: float = 0.05,
        iterations: int = 3,
        freeze: int = 0,
        queue: int = 0,
        queue_epoch: float = 15.0,
        scale: float = 1.0,
        hidden_dim: int = 2048,
        output_dim: int = 128,
    ) -> None:
        super().__init__()
        check_widths(
            "host 'swav'", prototypes=prototypes, iterations=iterations, hidden_dim=hidden_dim, output_dim=output_dim
        )
        check_numbers("host 'swav'", 0, temperature=temperature, epsilon=epsilon, scale=scale)
        for key, value in (("freeze", freeze), ("queue", queue)):
            if type(value) is not int or value < 0:
                raise RequestError(f"host 'swav': {key}={value!r} must be a whole number, at least 0")
        check_at_least_zero("host 'swav'", queue_epoch=queue_epoch)
        self.temperature, self.epsilon, self.iterations, self.scale = temperature, epsilon, iterations, scale
        self.freeze, self.queue_epoch, self.widths = freeze, queue_epoch, (hidden_dim, output_dim)
        self.c = nn.Parameter(F.normalize(torch.randn(prototypes, output_dim), dim=1))
        self.queue: Tensor
        self.pushed: Tensor
        self.register_buffer("queue", torch.zeros(CODED, queue, output_dim))
        self.register_buffer("pushed", torch.zeros((), dtype=torch.int64))
        self._remembers = False

    def projector(self, d_in: int) -> nn.Module:
        """d_in - hidden - output."""
        return mlp((d_in, *self.widths))

    def loss(self, online: Sequence[Tensor], target: Sequence[Tensor]) -> Tensor:
        """Swapped prediction of the first two views' codes from all other views."""
        scores = [F.normalize(z, dim=1) @ self.c.T for z in online]
        log_p = [F.log_softmax(s / self.temperature, dim=1) for s in scores]
        terms = []
        for i in range(CODED):
            q = self._codes(scores[i].detach(), self.queue[i])
            terms += [-(q * log_p[v]).sum(dim=1).mean() for v in range(len(online)) if v != i]
        return self.scale * torch.stack(terms).mean()

    def _codes(self, scores: Tensor, queue: Tensor) -> Tensor:
        """Q (B, C) of this process's rows."""
        batch = gather(scores)
        everything = batch
        if len(queue) and bool(self.pushed >= len(queue)):
            everything = torch.cat((batch, queue @ self.c.detach().T))
        return local(sinkhorn(everything, self.epsilon, self.iterations)[: len(batch)])

    @torch.no_grad()
    def before_step(self, now: Moment) -> None:
        """The prototypes return to the unit sphere; the queue opens at its epoch."""
        self.c.copy_(F.normalize(self.c, dim=1))
        self._remembers = now.epoch >= self.queue_epoch

    def after_backward(self, now: Moment, g: nn.Module) -> None:
        """Frozen prototypes get no gradient, so that the optimiser leaves them alone."""
        if now.step < self.freeze:
            self.c.grad = None

    def after_step(self, online: Sequence[Tensor], target: Sequence[Tensor]) -> None:
        """The coded views' embeddings replace the oldest of their queue; the same on every process."""
        length = self.queue.shape[1]
        if not length or not self._remembers:
            return
        for i in range(CODED):
            new = gather(F.normalize(online[i], dim=1))[-length:]
            self.queue[i, (self.pushed + torch.arange(len(new), device=new.device)) % length] = new
        self.pushed.add_(len(new))
