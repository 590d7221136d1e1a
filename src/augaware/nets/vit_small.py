"""ViT-S (Chen, Xie, He: An Empirical Study of Training Self-Supervised Vision Transformers, ICCV 2021; MoCo v3)."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from augaware.checks import check_widths
from augaware.errors import RequestError
from augaware.nets.base import Encoder

__all__ = ["vit_small"]

DIM, DEPTH = 384, 12
POSITIONS = ("sincos", "learned")


def vit_small(
    size: int = 224,
    heads: int = 12,
    patch: int = 16,
    positions: str = "sincos",
    freeze_patches: bool = True,
    channels: int = 3,
) -> Encoder:
    """ViT-S/patch as in MoCo v3 and CASSLE, D = 384: 12 blocks, features are the normed cls token; ``size`` in px.

    ``positions="sincos"``: a fixed table, zero for the cls token; ``"learned"``: a trained one, N(0, .02) at the start.
    The table is made for ``size`` and resampled (bicubic) for images of another size, sides divisible by ``patch``.
    ``freeze_patches``: the random patch projection is not trained (MoCo v3, section 4). Linear layers start
    xavier-uniform, q, k and v each as a matrix of its own, biases at 0, the cls token at N(0, 1e-6); the patch
    projection at U(+-sqrt(6 / (channels patch^2 + D))) (authors' code). DINO's ViT-S: ``heads=6, positions='learned',
    freeze_patches=False``, up to the start of the weights (DINO's code: N(0, .02), here: as MoCo v3).

    Layers and names are timm's.
    """
    _check(size, heads, patch, positions, freeze_patches)
    check_widths("encoder 'vit_small'", channels=channels)
    from timm.models.vision_transformer import VisionTransformer

    model = VisionTransformer(
        img_size=size,
        patch_size=patch,
        in_chans=channels,
        num_classes=0,
        global_pool="token",
        embed_dim=DIM,
        depth=DEPTH,
        num_heads=heads,
        mlp_ratio=4,
        qkv_bias=True,
        dynamic_img_size=True,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
        weight_init="moco",
    )
    projection = model.patch_embed.proj
    bound = math.sqrt(6 / (channels * patch**2 + DIM))
    nn.init.uniform_(projection.weight, -bound, bound)
    nn.init.zeros_(projection.bias)
    projection.requires_grad_(not freeze_patches)
    if positions == "sincos":
        table = torch.cat([torch.zeros(1, DIM), sincos(size // patch)])
        model.pos_embed = nn.Parameter(table[None], requires_grad=False)
    return Patched(model, DIM, patch)


class Patched(Encoder):
    """An encoder of images that are cut into squares of ``patch`` px."""

    def __init__(self, backbone: nn.Module, dim: int, patch: int) -> None:
        super().__init__(backbone, dim)
        self.patch = patch

    def forward(self, x: Tensor) -> Tensor:
        """Normalised images (B, 3, H, W) -> features (B, dim)."""
        height, width = x.shape[2:]
        if height % self.patch or width % self.patch:
            raise RequestError(
                f"encoder 'vit_small': images of {height} x {width} px cannot be cut into patches of {self.patch}; "
                f"accepted: a size divisible by {self.patch}"
            )
        return super().forward(x)


def sincos(side: int, temperature: float = 10000.0) -> Tensor:
    """Positions of a grid of side x side patches, row by row: (side^2, D).

    [sin r w, cos r w, sin c w, cos c w] for row r and column c, with w_k = temperature^(-k / (D/4)), k < D/4 (authors'
    code, which names r "w": its meshgrid is in matrix order).
    """
    w = temperature ** -(torch.arange(DIM // 4) / (DIM // 4))
    angles = torch.arange(side)[:, None] * w  # of one coordinate
    r, c = angles.repeat_interleave(side, 0), angles.repeat(side, 1)
    return torch.cat([r.sin(), r.cos(), c.sin(), c.cos()], 1)


def _check(size: Any, heads: Any, patch: Any, positions: Any, freeze_patches: Any) -> None:
    for key, value in (("size", size), ("heads", heads), ("patch", patch)):
        if type(value) is not int or value < 1:
            raise RequestError(f"encoder 'vit_small': {key}={value!r} must be a whole number, at least 1")
    if size % patch:
        raise RequestError(f"encoder 'vit_small': size={size} must be divisible by patch={patch}")
    if DIM % heads:
        accepted = ", ".join(str(n) for n in range(1, DIM + 1) if DIM % n == 0)
        raise RequestError(f"encoder 'vit_small': heads={heads} must divide {DIM}; accepted: {accepted}")
    if positions not in POSITIONS:
        raise RequestError(f"encoder 'vit_small': positions={positions!r} is unknown; accepted: {', '.join(POSITIONS)}")
    if not isinstance(freeze_patches, bool):
        raise RequestError(f"encoder 'vit_small': freeze_patches={freeze_patches!r} must be True or False")
