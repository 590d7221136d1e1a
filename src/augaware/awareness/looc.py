"""LooC (Xiao, Wang, Efros, Darrell: What Should Not Be Contrastive in Contrastive Learning, ICLR 2021).

    L = -1/(n+1) { sum_{j=0..n} log e_0(k_j) / (e_0(k_j) + Neg_0)
                 + sum_{i=1..n} log e_i(k_i) / (sum_{j=0..n} e_i(k_j) + Neg_i) }
    e_i(k) = exp(n(h_i(y_q)) . n(h_i(y_k)) / T)

The query q is view 1; k_0 is view 2; key k_i has q's parameters of augmentation i. Branch 0 of z is invariant to all:
every key attracts. Branch i is invariant to all but i: k_i attracts, and the other keys of the same image repel. Each
branch has a projector h_i and a host (MoCo v2: a queue) of its own. LooC++ (``separate``): the last stage of f too.

There is no official code; the loss is that of the paper as far as known, and its structure that of SeCo (Manas et al.,
ICCV 2021), a published follower. With no names it is the host itself.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from augaware.awareness.base import Awareness, Branches, HostLoss, MakeProjector, Setting
from augaware.checks import check_flags
from augaware.views import Plan, ViewPlan

__all__ = ["LooC"]

QUERY, KEY = 0, 1


class LooC(Awareness):
    """One invariant embedding, and one for each augmentation of ``names`` that is sensitive to it.

    n more views a step, n = len(names) (the paper: colour, rotation). For contrastive hosts. ``separate`` is LooC++: a
    last stage of f for each embedding, whose features side by side are those of f, n + 1 times as wide.
    """

    needs_negatives = True
    reads = ()

    def __init__(self, setting: Setting, names: Sequence[str] = ("color_jitter",), separate: bool = False) -> None:
        super().__init__()
        check_flags("awareness 'looc'", separate=separate)
        self.names = setting.check("looc", "names", names, drawn=True)
        self.separate, self.branches, self.compares = separate, len(self.names) + 1, self.names

    def encoder(self, spec: str) -> str:
        """f, with a last stage for each branch in LooC++."""
        return f"branched({spec!r}, branches={self.branches})" if self.separate else spec

    def plan(self, plan: Plan) -> Plan:
        """A key for each name, encoded as the host encodes its second view, with which it shares what that shares."""
        shared = plan[KEY].share
        return *plan, *(ViewPlan(law=KEY, role=KEY, share={**shared, name: QUERY}) for name in self.names)

    def projector(self, make: MakeProjector, dim: int) -> nn.Module:
        """h_0 ... h_n."""
        width = dim // self.branches if self.separate else dim
        return Branches([make(width) for _ in range(self.branches)], parts=self.separate)

    def pair(self, loss: HostLoss) -> Tensor:
        """Every key attracts in branch 0; key i in branch i, where the others repel."""
        keys = (KEY, *self.own)
        total = sum((loss((QUERY, k)) for k in keys[1:]), start=loss((QUERY, KEY)))
        for i, key in enumerate(self.own, start=1):
            total = total + loss((QUERY, key), branch=i, foils=[k for k in keys if k != key])
        return total / self.branches
