"""DINO (Caron, Touvron, Misra, Jegou, Mairal, Bojanowski, Joulin: Emerging Properties in Self-Supervised Vision
Transformers, ICCV 2021).

    P_s(v) = softmax(g(f(v)) / T_s),    P_t(v) = softmax((g'(f'(v)) - C) / T_t)         f', g' the EMA target
    L = mean_{i in 1, 2} mean_{v != i} -sum P_t(v_i) log P_s(v_v),    C <- m_c C + (1 - m_c) mean g'(f'(v))

The teacher sees the first two views only, the student also the small crops of multi-crop. Centring (C) and sharpening
(T_t < T_s) work against the two kinds of collapse (section 5.3).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from augaware.checks import check_at_least_zero, check_numbers, check_widths
from augaware.distributed import gather
from augaware.hosts.base import Host, HostSetting, Moment
from augaware.nets.heads import mlp

__all__ = ["DINO"]

TAUGHT = 2  # the views that the teacher sees: the first two


class DINO(Host):
    """The student predicts the centred, sharpened output of its EMA teacher; any number of views, two at least.

    Head: D-2048-2048-256 with GELU and no BN, L2 normalisation, then ``output_dim`` unit vectors (the paper's weight
    normalisation with length 1). The teacher's temperature rises linearly from ``teacher_temperature`` to
    ``teacher_temperature_end`` over ``warmup_epochs``, m to 1 as half a cosine over the steps; the unit vectors do not
    move for ``freeze_epochs``. Starts at log(output_dim) + 1 / (2 d T_s^2) - c / (d T_s T_t) with d ``bottleneck_dim``
    and c the cosine between two views' bottleneck vectors: 10.5 by default, and 11.3 once the centre holds what all
    images share.
    """

    multi_crop = True
    target = slice(0, TAUGHT)

    def __init__(
        self,
        setting: HostSetting,
        output_dim: int = 65536,
        student_temperature: float = 0.1,
        teacher_temperature: float = 0.04,
        teacher_temperature_end: float = 0.07,
        warmup_epochs: float = 30.0,
        momentum: float = 0.996,
        momentum_end: float = 1.0,
        centre_momentum: float = 0.9,
        freeze_epochs: float = 1.0,
        hidden_dim: int = 2048,
        bottleneck_dim: int = 256,
    ) -> None:
        super().__init__()
        check_widths("host 'dino'", output_dim=output_dim, hidden_dim=hidden_dim, bottleneck_dim=bottleneck_dim)
        check_numbers(
            "host 'dino'", 0, student_temperature=student_temperature, teacher_temperature=teacher_temperature
        )
        check_numbers("host 'dino'", 0, teacher_temperature_end=teacher_temperature_end)
        check_numbers(
            "host 'dino'", 0, 1, momentum=momentum, momentum_end=momentum_end, centre_momentum=centre_momentum
        )
        check_at_least_zero("host 'dino'", warmup_epochs=warmup_epochs, freeze_epochs=freeze_epochs)
        self.momentum, self.momentum_end, self.centre_momentum = momentum, momentum_end, centre_momentum
        self.t_s, self.t_t = student_temperature, teacher_temperature
        self.t_t_range, self.warmup_epochs = (teacher_temperature, teacher_temperature_end), warmup_epochs
        self.freeze_epochs = freeze_epochs
        self.widths = (hidden_dim, hidden_dim, bottleneck_dim)
        self.output_dim = output_dim
        self.centre: Tensor
        self.register_buffer("centre", torch.zeros(output_dim))

    def projector(self, d_in: int) -> nn.Module:
        """d_in - hidden - hidden - bottleneck, normalised, - output."""
        return nn.Sequential(mlp((d_in, *self.widths), hidden="gelu"), UnitVectors(self.widths[-1], self.output_dim))

    def before_step(self, now: Moment) -> None:
        """The teacher's temperature of this step."""
        start, end = self.t_t_range
        self.t_t = start + (end - start) * min(now.epoch / self.warmup_epochs, 1.0) if self.warmup_epochs else end

    def loss(self, online: Sequence[Tensor], target: Sequence[Tensor]) -> Tensor:
        """The mean cross-entropy over the pairs (teacher view i, student view v != i)."""
        log_p = [F.log_softmax(z / self.t_s, dim=1) for z in online]
        terms = []
        for i, t in enumerate(target):
            p_t = F.softmax((t - self.centre) / self.t_t, dim=1)
            terms += [-(p_t * log_p[v]).sum(dim=1).mean() for v in range(len(online)) if v != i]
        return torch.stack(terms).mean()

    def after_backward(self, now: Moment, g: nn.Module) -> None:
        """Frozen unit vectors get no gradient, so that the optimiser leaves them alone."""
        if now.epoch < self.freeze_epochs:
            for module in g.modules():
                if isinstance(module, UnitVectors):
                    module.weight.grad = None

    def after_step(self, online: Sequence[Tensor], target: Sequence[Tensor]) -> None:
        """The centre follows the mean of the teacher's outputs, over all processes."""
        mean = gather(torch.cat(list(target)).mean(dim=0, keepdim=True)).mean(dim=0)
        self.centre.lerp_(mean, 1 - self.centre_momentum)


class UnitVectors(nn.Module):
    """x (B, d) -> the cosines of x with k learnt vectors, (B, k)."""

    def __init__(self, d: int, k: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(k, d).uniform_(-(d**-0.5), d**-0.5))

    def forward(self, x: Tensor) -> Tensor:
        """n(x) n(W)^T."""
        return F.linear(F.normalize(x, dim=1), F.normalize(self.weight, dim=1))
