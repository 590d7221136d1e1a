"""EquiMod (Devillers, Lefort: EquiMod: An Equivariance Module to Improve Visual Instance Discrimination, ICLR 2023).

    L = L_SSL + lambda NT-Xent( e_i, u([e_0, t(omega_i)]) ),    e_i = g_e(f(v_i)),  e_0 = g_e(f(x))

x is the image as it is, one more view a step: what the augmentation makes of its embedding is predicted from omega.
The authors' code adds the order of the jitter's operations and whether each was applied to omega; here omega is what
every awareness sees.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from augaware.awareness.base import Awareness, Embedding, Extra, Setting, Told, Views, first_two
from augaware.checks import check_at_least_zero, check_numbers, check_widths
from augaware.losses import nt_xent
from augaware.nets.heads import mlp
from augaware.views import Omega, Plan, ViewPlan

__all__ = ["EquiMod"]

ALL = "all"


class EquiMod(Awareness):
    """Predict the embedding of each view from that of the plain image and the view's parameters.

    ``lam`` and ``temperature``: 1 and .2 in the paper. ``condition``: what u is told; None is all that is drawn, "all"
    what is measured too: CASSLE's color_diff, what the jitter did to the image's mean colour (this project's addition).
    ``hidden_dim``, ``output_dim``: of g_e, D-2048-2048-128, whose last BN has no weights; t is a linear layer with BN
    of ``told_dim`` outputs, u a linear layer with BN without weights. omega is batch-normalised on its way in.
    """

    def __init__(
        self,
        setting: Setting,
        lam: float = 1.0,
        temperature: float = 0.2,
        condition: Sequence[str] | str | None = None,
        hidden_dim: int = 2048,
        output_dim: int = 128,
        told_dim: int = 128,
    ) -> None:
        super().__init__()
        check_at_least_zero("awareness 'equimod'", lam=lam)
        check_numbers("awareness 'equimod'", 0, temperature=temperature)
        check_widths("awareness 'equimod'", hidden_dim=hidden_dim, output_dim=output_dim, told_dim=told_dim)
        self.lam, self.temperature = lam, temperature
        chosen = setting.drawn if condition is None else setting.spaces if condition == ALL else condition
        self.told = Told(setting.check("equimod", "condition", chosen, empty=False), setting.spaces)
        self.reads = self.told.names
        numbers = self.told.numbers
        self.g = mlp((setting.dim, hidden_dim, hidden_dim, output_dim), last="bn_plain")
        self.t = nn.Sequential(nn.BatchNorm1d(numbers, affine=False), mlp((numbers, told_dim), last="bn"))
        self.u = mlp((output_dim + told_dim, output_dim), last="bn_plain")

    def plan(self, plan: Plan) -> Plan:
        """The image as it is."""
        return *plan, ViewPlan(law=0, only=frozenset())

    def losses(self, online: Views, target: Views) -> dict[str, Extra]:
        """NT-Xent between the host's first two views and what was predicted for them."""
        views = first_two(online, target)
        e_0, *e = self.g(torch.cat([online[self.own[0]].y, *(v.y for v in views)])).chunk(3)
        predicted = self._predicted(torch.cat((e_0, e_0)), torch.cat([self.told(v.omega) for v in views]))
        return {"equi": Extra(self.lam, nt_xent(torch.cat(e).float(), predicted.float(), self.temperature))}

    def when_told(self, g: nn.Module, plain: Embedding, view: Embedding, omega: Omega) -> tuple[Tensor, Tensor]:
        """u([e_0, t(omega)]), and e of the view."""
        e_0, e = self.g(torch.cat((plain.y, view.y))).chunk(2)
        return self._predicted(e_0, self.told(omega)), e

    def _predicted(self, e_0: Tensor, told: Tensor) -> Tensor:
        predicted: Tensor = self.u(torch.cat((e_0, self.t(told)), dim=1))
        return predicted
