"""STL (Yu, Choi, Lee, Hong, Kim: Self-supervised Transformation Learning for Equivariant Representations, NeurIPS
2024).

    L = L_SSL + L_equi + lambda L_trans
    t_ab   = tb([y_a, y_b])                                   the transformation from view a to view b, learnt
    L_equi = NT-Xent( g_e([y_1, y_2]), g_e([phi(y_2; t'_21), phi(y_1; t'_12)]) ),    phi(y; t) = W(t) y
    L_trans = NT-Xent( g_t(t), g_t(t') )

t' is that of another image with the same augmentations: consecutive images of the batch share them (i and i ^ 1). So
omega is replaced by what the pair of views shows, and must not depend on the image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from augaware.awareness.base import Awareness, Extra, Setting, Views, first_two
from augaware.checks import check_at_least_zero, check_numbers, check_widths
from augaware.losses import nt_xent
from augaware.nets.heads import mlp
from augaware.views import Plan

__all__ = ["STL"]

TIED = ("crop", "color_jitter", "grayscale")


class STL(Awareness):
    """Learn the transformation between two views, and move the features of another image by it.

    ``equi``, ``trans``: the weights, 1 and .1 in the paper, whose ``temperature`` is .2. ``tied``: the augmentations
    that two consecutive images share. ``hidden``, ``output``: the widths of tb, g_e and g_t (512-128). W(t) is a linear
    map of t without bias, with D^2 outputs.
    """

    reads = ()

    def __init__(
        self,
        setting: Setting,
        equi: float = 1.0,
        trans: float = 0.1,
        temperature: float = 0.2,
        tied: Sequence[str] = TIED,
        hidden: int = 512,
        output: int = 128,
    ) -> None:
        super().__init__()
        check_at_least_zero("awareness 'stl'", equi=equi, trans=trans)
        check_numbers("awareness 'stl'", 0, temperature=temperature)
        check_widths("awareness 'stl'", hidden=hidden, output=output)
        chosen = [name for name in TIED if name in setting.drawn] if tied == TIED else tied
        self.tied = setting.check("stl", "tied", chosen, drawn=True, empty=False)
        self.equi, self.trans, self.temperature = equi, trans, temperature
        d = setting.dim
        self.tb = mlp((2 * d, hidden, output), last="no_bias")
        self.w = nn.Linear(output, d * d, bias=False)
        self.g = mlp((d, hidden, output), last="no_bias")
        self.g_t = mlp((output, hidden, output), last="no_bias")

    def plan(self, plan: Plan) -> Plan:
        """The host's first two views share their omega between consecutive images."""
        tie = dict.fromkeys(self.tied, 2)
        return *(replace(view, tie={**view.tie, **tie}) for view in plan[:2]), *plan[2:]

    def losses(self, online: Views, target: Views) -> dict[str, Extra]:
        """L_equi and L_trans of the first two views; an odd image at the end has no partner and is left out."""
        one, two = first_two(online, target)
        n = len(one.y) // 2 * 2
        y_1, y_2 = one.y[:n], two.y[:n]
        forth, back = self.tb(torch.cat((torch.cat((y_1, y_2), dim=1), torch.cat((y_2, y_1), dim=1)))).chunk(2)
        other = torch.arange(n, device=y_1.device) ^ 1
        y, moved = torch.cat((y_1, y_2)), torch.cat((self.phi(y_2, back[other]), self.phi(y_1, forth[other])))
        e = self.g(torch.cat((y, moved))).float().chunk(2)
        t = torch.cat((forth, back))
        shown = self.g_t(torch.cat((t[0::2], t[1::2]))).float().chunk(2)
        return {
            "equi": Extra(self.equi, nt_xent(e[0], e[1], self.temperature)),
            "trans": Extra(self.trans, nt_xent(shown[0], shown[1], self.temperature)),
        }

    def phi(self, y: Tensor, t: Tensor) -> Tensor:
        """W(t) y, (B, D)."""
        d = y.shape[1]
        return torch.bmm(self.w(t).reshape(-1, d, d), y[:, :, None])[:, :, 0]
