"""Object detection with an encoder fine-tuned end to end: CASSLE's transfer to VOC (MoCo's recipe), for any boxes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn

from augaware.checks import check_numbers, check_widths
from augaware.data.base import Source
from augaware.errors import RequestError
from augaware.progress import Display
from augaware.random import seeded
from augaware.tasks.average_precision import Found, average_precision, require_pycocotools
from augaware.tasks.base import FrozenEncoder, Task
from augaware.tasks.boxed import Boxed, boxed, open_boxed
from augaware.tasks.detection_batches import Batches, Example, resized
from augaware.tasks.detections_png import Shown, detections_png
from augaware.tasks.detector import Detector
from augaware.tasks.features import device_of

__all__ = ["Detection"]

_SHOWN = 6


class Detection(Task):
    """AP of Faster R-CNN, fine-tuned end to end from a copy of the encoder.

    The model is :mod:`augaware.tasks.detector`. Trained on train and val together, as nothing is chosen, for
    ``steps`` batches by SGD (momentum .9, weight decay 1e-4, none on BatchNorms): ``lr``, after a linear ``warmup``
    from a thousandth, divided by 10 at each of ``drops``. Each image is mirrored at random, and its short side
    resized to one drawn from ``short_side``, in steps of 32 px, its long one at most ``max_side``; in testing to
    ``test_side``. ``accumulate`` cuts a batch in so many parts that are held in memory one by one. BatchNorms are the
    plain ones of one process, what SyncBN is for several; each part has moments of its own. Before testing they
    become the mean of ``precise_bn`` training batches. ``anchors``, ``regions``, ``region_side`` and ``proposals`` as
    in :class:`augaware.tasks.detector.Detector`. The defaults are the papers' for VOC.

    A small set wants another schedule, such as
    ``detection('fruit3_det', 300, 8, drops=(200, 270), short_side=(128, 192), test_side=160, anchors=(32, 64, 128))``.

    Metrics: those of :func:`augaware.tasks.average_precision.average_precision`, and ``loss`` (mean of the last tenth
    of the steps), ``steps``, ``classes``, ``n``, ``seconds``.
    """

    protocol: ClassVar[str] = "detection/1"

    def __init__(
        self,
        dataset: str,
        steps: int = 24000,
        batch_size: int = 16,
        lr: float = 0.02,
        drops: Sequence[int] = (18000, 22000),
        warmup: int = 100,
        short_side: Sequence[int] = (480, 800),
        max_side: int = 1333,
        test_side: int = 800,
        anchors: Sequence[int] = (32, 64, 128, 256, 512),
        regions: int = 512,
        region_side: int = 14,
        proposals: int = 1000,
        precise_bn: int = 200,
        accumulate: int = 1,
        seed: int = 0,
    ) -> None:
        super().__init__(dataset)
        owner = f"detection({dataset!r})"
        check_widths(owner, steps=steps, batch_size=batch_size, warmup=warmup, max_side=max_side, test_side=test_side)
        check_widths(owner, regions=regions, region_side=region_side, proposals=proposals)
        check_widths(owner, precise_bn=precise_bn, accumulate=accumulate)
        check_numbers(owner, 0, lr=lr)
        if type(seed) is not int:
            raise RequestError(f"{owner}: seed={seed!r} must be a whole number")
        if batch_size % accumulate:
            raise RequestError(f"{owner}: accumulate={accumulate} parts must divide batch_size={batch_size}")
        self.drops, sides = _rising(owner, "drops", drops), _rising(owner, "short_side", short_side)
        self.anchors = _rising(owner, "anchors", anchors)
        if not sides or not self.anchors:
            raise RequestError(f"{owner}: short_side={short_side!r} and anchors={anchors!r} must not be empty")
        self.short_side, self.max_side, self.test_side = (sides[0], sides[-1]), max_side, test_side
        self.steps, self.batch_size, self.lr, self.warmup = steps, batch_size, lr, warmup
        self.regions, self.region_side, self.proposals = regions, region_side, proposals
        self.precise_bn, self.accumulate, self.seed = precise_bn, accumulate, seed
        self._shown: list[Shown] = []
        self._classes: tuple[str, ...] = ()

    def splits(self, root: str | Path) -> Mapping[str, Source]:
        """The images of each split with their boxes. Raises :class:`RequestError` for a set without boxes."""
        return open_boxed(root, self.dataset)

    def __call__(self, encoder: FrozenEncoder, splits: Mapping[str, Source]) -> dict[str, object]:
        """The metrics of the class docstring. Raises :class:`RequestError` for an encoder without stages."""
        require_pycocotools()
        began = time.perf_counter()
        sources = {name: boxed(splits, name) for name in ("train", "val") if name != "val" or name in splits}
        test = boxed(splits, "test")
        batches = Batches(tuple(sources.values()), self.batch_size, self.short_side, self.max_side, self.seed)
        device = device_of(encoder)
        with seeded(device, self.seed, 0):
            layout = (self.anchors, self.regions, self.region_side, self.proposals)
            detector = Detector(encoder, len(test.classes), *layout).to(device)
        losses = self.train(detector, batches)
        found = self.find(detector, test)
        self._shown = [
            Shown(test.load(i), test.objects[i], found[i])
            for i in torch.linspace(0, len(test) - 1, min(_SHOWN, len(test))).long().tolist()
        ]
        self._classes = test.classes
        last = losses[-max(1, self.steps // 10) :]
        return {
            **average_precision(found, test.objects, test.classes),
            "loss": sum(last) / len(last),
            "steps": self.steps,
            "classes": list(test.classes),
            "n": {name: len(source) for name, source in [*sources.items(), ("test", test)]},
            "seconds": round(time.perf_counter() - began, 1),
        }

    def picture(self, encoder: FrozenEncoder, splits: Mapping[str, Source]) -> bytes | None:
        """Six of the test images with the boxes that the last call found."""
        return detections_png(self._shown, self._classes) if self._shown else None

    def train(self, detector: Detector, batches: Batches) -> list[float]:
        """Train ``detector`` and make its BatchNorms precise; the loss of each step."""
        optimizer = torch.optim.SGD(_groups(detector), self.lr, momentum=0.9)
        losses: list[float] = []
        detector.train()
        with Display("detection", self.steps) as display:
            for step, batch in enumerate(batches.stream(0, self.steps)):
                for group in optimizer.param_groups:
                    group["lr"] = self.rate(step)
                with seeded(detector.mean.device, self.seed, 1 + step):
                    losses.append(self._step(detector, batch))
                optimizer.step()
                optimizer.zero_grad()
                if not losses[-1] < 1e4:  # also nan
                    raise RequestError(
                        f"detection diverged: loss {losses[-1]:g} at step {step}; lower lr={self.lr:g} or raise warmup"
                    )
                display.update(step + 1, f"loss {losses[-1]:.3f}  lr {self.rate(step):.2g}")
        with seeded(detector.mean.device, self.seed, -1):
            parts = (part for b in batches.stream(self.steps, self.precise_bn) for part in self._parts(detector, b))
            detector.precise_norms(parts)
        return losses

    def rate(self, step: int) -> float:
        """The learning rate of ``step``, from 0."""
        warm = min(1.0, 0.001 + 0.999 * step / self.warmup)
        return self.lr * warm * 0.1 ** sum(step >= drop for drop in self.drops)

    def _step(self, detector: Detector, batch: list[Example]) -> float:
        """The gradient of one batch, added up over its parts; its loss."""
        total = 0.0
        for images, targets in self._parts(detector, batch):
            loss = torch.stack(list(detector(images, targets)[0].values())).sum() / self.accumulate
            loss.backward()  # type: ignore[no-untyped-call]
            total += float(loss.detach())
        return total

    def _parts(
        self, detector: Detector, batch: list[Example]
    ) -> Iterator[tuple[list[Tensor], list[dict[str, Tensor]]]]:
        """Images and targets of each part of a batch, on the detector's device."""
        device, size = detector.mean.device, self.batch_size // self.accumulate
        for start in range(0, len(batch), size):
            images, targets = zip(*batch[start : start + size], strict=True)
            yield [x.to(device) for x in images], [{k: v.to(device) for k, v in t.items()} for t in targets]

    def find(self, detector: Detector, source: Boxed) -> list[Found]:
        """The detections in each image of ``source``, in its own pixels."""
        detector.eval()
        found = []
        with torch.inference_mode():
            for i in range(len(source)):
                image, scale = resized(source.load(i), self.test_side, self.max_side)
                one = {key: value.cpu() for key, value in detector([image.to(detector.mean.device)])[1][0].items()}
                found.append(Found(one["boxes"] / scale, one["scores"], one["labels"] - 1))
        return found


def _groups(detector: nn.Module) -> list[dict[str, object]]:
    """The parameters of BatchNorms without weight decay, all others with it."""
    norms = [p for m in detector.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) for p in m.parameters()]
    known = {id(p) for p in norms}
    others = [p for p in detector.parameters() if id(p) not in known]
    return [{"params": others, "weight_decay": 1e-4}, {"params": norms, "weight_decay": 0.0}]


def _rising(owner: str, key: str, values: Sequence[int]) -> tuple[int, ...]:
    """``values`` as a tuple. Raises :class:`RequestError` unless they are whole numbers above 0 in rising order."""
    whole = isinstance(values, (tuple, list)) and all(type(v) is int and v > 0 for v in values)
    if not whole or sorted(values) != list(values):
        raise RequestError(
            f"{owner}: {key}={values!r} must be whole numbers above 0 in rising order, such as (128, 192)"
        )
    return tuple(values)
