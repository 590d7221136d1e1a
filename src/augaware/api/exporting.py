"""An encoder for other libraries, as a function."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from augaware.errors import RequestError

if TYPE_CHECKING:
    from augaware.frozen import AnyEncoder


def export(encoder: AnyEncoder, *, to: str, out: str | Path, architecture: str | None = None) -> Path:
    """Write an encoder's weights for another library: ``to="detectron2"``, the new file ``out``, ending in .pth.

    ``encoder`` and ``architecture`` as in :func:`evaluate`. Raises :class:`RequestError`.
    """
    from augaware.detectron2 import write_detectron2
    from augaware.frozen import load_encoder

    if to != "detectron2":
        raise RequestError(f"--to {to!r} is unknown; accepted: detectron2")
    write_detectron2(load_encoder(encoder, architecture, device="cpu").f, out)
    return Path(out)
