"""An encoder's weights as detectron2 reads them, for Faster R-CNN R50-C4 with the papers' own code.

torchvision's names become detectron2's: ``layerN`` is ``resN+1``, ``bnN`` is ``convN.norm``, ``downsample.0`` and
``.1`` are ``shortcut`` and ``shortcut.norm``, and what lies before the layers is in ``stem.``. detectron2 matches names
by their ends, so ``res5`` is found in the regions' head and the others in the backbone.

MoCo and CASSLE write a pickle of arrays. Here: a ``.pth`` of tensors, ``{"model": ..., "matching_heuristics": True}``,
which detectron2's checkpointer reads as well, and which can be read without executing anything (``weights_only``).
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from augaware.disk import write_output
from augaware.errors import RequestError
from augaware.nets.base import Encoder

_STAGE = re.compile(r"layer([1-4])\.(\d+)\.(.+)")


def write_detectron2(encoder: Encoder, path: Path | str) -> None:
    """Write ``encoder`` to ``path``, a new ``.pth`` for ``MODEL.WEIGHTS``. Raises :class:`RequestError`.

    For a network of torchvision's ResNet names, such as ``resnet50``: the config must ask for RGB, ``STRIDE_IN_1X1
    False`` and the mean and std of the run, times 255.
    """
    path = Path(path)
    if path.suffix != ".pth":
        raise RequestError(f"detectron2 weights {str(path)!r} must end in .pth, by which detectron2 knows their format")
    if path.exists():
        raise RequestError(f"detectron2 weights {str(path)!r} exist already and are not overwritten; choose another")
    named = detectron2_names(encoder.backbone.state_dict())
    content = io.BytesIO()
    torch.save({"model": named, "matching_heuristics": True, "__author__": "augaware"}, content)
    write_output(path, content.getvalue())


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
