"""VICReg (Bardes, Ponce, LeCun: Variance-Invariance-Covariance Regularization, ICLR 2022).

    L = 25 s(Z_1, Z_2) + 25 [v(Z_1) + v(Z_2)] / 2 + 1 [c(Z_1) + c(Z_2)]
    s = mean squared difference;  v(Z) = mean_j max(0, 1 - sqrt(Var(z_j) + 1e-4));  c(Z) = sum_{i != j} Cov(Z)_ij^2 / d

The batch is that of all processes. The weights 25, 25, 1 and the halved variance term are those of the authors' code.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from augaware.checks import check_at_least_zero, check_widths
from augaware.distributed import gather
from augaware.hosts.base import Host, HostSetting
from augaware.losses import covariance, variance_hinge
from augaware.nets.heads import mlp

__all__ = ["VICReg"]


class VICReg(Host):
    """Two views agree, every dimension keeps a variance of 1, no two dimensions covary; no negatives, no target.

    Projector D-8192-8192-8192, BN in the hidden layers, no bias in the last.
    """

    def __init__(
        self,
        setting: HostSetting,
        invariance: float = 25.0,
        variance: float = 25.0,
        covariance: float = 1.0,
        hidden_dim: int = 8192,
        output_dim: int = 8192,
    ) -> None:
        super().__init__()
        check_at_least_zero("host 'vicreg'", invariance=invariance, variance=variance, covariance=covariance)
        check_widths("host 'vicreg'", hidden_dim=hidden_dim, output_dim=output_dim)
        self.invariance, self.variance, self.covariance = invariance, variance, covariance
        self.widths = (hidden_dim, hidden_dim, output_dim)

    def projector(self, d_in: int) -> nn.Module:
        """d_in - hidden - hidden - output."""
        return mlp((d_in, *self.widths), last="no_bias")

    def loss(self, online: Sequence[Tensor], target: Sequence[Tensor]) -> Tensor:
        """25 s + 25 (v_1 + v_2) / 2 + (c_1 + c_2)."""
        z_1, z_2 = (gather(z) for z in online)
        s = F.mse_loss(z_1, z_2)
        v = (variance_hinge(z_1) + variance_hinge(z_2)) / 2
        c = covariance(z_1) + covariance(z_2)
        return self.invariance * s + self.variance * v + self.covariance * c
