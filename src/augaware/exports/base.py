"""What an export is: it writes an encoder for another library, and has that library read it back.

Reading back is half of it: :mod:`augaware.export` keeps what was written only where the other library, by its own means
and from the written files alone, has the same features of the same pixels.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from augaware.frozen import Frozen

Reader = Callable[[Tensor], Tensor]  # pixels (B, channels, size, size) in [0, 1], float32 -> features (B, dim)


class Export(ABC):
    """A form of an encoder that another library reads.

    ``library`` is who reads it back; ``packages`` are those that this takes beside augaware's own, by the name that pip
    and Python have for them; ``ending`` is that of the file, nothing for a folder.
    """

    library: ClassVar[str]
    packages: ClassVar[Sequence[str]] = ()
    ending: ClassVar[str] = ""

    @abstractmethod
    def write(self, frozen: Frozen, place: Path, run: Path | None) -> None:
        """Write ``frozen`` to ``place``, which does not exist; ``run`` is the folder of its run, where it has one.

        Raises :class:`RequestError` for a network that has no such form.
        """

    @abstractmethod
    def read(self, place: Path) -> Reader:
        """What the other library makes of ``place``, by its own means, mean and std as they stand there."""

    @abstractmethod
    def usage(self, place: Path) -> str:
        """How to load ``place``, in three lines of Python or so."""


def normalised(pixels: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """(pixels - mean) / std, per channel: (B, channels, H, W) in [0, 1] -> the same."""
    return (pixels - torch.tensor(mean).view(-1, 1, 1)) / torch.tensor(std).view(-1, 1, 1)
