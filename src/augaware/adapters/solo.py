"""AugSelf in solo-learn's methods, and in any class of their shape: a mixin, beside their own loss.

    class SimCLRWithAugSelf(WithAugSelf, SimCLR): ...

    method = SimCLRWithAugSelf(cfg)
    method.augself = AugSelf(views.spaces, method.features_dim)
    # the data set's transform is views.transform: a batch is (indexes, [v1, v2, ...], targets), with omega

It needs nothing of solo-learn, which pins an old Lightning: a class has its shape whose ``training_step`` takes that
batch with images in the place of views, returns the loss, and encodes the first two views by ``self.backbone``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from augaware.errors import RequestError
from augaware.parts import AugSelf

__all__ = ["WithAugSelf"]


class WithAugSelf:
    """First of the bases of a method of yours; set ``augself`` to the heads before the optimiser is made.

    ``backbone_name``: the attribute that is f; solo-learn up to 1.0.2 calls it ``encoder``.
    """

    augself: AugSelf
    backbone_name: str = "backbone"

    @property
    def learnable_params(self) -> list[dict[str, Any]]:
        """What solo-learn trains, and the heads."""
        theirs = super().learnable_params  # type: ignore[misc]
        return [*theirs, {"name": "augself", "params": list(self.augself.parameters())}]

    def training_step(self, batch: Sequence[Any], batch_idx: int) -> Tensor:
        """The method's own loss of the views' images, and AugSelf's of the features that it made of the first two."""
        indexes, views, targets = batch
        with _outputs(getattr(self, self.backbone_name)) as found:
            loss: Tensor = super().training_step([indexes, [v.image for v in views], targets], batch_idx)  # type: ignore[misc]
        n, y = len(views[0].image), torch.cat(found)
        if len(y) < 2 * n:
            raise RequestError(
                f"WithAugSelf: {self.backbone_name!r} encoded {len(y)} images of a batch of {n}; the method has to "
                "encode two views of each by it"
            )
        told: Tensor = self.augself(views[0], views[1], y[:n], y[n : 2 * n])
        return loss + told


@contextmanager
def _outputs(module: nn.Module) -> Iterator[list[Tensor]]:
    """What the module returns meanwhile, call by call."""
    found: list[Tensor] = []
    handle = module.register_forward_hook(lambda module, given, output: found.append(output))
    try:
        yield found
    finally:
        handle.remove()
