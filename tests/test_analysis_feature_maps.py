"""Feature maps: which activation is found, of what network, its components against numpy, and the picture."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from augaware import lookup
from augaware.analysis.feature_maps import coloured, last_map, maps, spatial
from augaware.data.shapes import Shapes
from augaware.frozen import Frozen, freeze
from augaware.nets.base import build_encoder
from augaware.tasks.sheet import FRAME, GAP, PLAIN, SIDE, sheet_size
from known_encoders import Keeps
from small_subjects import asked, numbers

FEATURE_MAPS = lookup.build("analysis", "feature_maps")
FEW = Shapes(n=20)


def frozen(backbone: nn.Module | str, size: int = 32) -> Frozen:
    f = build_encoder(backbone) if isinstance(backbone, str) else backbone
    return freeze(f, "network", size, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


class Known(nn.Module):
    """The image averaged down to 4 x 4, its map, then pooled."""

    def __init__(self, constant: bool = False) -> None:
        super().__init__()
        self.down, self.pool, self.flat = nn.AdaptiveAvgPool2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        self.mix = nn.Conv2d(3, 6, 1)
        with torch.no_grad():
            self.mix.weight.copy_(torch.randn(6, 3, 1, 1, generator=torch.Generator().manual_seed(0)))
            if constant:
                self.mix.weight.zero_()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.flat(self.pool(self.mix(self.down(x))))


@pytest.mark.parametrize(
    ("spec", "size", "shape"),
    [
        ("tiny(widths=(8, 16))", 32, (16, 8, 8)),
        ("resnet18", 64, (512, 2, 2)),
        ("vit_small(size=64)", 64, (384, 4, 4)),
        ("timm/vit_tiny_patch16_224", 224, (192, 14, 14)),
        ("timm/swin_tiny_patch4_window7_224", 224, (768, 7, 7)),
    ],
)
def test_the_last_map_of_networks(spec, size, shape):
    encoder = frozen(spec, size)
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    found = last_map(encoder, images)
    assert found.shape == (2, *shape)
    assert not any(module._forward_hooks for module in encoder.modules())


def test_the_map_is_that_which_is_pooled():
    encoder = frozen("tiny(widths=(8, 16))")
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(last_map(encoder, images).mean((2, 3)), encoder(images), atol=1e-6)


def test_what_is_a_map_and_what_is_none():
    tokens = torch.arange(2 * 10 * 5.0).reshape(2, 10, 5)
    one = spatial(tokens)
    assert one.shape == (2, 5, 3, 3)
    assert one[1, 2, 1, 0] == tokens[1, 1 + 3, 2]  # row by row, behind the class token
    assert spatial(tokens, prefix=6).shape == (2, 5, 2, 2)
    assert spatial(tokens, prefix=0) is None
    assert spatial(tokens[:, 1:]).shape == (2, 5, 3, 3)
    last = torch.randn(2, 4, 4, 9)
    assert torch.equal(spatial(last), last.permute(0, 3, 1, 2))
    for none in (torch.randn(2, 7), torch.randn(2, 7, 1, 1), torch.randn(2, 7, 5), torch.randn(2, 3, 4, 5)):
        assert spatial(none) is None


def test_the_shares_are_numpys():
    subject = asked(frozen(Known(), 24), FEW)
    table = numbers(FEATURE_MAPS, subject)
    x = maps(subject, 100).double().numpy()
    assert x.shape == (20, 6, 4, 4)
    flat = x.transpose(0, 2, 3, 1).reshape(-1, 6)
    eigenvalues = np.linalg.eigvalsh(np.cov(flat.T))[::-1]
    assert table["three_components", "", "last map", None].value == pytest.approx(
        eigenvalues[:3].sum() / eigenvalues.sum()
    )
    assert table["three_components", "", "last map", None].value == pytest.approx(1)  # of three channels
    means = x.mean((2, 3))
    between = 16 * ((means - means.mean(0)) ** 2).sum()
    whole = ((flat - flat.mean(0)) ** 2).sum()
    assert table["within_image", "", "last map", None].value == pytest.approx(1 - between / whole)
    assert 0.05 < table["within_image", "", "last map", None].value < 0.95


def test_wide_maps_of_few_places_are_numpys_too():
    wide = Known()
    wide.mix = nn.Conv2d(3, 600, 3, padding=1)
    subject = asked(frozen(wide, 24), FEW)
    three = numbers(FEATURE_MAPS, subject)["three_components", "", "last map", None]
    flat = maps(subject, 100).double().permute(0, 2, 3, 1).reshape(-1, 600).numpy()
    assert len(flat) < 600
    s = np.linalg.svd(flat - flat.mean(0), compute_uv=False) ** 2
    assert three.value == pytest.approx(s[:3].sum() / s.sum())
    assert three.value < 0.99


def test_only_some_images_are_measured():
    subject = asked(frozen(Known(), 24), Shapes(n=150))
    assert len(maps(subject, 140)) == 140  # over a border of batches
    assert torch.allclose(maps(subject, 140)[:5], maps(subject, 5), atol=1e-5)


def test_components_are_colours():
    # The three leading directions of a map that varies along three axes, whatever their signs.
    g = torch.Generator().manual_seed(0)
    base = torch.randn(4, 3, 5, 5, generator=g) * torch.tensor([3.0, 2, 1]).reshape(1, 3, 1, 1)
    Q = torch.linalg.qr(torch.randn(8, 8, generator=g)).Q[:3]
    shown = coloured(torch.einsum("nchw,cd->ndhw", base, Q) + 1)
    assert shown.shape == (4, 3, 5, 5)
    assert float(shown.min()) == 0
    assert float(shown.max()) == 1
    for c in range(3):
        both = torch.stack([base[:, c].flatten(), shown[:, c].flatten()])
        assert abs(float(torch.corrcoef(both)[0, 1])) > 0.9
    narrow = coloured(base[:, :2])
    assert (narrow[:, 2] == 0.5).all()
    assert (coloured(torch.ones(2, 4, 3, 3)) == 0.5).all()


def test_the_picture_has_two_rows_for_each_encoder_with_a_map():
    references = {"no map": asked(Keeps, FEW), "constant": asked(frozen(Known(constant=True), 24), FEW)}
    subject = asked(frozen(Known(), 24), FEW, references)
    ((shows, png),) = FEATURE_MAPS.pictures(subject).items()
    assert shows.endswith(".")
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    margin = picture.width - sheet_size(5, 8)[0]
    assert picture.size == sheet_size(5, 8, margin)
    assert 20 < margin < 150
    assert FEATURE_MAPS.pictures(subject) == {shows: png}
    norm = maps(subject, 8).norm(dim=1)  # (8, 4, 4): white where it is large
    step = sheet_size(1, 1)[1] - GAP
    left, top = GAP + margin + FRAME, GAP + 2 * step + FRAME
    shown = (
        np.asarray(picture)[top : top + SIDE, left : left + SIDE, 0].reshape(4, SIDE // 4, 4, SIDE // 4).mean((1, 3))
    )
    assert np.corrcoef(shown.flatten(), norm[0].flatten())[0, 1] > 0.95
    assert picture.getpixel((left - FRAME, top - FRAME)) == pytest.approx(tuple(bytes.fromhex(PLAIN[1:])), abs=8)


def test_a_map_that_says_nothing_has_no_numbers():
    assert not numbers(FEATURE_MAPS, asked(frozen(Known(constant=True), 24), FEW))


def test_an_encoder_without_a_map_is_refused():
    for encoder in (Keeps, frozen("pixels")):
        assert "has no feature map" in FEATURE_MAPS.refusal(asked(encoder, FEW))
    assert "one image" in FEATURE_MAPS.refusal(asked(frozen(Known(), 24), Shapes(n=1)))
    assert numbers(FEATURE_MAPS, asked(frozen(Known(), 24), Shapes(n=2)))
