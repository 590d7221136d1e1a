"""Downstream use of AI (Chavhan et al.: Amortised Invariance Learning for Contrastive Self-Supervision, ICLR 2023).

    min over W, b and i in [0, 1]^k of   mean CE(W f(x; i) + b, label)

The classifier and the invariances that its task wants are learnt together; the backbone is frozen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from augaware import metrics
from augaware.checks import check_flags, check_widths
from augaware.data.base import Source
from augaware.data.centre import centre_batch
from augaware.errors import RequestError
from augaware.nets.base import evaluating
from augaware.nets.invariant import Invariant
from augaware.random import epoch_order
from augaware.tasks.base import FrozenEncoder, Task
from augaware.tasks.classification import SCORES
from augaware.tasks.features import device_of, pick

__all__ = ["LearnedCode"]

LR = 0.01  # of W, b and i (paper)
START = 0.5  # of each number of i (paper)
SEED = 0  # of the order of the images


class LearnedCode(Task):
    """Accuracy of a linear classifier learnt together with the invariance code of an encoder trained with ai.

    Adam, rate .01 falling as half a cosine over ``epochs``, no weight decay; i starts at .5 and is kept in [0, 1] (as
    in the authors' code). W and b start at zero (authors' code: N(0, .01)); all else of the encoder is frozen (authors'
    code: its BN parameters are trained). Trained on train alone (authors' code: train and val). Every epoch passes all
    images through the network, forwards and backwards, so it costs far more than a linear_probe. ``rounded``: at the
    end each number of i becomes 0 or 1, for the W at hand. ``metric`` is ``"top1"`` or ``"class_average"``.

    Metrics: ``test`` and ``val`` (fractions), ``standard_error`` (binomial), ``code`` (the learnt i), ``metric``,
    ``epochs``, ``classes``, ``n`` per split.
    """

    protocol: ClassVar[str] = "learned_code/1"

    def __init__(
        self, dataset: str, epochs: int = 100, batch_size: int = 128, rounded: bool = False, metric: str = "top1"
    ) -> None:
        super().__init__(dataset)
        check_widths("task 'learned_code'", epochs=epochs, batch_size=batch_size)
        check_flags("task 'learned_code'", rounded=rounded)
        if metric not in SCORES:
            raise RequestError(f"task 'learned_code': metric={metric!r} is unknown; accepted: {', '.join(SCORES)}")
        self.epochs, self.batch_size, self.rounded, self.metric = epochs, batch_size, rounded, metric

    def __call__(self, encoder: FrozenEncoder, splits: Mapping[str, Source]) -> dict[str, object]:
        """The metrics of the class docstring.

        Raises :class:`RequestError` when the encoder has no code, or a split or its labels are missing.
        """
        f: Any = getattr(encoder, "f", encoder)
        if not isinstance(f, Invariant):
            raise RequestError(
                f"task 'learned_code': encoder {encoder.name!r} takes no invariance code; train one with --aware ai, "
                f"or use linear_probe({self.dataset!r})"
            )
        train, val, test = (_open(encoder, pick(splits, name)) for name in ("train", "val", "test"))
        classes = len(splits["train"].classes)
        with evaluating(encoder):
            W, b, code = self._learn(f, train, classes)
            reached = {
                name: SCORES[self.metric](self._predict(f, split, W, b, code), split.labels)
                for name, split in (("test", test), ("val", val))
            }
        return {
            **reached,
            "standard_error": metrics.standard_error(reached["test"], len(test.labels)),
            "code": [round(number, 4) for number in code.tolist()],
            "metric": self.metric,
            "epochs": self.epochs,
            "classes": classes,
            "n": {"train": len(train.labels), "val": len(val.labels), "test": len(test.labels)},
        }

    def _learn(self, f: Invariant, train: Images, classes: int) -> tuple[Tensor, Tensor, Tensor]:
        """W (classes, D), b (classes,) and i (k,)."""
        device, n = f.code.device, len(train.labels)
        W, b = torch.zeros(classes, f.dim, device=device), torch.zeros(classes, device=device)
        code = torch.full_like(f.code, START, requires_grad=False)
        learnt = [t.requires_grad_() for t in (W, b, code)]
        optimizer = torch.optim.Adam(learnt, lr=LR)
        steps = self.epochs * -(-n // self.batch_size)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        for epoch in range(self.epochs):
            for index in torch.split(epoch_order(n, SEED, epoch), self.batch_size):
                x = train.batch(index)
                loss = F.cross_entropy(F.linear(f(x, code.expand(len(x), -1)), W, b), train.labels[index.to(device)])
                # not backward(): the encoder's own parameters may want a gradient, and are left as they are
                for t, slope in zip(learnt, torch.autograd.grad(loss, learnt), strict=True):
                    t.grad = slope
                optimizer.step()
                schedule.step()
                with torch.no_grad():
                    code.clamp_(0, 1)
        if not all(bool(t.isfinite().all()) for t in learnt):
            raise RequestError(
                f"task 'learned_code': the features of {train.name!r} are not finite: the encoder's training diverged; "
                "take an earlier checkpoint or train with a lower learning rate"
            )
        W, b, code = (t.detach() for t in learnt)
        return W, b, (code >= START).to(code) if self.rounded else code

    @torch.inference_mode()
    def _predict(self, f: Invariant, split: Images, W: Tensor, b: Tensor, code: Tensor) -> Tensor:
        """The class of each image, (N,)."""
        plain, rows = f.at(code), torch.arange(len(split.labels))
        found = [F.linear(plain(split.batch(i)), W, b).argmax(1) for i in torch.split(rows, self.batch_size)]
        return torch.cat(found)


@dataclass(frozen=True)
class Images:
    """The images of a split (N, 3, size, size) uint8, its labels (N,), and what normalises a batch; as in extract()."""

    name: str
    pixels: Tensor
    labels: Tensor
    mean: Tensor
    std: Tensor

    def batch(self, index: Tensor) -> Tensor:
        """Normalised images ``index`` (B,), on the encoder's device."""
        x = self.pixels[index].to(self.mean.device) / 255
        return ((x - self.mean) / self.std).contiguous(memory_format=torch.channels_last)


def _open(encoder: FrozenEncoder, source: Source) -> Images:
    """Read, resized and cut once: whole numbers of grey, which fit uint8; of 16 bits the upper 8."""
    if source.labels is None or len(source.classes) < 2 or not len(source):
        raise RequestError(
            f"data {source.name!r} has no two classes to tell apart: put its images in a folder per class"
        )
    device = device_of(encoder)
    parts = torch.split(torch.arange(len(source)), 256)
    pixels = torch.cat([centre_batch(source, i, encoder.size).mul(255).round().to(torch.uint8) for i in parts])
    mean, std = (torch.tensor(v, device=device).view(-1, 1, 1) for v in (encoder.mean, encoder.std))
    return Images(source.name, pixels, source.labels.to(device), mean, std)
