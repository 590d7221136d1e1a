"""What f starts from: the weights of another run's encoder, named by the recipe with the digest of their content.

Images of other than three channels: f is built for them, and weights that were trained on RGB have their first layer
repeated over the channels and scaled by 3 / channels, as timm does, so that what it sums up stays as large.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from augaware.checkpoint import Run, load_weights
from augaware.errors import RequestError
from augaware.nets.base import Encoder, with_channels
from augaware.recipe import Recipe

_ACCEPTED = "accepted: a run folder or a .safetensors file"


def pinned(recipe: Recipe) -> Recipe:
    """The recipe with the digest of the file behind ``init``, so that it says which weights it starts from.

    Its encoder says how many channels it takes, where the recipe has images of others than three.
    """
    found = {"init": _found(recipe.init)[1]} if recipe.init else {}
    if recipe.channels:
        found["encoder"] = with_channels(recipe.encoder, recipe.channels)
    return recipe.changed(found)


def initialise(f: Encoder, init: str) -> None:
    """Load what ``init`` names into f: a run folder, whose export is meant, or a .safetensors file, and ``#digest``.

    Raises :class:`RequestError` where it is missing, does not fit f, or has other content than the digest says.
    """
    if init:
        load_weights(f, _found(init)[0], repeated=True)


def _found(init: str) -> tuple[Path, str]:
    """The file, and ``init`` with its digest."""
    name, _, digest = init.partition("#")
    file = Path(name).expanduser()
    if file.is_dir():
        file = Run.open(file).exported
        if not file.exists():
            raise RequestError(f"--init-from {name!r} is not finished; resume it, or name one of its snapshots")
    if file.suffix != ".safetensors" or not file.is_file():
        raise RequestError(f"--init-from {name!r} was not found; {_ACCEPTED}")
    with file.open("rb") as handle:
        found = hashlib.file_digest(handle, "sha256").hexdigest()[:16]
    if digest and digest != found:
        raise RequestError(f"--init-from {name!r} has other content ({found}) than the recipe was made with ({digest})")
    return file, f"{name}#{found}"
