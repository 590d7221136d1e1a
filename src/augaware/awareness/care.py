"""CARE (Gupta, Robinson, Lim, Villar, Jegelka: Structuring Representation Geometry with Rotationally Equivariant
Contrastive Learning, ICLR 2024).

    L = L_SSL + lambda 2 mean_i sum_{j != i} ( a_i . a_j - b_i . b_j )^2,    a = n(g(f(t_a(x)))),  b = n(g(f(t_b(x))))

t_a and t_b are the same for all images of a chunk: if the angles between embeddings stay as they are, an augmentation
acts on them as one rotation. Needs no omega, only that images share it.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from augaware.awareness.base import Awareness, Extra, Setting, Views
from augaware.checks import check_at_least_zero, check_widths
from augaware.errors import RequestError
from augaware.views import Plan, ViewPlan

__all__ = ["CARE"]


class CARE(Awareness):
    """Augmentations are to rotate the embeddings; two more views a step, alike within each ``chunk`` of images.

    ``lam``: .01 on STL10 and CIFAR, .005 on ImageNet100 (paper). ``chunk``: an eighth of the batch of 256 there.
    """

    projected = True
    reads = ()

    def __init__(self, setting: Setting, lam: float = 0.01, chunk: int = 32) -> None:
        super().__init__()
        check_at_least_zero("awareness 'care'", lam=lam)
        check_widths("awareness 'care'", chunk=chunk)
        if chunk < 2:
            raise RequestError(f"awareness 'care': chunk={chunk} must be at least 2: it compares images of a chunk")
        self.lam, self.chunk = lam, chunk
        self.view = ViewPlan(law=0, tie=dict.fromkeys(setting.drawn, chunk))

    def plan(self, plan: Plan) -> Plan:
        """Two views whose omega all images of a chunk share."""
        return *plan, self.view, self.view

    def losses(self, online: Views, target: Views) -> dict[str, Extra]:
        """The mean over chunks of the squared change of the angles."""
        a, b = (F.normalize(online[number].z.float(), dim=1) for number in self.own)
        chunks = zip(torch.split(a, self.chunk), torch.split(b, self.chunk), strict=True)
        return {"gram": Extra(self.lam, torch.stack([gram_change(a, b) for a, b in chunks]).mean())}


def gram_change(a: Tensor, b: Tensor) -> Tensor:
    """2 mean_i sum_j (a_i . a_j - b_i . b_j)^2 of unit vectors (N, d); 0 where b is a rotated."""
    return 2 * (a @ a.T - b @ b.T).square().sum(dim=1).mean()  # j = i adds nothing: both are 1
