"""Barlow Twins (Zbontar, Jing, Misra, LeCun, Deny: Self-Supervised Learning via Redundancy Reduction, ICML 2021).

    c = Z_1^T Z_2 / N,    Z_i the embeddings of view i, each dimension standardised over the batch
    L = sum_i (1 - c_ii)^2 + lam sum_{i != j} c_ij^2

The batch is that of all processes. Starts at d (1 + 1/N) + lam d (d - 1) / N when the views are unrelated.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from augaware.checks import check_numbers, check_widths
from augaware.distributed import gather
from augaware.hosts.base import Host, HostSetting
from augaware.nets.heads import mlp

__all__ = ["BarlowTwins"]


class BarlowTwins(Host):
    """Make the cross-correlation of two views' embeddings the identity: no negatives, no target, wide embeddings.

    Projector D-8192-8192-8192, BN in the hidden layers, no bias in the last.
    """

    def __init__(
        self, setting: HostSetting, lam: float = 0.0051, hidden_dim: int = 8192, output_dim: int = 8192
    ) -> None:
        super().__init__()
        check_numbers("host 'barlow_twins'", 0, lam=lam)
        check_widths("host 'barlow_twins'", hidden_dim=hidden_dim, output_dim=output_dim)
        self.lam = lam
        self.widths = (hidden_dim, hidden_dim, output_dim)

    def projector(self, d_in: int) -> nn.Module:
        """d_in - hidden - hidden - output."""
        return mlp((d_in, *self.widths), last="no_bias")

    def loss(self, online: Sequence[Tensor], target: Sequence[Tensor]) -> Tensor:
        """On-diagonal plus lam times off-diagonal."""
        z_1, z_2 = (_standardised(gather(z)) for z in online)
        c = z_1.T @ z_2 / len(z_1)
        on = c.diagonal()
        return (1 - on).square().sum() + self.lam * (c.square().sum() - on.square().sum())


def _standardised(z: Tensor) -> Tensor:
    """Mean 0 and variance 1 per dimension over the batch, as a BN without weight and bias."""
    return F.batch_norm(z, None, None, training=True)
