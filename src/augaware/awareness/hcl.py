"""HCL, hard negatives (Robinson, Chuang, Sra, Jegelka: Contrastive Learning with Hard Negative Samples, ICLR 2021).

    L = -log( exp(p/T) / (exp(p/T) + G) ),   G = max( (R - tau K exp(p/T)) / (1 - tau), K exp(-1/T) )
    R = sum_k w_k exp(n_k/T),                w_k = exp(beta n_k/T) / mean_j exp(beta n_j/T)

p and n_k, k = 1..K, are the cosines of the positive and the negatives: hard negatives weigh more (beta), and what among
them is of the positive's own class, a share tau, is taken off. Uses no omega.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from augaware.awareness.base import Awareness, Setting
from augaware.errors import RequestError

__all__ = ["HCL"]


class HCL(Awareness):
    """Weigh the host's negatives by how hard they are, and correct for those of the same class; for contrastive hosts.

    ``beta``: how much harder ones weigh (authors' code: 1); 0 weighs all alike. ``tau``: the share of the positive's
    class among the negatives (authors' code: 0.1). Both 0 is the host itself.
    """

    needs_negatives = True
    reads = ()

    def __init__(self, setting: Setting, beta: float = 1.0, tau: float = 0.1) -> None:
        super().__init__()
        for key, value, below in (("beta", beta, math.inf), ("tau", tau, 1.0)):
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < below:
                raise RequestError(f"awareness 'hcl': {key}={value!r} must be a number, at least 0 and below {below:g}")
        self.beta, self.tau = beta, tau

    def score(self, positive: Tensor, negatives: Tensor, temperature: float) -> Tensor:
        """The mean over rows of -log( exp(p/T) / (exp(p/T) + G) )."""
        p, n = positive / temperature, negatives / temperature
        k = n.isfinite().sum(dim=1).to(n)
        log_w = torch.where(n.isfinite(), self.beta * n, n)
        log_r = (log_w + n).logsumexp(dim=1) - log_w.logsumexp(dim=1) + k.log()
        g = (log_r.exp() - self.tau * k * p.exp()) / (1 - self.tau)
        g = torch.maximum(g, k * math.exp(-1 / temperature))
        return (torch.logaddexp(p, g.log()) - p).mean()
