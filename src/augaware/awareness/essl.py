"""E-SSL (Dangovski, Jing, Loh, Han, Srivastava, Cheung, Agrawal, Soljacic: Equivariant Contrastive Learning, ICLR
2022).

    L = L_SSL + lambda CE( p(f(R_k v)), k ),    k = 0, 1, 2, 3 quarter turns of one more, small view v

p reads the backbone's features of one view; no pair and no omega of the host's views is used, and rotation is none of
the host's augmentations.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from augaware.awareness.base import Awareness, Extra, Setting, Views
from augaware.checks import check_at_least_zero, check_widths
from augaware.errors import RequestError
from augaware.nets.heads import mlp
from augaware.views import Plan, ViewPlan

__all__ = ["ESSL"]

TURNS = range(4)


class ESSL(Awareness):
    """Tell by how many quarter turns a small crop was rotated; four more views a step.

    ``lam``: .4 for SimCLR, .08 for SimSiam (paper, ImageNet). ``size`` of the small views in pixels: 96 beside 224 on
    ImageNet, 16 beside 32 on CIFAR; None is that of the others. ``scale``: their crop's area. ``hidden``: the width of
    p's two hidden layers, with layer normalisation.
    """

    reads = ()

    def __init__(
        self,
        setting: Setting,
        lam: float = 0.4,
        size: int | None = None,
        scale: tuple[float, float] = (0.05, 0.14),
        hidden: int = 2048,
    ) -> None:
        super().__init__()
        check_at_least_zero("awareness 'essl'", lam=lam)
        check_widths("awareness 'essl'", hidden=hidden, **({} if size is None else {"size": size}))
        if "crop" not in setting.spaces:
            raise RequestError("awareness 'essl': its small views need 'crop' in the pipeline; add it to augment")
        if "rotate90" in setting.drawn and "flip" in setting.drawn[setting.drawn.index("rotate90") :]:
            raise RequestError(
                "awareness 'essl': 'flip' stands after 'rotate90' in augment, so that k turns of a flipped image look "
                "like -k; put rotate90 last"
            )
        self.lam = lam
        crop = f"crop(scale={scale!r})"
        self.views = [ViewPlan(law=0, size=size, change=(crop, f"rotate90(p=1, turns=[{k}])")) for k in TURNS]
        self.alike = [name for name in setting.drawn if name != "rotate90"]
        self.p = mlp((setting.dim, hidden, hidden, len(TURNS)), hidden="ln")

    def plan(self, plan: Plan) -> Plan:
        """One small view in four turns: equal but for the rotation."""
        share = dict.fromkeys(self.alike, len(plan))
        first, *rest = self.views
        return *plan, first, *(replace(view, share=share) for view in rest)

    def losses(self, online: Views, target: Views) -> dict[str, Extra]:
        """CE of the four turns; a guess has log 4."""
        y = torch.cat([online[number].y for number in self.own])
        k = torch.arange(len(TURNS), device=y.device).repeat_interleave(len(y) // len(TURNS))
        logits: Tensor = self.p(y).float()
        return {"rotation": Extra(self.lam, F.cross_entropy(logits, k), F.cross_entropy(torch.zeros_like(logits), k))}
