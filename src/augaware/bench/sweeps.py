"""How this library and its peers sweep the 45 strengths of the papers' linear evaluation.

All minimise sum_i CE(W x_i + b, y_i) + w (||W||^2 + ||b||^2) for every w, warm-started, and end with weights for each.
A peer is imported in its own class.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from augaware.bench.base import OURS as NAME
from augaware.tasks.features import Labelled
from augaware.tasks.logistic import STRENGTHS, Logistic, with_one

Fit = tuple[float, Tensor]


class Sweep(ABC):
    """One way to fit ``classes`` classes. ``package`` and ``module``: what must be installed."""

    package: ClassVar[str] = "augaware"
    module: ClassVar[str] = "augaware"
    note: ClassVar[str] = ""

    def __init__(self, classes: int) -> None:
        self.classes = classes

    @abstractmethod
    def path(self, train: Labelled) -> Iterator[Fit]:
        """w and weights (d + 1, c), the bias last, for all of STRENGTHS in the order that it likes."""

    @abstractmethod
    def again(self, both: Labelled, w: float, weights: Tensor) -> Tensor:
        """The weights for one w on other data, starting from ``weights``."""


class Ours(Sweep):
    """This library."""

    note = "as the linear_probe task has it"

    def path(self, train: Labelled) -> Iterator[Fit]:
        """From the largest w down."""
        return Logistic(train.features, train.labels, self.classes).path()

    def again(self, both: Labelled, w: float, weights: Tensor) -> Tensor:
        """From the weights before."""
        return Logistic(both.features, both.labels, self.classes).solve(w, weights)


class Authors(Sweep):
    """The optimiser of AugSelf's and CASSLE's linear evaluation, its settings and its order."""

    package = module = "torch"
    note = "torch.optim.LBFGS as the authors set it, float32, w ascending"
    dtype, tolerance, order = torch.float32, 0.0, STRENGTHS

    def path(self, train: Labelled) -> Iterator[Fit]:
        """One layer goes through all w."""
        torch.manual_seed(0)
        layer = torch.nn.Linear(train.features.shape[1], self.classes, dtype=self.dtype)
        for w in self.order:
            yield w, self.fit(layer, train, w)

    def again(self, both: Labelled, w: float, weights: Tensor) -> Tensor:
        """A copy of the chosen layer goes on."""
        layer = torch.nn.Linear(both.features.shape[1], self.classes, dtype=self.dtype)
        with torch.no_grad():
            layer.weight.copy_(weights[:-1].T)
            layer.bias.copy_(weights[-1])
        return self.fit(layer, both, w)

    def fit(self, layer: torch.nn.Linear, data: Labelled, w: float) -> Tensor:
        """The weights where the optimiser stops, (d + 1, c) float64."""
        features = data.features.to(self.dtype)
        optimiser = torch.optim.LBFGS(
            layer.parameters(),
            lr=1,
            max_iter=5000,
            tolerance_grad=1e-10,
            tolerance_change=self.tolerance,
            line_search_fn="strong_wolfe",
        )

        def closure() -> Tensor:
            optimiser.zero_grad()
            loss = F.cross_entropy(layer(features), data.labels, reduction="sum")
            loss = loss + w * (layer.weight.square().sum() + layer.bias.square().sum())
            loss.backward()  # type: ignore[no-untyped-call]
            return loss

        optimiser.step(closure)  # type: ignore[no-untyped-call]
        return torch.cat([layer.weight.detach().T, layer.bias.detach()[None]]).double()


class Float64(Authors):
    """A plain L-BFGS that converges."""

    note = "torch.optim.LBFGS, float64, from the largest w down, until the loss changes by less than 1e-6"
    dtype, tolerance, order = torch.float64, 1e-6, STRENGTHS[::-1]


class Sklearn(Sweep):
    """LogisticRegression on [X, 1] without an intercept, so that the bias is regularised; C = 1 / (2 w)."""

    package, module = "scikit-learn", "sklearn"
    tolerance: ClassVar[float] = 1e-4
    note = "LogisticRegression(lbfgs, tol=1e-4, its default), warm-started from the largest w down"

    def path(self, train: Labelled) -> Iterator[Fit]:
        """Warm-started."""
        model, X, y = self.model(), with_one(train.features).numpy(), train.labels.numpy()
        for w in reversed(STRENGTHS):
            yield w, self.fit(model, X, y, w)

    def again(self, both: Labelled, w: float, weights: Tensor) -> Tensor:
        """From the weights before."""
        model = self.model()
        start = weights[:, 1:] - weights[:, :1] if self.classes == 2 else weights
        model.coef_ = start.T.contiguous().numpy()
        return self.fit(model, with_one(both.features).numpy(), both.labels.numpy(), w)

    def model(self) -> Any:
        """Not fitted yet."""
        from sklearn.linear_model import LogisticRegression

        return LogisticRegression(fit_intercept=False, tol=self.tolerance, max_iter=20000, warm_start=True)

    def fit(self, model: Any, X: Any, y: Any, w: float) -> Tensor:
        """The weights (d + 1, c)."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it stopped early shows in the objective
            model.set_params(C=(1 if self.classes == 2 else 0.5) / w).fit(X, y)
        coefficients = torch.from_numpy(model.coef_.copy())
        if self.classes == 2:  # it has their difference alone, and ||d||^2 = 2 ||W||^2
            coefficients = torch.cat([-coefficients, coefficients]) / 2
        return coefficients.T.contiguous()


class SklearnTight(Sklearn):
    """The same until it has converged."""

    tolerance = 1e-7
    note = "the same with tol=1e-7"


OURS: Mapping[str, type[Sweep]] = MappingProxyType({NAME: Ours})
PEERS: Mapping[str, type[Sweep]] = MappingProxyType(
    {"authors": Authors, "torch float64": Float64, "scikit-learn": Sklearn, "scikit-learn tight": SklearnTight}
)
