"""IFM, implicit feature modification (Robinson, Sun, Yu, Batmanghelich, Jegelka, Sra: Can contrastive learning avoid
shortcut solutions?, NeurIPS 2021).

    L = [ NCE(p, n) + alpha NCE(p - eps, n + eps) ] / (1 + alpha)

p and n are the cosines of positives and negatives, before the temperature: within a ball of radius eps around unit
embeddings, p - eps and n + eps are the worst there are, in closed form. Uses no omega.
"""

from __future__ import annotations

from torch import Tensor

from augaware.awareness.base import Awareness, Setting
from augaware.checks import check_at_least_zero
from augaware.losses import info_nce

__all__ = ["IFM"]


class IFM(Awareness):
    """Make the host's contrast robust to the worst change of its embeddings; for contrastive hosts.

    ``eps``: the radius, in cosine (the paper: 0.05, 0.1 and 0.2); 0 is the host itself. ``alpha``: the weight of the
    perturbed term (the paper: 1).
    """

    needs_negatives = True
    reads = ()

    def __init__(self, setting: Setting, eps: float = 0.1, alpha: float = 1.0) -> None:
        super().__init__()
        check_at_least_zero("awareness 'ifm'", eps=eps, alpha=alpha)
        self.eps, self.alpha = eps, alpha

    def score(self, positive: Tensor, negatives: Tensor, temperature: float) -> Tensor:
        """[ NCE(p, n) + alpha NCE(p - eps, n + eps) ] / (1 + alpha)."""
        plain = info_nce(positive, negatives, temperature)
        if self.eps == 0:
            return plain
        perturbed = info_nce(positive - self.eps, negatives + self.eps, temperature)
        return (plain + self.alpha * perturbed) / (1 + self.alpha)
