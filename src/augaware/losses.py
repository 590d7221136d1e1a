"""Losses shared by several hosts: pure functions of embeddings."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def nt_xent(z_1: Tensor, z_2: Tensor, temperature: float) -> Tensor:
    """NT-Xent (SimCLR, Chen et al. 2020, equation 1): the mean over the 2N views i, with positive p(i), of

        -log( exp(s_ip / T) / sum_{k != i} exp(s_ik / T) ),    s_ij = cos(z_i, z_j).

    z_1, z_2 (N, d), not normalised, with row n of each from image n. Untrained or collapsed: log(2N - 1).
    """
    n = len(z_1)
    z = F.normalize(torch.cat((z_1, z_2)).float(), dim=1)
    s = z @ z.T / temperature
    s = s.masked_fill(torch.eye(2 * n, dtype=torch.bool, device=s.device), float("-inf"))
    positive = torch.arange(2 * n, device=s.device).roll(n)
    return F.cross_entropy(s, positive)
