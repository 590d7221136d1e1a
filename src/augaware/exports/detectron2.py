"""An encoder's weights as detectron2 reads them, for Faster R-CNN R50-C4 with the papers' own code.

torchvision's names become detectron2's: ``layerN`` is ``resN+1``, ``bnN`` is ``convN.norm``, ``downsample.0`` and
``.1`` are ``shortcut`` and ``shortcut.norm``, and what lies before the layers is in ``stem.``. detectron2 matches names
by their ends, so ``res5`` is found in the regions' head and the others in the backbone.

MoCo and CASSLE write a pickle of arrays. Here: a ``.pth`` of tensors, ``{"model": ..., "matching_heuristics": True}``,
which detectron2's checkpointer reads as well, and which can be read without executing anything (``weights_only``).
detectron2 is not among the packages of an index, so what is read back is the file, its names put back, as torchvision's
ResNet of these shapes.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn

from augaware.errors import RequestError
from augaware.exports.base import Export, Reader, normalised
from augaware.exports.networks import check_rgb
from augaware.frozen import Frozen
from augaware.nets.residual import shapes

__all__ = ["Detectron2"]

_STAGE = re.compile(r"layer([1-4])\.(\d+)\.(.+)")
_THEIRS = re.compile(r"res([2-5])\.(\d+)\.(.+)")


class Detectron2(Export):
    """A .pth file for detectron2's MODEL.WEIGHTS (Faster R-CNN R50-C4): networks with torchvision's ResNet names."""

    library: ClassVar[str] = "torchvision, under its own names again,"
    ending: ClassVar[str] = ".pth"  # by which detectron2 knows the format

    def write(self, frozen: Frozen, place: Path, run: Path | None) -> None:
        """The weights under detectron2's names, and the mean and std that the config must have, times 255, in RGB."""
        check_rgb(frozen, "detectron2")
        content = io.BytesIO()
        named = detectron2_names(frozen.f.backbone.state_dict())
        pixels = {key: [255 * value for value in values] for key, values in zip(_PIXELS, _input(frozen), strict=True)}
        torch.save({"model": named, "matching_heuristics": True, "__author__": "augaware", **pixels}, content)
        place.write_bytes(content.getvalue())

    def read(self, place: Path) -> Reader:
        """torchvision's ResNet of these shapes, with the weights under its names; counts of batches are not kept."""
        from torchvision.models.resnet import ResNet

        found = torch.load(place, weights_only=True)
        weights = {_renamed_back(key): w for key, w in found["model"].items()}
        model = ResNet(**shapes(weights))
        model.fc = nn.Identity()
        counts = {k: w for k, w in model.state_dict().items() if k.endswith("num_batches_tracked")}
        model.load_state_dict(weights | counts)
        model.eval()
        mean, std = (found[key] for key in _PIXELS)
        return lambda pixels: model(normalised(255 * pixels, mean, std))

    def usage(self, place: Path) -> str:
        """What the config of detectron2 has to say."""
        found = torch.load(place, weights_only=True)
        mean, std = ([round(value, 3) for value in found[key]] for key in _PIXELS)
        return (
            f"cfg.merge_from_list(['MODEL.WEIGHTS', {str(place)!r}, 'INPUT.FORMAT', 'RGB',\n"
            "    'MODEL.RESNETS.STRIDE_IN_1X1', False,\n"
            f"    'MODEL.PIXEL_MEAN', {mean}, 'MODEL.PIXEL_STD', {std}])"
        )


_PIXELS = ("pixel_mean", "pixel_std")


def _input(frozen: Frozen) -> tuple[tuple[float, ...], tuple[float, ...]]:
    return frozen.mean, frozen.std


def detectron2_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``weights`` of a torchvision ResNet under detectron2's names; a classifier and counts of batches are left out.

    Raises :class:`RequestError` for another network.
    """
    needed = ("conv1.weight", "bn1.weight", "layer1.0.conv1.weight", "layer4.0.conv1.weight")
    lost = [key for key in needed if key not in weights]
    if lost:
        raise RequestError(
            f"encoder: its weights have no {lost[0]!r}: detectron2 weights can be made of a ResNet with torchvision's "
            "names, such as resnet50 or timm/resnet50"
        )
    if weights["conv1.weight"].shape[-1] != 7:
        raise RequestError(
            f"encoder: its first convolution is {weights['conv1.weight'].shape[-1]} px wide, that of detectron2's "
            "ResNets 7: use one with the stem 'imagenet', such as resnet50"
        )
    kept = {
        key: w for key, w in weights.items() if not key.startswith("fc.") and not key.endswith("num_batches_tracked")
    }
    return {_renamed(key): w.detach().cpu().contiguous() for key, w in kept.items()}


def _renamed(key: str) -> str:
    stage = _STAGE.fullmatch(key)
    place, part = ("stem", key) if stage is None else (f"res{int(stage[1]) + 1}.{stage[2]}", stage[3])
    part = re.sub(r"^bn(\d)\.", r"conv\1.norm.", part)
    part = part.replace("downsample.0.", "shortcut.").replace("downsample.1.", "shortcut.norm.")
    return f"{place}.{part}"


def _renamed_back(key: str) -> str:
    """The inverse of :func:`_renamed`."""
    stage = _THEIRS.fullmatch(key)
    place, part = (
        ("", key.removeprefix("stem.")) if stage is None else (f"layer{int(stage[1]) - 1}.{stage[2]}.", stage[3])
    )
    part = re.sub(r"^conv(\d)\.norm\.", r"bn\1.", part)
    part = re.sub(r"^shortcut\.norm\.", "downsample.1.", part)
    return place + re.sub(r"^shortcut\.", "downsample.0.", part)
