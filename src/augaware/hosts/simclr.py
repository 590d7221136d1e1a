"""SimCLR (Chen, Kornblith, Norouzi, Hinton: A Simple Framework for Contrastive Learning of Visual Representations,
2020).

z_i = g(f(v_i));  L = NT-Xent over the 2N views of a batch (equation 1 of the paper, :func:`augaware.losses.nt_xent`).
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from augaware.errors import RequestError
from augaware.hosts.base import Host
from augaware.losses import nt_xent
from augaware.nets.heads import mlp

__all__ = ["SimCLR"]


class SimCLR(Host):
    """Two views of an image attract, all other images of the batch repel: NT-Xent at a temperature.

    ``proj_hidden_dim`` None is D. AugSelf and CASSLE: T = 0.2, projector D-D-128 with BN after the hidden layer only.
    """

    def __init__(
        self, dim: int, temperature: float = 0.2, proj_hidden_dim: int | None = None, proj_output_dim: int = 128
    ) -> None:
        super().__init__()
        if not isinstance(temperature, (int, float)) or temperature <= 0:
            raise RequestError(f"host 'simclr': temperature={temperature!r} must be a number above 0")
        for key, value in (("proj_hidden_dim", proj_hidden_dim or dim), ("proj_output_dim", proj_output_dim)):
            if not isinstance(value, int) or value < 1:
                raise RequestError(f"host 'simclr': {key}={value!r} must be a whole number, at least 1")
        self.temperature = temperature
        self.proj_hidden_dim, self.proj_output_dim = proj_hidden_dim or dim, proj_output_dim

    def projector(self, d_in: int) -> nn.Module:
        """d_in - hidden - output."""
        return mlp((d_in, self.proj_hidden_dim, self.proj_output_dim))

    def loss(self, online: Sequence[Tensor], target: Sequence[Tensor]) -> Tensor:
        """NT-Xent of z_1, z_2 (B, d)."""
        z_1, z_2 = online
        return nt_xent(z_1, z_2, self.temperature)
