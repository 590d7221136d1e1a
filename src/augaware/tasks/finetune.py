"""Fine-tuning of the whole network, with weight decay or pulled towards where it starts: L2-SP.

Li, Grandvalet, Davoine: Explicit Inductive Bias for Transfer Learning with Convolutional Networks, ICML 2018:

    min over w and head of   mean CE + alpha / 2 ||w - a||^2 + beta / 2 ||head||^2,     a = w0 (L2-SP) or 0 (decay)

w0 are the pretrained weights, all of them, those of normalisation too. Steps, batch, rates, alphas and beta are those
of the L2-SP runs of CASSLE's authors; they name no weight decay to compare with, and the default here is ours.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, product
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from augaware import metrics
from augaware.checks import check_at_least_zero, check_numbers, check_widths
from augaware.data.base import Source
from augaware.errors import RequestError
from augaware.random import epoch_order, seeded
from augaware.tasks.base import FrozenEncoder
from augaware.tasks.classification import Classification, joined
from augaware.tasks.features import device_of, extract, known_labels
from augaware.tasks.training import MOMENTUM, classifier, side, views

__all__ = ["Finetune"]


class Finetune(Classification):
    """Accuracy after training a copy of the whole network, with a new linear classifier, on augmented images.

    SGD with momentum .9 for ``steps`` batches, at a rate of ``lrs`` and a tenth of it after 2/3 of the steps; crops and
    flips as in :mod:`augaware.tasks.training`, BN in training mode. ``l2_sp`` are the alphas of L2-SP, for instance
    (1, .1, .01, .001); without them alpha is ``weight_decay``, towards zero. ``beta`` is the classifier's in both.
    Every rate is tried with every alpha on train; the pair that is best on val at its last step (the first of equals)
    is trained again on train and val, and scored on test once. One that diverged is no candidate. ``metric``, ``shots``
    and ``seed`` as in :mod:`augaware.tasks.classification`; the seed is also that of W, order, crops and dropout.

    Metrics: ``test`` and ``val`` (fractions), ``standard_error`` (binomial, of the test images alone), the chosen
    ``lr`` and ``alpha``, ``grid`` (lr, alpha and val of each pair; None where it diverged), ``moved``
    = ||w - w0|| / ||w0|| of the last network, ``metric``, ``steps``, ``classes`` and ``n`` per split.
    """

    protocol: ClassVar[str] = "finetune/1"

    def __init__(
        self,
        dataset: str,
        steps: int = 9000,
        batch_size: int = 64,
        lrs: Sequence[float] = (0.005, 0.01, 0.02),
        l2_sp: Sequence[float] = (),
        weight_decay: float = 1e-4,
        beta: float = 0.01,
        metric: str = "auto",
        shots: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(dataset, metric, shots, seed)
        owner = "task 'finetune'"
        check_widths(owner, steps=steps, batch_size=batch_size)
        check_at_least_zero(owner, weight_decay=weight_decay, beta=beta)
        for key, values in (("lrs", lrs), ("l2_sp", l2_sp)):
            if not isinstance(values, (tuple, list)):
                raise RequestError(f"{owner}: {key}={values!r} must be a list of numbers, such as (0.01, 0.1)")
            for value in values:
                check_numbers(owner, 0, **{key: value})
        if not lrs:
            raise RequestError(f"{owner}: lrs is empty; name a learning rate, such as (0.01,)")
        self.steps, self.batch_size, self.lrs, self.beta = steps, batch_size, tuple(lrs), beta
        self.alphas, self.to_start = tuple(l2_sp) or (weight_decay,), bool(l2_sp)

    def __call__(self, encoder: FrozenEncoder, splits: Mapping[str, Source]) -> dict[str, object]:
        """The metrics of the class docstring. Raises :class:`RequestError` when a split or its labels are missing."""
        train, val, test = self.sources(splits)
        grid: list[dict[str, float | None]] = []
        for lr, alpha in product(self.lrs, self.alphas):
            tuned = self.tune(encoder, train, lr, alpha)
            grid.append({"lr": lr, "alpha": alpha, "val": self.scored(tuned, val) if tuned.finite() else None})
        reached = [-1.0 if pair["val"] is None else pair["val"] for pair in grid]
        best = reached.index(max(reached))
        lr, alpha = list(product(self.lrs, self.alphas))[best]
        tuned = self.tune(encoder, joined(train, val), lr, alpha)
        if reached[best] < 0 or not tuned.finite():
            raise RequestError(f"task 'finetune': training diverged at lr={lr:g}; give lower lrs")
        score = self.scored(tuned, test)
        return {
            "test": score,
            "val": reached[best],
            "standard_error": metrics.standard_error(score, len(test)),
            "metric": self.metric,
            "lr": lr,
            "alpha": alpha,
            "grid": grid,
            "moved": moved(tuned.network, encoder),
            "steps": self.steps,
            "classes": len(train.classes),
            "n": {"train": len(train), "val": len(val), "test": len(test)},
        }

    def tune(self, encoder: FrozenEncoder, source: Source, lr: float, alpha: float) -> Tuned:
        """A copy of ``encoder`` and a new classifier, trained on ``source``."""
        device, labels = device_of(encoder), known_labels(source)
        tuned = Tuned(copy.deepcopy(encoder), classifier(encoder.dim, len(source.classes), self.seed, device))
        tuned.network.eval().train().requires_grad_()
        w = list(tuned.network.parameters())
        w0 = [p.detach().clone() for p in w] if self.to_start else [torch.zeros_like(p) for p in w]
        zero = [torch.zeros_like(p) for p in tuned.head]
        sgd = torch.optim.SGD([*w, *tuned.head], lr, momentum=MOMENTUM)
        batches = list(islice(self.batches(len(source)), self.steps))
        images = views(encoder, source, self.seed, batches)
        with seeded(device, self.seed):  # dropout, and whatever else a network draws
            for step, ((_, index), x) in enumerate(zip(batches, images, strict=True)):
                sgd.param_groups[0]["lr"] = self.rate(lr, step)
                x = x.to(device).contiguous(memory_format=torch.channels_last)
                loss = F.cross_entropy(F.linear(tuned.network(x).float(), *tuned.head), labels[index].to(device))
                sgd.zero_grad()
                torch.autograd.backward(loss)
                pull(w, w0, alpha)
                pull(tuned.head, zero, self.beta)
                sgd.step()
        return tuned

    def batches(self, n: int) -> Iterator[tuple[int, Tensor]]:
        """(epoch, index) of ``steps`` steps or more; what an epoch has after its last whole batch is left out."""
        size = min(self.batch_size, n)
        for epoch in range(-(-self.steps // (n // size))):
            order = epoch_order(n, self.seed, epoch)
            yield from ((epoch, index) for index in torch.split(order, size)[: n // size])

    def rate(self, lr: float, step: int) -> float:
        """The learning rate of ``step`` in 0..steps-1."""
        return lr if 3 * step < 2 * self.steps else lr / 10

    def scored(self, tuned: Tuned, source: Source) -> float:
        """The score on all of ``source``."""
        y = extract(tuned.network, source, short_side=side(tuned.network.size))
        return self.score(F.linear(y, *tuned.head).argmax(1), known_labels(source).to(y.device))


@dataclass(frozen=True)
class Tuned:
    """A network and the classifier on its features, W (classes, dim) and b."""

    network: FrozenEncoder
    head: list[Tensor]

    def finite(self) -> bool:
        """Whether training has not diverged."""
        module = self.network.eval()  # which gives the network as a module: FrozenEncoder does not speak of buffers
        return all(bool(t.isfinite().all()) for t in (*module.parameters(), *module.buffers(), *self.head))


def pull(parameters: Iterable[Tensor], towards: Iterable[Tensor], alpha: float) -> None:
    """Add the gradient of alpha / 2 ||w - a||^2 to those of the parameters w; what has none takes no part."""
    for w, a in zip(parameters, towards, strict=True):
        if w.grad is not None:
            w.grad.add_(w.detach() - a, alpha=alpha)


def moved(network: FrozenEncoder, start: FrozenEncoder) -> float:
    """||w - w0|| / ||w0||; 0 for a network without weights."""
    w, w0 = ([p.detach() for p in f.parameters()] for f in (network, start))
    return norm(a - b for a, b in zip(w, w0, strict=True)) / (norm(w0) or 1.0)


def norm(tensors: Iterable[Tensor]) -> float:
    """||.|| of all numbers of ``tensors`` together."""
    return math.sqrt(sum(float(t.double().square().sum()) for t in tensors))
