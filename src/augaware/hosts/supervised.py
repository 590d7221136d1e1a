"""Supervised learning: cross-entropy on labels, as the host of AugSelf's "Supervised" rows.

    z_i = g(y_i) in R^classes;    L = (CE(z_1, label) + CE(z_2, label)) / 2

The classifier stands where other hosts have their projector, so CASSLE tells it omega and AugSelf reads the same y.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from augaware.checks import check_widths
from augaware.errors import RequestError
from augaware.hosts.base import Host, HostSetting
from augaware.nets.heads import mlp

__all__ = ["Supervised"]


class Supervised(Host):
    """Cross-entropy of a linear classifier on both views; needs labelled images.

    ``classes`` None is the number of classes of the data. Starts near log(classes).
    """

    needs_labels = True
    multi_crop = True

    def __init__(self, setting: HostSetting, classes: int | None = None) -> None:
        super().__init__()
        classes = setting.classes if classes is None else classes
        if classes is None:
            raise RequestError(
                "host 'supervised': the data has no labels; use a folder per class, or a host that needs none"
            )
        check_widths("host 'supervised'", classes=classes)
        if setting.classes is not None and classes < setting.classes:
            raise RequestError(f"host 'supervised': classes={classes}, but the data has {setting.classes}")
        self.classes = classes

    def projector(self, d_in: int) -> nn.Module:
        """The linear classifier, d_in - classes."""
        return mlp((d_in, self.classes))

    def loss(self, online: Sequence[Tensor], target: Sequence[Tensor]) -> Tensor:
        """The mean over views of the cross-entropy with the labels (B,)."""
        (labels,) = target
        return torch.stack([F.cross_entropy(z, labels) for z in online]).mean()
