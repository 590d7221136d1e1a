"""A folder that timm loads as one of its own: ``timm.create_model("local-dir:FOLDER", pretrained=True)``."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from augaware.exports.base import Export, Reader
from augaware.exports.timm_layout import read_folder, write_folder
from augaware.frozen import Frozen

__all__ = ["Timm"]


class Timm(Export):
    """A folder for timm.create_model('local-dir:FOLDER', pretrained=True): its networks, and ResNets of torchvision."""

    library: ClassVar[str] = "timm"

    def write(self, frozen: Frozen, place: Path, run: Path | None) -> None:
        """See :mod:`augaware.exports.timm_layout`."""
        write_folder(frozen, place, {})

    def read(self, place: Path) -> Reader:
        """``create_model``, and the mean and std of ``resolve_model_data_config``."""
        return read_folder(place)

    def usage(self, place: Path) -> str:
        """The network, and the transform that it was evaluated with."""
        return (
            "import timm\n"
            f"model = timm.create_model({f'local-dir:{place}'!r}, pretrained=True).eval()\n"
            "transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))"
        )
