"""The pipeline: draw omega for every augmentation, apply them in order, return the view with its omega."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import torch
from torch import Tensor

from augaware import lookup
from augaware.augment.base import Augmentation
from augaware.augment.crop import Crop
from augaware.augment.engine.fused import KINDS, UNITS, Fused, failure, use_fused
from augaware.errors import RequestError
from augaware.ragged import Ragged, as_ragged
from augaware.random import Draws
from augaware.spaces import Space
from augaware.views import View

CHUNK = 32  # images resampled at once: bounds the memory of large sources


class Pipeline:
    """v = t_omega(x): augmentations in order, then normalisation.

    A crop comes first, or every view is the whole image resized. ``mean`` and ``std`` are per channel, of [0, 1]
    pixels; they are the last step, so that colour operations act on [0, 1]. ``engine`` says how it is done
    (:mod:`augaware.augment.engine.fused`).

    Views are ``dtype``: float32, bfloat16, or uint8, which is not normalised; in memory pixel by pixel
    (``torch.channels_last``), which networks like best, or ``planar``. ``pinned``: what the fused engine makes of
    images on the CPU lies where a GPU can fetch it beside other work.
    """

    def __init__(
        self,
        augmentations: Sequence[Augmentation],
        size: int,
        mean: Sequence[float],
        std: Sequence[float],
        engine: str = "auto",
        dtype: torch.dtype = torch.float32,
        planar: bool = False,
        pinned: bool = False,
    ) -> None:
        if dtype not in KINDS:
            raise RequestError(f"dtype={dtype} is none that views can have; accepted: {', '.join(map(str, KINDS))}")
        given = [a.name for a in augmentations]
        for name in given:
            if given.count(name) > 1:
                raise RequestError(f"augment: {name!r} stands twice in {given}; name each augmentation once")
        if "crop" in given[1:]:
            raise RequestError(f"augment: 'crop' must come first, found {given}")
        self.augmentations = tuple(augmentations)
        self.size = size
        self.mean = torch.tensor(tuple(mean)).reshape(1, -1, 1, 1)
        self.std = torch.tensor(tuple(std)).reshape(1, -1, 1, 1)
        changing = [a for a in augmentations if a.name != "crop"]
        self.dtype, self.planar = dtype, planar
        self.fused = Fused(changing, size, mean, std, dtype, planar, pinned) if use_fused(engine) else None

    @classmethod
    def from_specs(
        cls,
        specs: Sequence[str],
        size: int,
        mean: Sequence[float],
        std: Sequence[float],
        engine: str = "auto",
        pinned: bool = False,
    ) -> Pipeline:
        """The pipeline of augmentation specs such as ``"crop(scale=(0.2, 1.0))"``."""
        made = [lookup.build("augment", spec, size) for spec in specs]
        return cls(made, size, mean, std, engine, pinned=pinned)

    @property
    def spaces(self) -> Mapping[str, Space]:
        """Name -> space of all that a view's omega can hold, the measured parameters too."""
        found: dict[str, Space] = {}
        for a in self.augmentations:
            found |= {a.name: a.space, **a.measures}
        return found

    def sample(self, draws: Draws, sizes: Tensor) -> dict[str, Tensor]:
        """Draw omega for images of ``sizes`` (B, 2): name -> (B, columns)."""
        return {a.name: a.sample(draws.stream(a.name), sizes) for a in self.augmentations}

    def apply(
        self,
        pixels: Tensor | Ragged,
        sizes: Tensor,
        omega: Mapping[str, Tensor],
        measure: Collection[str] | None = None,
    ) -> View:
        """The view that ``omega`` makes of images: uint8, uint16 or [0, 1]; (B, C, H, W), of which ``sizes`` count, or
        as they lie in a buffer.

        The view's omega is the one given and what the augmentations measured, where the pixels are: what ``measure``
        names, None is all there is. A stored omega gives the same pixels again, whatever is measured.
        """
        return self.begin(pixels, sizes, omega, measure)()

    def begin(
        self,
        pixels: Tensor | Ragged,
        sizes: Tensor,
        omega: Mapping[str, Tensor],
        measure: Collection[str] | None = None,
    ) -> Callable[[], View]:
        """:meth:`apply`, begun: with more than one thread others may be at work on it, and the call waits for them."""
        self.check_channels(pixels.channels if isinstance(pixels, Ragged) else pixels.shape[1])
        apart = not isinstance(pixels, Ragged) and pixels.device.type != "cpu"
        if self.fused is None or apart or failure() is not None:
            view = self.plain(pixels.padded() if isinstance(pixels, Ragged) else pixels, sizes, omega, measure)
            return lambda: view
        ragged = pixels if isinstance(pixels, Ragged) else as_ragged(pixels)
        made = self.fused.begin(ragged, sizes, omega, self.spaces if measure is None else measure)

        def wait() -> View:
            image, measured = made()
            return View(image, {**omega, **measured})

        return wait

    def plain(
        self, pixels: Tensor, sizes: Tensor, omega: Mapping[str, Tensor], measure: Collection[str] | None = None
    ) -> View:
        """The same view by the plain form of each augmentation, on any device."""
        measure = self.spaces if measure is None else measure
        recorded = {name: w.to(pixels.device, non_blocking=True) for name, w in omega.items()}
        x = self._resampled(pixels, sizes.to(pixels.device), recorded.get("crop"))
        for a in self.augmentations:
            if a.name != "crop":
                before = x
                x = a.apply(x, recorded[a.name])
                recorded |= a.measured(before, x, measure)
        x = x.mul(255).round().clamp(0, 255) if self.dtype == torch.uint8 else self.normalised(x)
        layout = torch.contiguous_format if self.planar else torch.channels_last
        return View(x.to(self.dtype).contiguous(memory_format=layout), recorded)

    def check_acting(self, channels: int) -> None:
        """Raise :class:`RequestError` for an augmentation that cannot act on images of so many ``channels``."""
        for a in self.augmentations:
            if a.channels not in (None, channels):
                fitting = f": recipe 'multichannel(channels={channels})' has an augment that fits"
                raise RequestError(
                    f"augment: {a.name!r} needs images of {a.channels} channels, these have {channels}; leave it out"
                    f"{fitting if channels != 3 else ''}"
                )

    def check_channels(self, channels: int) -> None:
        """The same, and where mean and std have other numbers."""
        self.check_acting(channels)
        if self.mean.shape[1] != channels or self.std.shape[1] != channels:
            raise RequestError(
                f"mean has {self.mean.shape[1]} numbers and std {self.std.shape[1]}, the images have {channels} "
                f"channels; give one for each"
            )

    def _resampled(self, pixels: Tensor, sizes: Tensor, omega: Tensor | None) -> Tensor:
        """Cut and resized to (B, C, size, size), float in [0, 1]."""
        if not len(pixels):
            return torch.zeros((0, pixels.shape[1], self.size, self.size), device=pixels.device)
        crop = Crop(self.size)
        if omega is None:
            omega = torch.tensor([crop.identity], device=pixels.device).expand(len(pixels), -1)
        parts = []
        for p, s, w in zip(*(torch.split(t, CHUNK) for t in (pixels, sizes, omega)), strict=True):
            height, width = (int(n) for n in s.amax(dim=0))
            p = p[:, :, :height, :width]
            parts.append(crop.apply(p.float().mul_(UNITS[p.dtype]) if p.dtype in UNITS else p, w, s))
        return torch.cat(parts)

    def view(self, pixels: Tensor | Ragged, sizes: Tensor, index: Tensor, seed: int, epoch: int, number: int) -> View:
        """View ``number`` of the samples ``index`` (B,) in ``epoch``: draw, apply, return with omega."""
        return self.apply(pixels, sizes, self.sample(Draws.of(seed, epoch, index, number), sizes))

    def normalised(self, x: Tensor) -> Tensor:
        """[0, 1] pixels (B, C, H, W) with ``mean`` and ``std`` taken out."""
        return (x - self.mean.to(x.device)) / self.std.to(x.device)

    def displayed(self, view: View) -> Tensor:
        """The view's pixels as they look, (B, C, size, size) in [0, 1]: normalisation undone."""
        if view.image.dtype == torch.uint8:
            return view.image / 255
        return (view.image * self.std.to(view.image.device) + self.mean.to(view.image.device)).clamp(0, 1)
