"""Linear evaluation by SGD on augmented images: MoCo's protocol, in which LooC's results are given.

He et al., CVPR 2020 (MoCo): SGD at rate 30 on features of random crops. Xiao et al., ICLR 2021 (LooC), and with it
AugSelf and CASSLE, on CUB200, ImageNet100 and a few images per class of Flowers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from augaware import metrics
from augaware.checks import check_numbers, check_widths
from augaware.data.base import Source
from augaware.errors import RequestError
from augaware.random import epoch_order
from augaware.tasks.base import FrozenEncoder
from augaware.tasks.classification import Classification, joined
from augaware.tasks.features import Labelled, encode, known_labels, labelled
from augaware.tasks.training import MOMENTUM, classifier, side, views

__all__ = ["LoocProbe"]

_FORWARD = 256  # images that pass the network together


class LoocProbe(Classification):
    """Accuracy of a linear classifier trained by SGD on frozen features of augmented images.

    A new crop and flip of every image in each of ``epochs`` (:mod:`augaware.tasks.training`); the network is in eval
    mode. Rate ``lr`` x batch_size / 256, a tenth of it after .6 of the epochs and a hundredth after .8; momentum .9, no
    weight decay; W ~ N(0, .01), b = 0. ``metric`` (authors' code: top-1), ``shots`` and ``seed`` as in
    :mod:`augaware.tasks.classification`; the seed is also that of W, order and crops.

    Two classifiers see the same features: one is trained on train and says which epoch is best on val, the other on
    train and val, and is scored on test. Authors' code: trained on all that is not test, and the best epoch on test is
    the result. Here that is ``best_test``, an optimistic number, for comparison with theirs.

    Metrics: ``test``, of the ``epoch`` (from 1, the first of equals) that is best on val; ``val`` there; ``last_test``,
    of the last epoch; ``best_test``, the maximum over epochs, **selected on test**; ``standard_error`` of ``test``
    (binomial), ``metric``, ``epochs``, ``classes``, ``n`` per split.
    """

    protocol: ClassVar[str] = "looc_probe/1"

    def __init__(
        self,
        dataset: str,
        epochs: int = 200,
        lr: float = 30.0,
        batch_size: int = 256,
        metric: str = "auto",
        shots: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(dataset, metric, shots, seed)
        check_widths("task 'looc_probe'", epochs=epochs, batch_size=batch_size)
        check_numbers("task 'looc_probe'", 0, lr=lr)
        self.epochs, self.lr, self.batch_size = epochs, lr, batch_size

    def __call__(self, encoder: FrozenEncoder, splits: Mapping[str, Source]) -> dict[str, object]:
        """The metrics of the class docstring. Raises :class:`RequestError` when a split or its labels are missing."""
        sources = self.sources(splits)
        val, test = (labelled(encoder, source, side(encoder.size)) for source in sources[1:])
        both = joined(*sources[:2])
        labels, classes = known_labels(both).to(test.labels.device), len(both.classes)
        n, device = len(sources[0]), test.labels.device
        chosen, fitted = (Linear(encoder.dim, classes, self.seed, device) for _ in range(2))
        vals, tests = [], []
        for epoch in range(self.epochs):
            batches = ((epoch, index) for index in torch.split(torch.arange(len(both)), _FORWARD))
            seen = Labelled(encode(encoder, both, views(encoder, both, self.seed, batches)), labels)
            for linear, data in ((chosen, seen.first(n)), (fitted, seen)):
                order = epoch_order(len(data), self.seed, epoch).to(device)
                linear.train(data, torch.split(order, self.batch_size), self.rate(epoch))
            vals.append(self.score(chosen.predict(val.features), val.labels))
            tests.append(self.score(fitted.predict(test.features), test.labels))
        best = vals.index(max(vals))
        return {
            "test": tests[best],
            "val": vals[best],
            "epoch": best + 1,
            "last_test": tests[-1],
            "best_test": max(tests),
            "standard_error": metrics.standard_error(tests[best], len(test)),
            "metric": self.metric,
            "epochs": self.epochs,
            "classes": classes,
            "n": {"train": n, "val": len(val), "test": len(test)},
        }

    def rate(self, epoch: int) -> float:
        """The learning rate of ``epoch`` in 0..epochs-1."""
        drops = (5 * epoch >= 3 * self.epochs) + (5 * epoch >= 4 * self.epochs)
        return self.lr * self.batch_size / 256 * 0.1**drops


class Linear:
    """W and b, and the SGD that trains them."""

    def __init__(self, dim: int, classes: int, seed: int, device: torch.device) -> None:
        self.weights = classifier(dim, classes, seed, device)
        self.sgd = torch.optim.SGD(self.weights, momentum=MOMENTUM)

    def train(self, data: Labelled, batches: Iterable[Tensor], lr: float) -> None:
        """A step for each index tensor of ``batches``."""
        self.sgd.param_groups[0]["lr"] = lr
        for index in batches:
            self.sgd.zero_grad()
            loss = F.cross_entropy(F.linear(data.features[index], *self.weights), data.labels[index])
            torch.autograd.backward(loss)
            self.sgd.step()

    @torch.no_grad()
    def predict(self, features: Tensor) -> Tensor:
        """The class of each row, (N,). Raises :class:`RequestError` when training has diverged."""
        logits = F.linear(features, *self.weights)
        if not bool(logits.isfinite().all()):
            raise RequestError("task 'looc_probe': its classifier has diverged; lower lr")
        return logits.argmax(1)
