"""SimCLR (Chen, Kornblith, Norouzi, Hinton: A Simple Framework for Contrastive Learning of Visual Representations,
ICML 2020).

    z_i = g(y_i);    L = NT-Xent over the 2N views of a batch    (equation 1, :func:`augaware.losses.nt_xent`)

Negatives are those of the whole batch, gathered from all processes with their gradients (as in the paper; AugSelf's and
CASSLE's code: those of each GPU alone, which makes the result depend on the number of GPUs).
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from augaware.checks import check_numbers, check_widths
from augaware.hosts.base import ContrastiveHost, HostSetting
from augaware.losses import nt_xent
from augaware.nets.heads import mlp

__all__ = ["SimCLR"]


class SimCLR(ContrastiveHost):
    """Two views of an image attract, all other images of the batch repel: NT-Xent at a temperature.

    ``proj_hidden_dim`` None is D. AugSelf and CASSLE: T = 0.2, projector D-D-128 with BN after the hidden layer only.
    Paper: T = 0.1 on ImageNet, 0.5 on CIFAR-10.
    """

    def __init__(
        self,
        setting: HostSetting,
        temperature: float = 0.2,
        proj_hidden_dim: int | None = None,
        proj_output_dim: int = 128,
    ) -> None:
        super().__init__()
        self.widths = (setting.dim if proj_hidden_dim is None else proj_hidden_dim, proj_output_dim)
        check_numbers("host 'simclr'", 0, temperature=temperature)
        check_widths("host 'simclr'", proj_hidden_dim=self.widths[0], proj_output_dim=proj_output_dim)
        self.temperature = temperature

    def projector(self, d_in: int) -> nn.Module:
        """d_in - hidden - output."""
        return mlp((d_in, *self.widths))

    def loss(self, online: Sequence[Tensor], target: Sequence[Tensor], foils: Sequence[Tensor] = ()) -> Tensor:
        """NT-Xent of z_1, z_2 (B, d)."""
        z_1, z_2 = online
        return nt_xent(z_1, z_2, self.temperature, self.score, foils)
