"""MoCo v3 (Chen, Xie, He: An Empirical Study of Training Self-Supervised Vision Transformers, ICCV 2021).

    q_i = n(h(g(f(v_i)))),  k_i = n(g'(f'(v_i)))        h the predictor; f', g' the EMA target
    L   = ctr(q_1, k_2) + ctr(q_2, k_1),    ctr(q, k) = 2T CE(q k^T / T, diagonal)

Negatives are the other keys of the whole batch; there is no queue. The target moves before the keys are made, which is
the same as after the optimiser's step.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from augaware.checks import check_flags, check_numbers, check_widths
from augaware.hosts.base import ContrastiveHost, HostSetting
from augaware.losses import contrast
from augaware.nets.heads import mlp

__all__ = ["MoCoV3"]


class MoCoV3(ContrastiveHost):
    """Predictions of one view attract the EMA target's other view; the batch's other keys repel.

    ViT (the default): g has 3 layers, D-4096-4096-256, h 2 layers, 256-4096-256, both with a last BN without weight
    and bias. ResNet: ``proj_layers=2, predictor_bn=False``. ``momentum`` rises to ``momentum_end`` as half a cosine
    over the steps; CASSLE's code keeps 0.999.
    """

    def __init__(
        self,
        setting: HostSetting,
        temperature: float = 0.2,
        momentum: float = 0.99,
        momentum_end: float = 1.0,
        proj_layers: int = 3,
        hidden_dim: int = 4096,
        output_dim: int = 256,
        predictor_bn: bool = True,
    ) -> None:
        super().__init__()
        check_numbers("host 'moco_v3'", 0, temperature=temperature)
        check_numbers("host 'moco_v3'", 0, 1, momentum=momentum, momentum_end=momentum_end)
        check_flags("host 'moco_v3'", predictor_bn=predictor_bn)
        check_widths("host 'moco_v3'", proj_layers=proj_layers, hidden_dim=hidden_dim, output_dim=output_dim)
        self.temperature, self.momentum, self.momentum_end = temperature, momentum, momentum_end
        self.widths = (*[hidden_dim] * (proj_layers - 1), output_dim)
        self.h = mlp((output_dim, hidden_dim, output_dim), last="bn_plain" if predictor_bn else "no_bias")

    def projector(self, d_in: int) -> nn.Module:
        """d_in - hidden (- hidden) - output, BN last."""
        return mlp((d_in, *self.widths), last="bn_plain")

    def loss(self, online: Sequence[Tensor], target: Sequence[Tensor], foils: Sequence[Tensor] = ()) -> Tensor:
        """ctr(q_1, k_2) + ctr(q_2, k_1)."""
        q_1, q_2 = (F.normalize(self.h(z), dim=1) for z in online)
        k_1, k_2 = (F.normalize(z, dim=1) for z in target)
        t = self.temperature
        ctr_1, ctr_2 = (2 * t * contrast(q, k, t, self.score, foils) for q, k in ((q_1, k_2), (q_2, k_1)))
        return ctr_1 + ctr_2
