"""Checkpoints of other people's code: each layout gives the encoder that is in it, and nothing of it is executed."""

from __future__ import annotations

import json
import zipfile
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision import models

import augaware
from augaware.cli import main
from augaware.errors import RequestError
from augaware.export import export
from augaware.frozen import load_encoder
from augaware.official import IMAGENET100, STL10, import_official

Weights = dict[str, Tensor]


@pytest.fixture(scope="module")
def network() -> nn.Module:
    """torchvision's ResNet-18, its classifier in place, in eval mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = models.resnet18()
        made.bn1.running_mean.uniform_(-0.1, 0.1)  # type: ignore[union-attr]
    return made.eval()


def bare(network: nn.Module) -> Weights:
    """As the papers' code saves it: without its classifier."""
    return {k: v for k, v in network.state_dict().items() if not k.startswith("fc.")}


def features(network: nn.Module, x: Tensor) -> Tensor:
    return nn.Sequential(*list(network.children())[:-1], nn.Flatten())(x)


def prefixed(prefix: str, weights: Weights) -> Weights:
    return {prefix + key: value for key, value in weights.items()}


def other(weights: Weights) -> Weights:
    """The weights of a network that is not to be taken."""
    return {key: value + 1 for key, value in weights.items()}


def linear(*shape: int) -> Weights:
    return {"0.weight": torch.randn(shape), "0.bias": torch.randn(shape[0])}


def augself(w: Weights, network: nn.Module) -> Any:
    """ckpt-N.pth of AugSelf."""
    net = nn.Linear(2, 2)
    step = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9)
    net(torch.zeros(1, 2)).sum().backward()
    step.step()
    heads = {"crop": linear(512, 1024), "color": linear(512, 1024)}
    return {
        **{"backbone": w, "projector": linear(128, 512), "predictor": linear(128, 128), "ss_predictor": heads},
        **{"optimizers": [step.state_dict()], "schedulers": [{"last_epoch": 3}], "epoch": 3},
    }


def cassle(w: Weights, network: nn.Module) -> Any:
    """CASSLE's: a conditioned projector, and DataParallel's prefix (of several GPUs without --distributed)."""
    projector = {"projector.0.weight": torch.randn(512, 576), "condition_net.0.weight": torch.randn(64, 13)}
    return {"backbone": prefixed("module.", w), "projector": prefixed("module.", projector), "ss_predictor": {}}


def moco(w: Weights, network: nn.Module) -> Any:
    """MoCo's: the query encoder with its MLP, the key encoder, a queue."""
    query = w | {"fc.0.weight": torch.randn(512, 512)}
    state = prefixed("module.encoder_q.", query) | prefixed("module.encoder_k.", other(query))
    return {"epoch": 2, "arch": "resnet18", "state_dict": state | {"module.queue": torch.randn(128, 16)}}


def moco_v3(w: Weights, network: nn.Module) -> Any:
    state = prefixed("module.base_encoder.", w) | prefixed("module.momentum_encoder.", other(w))
    return {"state_dict": state | prefixed("module.predictor.", linear(4, 4))}


def solo(w: Weights, network: nn.Module) -> Any:
    state = prefixed("backbone.", w) | prefixed("momentum_backbone.", other(w)) | prefixed("projector.", linear(4, 4))
    return {"state_dict": state, "pytorch-lightning_version": "2", "hyper_parameters": {"lr": 0.1}}


def lightly(w: Weights, network: nn.Module) -> Any:
    """A Sequential of torchvision's parts, without names."""
    parts = nn.Sequential(*list(network.children())[:-1]).state_dict()
    momentum = prefixed("backbone_momentum.", other(dict(parts)))
    return {
        "state_dict": prefixed("backbone.", dict(parts)) | momentum | prefixed("projection_head.layers.", linear(4, 4))
    }


def parts_alone(w: Weights, network: nn.Module) -> Any:
    return nn.Sequential(*list(network.children())[:-1]).state_dict()


def dino(w: Weights, network: nn.Module) -> Any:
    return {"student": prefixed("module.backbone.", w), "teacher": prefixed("backbone.", other(w))}


def teacher_alone(w: Weights, network: nn.Module) -> Any:
    return {"teacher": prefixed("module.backbone.", w)}


def torchvision(w: Weights, network: nn.Module) -> Any:
    return network.state_dict()


def without_counts(w: Weights, network: nn.Module) -> Any:
    """As torch saved it before BatchNorm counted."""
    return {"backbone": {k: v for k, v in w.items() if not k.endswith("num_batches_tracked")}}


LAYOUTS: list[tuple[Callable[[Weights, nn.Module], Any], str, dict[str, int]]] = [
    (augself, "backbone", {"projector": 2, "predictor": 2, "ss_predictor": 4}),
    (cassle, "backbone.module", {"projector": 2}),
    (moco, "state_dict.module.encoder_q", {"fc": 1, "encoder_k": 121, "queue": 1}),
    (moco_v3, "state_dict.module.base_encoder", {"momentum_encoder": 120, "predictor": 2}),
    (solo, "state_dict.backbone", {"momentum_backbone": 120, "projector": 2}),
    (lightly, "state_dict.backbone", {"backbone_momentum": 120, "projection_head": 2}),
    (parts_alone, "ckpt-3.pth", {}),
    (dino, "student.module.backbone", {"teacher": 120}),
    (teacher_alone, "teacher.module.backbone", {}),
    (torchvision, "ckpt-3.pth", {"fc": 2}),
    (without_counts, "backbone", {}),
]


@pytest.mark.parametrize(("layout", "taken", "left"), LAYOUTS, ids=[layout.__name__ for layout, *_ in LAYOUTS])
def test_each_layout_gives_the_encoder_in_it(
    layout: Callable[[Weights, nn.Module], Any], taken: str, left: dict[str, int], network: nn.Module, tmp_path: Path
) -> None:
    torch.save(layout(bare(network), network), tmp_path / "ckpt-3.pth")
    done = import_official(tmp_path / "ckpt-3.pth", tmp_path / "out")
    assert (done.encoder, done.taken, dict(done.left_out)) == ("resnet18", repr(taken), left)
    assert sorted(path.name for path in done.path.iterdir()) == ["config.json", "encoder.safetensors"]
    x = torch.randn(2, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    for encoder in (done.path, done.path / "encoder.safetensors"):  # in another order of memory, and so of sums
        assert torch.allclose(load_encoder(str(encoder), device="cpu")(x), features(network, x), atol=1e-5)


def test_the_kind_of_resnet_and_its_input_are_read_off_the_checkpoint(network: nn.Module, tmp_path: Path) -> None:
    fifty = models.resnet50()
    cifar = bare(network) | {"conv1.weight": torch.randn(64, 3, 3, 3)}
    for name, weights in (("a", bare(fifty)), ("b", bare(models.resnet34())), ("c", cifar), ("d", bare(network))):
        torch.save({"backbone": weights}, tmp_path / f"{name}.pth")
    found = {name: import_official(tmp_path / f"{name}.pth", tmp_path / name) for name in "abcd"}
    specs = ["resnet50", "torchvision/resnet34", "resnet18(stem='cifar')", "resnet18"]
    assert [made.encoder for made in found.values()] == specs
    for name, setting in (("a", IMAGENET100), ("d", STL10)):
        config = json.loads((tmp_path / name / "config.json").read_text())
        assert {key: config[key] for key in setting} == setting
    assert "the papers' STL10" in str(found["d"])
    (tmp_path / "args.json").write_text('{"dataset": "imagenet100"}')
    told = import_official(tmp_path / "d.pth", tmp_path / "told")
    assert (told.size, told.because) == (224, "(args.json: imagenet100)")


def test_any_encoder_can_be_named(tmp_path: Path) -> None:
    spec = "vit_small(size=32, patch=8)"
    vit = load_encoder(f"random/{spec}", size=32, device="cpu")
    torch.save({"state_dict": prefixed("module.base_encoder.", vit.f.backbone.state_dict())}, tmp_path / "vit.pth")
    with pytest.raises(RequestError, match=r"names of a ResNet; say which .* with --encoder, such as vit_small"):
        import_official(tmp_path / "vit.pth", tmp_path / "out")
    made = import_official(tmp_path / "vit.pth", tmp_path / "out", spec)
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(load_encoder(str(made.path), device="cpu", size=32)(x), vit(x))


def test_safetensors_are_read_too(network: nn.Module, tmp_path: Path) -> None:
    save_file(prefixed("module.backbone.", bare(network)), tmp_path / "w.safetensors")
    assert import_official(tmp_path / "w.safetensors", tmp_path / "out").encoder == "resnet18"


class Hostile:
    """Writes a file where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("kind", ["hostile", "namespace"])
def test_a_file_that_needs_more_than_tensors_is_refused_and_not_run(
    kind: str, network: nn.Module, tmp_path: Path
) -> None:
    mark = tmp_path / "ran"
    more = Hostile(mark) if kind == "hostile" else Namespace(lr=0.1)
    torch.save({"backbone": bare(network), "args": more}, tmp_path / "ckpt.pth")
    with pytest.raises(RequestError, match=r"holds more than tensors.* to read that is to run it; if you trust it"):
        import_official(tmp_path / "ckpt.pth", tmp_path / "out")
    assert not mark.exists()
    assert not (tmp_path / "out").exists()


def cut(file: Path, network: nn.Module) -> None:
    torch.save({"backbone": bare(network)}, file)
    file.write_bytes(file.read_bytes()[:5000])


def not_one(file: Path, network: nn.Module) -> None:
    file.write_text("hello")


def empty(file: Path, network: nn.Module) -> None:
    file.write_bytes(b"")


def other_zip(file: Path, network: nn.Module) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.txt", "hello")


def nothing(file: Path, network: nn.Module) -> None:
    torch.save({"epoch": 3}, file)


def a_list(file: Path, network: nn.Module) -> None:
    torch.save([1, 2], file)


def lost(file: Path, network: nn.Module) -> None:
    torch.save({"backbone": {k: v for k, v in bare(network).items() if k != "layer2.0.bn1.bias"}}, file)


def wide(file: Path, network: nn.Module) -> None:
    torch.save({"backbone": bare(network) | {"layer3.0.conv1.weight": torch.zeros(8, 8, 3, 3)}}, file)


def strange(file: Path, network: nn.Module) -> None:
    torch.save({"backbone": bare(network) | {"layer2.2.conv1.weight": torch.zeros(8, 8, 3, 3)}}, file)


def two(file: Path, network: nn.Module) -> None:
    torch.save(prefixed("left.", bare(network)) | prefixed("right.", bare(network)), file)


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (cut, "cannot be read: it is damaged, cut short"),
        (not_one, "cannot be read: it is damaged, cut short"),
        (empty, "cannot be read: it is damaged, cut short"),
        (other_zip, "cannot be read: it is damaged, cut short"),
        (nothing, "found: no tensors at all"),
        (a_list, "found: no tensors at all"),
        (lost, r"does not fit 'resnet18': it has no 'backbone.layer2.0.bn1.bias'"),
        (wide, r"'backbone.layer3.0.conv1.weight' has the shape \(8, 8, 3, 3\), not \(256, 128, 3, 3\)"),
        (strange, r"a ResNet with \[2, 3, 2, 2\] blocks"),
        (two, r"holds several encoders: 'left\.', 'right\.'"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_cannot_be_imported_is_one_clear_line(
    make: Callable[[Path, nn.Module], None], line: str, network: nn.Module, tmp_path: Path
) -> None:
    make(tmp_path / "ckpt.pth", network)
    with pytest.raises(RequestError, match=line) as refused:
        import_official(tmp_path / "ckpt.pth", tmp_path / "out")
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "out").exists()


def test_the_command_refuses_what_is_there_and_says_what_was_left_out(
    network: nn.Module, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(augself(bare(network), network), tmp_path / "ckpt.pth")
    out = tmp_path / "out"
    assert main(["import-official", str(tmp_path / "ckpt.pth"), "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert f"wrote {out}/encoder.safetensors: resnet18, the tensors of 'backbone'" in said
    assert "left out: projector (2), predictor (2), ss_predictor (4)" in said
    assert main(["import-official", str(tmp_path / "ckpt.pth"), "--out", str(out)]) == 2
    assert "exists already and is not overwritten" in capsys.readouterr().err
    assert main(["import-official", str(tmp_path / "none.pth"), "--out", str(tmp_path / "x")]) == 2
    assert "there is no such file" in capsys.readouterr().err
    wrong = ["import-official", str(tmp_path / "ckpt.pth"), "--out", str(tmp_path / "x"), "--encoder", "resnet50"]
    assert main(wrong) == 2
    assert "does not fit 'resnet50': " in capsys.readouterr().err


def test_what_was_imported_goes_on_to_the_other_library(network: nn.Module, tmp_path: Path) -> None:
    torch.save(moco(bare(network), network), tmp_path / "ckpt.pth")
    made = augaware.import_official(tmp_path / "ckpt.pth", out=tmp_path / "mine")
    done = augaware.export(made, to="timm", out=tmp_path / "theirs", size=32)
    assert export(load_encoder(str(made.path), size=32, device="cpu"), "timm", tmp_path / "again").difference <= 1e-5
    assert json.loads((done.path / "config.json").read_text())["pretrained_cfg"]["mean"] == STL10["mean"]
    assert "resnet18" in made._repr_html_()


@pytest.mark.filterwarnings("ignore:Validating sparse tensor invariants")
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda w: w.to_sparse(), "torch.sparse_coo"),
        (lambda w: w.to("meta"), "on meta"),
        (lambda w: w.int(), "torch.int32"),
        (lambda w: w.to(torch.complex64), "torch.complex64"),
        (lambda w: w.sum(), r"the shape \(\)"),
    ],
)
def test_tensors_that_are_no_plain_numbers_are_refused(
    change: Callable[[Tensor], Tensor], said: str, network: nn.Module, tmp_path: Path
) -> None:
    torch.save(bare(network) | {"conv1.weight": change(network.conv1.weight.detach())}, tmp_path / "x.pth")  # type: ignore[operator, union-attr]
    with pytest.raises(RequestError, match=f"does not fit 'resnet18': 'conv1.weight' .*{said}") as refused:
        import_official(tmp_path / "x.pth", tmp_path / "out")
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "out").exists()


def test_names_of_a_stranger_reach_no_terminal(network: nn.Module, tmp_path: Path) -> None:
    torch.save({"backbone": bare(network), "\x1b[31m\nred": {"x": torch.zeros(1)}}, tmp_path / "x.pth")
    (tmp_path / "args.json").write_text(json.dumps({"dataset": "stl10\x1b[31m" + 1000 * "x"}))
    said = str(import_official(tmp_path / "x.pth", tmp_path / "out"))
    assert said.isprintable()
    assert len(said) < 400


@pytest.mark.parametrize(
    "given",
    [
        *({"size": "big"}, {"size": -1}, {"size": True}, {"mean": 3}, {"mean": [1, 2]}, {"mean": ["a", "b", "c"]}),
        *({"std": [0, 0, 0]}, {"pixel_range": 3}, {"pixel_range": [9, 1]}),
    ],
)
def test_a_folder_whose_input_makes_no_sense_is_said_to_be_damaged(
    given: dict[str, Any], network: nn.Module, tmp_path: Path
) -> None:
    save_file(bare(network), tmp_path / "encoder.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"encoder": "resnet18", **given}))
    with pytest.raises(RequestError, match=r"config\.json' is damaged: ") as refused:
        load_encoder(tmp_path, device="cpu")
    assert "\n" not in str(refused.value)


def test_a_folder_has_its_own_name(network: nn.Module, tmp_path: Path) -> None:
    torch.save(bare(network), tmp_path / "x.pth")
    for name in ("one", "two/export"):
        import_official(tmp_path / "x.pth", tmp_path / name)
    names = [load_encoder(tmp_path / name, device="cpu").name for name in ("one", "two/export")]
    assert names == ["one", "two"]
    assert load_encoder(tmp_path / "one" / "encoder.safetensors", device="cpu").name == "encoder"
