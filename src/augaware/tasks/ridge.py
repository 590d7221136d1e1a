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
    """The regression of ``targets`` (n, t) on ``features`` (n, d), any dtype; the intercept is not regularised."""

    def __init__(self, features: Tensor, targets: Tensor) -> None:
        X, T = features.double(), targets.double()
        self.mean, self.intercept = X.mean(0), T.mean(0)
        X = X - self.mean
        self.S, self.V = torch.linalg.eigh(X.T @ X)
        self.VXT = self.V.T @ (X.T @ (T - self.intercept))
        # A floor keeps the system solvable for features that do not vary at all.
        self.unit = self.S.mean().clamp_min(1e-30)

    def predict(self, features: Tensor, strength: float | Tensor) -> Tensor:
        """(m, t) float64 predictions for ``features`` (m, d); ``strength`` for all targets, or (t,) one for each.

        The penalty is a = strength x the mean eigenvalue of the centred X^T X.
        """
        W = self.V @ (self.VXT / (self.S.clamp_min(0)[:, None] + strength * self.unit))
        prediction: Tensor = (features.double() - self.mean) @ W + self.intercept
        return prediction
