"""BYOL (Grill et al.: Bootstrap Your Own Latent, NeurIPS 2020).

    p_i = h(g(f(v_i))),  t_i = g'(f'(v_i))              h the predictor; f', g' the EMA target
    L   = || n(p_1) - n(t_2) ||^2 + || n(p_2) - n(t_1) ||^2,    || n(a) - n(b) ||^2 = 2 - 2 cos(a, b)

Starts near 4. A collapse has loss 0, so a falling loss is no evidence of learning: watch the health panel. (AugSelf's
code leaves the constant 4 out.)
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from augaware.checks import check_numbers, check_widths
from augaware.hosts.base import Host, HostSetting
from augaware.nets.heads import mlp

__all__ = ["BYOL"]


class BYOL(Host):
    """Predict the EMA target's embedding of the other view; no negatives.

    Projector D-4096-256 and predictor 256-4096-256, BN in the hidden layers only. m rises from ``momentum`` to
    ``momentum_end`` as half a cosine over the steps (paper; AugSelf's code changes it once an epoch). paper: 0.996 for
    1000 epochs, 0.99 for 100 and 300. CASSLE's code has hidden layers of width D in the projector.
    """

    def __init__(
        self,
        setting: HostSetting,
        momentum: float = 0.996,
        momentum_end: float = 1.0,
        hidden_dim: int = 4096,
        output_dim: int = 256,
    ) -> None:
        super().__init__()
        check_numbers("host 'byol'", 0, 1, momentum=momentum, momentum_end=momentum_end)
        check_widths("host 'byol'", hidden_dim=hidden_dim, output_dim=output_dim)
        self.momentum, self.momentum_end = momentum, momentum_end
        self.widths = (hidden_dim, output_dim)
        self.h = mlp((output_dim, hidden_dim, output_dim))

    def projector(self, d_in: int) -> nn.Module:
        """d_in - hidden - output."""
        return mlp((d_in, *self.widths))

    def loss(self, online: Sequence[Tensor], target: Sequence[Tensor]) -> Tensor:
        """The two squared distances between unit vectors, each a mean over the batch."""
        p_1, p_2 = map(self.h, online)
        t_1, t_2 = target
        return _distance(p_1, t_2) + _distance(p_2, t_1)


def _distance(p: Tensor, t: Tensor) -> Tensor:
    return (2 - 2 * F.cosine_similarity(p, t, dim=1)).mean()
