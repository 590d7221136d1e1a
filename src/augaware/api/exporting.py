"""An encoder for other libraries, and one from elsewhere, as functions."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from augaware.export import Exported
    from augaware.frozen import AnyEncoder
    from augaware.official import Imported


def export(
    encoder: AnyEncoder,
    *,
    to: str,
    out: str | Path,
    architecture: str | None = None,
    size: int | None = None,
) -> Exported:
    """Write an encoder for another library, to the new ``out``, and have that library read it back.

    ``to`` is a spec of ``augaware list exports``: ``"timm"``, ``"torchvision"``, ``"hf(licence='mit')"``,
    ``"onnx(opset=18)"``, ``"detectron2"``. ``encoder``, ``architecture`` and ``size`` as in :func:`evaluate`; what is
    written has full precision, whatever the passes of one that is frozen. What comes back says how far the features are
    from the same; nothing is left where they are not. Raises :class:`RequestError`, and :class:`RunError` where the
    other library reads something else.
    """
    from augaware.export import export as write
    from augaware.export import wanted
    from augaware.frozen import Frozen, load_encoder

    wanted(to, out)  # before an encoder is read for nothing
    if isinstance(encoder, Frozen):
        frozen = copy.deepcopy(load_encoder(encoder, architecture, size)).cpu()
        frozen.precision = "fp32"
    else:
        frozen = load_encoder(encoder, architecture, size, device="cpu")
    return write(frozen, to, out, frozen.run.path if frozen.run else None)


def import_official(file: str | Path, *, out: str | Path, encoder: str | None = None) -> Imported:
    """Make an encoder of the checkpoint ``file``, in the new folder ``out``, which goes wherever an encoder does.

    The layouts of AugSelf's and CASSLE's released code (``ckpt-N.pth``), and others that are a prefix away: MoCo,
    solo-learn, lightly. ``encoder`` is its spec; None reads a ResNet off the shapes. Nothing in the file is executed.
    Raises :class:`RequestError`.
    """
    from augaware.official import import_official as write

    return write(file, out, encoder)
