"""SIE (Garrido, Najman, LeCun: Self-supervised learning of Split Invariant Equivariant representations, ICML 2023).

    y = [y^inv, y^equi],    L = L_SSL(g(y^inv)) + L_equi
    L_equi = alpha s(W(r) e_1, e_2) + beta [ (v(e_1) + v(e_2)) / 2 + v(W(r) e_1) ] + c(e_1) + c(e_2)
    e_i = g_e(y_i^equi)

r is the way from omega_1 to omega_2; W(r) is linear in it and without bias, so that it cannot be left out. s, v, c are
VICReg's terms. The paper's host is VICReg; with another, g(y^inv) is that host's affair. The paper's r is a rotation,
whose identity is not zero; here r = [1, omega_2 - omega_1], so that W(r) of two equal omega is a matrix of its own.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from augaware.awareness.base import (
    Awareness,
    Embedding,
    Extra,
    MakeProjector,
    Projector,
    Setting,
    Told,
    Views,
    first_two,
)
from augaware.checks import check_at_least_zero, check_widths
from augaware.distributed import gather
from augaware.losses import covariance, variance_hinge
from augaware.nets.heads import mlp
from augaware.views import Omega

__all__ = ["SIE"]


class SIE(Awareness):
    """One half of the features is invariant, the other moves with omega by a map that omega makes.

    ``invariance`` is alpha (the paper: 10 x .45), ``variance`` beta (10), ``covariance`` the weight of c (1), ``lam``
    that of L_equi. ``condition``: what makes r; None is all that is drawn. ``hidden_dim``, ``output_dim``: of g_e.
    """

    def __init__(
        self,
        setting: Setting,
        lam: float = 1.0,
        condition: Sequence[str] | None = None,
        invariance: float = 4.5,
        variance: float = 10.0,
        covariance: float = 1.0,
        hidden_dim: int = 512,
        output_dim: int = 128,
    ) -> None:
        super().__init__()
        check_at_least_zero("awareness 'sie'", lam=lam, invariance=invariance)
        check_at_least_zero("awareness 'sie'", variance=variance, covariance=covariance)
        check_widths("awareness 'sie'", hidden_dim=hidden_dim, output_dim=output_dim)
        chosen = setting.drawn if condition is None else condition
        self.told = Told(setting.check("sie", "condition", chosen, empty=False), setting.spaces)
        self.reads = self.told.names
        self.lam, self.alpha, self.beta, self.gamma = lam, invariance, variance, covariance
        self.n_inv = setting.dim // 2
        self.g = mlp((setting.dim - self.n_inv, hidden_dim, output_dim), last="no_bias")
        self.w = nn.Linear(1 + self.told.numbers, output_dim * output_dim, bias=False)

    def projector(self, make: MakeProjector, dim: int) -> nn.Module:
        """g of the invariant half."""
        return Half(make(self.n_inv), self.n_inv)

    def losses(self, online: Views, target: Views) -> dict[str, Extra]:
        """L_equi of the first two views."""
        one, two = first_two(online, target)
        e_1, e_2, predicted = self._moved(one, two, two.omega)
        e_1, e_2, predicted = gather(e_1), gather(e_2), gather(predicted)
        s = F.mse_loss(predicted, e_2)
        v = (variance_hinge(e_1) + variance_hinge(e_2)) / 2 + variance_hinge(predicted)
        c = covariance(e_1) + covariance(e_2)
        return {"equi": Extra(self.lam, self.alpha * s + self.beta * v + self.gamma * c)}

    def when_told(self, g: nn.Module, plain: Embedding, view: Embedding, omega: Omega) -> tuple[Tensor, Tensor]:
        """W(r) e of the image as it is, r the way to omega, and e of the view."""
        _, e, predicted = self._moved(plain, view, omega)
        return predicted, e

    def _moved(self, one: Embedding, two: Embedding, omega: Omega) -> tuple[Tensor, Tensor, Tensor]:
        """e_1, e_2, and W(r) e_1 where r is the way from omega_1 to ``omega``."""
        e_1, e_2 = self.g(torch.cat([v.y[:, self.n_inv :] for v in (one, two)])).float().chunk(2)
        w_1, w_2 = self.told(one.omega), self.told(omega)
        r = torch.cat((torch.ones_like(w_1[:, :1]), w_2 - w_1), dim=1)
        maps = self.w(r).float().reshape(len(r), e_1.shape[1], e_1.shape[1])
        return e_1, e_2, torch.bmm(maps, e_1[:, :, None])[:, :, 0]


class Half(Projector):
    """z = g(y^inv), y^inv the first ``n_inv`` features."""

    def __init__(self, g: nn.Module, n_inv: int) -> None:
        super().__init__(g)
        self.n_inv = n_inv

    def forward(self, y: Tensor, omega: Omega) -> Tensor:
        """y (B, D) -> z (B, d)."""
        return super().forward(y[:, : self.n_inv], omega)
