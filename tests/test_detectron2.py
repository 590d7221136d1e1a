"""Weights under detectron2's names: every tensor of a torchvision ResNet-50 comes back, and R50-C4 has their places."""

from __future__ import annotations

import pytest
import torch
from torchvision.models import resnet50

from augaware.cli import main
from augaware.errors import RequestError
from augaware.export import export
from augaware.exports.detectron2 import detectron2_names
from augaware.frozen import freeze, load_encoder
from augaware.nets.base import build_encoder


def slowly(key):
    """Back to torchvision's name, word by word."""
    words = key.split(".")
    if words[0] == "stem":
        return "bn1." + words[-1] if "norm" in words else "conv1.weight"
    stage, block, part = f"layer{int(words[0][3:]) - 1}", words[1], words[2]
    if part == "shortcut":
        return f"{stage}.{block}.downsample.{int('norm' in words)}.{words[-1]}"
    return f"{stage}.{block}.{f'bn{part[-1]}' if 'norm' in words else part}.{words[-1]}"


def test_every_tensor_comes_back_to_a_torchvision_resnet50(tmp_path):
    encoder = build_encoder("resnet50")
    export(freeze(encoder, size=32), "detectron2", tmp_path / "r50.pth")
    loaded = torch.load(tmp_path / "r50.pth", weights_only=True)
    assert loaded["matching_heuristics"] is True
    back = {slowly(key): value for key, value in loaded["model"].items()}
    assert len(back) == len(loaded["model"])
    net = resnet50()
    expected = {k for k in net.state_dict() if not k.startswith("fc.") and not k.endswith("num_batches_tracked")}
    assert back.keys() == expected
    for key, value in back.items():
        assert torch.equal(value, encoder.backbone.state_dict()[key]), key
        assert value.shape == net.state_dict()[key].shape, key


def test_the_names_are_those_of_r50_c4():
    """As detectron2's BasicStem and BottleneckBlock call their parts."""
    named = {key: tuple(value.shape) for key, value in detectron2_names(resnet50().state_dict()).items()}
    assert named["stem.conv1.weight"] == (64, 3, 7, 7)
    assert named["stem.conv1.norm.running_var"] == (64,)
    assert named["res2.0.shortcut.weight"] == (256, 64, 1, 1)
    assert named["res2.0.shortcut.norm.bias"] == (256,)
    assert named["res4.5.conv3.weight"] == (1024, 256, 1, 1)
    assert named["res5.0.conv2.norm.running_mean"] == (512,)
    assert {key.split(".")[0] for key in named} == {"stem", "res2", "res3", "res4", "res5"}


def test_timms_resnet_has_the_same_names():
    timm = detectron2_names(build_encoder("timm/resnet18").backbone.state_dict())
    assert timm.keys() == detectron2_names(build_encoder("resnet18").backbone.state_dict()).keys()


def test_what_cannot_be_written_is_one_clear_line(tmp_path):
    for spec, line in (("tiny", r"have no 'conv1.weight': .* such as resnet50"), ("resnet18('cifar')", "is 3 px wide")):
        with pytest.raises(RequestError, match=line):
            export(load_encoder(f"random/{spec}", size=32, device="cpu"), "detectron2", tmp_path / "x.pth")
    assert not list(tmp_path.iterdir())


def test_the_command_writes_what_the_function_writes(tmp_path, capsys):
    out = tmp_path / "r18.pth"
    assert main(["export", "random/resnet18", "--to", "detectron2", "--out", str(out)]) == 0
    written = torch.load(out, weights_only=True)
    assert written["matching_heuristics"] is True
    assert written["model"].keys() == detectron2_names(build_encoder("resnet18").backbone.state_dict()).keys()
    capsys.readouterr()
    assert main(["export", "random/resnet18", "--to", "keras", "--out", str(tmp_path / "x.h5")]) == 2
    assert "unknown export 'keras'; accepted: detectron2, hf, onnx, timm, torchvision" in capsys.readouterr().err
