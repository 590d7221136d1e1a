"""SimSiam (Chen, He: Exploring Simple Siamese Representation Learning, CVPR 2021).

    p_i = h(z_i),  z_i = g(f(v_i));    L = D(p_1, sg z_2) / 2 + D(p_2, sg z_1) / 2,    D(p, z) = -cos(p, z)

sg, the stop-gradient, is all that stands between this loss and collapse (section 4.1).
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from augaware.checks import check_flags, check_widths
from augaware.hosts.base import Host, HostSetting
from augaware.nets.heads import mlp

__all__ = ["SimSiam"]


class SimSiam(Host):
    """Predict the other view's own embedding, through which no gradient flows; no negatives, no EMA target.

    Projector of ``proj_layers`` layers of width ``hidden_dim`` with BN after each, predictor ``hidden_dim`` -
    ``pred_hidden_dim`` - ``hidden_dim``. The predictor's learning rate is not scheduled. paper: 3 layers, and the last
    BN has no weight and bias (``affine=False``); AugSelf: 2 layers on STL10, 3 on ImageNet100, and it has them.
    """

    def __init__(
        self,
        setting: HostSetting,
        proj_layers: int = 3,
        hidden_dim: int = 2048,
        pred_hidden_dim: int = 512,
        affine: bool = False,
    ) -> None:
        super().__init__()
        check_flags("host 'simsiam'", affine=affine)
        check_widths("host 'simsiam'", proj_layers=proj_layers, hidden_dim=hidden_dim, pred_hidden_dim=pred_hidden_dim)
        self.widths = [hidden_dim] * proj_layers
        self.last = "bn" if affine else "bn_plain"
        self.h = mlp((hidden_dim, pred_hidden_dim, hidden_dim))

    def projector(self, d_in: int) -> nn.Module:
        """d_in - hidden - ... - hidden, BN last."""
        return mlp((d_in, *self.widths), last=self.last)

    def constant_rate(self) -> Sequence[nn.Module]:
        """The predictor (section 4.2)."""
        return (self.h,)

    def loss(self, online: Sequence[Tensor], target: Sequence[Tensor]) -> Tensor:
        """D(p_1, sg z_2) / 2 + D(p_2, sg z_1) / 2, in [-1, 1]."""
        z_1, z_2 = online
        p_1, p_2 = map(self.h, online)
        return _d(p_1, z_2.detach()) / 2 + _d(p_2, z_1.detach()) / 2


def _d(p: Tensor, z: Tensor) -> Tensor:
    return -F.cosine_similarity(p, z, dim=1).mean()
