"""Features kept on disk by content: the network, the transform and the images decide where they lie."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from augaware.data.base import Source
from augaware.data.decode import DECODING
from augaware.data.files import digest
from augaware.disk import write_file
from augaware.distributed import rank

EXTRACTION = 1  # raised when the same network, images and transform give other features than before


class Kept:
    """The features of one ``encoder``, given by its fingerprint, in files of ``folder``, which is made when needed."""

    def __init__(self, folder: Path, encoder: str) -> None:
        self.folder, self.encoder = folder, encoder

    def features(self, source: Source, transform: Sequence[object], make: Callable[[], Tensor]) -> Tensor:
        """y (N, dim) of all images of ``source`` under ``transform``: as kept, or else as ``make`` makes them."""
        key = digest([EXTRACTION, DECODING, self.encoder, *transform, source.content])
        file = self.folder / f"{key[:32]}.safetensors"
        try:
            return load_file(file)["y"]
        except (OSError, SafetensorError, KeyError):  # none yet, or damaged: made anew
            y = make()
        if rank() == 0:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_file(file, save({"y": y.contiguous().cpu()}))
        return y
