"""Encoders by name: widths, initialisation, stems, and weights that their own library can read."""

from __future__ import annotations

import math
import re
from itertools import pairwise

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from augaware import lookup
from augaware.checkpoint import Run, plain_weights, seeded_encoder
from augaware.errors import RequestError
from augaware.nets.base import build_encoder
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


def test_resnet18_starts_as_in_the_papers_code() -> None:
    torch.manual_seed(0)
    f = build_encoder("resnet18")
    assert f.dim == 512
    assert f.training
    convolutions = [m for m in f.modules() if isinstance(m, nn.Conv2d)]
    assert len(convolutions) == 20
    for conv in convolutions:  # PyTorch's default: Kaiming uniform with a = sqrt 5, which is U(+-1/sqrt(fan_in))
        bound = 1 / math.sqrt(conv.weight[0].numel())
        assert 0.99 * bound < conv.weight.abs().max() <= bound
        assert conv.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.05)
    last = [m for name, m in f.named_modules() if name.endswith(".bn2")]
    assert len(last) == 8
    assert all(torch.equal(m.weight, torch.zeros_like(m.weight)) for m in last)
    assert torch.equal(f.backbone.bn1.weight, torch.ones(64))


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
        ("timm/resnet18(pretrained=True)", ["the only argument is stem"]),
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
