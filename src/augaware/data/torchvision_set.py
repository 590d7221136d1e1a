"""A data set of torchvision, already on disk: ``torchvision:CIFAR10(root='/data', split='test')``."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from augaware.data.base import Skipped, Source, Unreadable
from augaware.data.decode import to_pixels
from augaware.data.files import digest
from augaware.errors import RequestError, did_you_mean

__all__ = ["TorchvisionSet"]


class TorchvisionSet(Source):
    """One split of ``torchvision.datasets.NAME`` under ``root`` (default ``~/.cache/augaware``); never downloaded.

    ``split`` becomes whichever of ``split``, ``image_set`` and ``train`` the class takes. Raises
    :class:`RequestError` for an unknown name or split and for a set that is not there, saying how to fetch it.
    """

    def __init__(self, name: str, root: str | None = None, split: str = "train", short_side: int | None = None) -> None:
        folder = Path(root).expanduser() if root else Path.home() / ".cache" / "augaware"
        self.name = f"torchvision:{name} {split}"
        self.short_side = short_side
        self._set = _opened(name, folder, split)
        self.names = [f"{split}/{i}" for i in range(len(self._set))]
        self.labels, self.classes = _labelled(self._set)
        self.factors: dict[str, Tensor] = {}
        self.skipped: tuple[Skipped, ...] = ()
        if not len(self):
            raise RequestError(f"data {self.name!r} under {folder} holds no images")
        probes = torch.linspace(0, len(self) - 1, min(8, len(self))).long().tolist()
        self.fingerprint = digest([self.name, len(self), *(self.load(i).numpy().tobytes().hex() for i in probes)])

    def __len__(self) -> int:
        return len(self.names)

    def load(self, index: int) -> Tensor:
        """Image number ``index``: (3, H, W) uint8, RGB. Raises :class:`Unreadable`."""
        from PIL import Image

        item = self._set[index]
        image = item[0] if isinstance(item, tuple) else item
        if not isinstance(image, Image.Image):
            raise RequestError(f"data {self.name!r} gives a {type(image).__name__}, not images")
        try:
            return to_pixels(image, self.short_side)
        except OSError as error:
            raise Unreadable(str(error)) from None


def _opened(name: str, folder: Path, split: str) -> Any:
    from torchvision import datasets

    accepted = sorted(n for n in datasets.__all__ if isinstance(getattr(datasets, n), type))
    if name not in accepted:
        raise RequestError(
            f"torchvision has no data set {name!r}; accepted: {', '.join(accepted)}{did_you_mean(name, accepted)}"
        )
    dataset = getattr(datasets, name)
    parameters = inspect.signature(dataset).parameters
    arguments: dict[str, object] = {"root": str(folder)} if "root" in parameters else {}
    if selector := next((p for p in ("split", "image_set") if p in parameters), None):
        arguments[selector] = split
    elif split not in ("train", "test") or (split == "test" and "train" not in parameters):
        raise RequestError(
            f"torchvision:{name} has no split {split!r}; accepted: train{', test' * ('train' in parameters)}"
        )
    elif "train" in parameters:
        arguments["train"] = split == "train"
    try:
        return dataset(**arguments)
    except (RuntimeError, OSError):
        given = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
        fetch = f'python -c "from torchvision import datasets; datasets.{name}({given}, download=True)"'
        how = (
            f"fetch it once with: {fetch}"
            if "download" in parameters
            else "put its files there as torchvision documents"
        )
        raise RequestError(f"torchvision:{name} (split {split!r}) is not under {folder}, or damaged; {how}") from None
    except (ValueError, TypeError, ImportError) as error:
        raise RequestError(f"torchvision:{name} (split {split!r}): {' '.join(str(error).split())}") from None


def _labelled(dataset: Any) -> tuple[Tensor | None, tuple[str, ...]]:
    """The class of each image and the class names, where the set has one class per image."""
    for attribute in ("targets", "labels", "_labels", "y"):
        values = getattr(dataset, attribute, None)
        if values is None or len(values) != len(dataset):
            continue
        try:
            labels = torch.as_tensor(values)
        except (TypeError, ValueError):
            continue
        if labels.ndim == 1 and not labels.is_floating_point() and int(labels.min()) >= 0:
            count = int(labels.max()) + 1
            known = getattr(dataset, "classes", None) or getattr(dataset, "categories", None) or ()
            return labels.long(), tuple(map(str, known)) if len(known) >= count else tuple(map(str, range(count)))
    return None, ()
