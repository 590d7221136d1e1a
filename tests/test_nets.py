"""Encoders by name: widths, initialisation, stems, and weights that their own library can read."""

from __future__ import annotations

import math
import re
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from augaware import lookup
from augaware.checkpoint import Run, load_weights, plain_weights, seeded_encoder
from augaware.errors import RequestError
from augaware.nets.base import Encoder, build_encoder
from augaware.nets.heads import mlp
from augaware.recipe import Recipe

NETS = lookup.names("nets")


SPECS = [
    *NETS,
    "resnet18(stem='cifar')",
    "tiny(widths=(4, 8))",
    "pixels(side=3)",
    "timm/resnet10t",
    "timm/test_vit",
    "torchvision/resnet18(stem='cifar')",
    "torchvision/shufflenet_v2_x0_5",
]


@pytest.mark.parametrize("spec", SPECS)
def test_every_encoder_gives_features_of_the_width_it_states(spec: str) -> None:
    torch.manual_seed(0)
    f = build_encoder(spec).eval()
    side = 160 if spec == "timm/test_vit" else 32
    y = f(torch.randn(2, 3, side, side))
    assert y.shape == (2, f.dim)
    assert y.isfinite().all()
    assert not torch.equal(y[0], y[1])


@pytest.mark.parametrize(
    ("spec", "dim", "count", "last", "blocks"), [("resnet18", 512, 20, ".bn2", 8), ("resnet50", 2048, 53, ".bn3", 16)]
)
def test_resnets_start_as_in_the_papers_code(spec: str, dim: int, count: int, last: str, blocks: int) -> None:
    torch.manual_seed(0)
    f = build_encoder(spec)
    assert f.dim == dim
    assert f.training
    convolutions = [m for m in f.modules() if isinstance(m, nn.Conv2d)]
    assert len(convolutions) == count
    for conv in convolutions:  # PyTorch's default: Kaiming uniform with a = sqrt 5, which is U(+-1/sqrt(fan_in))
        bound = 1 / math.sqrt(conv.weight[0].numel())
        assert 0.99 * bound < conv.weight.abs().max() <= bound
        assert conv.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.05)
    ends = [m for name, m in f.named_modules() if name.startswith("backbone.layer") and name.endswith(last)]
    assert len(ends) == blocks
    assert all(torch.equal(m.weight, torch.zeros_like(m.weight)) for m in ends)
    assert torch.equal(f.backbone.bn1.weight, torch.ones(64))


@pytest.fixture(scope="module")
def vit() -> Encoder:
    """MoCo v3's ViT-S/16, not to be changed."""
    torch.manual_seed(0)
    return build_encoder("vit_small").eval()


def test_vit_small_is_moco_v3s_vit_s(vit: Encoder) -> None:
    f = vit.backbone
    assert (vit.dim, len(f.blocks), f.patch_embed.proj.kernel_size) == (384, 12, (16, 16))
    for block in f.blocks:
        assert (block.attn.num_heads, block.attn.qkv.bias is not None, block.mlp.fc1.out_features) == (
            12,
            True,
            4 * 384,
        )
    assert {m.eps for m in f.modules() if isinstance(m, nn.LayerNorm)} == {1e-6}
    assert sum(p.numel() for p in vit.parameters()) == 21_665_664
    untrained = {name for name, p in f.named_parameters() if not p.requires_grad}
    assert untrained == {"pos_embed", "patch_embed.proj.weight", "patch_embed.proj.bias"}


def test_vit_small_starts_as_in_moco_v3s_code(vit: Encoder) -> None:
    f = vit.backbone
    bounds = {"qkv": math.sqrt(6 / (384 + 384)), "fc1": math.sqrt(6 / (5 * 384)), "fc2": math.sqrt(6 / (5 * 384))}
    for name, m in f.named_modules():
        if isinstance(m, nn.Linear):
            bound = bounds.get(name.rpartition(".")[2], math.sqrt(6 / (384 + 384)))
            assert 0.99 * bound < m.weight.abs().max() <= bound
            assert m.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.02)
            assert not m.bias.any()
    bound = math.sqrt(6 / (3 * 16**2 + 384))
    assert 0.99 * bound < f.patch_embed.proj.weight.abs().max() <= bound
    assert not f.patch_embed.proj.bias.any()
    assert 0 < f.cls_token.abs().max() < 1e-5


def test_the_sincos_table_is_the_formula_patch_by_patch(vit: Encoder) -> None:
    expected = [[0.0] * 384]  # the cls token
    for row in range(14):
        for column in range(14):
            w = [10000 ** (-k / 96) for k in range(96)]
            quarters = ((math.sin, row), (math.cos, row), (math.sin, column), (math.cos, column))
            expected.append([function(place * w_k) for function, place in quarters for w_k in w])
    assert torch.allclose(vit.backbone.pos_embed[0], torch.tensor(expected), rtol=0, atol=3e-6)


@torch.no_grad()
def test_vit_small_gives_the_normed_cls_token_of_crops_of_any_size(vit: Encoder) -> None:
    x = torch.randn(2, 3, 96, 96)
    y = vit(x)
    assert torch.equal(y, vit.backbone.forward_features(x)[:, 0])
    assert torch.allclose(y.mean(1), torch.zeros(2), atol=1e-5)
    assert torch.allclose(y.var(1, correction=0), torch.ones(2), atol=1e-2)
    assert vit(torch.randn(1, 3, 224, 224)).shape == vit(torch.randn(1, 3, 32, 48)).shape == (1, 384)
    swapped = torch.cat([x[..., 48:], x[..., :48]], 3)  # the same patches in other places: positions are used
    assert not torch.allclose(vit(swapped), y, atol=1e-3)
    with pytest.raises(RequestError, match=r"images of 32 x 40 px .* a size divisible by 16"):
        vit(torch.randn(1, 3, 32, 40))


@pytest.mark.parametrize("spec", ["vit_small(size=32)", "vit_small(32, 6, 8, 'learned', False)"])
def test_vit_small_trains_all_but_what_is_fixed(spec: str) -> None:
    torch.manual_seed(0)
    f = build_encoder(spec)
    f(torch.randn(2, 3, 32, 32)).square().mean().backward()
    (f(torch.randn(2, 3, 16, 16)) ** 3).mean().backward()
    fixed = {name for name, p in f.backbone.named_parameters() if p.grad is None or not p.grad.any()}
    if "learned" in spec:
        assert fixed == set()
        assert f.backbone.pos_embed.shape == (1, 17, 384)
        assert f.backbone.pos_embed.std().item() == pytest.approx(0.02, rel=0.05)
        assert f.backbone.blocks[0].attn.num_heads == 6
    else:
        assert fixed == {"pos_embed", "patch_embed.proj.weight", "patch_embed.proj.bias"}


def test_vit_smalls_weights_are_exported_with_timms_names_and_load_again(tmp_path: Path) -> None:
    import timm

    run = Run.create(tmp_path / "run", Recipe(data="shapes"), {})
    one, other = (seeded_encoder("vit_small(size=32)", seed) for seed in (1, 2))
    x = torch.randn(2, 3, 32, 32)
    file = run.export(one)
    load_weights(other, file)
    assert torch.equal(one.eval()(x), other.eval()(x))
    theirs = timm.create_model("deit_small_patch16_224", img_size=32, num_classes=0)
    assert {k: v.shape for k, v in theirs.state_dict().items()} == {k: v.shape for k, v in load_file(file).items()}


def test_the_cifar_stem_is_3x3_of_stride_1_without_pooling() -> None:
    for spec in ("resnet18(stem='cifar')", "timm/resnet18(stem='cifar')", "torchvision/resnet18(stem='cifar')"):
        f = build_encoder(spec)
        conv = f.backbone.conv1
        assert (conv.kernel_size, conv.stride, conv.padding, conv.bias) == ((3, 3), (1, 1), (1, 1), None)
        assert isinstance(f.backbone.maxpool, nn.Identity)
        maps = f.backbone.layer1(f.backbone.maxpool(f.backbone.conv1(torch.zeros(1, 3, 32, 32))))
        assert maps.shape[2:] == (32, 32)


def test_pixels_are_the_image_averaged_down() -> None:
    x = torch.rand(2, 3, 8, 8)
    y = build_encoder("pixels(side=2)")(x)
    assert torch.allclose(y.reshape(2, 3, 2, 2)[1, 2, 1, 0], x[1, 2, 4:, :4].mean())
    assert not list(build_encoder("pixels").parameters())


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("resnet81", ["resnet81", "did you mean 'resnet18'"]),
        ("timm/resnet81", ["timm/resnet81", "timm has no such model", "did you mean"]),
        ("torchvision/resnet81", ["torchvision/resnet81", "did you mean"]),
        ("tim/resnet18", ["'tim'", "accepted: timm, torchvision"]),
        ("resnet18(stem='imagnet')", ["stem='imagnet'", "'imagenet', 'cifar'"]),
        ("timm/resnet18(stem='x')", ["stem='x'"]),
        ("timm/test_vit(stem='cifar')", ["stem='cifar' is for ResNets"]),
        ("timm/resnet18(pretrained=True)", ["its arguments are stem"]),
        ("resnet18(pretrained=True)", ["'pretrained'", "accepted: stem"]),
        ("tiny(widths=())", ["widths=()"]),
        ("tiny(widths=(8, 0))", ["widths=(8, 0)"]),
        ("tiny(widths='wide')", ["widths='wide'"]),
        ("tiny(widths=8)", ["widths=8"]),
        ("pixels(side=0)", ["side=0"]),
        ("pixels(side='x')", ["side='x'"]),
        ("torchvision/squeezenet1_1", ["squeezenet1_1", "no classifier to take off"]),
        ("", ["''"]),
        ("timm/", ["encoder"]),
        ("resnet50(stem='x')", ["stem='x'", "'imagenet', 'cifar'"]),
        ("vit_small(size=100)", ["size=100", "divisible by patch=16"]),
        ("vit_small(size=0)", ["size=0", "at least 1"]),
        ("vit_small(patch='16')", ["patch='16'", "whole number"]),
        ("vit_small(heads=5)", ["heads=5", "384", "accepted: 1, 2, 3, 4, 6, 8, 12"]),
        ("vit_small(positions='sin')", ["positions='sin'", "accepted: sincos, learned"]),
        ("vit_small(freeze_patches='no')", ["freeze_patches='no'", "True or False"]),
    ],
)
def test_a_wrong_encoder_is_refused_in_one_line(spec: str, words: list[str]) -> None:
    with pytest.raises(RequestError) as refused:
        build_encoder(spec)
    assert all(word in str(refused.value) for word in words), str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("last", ["linear", "bn"])
@pytest.mark.parametrize("dims", [(7, 3), (7, 5, 3), (7, 5, 6, 3)])
def test_an_mlp_has_bn_and_relu_between_and_a_bias_only_where_no_bn_follows(dims: tuple[int, ...], last: str) -> None:
    torch.manual_seed(0)
    network = mlp(dims, last)
    linears = [m for m in network if isinstance(m, nn.Linear)]
    assert [(m.in_features, m.out_features) for m in linears] == list(pairwise(dims))
    assert [m.bias is not None for m in linears] == [False] * (len(dims) - 2) + [last == "linear"]
    kinds = [nn.Linear, nn.BatchNorm1d, nn.ReLU] * (len(dims) - 2) + [nn.Linear] + [nn.BatchNorm1d] * (last == "bn")
    assert [type(m) for m in network] == kinds
    for m in linears:
        assert all(p.abs().max() <= 1 / math.sqrt(m.in_features) for p in m.parameters())


def test_exported_resnet18_weights_load_into_torchvisions_resnet18_missing_only_fc(tmp_path: object) -> None:
    from torchvision.models import resnet18

    run = Run.create(f"{tmp_path}/run", Recipe(data="shapes"), {})
    f = seeded_encoder("resnet18", 3)
    file = run.export(f)
    theirs = resnet18()
    found = theirs.load_state_dict(load_file(file), strict=False)
    assert sorted(found.missing_keys) == ["fc.bias", "fc.weight"]
    assert found.unexpected_keys == []
    theirs.fc = nn.Identity()
    x = torch.randn(2, 3, 64, 64)
    assert torch.equal(theirs.eval()(x), f.eval()(x))


@pytest.mark.parametrize("spec", ["timm/resnet10t", "torchvision/shufflenet_v2_x0_5"])
def test_exported_weights_keep_the_names_of_their_library(spec: str) -> None:
    if spec.startswith("timm"):
        import timm

        expected = set(timm.create_model(spec.removeprefix("timm/"), num_classes=0).state_dict())
    else:
        from torchvision import models

        names = models.get_model(spec.removeprefix("torchvision/"), weights=None).state_dict()
        expected = {name for name in names if not re.match(r"fc\.", name)}
    assert set(plain_weights(build_encoder(spec))) == expected


def test_a_seeded_encoder_depends_on_its_seed_only_and_leaves_torchs_random_state() -> None:
    before = torch.random.get_rng_state()
    one, two, other = (plain_weights(seeded_encoder("tiny(widths=(4, 8))", seed)) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(one[k], two[k]) for k in one)
    assert any(not torch.equal(one[k], other[k]) for k in one)
