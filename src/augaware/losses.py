"""Losses shared by several hosts: pure functions of embeddings, exact over processes (:mod:`augaware.distributed`)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from augaware.distributed import gather, rank


def nt_xent(z_1: Tensor, z_2: Tensor, temperature: float) -> Tensor:
    """NT-Xent (SimCLR, Chen et al. 2020, equation 1): the mean over the 2N views i, with positive p(i), of

        -log( exp(s_ip / T) / sum_{k != i} exp(s_ik / T) ),    s_ij = cos(z_i, z_j).

    z_1, z_2 (N, d), not normalised, with row n of each from image n. Untrained or collapsed: log(2N - 1). With several
    processes k runs over the views of all of them, gathered with their gradients.
    """
    n = len(z_1)
    z_1, z_2 = F.normalize(z_1, dim=1), F.normalize(z_2, dim=1)
    all_1, all_2 = gather(z_1), gather(z_2)
    s = torch.cat((z_1, z_2)) @ torch.cat((all_1, all_2)).T / temperature
    own = torch.arange(n, device=s.device) + rank() * n  # the column of each image's first view; the second's is + N
    itself, positive = torch.cat((own, own + len(all_1))), torch.cat((own + len(all_1), own))
    s = s.scatter(1, itself[:, None], float("-inf"))
    return F.cross_entropy(s, positive)


def contrast(q: Tensor, k: Tensor, temperature: float) -> Tensor:
    """InfoNCE of queries against keys, one direction: the mean over i of

        -log( exp(q_i . k_i / T) / sum_j exp(q_i . k_j / T) ).

    q, k (N, d), normalised; j runs over the keys of all processes. Unrelated unit vectors: log N.
    """
    own = torch.arange(len(q), device=q.device) + rank() * len(q)
    return F.cross_entropy(q @ gather(k).T / temperature, own)


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
