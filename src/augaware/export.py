"""An encoder for another library: written, read back with that library alone, compared, and only then kept."""

from __future__ import annotations

import html
import importlib.util
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from augaware import lookup
from augaware.checkpoint import refuse_existing
from augaware.disk import drafted
from augaware.errors import RequestError, RunError
from augaware.exports.base import Export, normalised
from augaware.frozen import Frozen
from augaware.random import Draws

IMAGES = 8  # that both libraries are shown
LIMIT = 1e-5  # the largest difference of a feature, in parts of the largest feature


@dataclass(frozen=True)
class Exported:
    """What was written, and how far ``library`` is from the same features when it reads it.

    ``difference`` is the largest of any feature of eight images, in parts of the largest feature; ``usage`` loads it.
    """

    path: Path
    to: str
    library: str
    difference: float
    usage: str

    def __fspath__(self) -> str:
        return str(self.path)

    def __str__(self) -> str:
        number = f"{self.difference:.1e}".replace("e-0", "e-") if self.difference else "0"
        return f"wrote {self.path}; {self.library} reads the same features (largest difference {number})"

    def __repr__(self) -> str:
        return f"{self}\n{self.usage}"

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(str(self))}</p><pre>{html.escape(self.usage)}</pre>"


def export(frozen: Frozen, to: str, out: Path | str, run: Path | None = None) -> Exported:
    """Write ``frozen`` as the export ``to`` says to the new ``out``; ``run`` is the folder of its run, if any.

    Raises :class:`RequestError` for what cannot be written so, and :class:`RunError`, with nothing left, where the
    other library cannot read it or has other features.
    """
    form, out = wanted(to, out), Path(out)
    pixels = shown(frozen.size, frozen.channels)
    frozen.check_size()
    with torch.no_grad():
        ours = frozen(normalised(pixels, frozen.mean, frozen.std))
    if not ours.isfinite().all():
        raise RequestError(f"encoder {frozen.name!r} has features that are not finite: its weights are damaged")
    with drafted(out) as place:
        form.write(frozen, place, run)
        difference = _difference(ours, _theirs(form, to, place, pixels))
        if not difference <= LIMIT:
            raise RunError(
                f"--to {to!r}: {form.library} reads other features (largest difference {difference:.1e}, accepted: "
                f"{LIMIT:.0e}): its network of that name is not the same; nothing was kept"
            )
        refuse_existing(out)
    return Exported(out, to, form.library, difference, form.usage(out))


def wanted(to: str, out: Path | str) -> Export:
    """The export that ``to`` names. Raises :class:`RequestError` where it cannot write the new ``out`` here."""
    out = Path(out)
    form: Export = lookup.build("exports", to)
    missing = [name for name in form.packages if importlib.util.find_spec(name) is None]
    if missing:
        raise RequestError(
            f"--to {to!r}: not installed: {', '.join(missing)}; what is written is read back with it: "
            f"pip install {' '.join(missing)}"
        )
    if not out.name.endswith(form.ending):
        raise RequestError(f"--out {str(out)!r} must end in {form.ending} for --to {to!r}: {out.name + form.ending!r}")
    refuse_existing(out)
    return form


def shown(size: int, channels: int = 3) -> Tensor:
    """The images that both are shown, (8, channels, size, size) in [0, 1]: noise on a colour of each image's own."""
    draws = Draws.of(0, 0, torch.arange(IMAGES), view=-1)
    noise = draws.stream("noise").uniform(channels * size * size).view(IMAGES, channels, size, size)
    colour = draws.stream("colour").uniform(channels).view(IMAGES, channels, 1, 1)
    return (noise + colour) / 2


def _theirs(form: Export, to: str, place: Path, pixels: Tensor) -> Tensor:
    """The features of the other library."""
    try:
        with torch.no_grad():
            return form.read(place)(pixels)
    except Exception as error:  # libraries raise many kinds for what they cannot read
        said = " ".join(str(error).replace(str(place.parent), "").split())[:200]
        raise RunError(
            f"--to {to!r}: {form.library} cannot read what was written ({type(error).__name__}: {said}); nothing "
            "was kept"
        ) from error


def _difference(ours: Tensor, theirs: Tensor) -> float:
    """The largest difference in parts of the largest feature; infinite for other shapes."""
    if ours.shape != theirs.shape:
        return float("inf")
    scale = ours.abs().max().clamp_min(torch.finfo(ours.dtype).tiny)
    return float((ours - theirs).abs().max() / scale)
