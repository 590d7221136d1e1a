"""One ONNX file, which ONNX Runtime and what is built on it run without torch."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from augaware.checks import check_flags
from augaware.errors import RequestError
from augaware.exports.base import Export, Reader, normalised
from augaware.frozen import Frozen
from augaware.quiet import quiet

__all__ = ["Onnx"]

LEAST = 18  # the opset below which torch's exporter converts afterwards
LARGEST = 2**31 - 2**20  # bytes of a file in one piece: protobuf's limit


class Onnx(Export):
    """An .onnx file for ONNX Runtime, of any encoder: pixels in [0, 1] -> features, with mean and std inside.

    It takes any number of images; with ``normalise=False`` such as are normalised already. Its metadata say mean, std,
    size, the encoder, a hash of its weights and one of its recipe.
    """

    library: ClassVar[str] = "ONNX Runtime"
    packages: ClassVar[tuple[str, ...]] = ("onnx", "onnxscript", "onnxruntime")
    ending: ClassVar[str] = ".onnx"

    def __init__(self, opset: int = LEAST, normalise: bool = True) -> None:
        check_flags("export 'onnx'", normalise=normalise)
        if type(opset) is not int or opset < LEAST:
            raise RequestError(f"export 'onnx': opset={opset!r} must be a whole number, at least {LEAST}")
        self.opset, self.normalise = opset, normalise

    def write(self, frozen: Frozen, place: Path, run: Path | None) -> None:
        """The graph with its weights, in one file. Raises :class:`RequestError` where there cannot be one."""
        import onnx

        newest = onnx.defs.onnx_opset_version()
        if self.opset > newest:
            raise RequestError(f"export 'onnx': opset={self.opset} is not known to onnx here; accepted: to {newest}")
        if sum(t.numel() * t.element_size() for t in frozen.f.state_dict().values()) > LARGEST:
            raise RequestError(f"encoder {frozen.name!r} is above 2 GB, more than an ONNX file in one piece can hold")
        graph = nn.Sequential(_Normalise(frozen.mean, frozen.std), frozen.f) if self.normalise else frozen.f
        shown = torch.zeros(2, frozen.channels, frozen.size, frozen.size)
        with _quiet():
            program = torch.onnx.export(
                graph.eval(),
                (shown,),
                dynamo=True,
                input_names=["images"],
                output_names=["features"],
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                opset_version=self.opset,
                verbose=False,
            )
        assert program is not None
        model: Any = program.model_proto
        for key, value in self._said(frozen).items():
            model.metadata_props.add(key=key, value=value)
        place.write_bytes(model.SerializeToString())

    def _said(self, frozen: Frozen) -> dict[str, str]:
        """The metadata of the file."""
        kind = "RGB" if frozen.channels == 3 else "channels"
        images = f"{kind} in [0, 1]" if self.normalise else f"{kind} in [0, 1], less mean, by std"
        recipe = json.dumps(frozen.recipe, sort_keys=True).encode()
        return {
            "images": f"(batch, {frozen.channels}, {frozen.size}, {frozen.size}) float32, {images}",
            "normalise": json.dumps(self.normalise),
            "mean": json.dumps(list(frozen.mean)),
            "std": json.dumps(list(frozen.std)),
            "size": str(frozen.size),
            "encoder": frozen.architecture or frozen.name,
            "weights_sha256": frozen.fingerprint,
            **({"recipe_sha256": hashlib.sha256(recipe).hexdigest()} if frozen.recipe else {}),
        }

    def read(self, place: Path) -> Reader:
        """An inference session on the CPU; what it takes is read in the file's metadata."""
        import onnxruntime

        session = onnxruntime.InferenceSession(str(place), providers=["CPUExecutionProvider"])
        said = session.get_modelmeta().custom_metadata_map
        inside = json.loads(said["normalise"])

        def features(pixels: Tensor) -> Tensor:
            taken = pixels if inside else normalised(pixels, json.loads(said["mean"]), json.loads(said["std"]))
            return torch.from_numpy(session.run(None, {"images": taken.numpy()})[0])

        return features

    def usage(self, place: Path) -> str:
        """A session, and what it takes."""
        takes = "pixels in [0, 1]" if self.normalise else "normalised images"
        return (
            "import onnxruntime\n"
            f"session = onnxruntime.InferenceSession({str(place)!r})\n"
            f'features = session.run(None, {{"images": images}})[0]  # images: (B, channels, S, S) float32, {takes}'
        )


class _Normalise(nn.Module):
    """Pixels in [0, 1] -> normalised images."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """(B, channels, H, W) -> the same."""
        return (images - self.mean) / self.std


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what torch's exporter says of its own insides."""
    with quiet("torch.onnx"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        warnings.filterwarnings("ignore", category=FutureWarning)
        yield
