"""Pictures of the last feature map: what an encoder sees where, before it is pooled to y.

The first three principal components of the map as colours (as DINOv2's authors show patch features), and its norm.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from augaware.analysis.base import Analysis, Number
from augaware.analysis.intervals import jackknife
from augaware.analysis.stages import watching
from augaware.analysis.subject import Subject
from augaware.checks import check_widths
from augaware.nets.base import evaluating
from augaware.tasks.neighbours_png import tiles
from augaware.tasks.sheet import PLAIN, SIDE, Tile, sheet_png

__all__ = ["FeatureMaps"]

SHOWS = (
    "Images, and what each encoder's last feature map holds of them: its three leading components as red, green and "
    "blue (like colours, like features; each encoder's colours are its own), and its norm, white where it is large."
)
COLOURS = 3
SPREAD = 0.02  # of the positions at either end have the palest and the darkest colour
MEASURED = 100  # images; the maps of a thousand may fill the memory
KEPT = 64  # directions, in which the jackknife looks for the three: a basis of thousands for each block takes minutes


class FeatureMaps(Analysis):
    """A picture of the last feature map on ``images`` images: three principal components as red, green, blue; norms.

    Components are over positions and images, and of each encoder for itself, so its colours mean nothing in another's
    row. The numbers are of the first hundred images; intervals: jackknife over blocks of these.
    """

    protocol: ClassVar[str] = "feature_maps/1"
    title: ClassVar[str] = "What the last feature map sees where"
    measures: ClassVar[Mapping[str, str]] = MappingProxyType(
        {
            "three_components": "Share of the last feature map's variance in its first three principal components, "
            "which the picture shows: 1, the picture shows all; 0, next to nothing.",
            "within_image": "Share of the map's variance that is between places of one image, not between images: 0, "
            "the map says what is in the image and not where; 1, only where.",
        }
    )

    def __init__(self, images: int = 8) -> None:
        check_widths("analysis 'feature_maps'", images=images)
        self.images = images

    def refusal(self, subject: Subject) -> str | None:
        """There must be a map."""
        if len(subject.index) < 2:
            return "one image has no principal components: show it at least 2, better a hundred"
        if maps(subject, 1) is None:
            return (
                f"encoder {subject.encoder.name!r} has no feature map: none of its modules returns (B, C, H, W) or the "
                "tokens of a square of patches; ask a network that pools one"
            )
        return None

    def __call__(self, subject: Subject) -> Sequence[Number]:
        """Both shares; none for a map that is the same everywhere."""
        found = maps(subject, MEASURED)
        assert found is not None, "refused"
        x = found.double().flatten(2).transpose(1, 2)  # (n, H W, C)
        if not _varies(x):
            return []
        x = x - x.mean((0, 1))
        places, means, squares = x.shape[1], x.mean(1), x.square().sum((1, 2))
        inside = squares - places * means.square().sum(1)
        leading = x @ _leading(x.flatten(0, 1))

        def shares(rows: Tensor) -> Tensor:
            whole = squares[rows].sum() - len(rows) * places * means[rows].mean(0).square().sum()
            part = leading[rows].flatten(0, 1)
            main = torch.linalg.eigvalsh((part - part.mean(0)).T @ (part - part.mean(0)))[-COLOURS:].sum()
            return torch.stack((main, inside[rows].sum())) / whole.clamp_min(1e-300)

        three, within = jackknife(len(x), shares)
        return [
            Number.within("three_components", three, stage="last map"),
            Number.within("within_image", within, stage="last map"),
        ]

    def pictures(self, subject: Subject) -> Mapping[str, bytes]:
        """One: the images, then two rows for each encoder that has a map."""
        chosen = subject.index[: self.images]
        rows, titles = [tiles(subject.images, chosen)], ["image"]
        for name, one in {subject.encoder.name: subject, **subject.references}.items():
            found = maps(one, self.images)
            if found is not None:
                for kind, shown in (
                    ("components", coloured(found)),
                    ("norm", _scaled(found.norm(dim=1, keepdim=True))),
                ):
                    large = F.interpolate(shown.expand(-1, 3, -1, -1), (SIDE, SIDE), mode="nearest")
                    rows.append([Tile(image, "", PLAIN) for image in large])
                    titles.append(f"{name}\n{kind}")
        return {SHOWS: sheet_png(rows, titles)}


def maps(subject: Subject, count: int) -> Tensor | None:
    """The last feature maps of the first ``count`` plain images, (n, C, H, W) float32 on the CPU; None without any."""
    parts = []
    for view in replace(subject, count=min(count, subject.count)).views():
        found = last_map(subject.encoder, view.image.contiguous(memory_format=torch.channels_last))
        if found is None:
            return None
        parts.append(found.float().cpu())
    return torch.cat(parts)


def last_map(encoder: Any, image: Tensor) -> Tensor | None:
    """The last output of a module of ``encoder`` that is spatial, (B, C, H, W), for normalised images (B, 3, S, S)."""
    seen: list[Tensor] = []
    told = (getattr(module, "num_prefix_tokens", None) for module in encoder.modules())  # timm's ViTs say it
    prefix = next((number for number in told if isinstance(number, int)), None)

    def look(_name: str, out: object) -> None:
        found = spatial(out, prefix) if isinstance(out, Tensor) and len(out) == len(image) else None
        if found is not None:
            seen[:] = [found]

    with watching(dict(encoder.named_modules()), look), evaluating(encoder), torch.inference_mode():
        encoder(image)
    return seen[0] if seen else None


def spatial(out: Tensor, prefix: int | None = None) -> Tensor | None:
    """An activation as a map (B, C, H, W) of a square image with more than one place, or None where it is none.

    Taken are (B, C, S, S), (B, S, S, C) and tokens (B, ``prefix`` + S^2, C); prefix None: no token before, or one.
    """
    if out.ndim == 4 and out.shape[2] > 1:
        if out.shape[2] == out.shape[3]:
            return out
        return out.permute(0, 3, 1, 2) if out.shape[1] == out.shape[2] else None
    if out.ndim == 3:
        for before in (0, 1) if prefix is None else (prefix,):
            side = math.isqrt(max(out.shape[1] - before, 0))
            if side > 1 and side**2 == out.shape[1] - before:
                return out[:, before:].transpose(1, 2).reshape(len(out), out.shape[2], side, side)
    return None


def coloured(found: Tensor) -> Tensor:
    """The three leading principal components of maps (n, C, H, W) over images and places: (n, 3, H, W) in [0, 1]."""
    n, channels, height, width = found.shape
    x = found.double().permute(0, 2, 3, 1).reshape(-1, channels)
    if not _varies(x):
        return torch.full((n, COLOURS, height, width), 0.5)
    _, _, V = torch.linalg.svd(x - x.mean(0), full_matrices=False)
    V = V[:COLOURS]
    V = V * V.gather(1, V.abs().argmax(1, keepdim=True)).sign()  # the signs of an SVD are anyone's
    main = ((x - x.mean(0)) @ V.T).reshape(n, height, width, -1).permute(0, 3, 1, 2)
    return F.pad(_scaled(main), (0, 0, 0, 0, 0, COLOURS - len(V)), value=0.5).float()


def _scaled(found: Tensor) -> Tensor:
    """Each channel of (n, c, H, W) from its low to its high values, in [0, 1]; one half where it does not vary."""
    flat = found.transpose(0, 1).flatten(1).double()
    ends = flat.quantile(torch.tensor([SPREAD, 1 - SPREAD], dtype=torch.float64), dim=1)[:, None, :, None, None]
    low, width = ends[0], ends[1] - ends[0]
    return torch.where(width > 0, (found - low) / width.clamp_min(1e-300), 0.5).clamp(0, 1).float()


def _varies(x: Tensor) -> bool:
    return bool((x - x.flatten(0, -2).mean(0)).norm() > 1e-6 * x.norm())


def _leading(x: Tensor) -> Tensor:
    """The leading principal directions of centred x (N, C): (C, at most 64), which hold those of any part of it."""
    narrow = x.shape[1] <= len(x)
    V: Tensor = torch.linalg.eigh(x.T @ x if narrow else x @ x.T).eigenvectors[:, -KEPT:]
    return V if narrow else torch.linalg.qr(x.T @ V).Q
