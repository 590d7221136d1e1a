"""Losses shared by several hosts: pure functions of embeddings, exact over processes (:mod:`augaware.distributed`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from augaware.distributed import gather, rank

# Scores positives against negatives: cosines (N,), (N, K), -inf where there is none, and a temperature -> a scalar.
Score = Callable[[Tensor, Tensor, float], Tensor]


def info_nce(positive: Tensor, negatives: Tensor, temperature: float) -> Tensor:
    """InfoNCE (van den Oord, Li, Vinyals 2018): the mean over rows i of

    -log( exp(p_i / T) / (exp(p_i / T) + sum_k exp(n_ik / T)) ).
    """
    logits = torch.cat((positive[:, None], negatives), dim=1) / temperature
    return F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.int64, device=logits.device))


def nt_xent(
    z_1: Tensor, z_2: Tensor, temperature: float, score: Score = info_nce, foils: Sequence[Tensor] = ()
) -> Tensor:
    """NT-Xent (SimCLR, Chen et al. 2020, equation 1): the mean over the 2N views i, with positive p(i), of

        -log( exp(s_ip / T) / sum_{k != i} exp(s_ik / T) ),    s_ij = cos(z_i, z_j).

    z_1, z_2 (N, d), not normalised, with row n of each from image n. Untrained or collapsed: log(2N - 1). With several
    processes k runs over the views of all of them, gathered with their gradients. k runs over image i's own ``foils``
    too, each (N, d).
    """
    n = len(z_1)
    z_1, z_2 = F.normalize(z_1, dim=1), F.normalize(z_2, dim=1)
    all_1, all_2 = gather(z_1), gather(z_2)
    anchors = torch.cat((z_1, z_2))
    s = anchors @ torch.cat((all_1, all_2)).T
    own = torch.arange(n, device=s.device) + rank() * n  # the column of each image's first view; the second's is + N
    itself, positive = torch.cat((own, own + len(all_1))), torch.cat((own + len(all_1), own))
    cosines, negatives = _apart(s, positive, itself)
    return score(cosines, against(negatives, anchors, [foil.repeat(2, 1) for foil in foils]), temperature)


def contrast(q: Tensor, k: Tensor, temperature: float, score: Score = info_nce, foils: Sequence[Tensor] = ()) -> Tensor:
    """InfoNCE of queries against keys, one direction: the mean over i of

        -log( exp(q_i . k_i / T) / sum_j exp(q_i . k_j / T) ).

    q, k (N, d), normalised; j runs over the keys of all processes, and over image i's own ``foils``. Unrelated unit
    vectors: log N.
    """
    own = torch.arange(len(q), device=q.device) + rank() * len(q)
    positive, negatives = _apart(q @ gather(k).T, own)
    return score(positive, against(negatives, q, foils), temperature)


def against(negatives: Tensor, anchors: Tensor, foils: Sequence[Tensor]) -> Tensor:
    """negatives (N, K) with a column more for each foil (N, d): its cosine with the unit vector anchors (N, d)."""
    columns = [(anchors * F.normalize(foil, dim=1)).sum(dim=1, keepdim=True) for foil in foils]
    return torch.cat((negatives, *columns), dim=1)


def _apart(s: Tensor, positive: Tensor, *left_out: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines (N, M) as those of the positive column (N,) and all (N, M), -inf where a column is no negative."""
    negatives = s
    for column in (positive, *left_out):
        negatives = negatives.scatter(1, column[:, None], float("-inf"))
    return s.gather(1, positive[:, None])[:, 0], negatives


def variance_hinge(z: Tensor) -> Tensor:
    """v(Z) = mean_j max(0, 1 - sqrt(Var(z_j) + 1e-4)) of z (N, d): 0 where every dimension varies (VICReg)."""
    return F.relu(1 - torch.sqrt(z.var(dim=0) + 1e-4)).mean()


def covariance(z: Tensor) -> Tensor:
    """c(Z) = sum_{i != j} Cov(Z)_ij^2 / d of z (N, d) (VICReg)."""
    n, d = z.shape
    z = z - z.mean(dim=0)
    cov = z.T @ z / (n - 1)
    return (cov.square().sum() - cov.diagonal().square().sum()) / d


@torch.no_grad()
def sinkhorn(scores: Tensor, epsilon: float, iterations: int = 3) -> Tensor:
    """Balanced assignment of samples to prototypes (SwAV, Caron et al. 2020, section 3.1).

    scores (B, C) -> (B, C): exp(scores / epsilon) with, in turns, the mass of every prototype made 1/C and that of
    every sample 1/B, times B; so rows sum to 1, and columns to B/C as the iterations go on. Computed as logarithms,
    so nothing overflows.
    """
    log_q = scores / epsilon
    for _ in range(iterations):
        log_q = log_q - log_q.logsumexp(dim=0, keepdim=True)
        log_q = log_q - log_q.logsumexp(dim=1, keepdim=True)
    return log_q.exp()
