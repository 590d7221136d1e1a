"""Ridge regression for every target and every strength from one eigendecomposition.

min over W, b of   sum_i ||W x_i + b - t_i||^2 + a ||W||^2        W^T = V (S + a)^-1 V^T X^T T,  X and T centred
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

# Relative to the features' mean variance, so that the scale of an encoder's output does not matter. Strongest first.
STRENGTHS: tuple[float, ...] = tuple(float(a) for a in np.logspace(3, -7, 41))


class Ridge:
    """Ridge regression on ``features`` (n, d), any dtype; the intercept is not regularised."""

    def __init__(self, features: Tensor) -> None:
        self.mean = features.double().mean(0)
        self.X = features.double() - self.mean
        self.S, self.V = torch.linalg.eigh(self.X.T @ self.X)
        # A floor keeps features that do not vary at all solvable.
        self.unit = float(self.S.mean().clamp_min(1e-30))

    def predict(self, targets: Tensor, strength: float, queries: Tensor) -> Tensor:
        """(m, t) float64: ``targets`` (n, t) of the features, regressed and predicted for ``queries`` (m, d).

        The penalty is a = ``strength`` x the mean eigenvalue of the centred X^T X.
        """
        T = targets.double()
        b = T.mean(0)
        shrunk = (self.V.T @ (self.X.T @ (T - b))) / (self.S.clamp_min(0)[:, None] + strength * self.unit)
        prediction: Tensor = (queries.double() - self.mean) @ (self.V @ shrunk) + b
        return prediction
