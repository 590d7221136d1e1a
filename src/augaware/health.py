"""The health panel: what to watch when the loss says nothing. Once an epoch, on the same images and the same views.

Everything runs in eval mode and draws nothing new, so looking does not change the run.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from augaware import metrics
from augaware.augment.pipeline import Pipeline
from augaware.data.base import Source
from augaware.data.centre import centre_batch
from augaware.nets.base import evaluating
from augaware.objective import Network
from augaware.random import epoch_order
from augaware.views import View

NEVER = -1  # the "epoch" of the panel's own views: no training epoch draws them
QUERIES = 5  # every fifth image asks, the others answer
BATCH = 256


@dataclass(frozen=True)
class Health:
    """The numbers of one panel, name -> value, and a warning in plain language or None."""

    numbers: dict[str, float]
    warning: str | None


class Panel:
    """The health of a network on ``count`` fixed images of ``source``; a source of labels also gets a kNN accuracy."""

    def __init__(self, source: Source, pipeline: Pipeline, count: int, seed: int) -> None:
        self.source, self.pipeline, self.seed = source, pipeline, seed
        self.index = epoch_order(len(source), seed, NEVER)[:count]

    @torch.no_grad()
    def look(self, network: Network, device: torch.device) -> Health:
        """Measure f's features y and the embeddings z of two augmented views, and y of the plain images for kNN."""
        with evaluating(network), torch.compiler.set_stance("force_eager"):  # a few batches, not worth compiling for
            return self._measured(network, device)

    def _measured(self, network: Network, device: torch.device) -> Health:
        y_1, z_1 = self._embed(network, device, number=0)
        y_2, z_2 = self._embed(network, device, number=1)
        if not all(bool(t.isfinite().all()) for t in (y_1, z_1, y_2, z_2)):
            return Health({}, metrics.collapse_warning(torch.full_like(z_1, torch.nan)))
        numbers = {
            "feature_std": metrics.feature_std(y_1),
            "effective_rank": metrics.effective_rank(y_1),
            "alignment": metrics.alignment(z_1, z_2),
            "uniformity": metrics.uniformity(z_1),
            "instance_match": metrics.instance_match(y_1, y_2),
        }
        if self.source.labels is not None:
            numbers["knn"] = self._knn(network, device)
        return Health(numbers, metrics.collapse_warning(z_1))

    def _embed(self, network: Network, device: torch.device, number: int) -> tuple[Tensor, Tensor]:
        parts = []
        for index in torch.split(self.index, BATCH):
            several = self.source.batch(index).to(device).photographs
            batch = several[number % len(several)]
            view = self.pipeline.view(batch.images, batch.sizes, batch.index, self.seed, NEVER, number)
            embedding = network({0: View(view.image, {**view.omega, **batch.omega})})[0]
            parts.append((embedding.y.float().cpu(), embedding.z.float().cpu()))
        return torch.cat([y for y, _ in parts]), torch.cat([z for _, z in parts])

    def _knn(self, network: Network, device: torch.device) -> float:
        assert self.source.labels is not None
        parts = []
        for index in torch.split(self.index, BATCH):
            x = centre_batch(self.source, index, self.pipeline.size).to(device)
            parts.append(network.f(self.pipeline.normalised(x)).float().cpu())
        y, labels = torch.cat(parts), self.source.labels[self.index]
        asks = torch.arange(len(y)) % QUERIES == 0
        return metrics.knn_accuracy(y[~asks], labels[~asks], y[asks], labels[asks], k=min(20, int((~asks).sum())))
