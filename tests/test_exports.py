"""Encoders for other libraries: each form is loaded as its own library loads it, and has the same features."""

from __future__ import annotations

import copy
import importlib.util
import json
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torchvision.models import resnet18

import augaware
from augaware import lookup
from augaware.checkpoint import Run, environment, seeded_encoder
from augaware.cli import main
from augaware.data.centre import centre_crop
from augaware.errors import RequestError, RunError
from augaware.export import LIMIT, export, shown
from augaware.exports.base import normalised
from augaware.exports.card import card, quoted
from augaware.exports.timm import Timm
from augaware.frozen import Frozen, freeze, load_encoder
from augaware.recipe import Recipe
from test_detectron2 import slowly

MEAN, STD, SIZE = (0.4, 0.5, 0.6), (0.2, 0.3, 0.4), 32
# What a new export shows here: its --out, and what its own lines of usage make of pixels in [0, 1].
OUT = {"timm": "out", "hf": "out", "torchvision": "out.safetensors", "onnx": "out.onnx", "detectron2": "out.pth"}


class Config:
    """What detectron2's config takes of the lines for it."""

    def merge_from_list(self, given: list[Any]) -> None:
        self.given = dict(zip(given[::2], given[1::2], strict=True))


def loaded(to: str, usage: str, pixels: Tensor) -> Tensor:
    """The features that a reader of ``usage`` gets, with nothing of ours."""
    names: dict[str, Any] = {"images": pixels.numpy(), "cfg": Config()}
    if to == "hf":  # a Pillow image: of the size that it was trained for it is left as it is
        from PIL import Image

        names["image"] = [Image.fromarray((255 * x).byte().permute(1, 2, 0).numpy()) for x in pixels]
    exec(usage, names)
    if to == "detectron2":
        given = names["cfg"].given
        assert (given["INPUT.FORMAT"], given["MODEL.RESNETS.STRIDE_IN_1X1"]) == ("RGB", False)
        assert given["MODEL.PIXEL_MEAN"] == pytest.approx([255 * v for v in MEAN])
        assert given["MODEL.PIXEL_STD"] == pytest.approx([255 * v for v in STD])
        weights = torch.load(given["MODEL.WEIGHTS"], weights_only=True)["model"]
        names["model"] = resnet18()  # detectron2 itself is not among the packages of an index
        names["model"].fc = nn.Identity()
        names["model"].load_state_dict({slowly(key): w for key, w in weights.items()}, strict=False)
    found = names["features"] if "features" in names else names["model"].eval()(normalised(pixels, MEAN, STD))
    return torch.as_tensor(found).detach()


@pytest.fixture(scope="module")
def frozen() -> Frozen:
    """A ResNet-18 whose features move with the images, with a mean and std of its own."""
    made = load_encoder("random/resnet18", size=SIZE, device="cpu")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for module in made.f.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.data.uniform_(0.5, 1.5)
                module.running_mean.uniform_(-0.1, 0.1)  # type: ignore[union-attr]
                module.running_var.uniform_(0.5, 1.5)  # type: ignore[union-attr]
    made.mean, made.std = MEAN, STD
    return made


def needs(to: str) -> None:
    for package in lookup.load("exports", to).packages:
        pytest.importorskip(package, reason="the export is read back with it")


@pytest.mark.parametrize("to", lookup.names("exports"))
def test_every_export_is_loaded_as_its_library_does_and_has_the_same_features(
    to: str, frozen: Frozen, tmp_path: Path
) -> None:
    needs(to)
    out = tmp_path / OUT[to]
    done = export(frozen, to, out)
    assert done.difference <= LIMIT
    assert str(done).startswith(f"wrote {out}; {done.library} reads the same features (largest difference ")
    assert Path(done) == out
    assert done.usage in repr(done)
    assert str(out) in done._repr_html_()
    assert [path.name for path in tmp_path.iterdir()] == [out.name]
    pixels = (shown(SIZE) * 255).round() / 255  # what a Pillow image can hold
    ours = frozen(normalised(pixels, MEAN, STD))
    assert ours.std(0).max() > 1e-3 * ours.abs().max()  # else equal features would say nothing
    theirs = loaded(to, done.usage, pixels)
    assert theirs.shape == ours.shape
    assert (theirs - ours).abs().max() <= LIMIT * ours.abs().max()


@pytest.mark.parametrize("to", lookup.names("exports"))
def test_no_export_touches_what_is_there(to: str, frozen: Frozen, tmp_path: Path) -> None:
    needs(to)
    out = tmp_path / OUT[to]
    out.write_text("mine")
    with pytest.raises(RequestError, match="exists already and is not overwritten"):
        export(frozen, to, out)
    assert out.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize("to", sorted(set(lookup.names("exports")) - {"onnx"}))
@pytest.mark.parametrize("spec", ["random/tiny", "random/resnet18(stem='cifar')", "random/branched('resnet18')"])
def test_a_network_that_the_library_does_not_have_is_refused_in_one_line(to: str, spec: str, tmp_path: Path) -> None:
    needs(to)
    with pytest.raises(RequestError, match=r"use --to onnx, which takes any|such as resnet50") as refused:
        export(load_encoder(spec, size=SIZE, device="cpu"), to, tmp_path / OUT[to])
    assert "\n" not in str(refused.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("spec", "to", "size"),
    [
        ("vit_small(size=32, patch=8, heads=6)", "timm", 32),
        ("timm/resnet10t", "timm", 32),
        ("torchvision/resnet34", "timm", 32),
        ("timm/resnet18", "torchvision", 32),
        ("torchvision/mobilenet_v3_small", "torchvision", 32),
        ("torchvision/resnext50_32x4d", "detectron2", 32),
    ],
)
def test_networks_of_either_library_and_our_own(spec: str, to: str, size: int, tmp_path: Path) -> None:
    assert export(load_encoder(f"random/{spec}", size=size, device="cpu"), to, tmp_path / OUT[to]).difference <= LIMIT


def test_timms_transform_of_the_folder_is_that_of_the_papers(frozen: Frozen, tmp_path: Path) -> None:
    import timm
    from PIL import Image

    export(frozen, "timm", tmp_path / "out")
    model = timm.create_model(f"local-dir:{tmp_path / 'out'}", pretrained=True)
    assert (model.num_classes, model.num_features) == (0, 512)
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))
    row, column, colour = np.ogrid[:50, :70, :3]
    image = Image.fromarray((128 + 100 * np.sin(row / 9 + colour) * np.cos(column / 7 - colour)).astype(np.uint8))
    ours = normalised(centre_crop(torch.from_numpy(np.array(image)).permute(2, 0, 1), SIZE), MEAN, STD)
    assert (transform(image) - ours).abs().max() < 2.5 / 255 / min(STD)


def test_networks_of_ones_own_frozen_or_not(frozen: Frozen, tmp_path: Path) -> None:
    import timm

    half = copy.deepcopy(frozen)
    half.precision = "bf16"  # of its passes; what is written is exact
    assert augaware.export(half, to="timm", out=tmp_path / "a").difference <= LIMIT
    assert half.precision == "bf16"
    theirs = timm.create_model("resnet18")
    assert augaware.export(theirs, to="timm", out=tmp_path / "b", size=SIZE).difference <= LIMIT
    assert theirs.num_classes == 1000
    with pytest.raises(RequestError, match="of an encoder that is frozen are its own"):
        augaware.export(half, to="timm", out=tmp_path / "c", size=SIZE)
    with pytest.raises(RequestError, match="use --to onnx, which takes any"):
        augaware.export(freeze(nn.Flatten(), size=4), to="timm", out=tmp_path / "c")


def test_the_hub_folder_is_timms_too(frozen: Frozen, tmp_path: Path) -> None:
    needs("hf")
    import timm

    export(frozen, "hf", tmp_path / "out")
    model = timm.create_model(f"local-dir:{tmp_path / 'out'}", pretrained=True).eval()
    pixels = normalised(shown(SIZE), MEAN, STD)
    assert (model(pixels) - frozen(pixels)).abs().max() <= LIMIT * frozen(pixels).abs().max()


def test_torchvision_loads_the_file_strictly_but_for_its_classifier(frozen: Frozen, tmp_path: Path) -> None:
    export(frozen, "torchvision", tmp_path / "out.safetensors")
    missing = resnet18().load_state_dict(load_file(tmp_path / "out.safetensors"), strict=False)
    assert missing.missing_keys == ["fc.weight", "fc.bias"]
    assert not missing.unexpected_keys


def test_an_onnx_file_takes_any_number_of_images_and_says_what_it_takes(tmp_path: Path) -> None:
    needs("onnx")
    import onnxruntime

    tiny = load_encoder("random/tiny(widths=(8, 16))", size=SIZE, device="cpu")
    done = export(tiny, "onnx(opset=20, normalise=False)", tmp_path / "out.onnx")
    session = onnxruntime.InferenceSession(str(done.path), providers=["CPUExecutionProvider"])
    for count in (1, 3, 9):
        images = torch.randn(count, 3, SIZE, SIZE)
        found = torch.from_numpy(session.run(None, {"images": images.numpy()})[0])
        assert (found - tiny(images)).abs().max() <= LIMIT * found.abs().max()
    said = session.get_modelmeta().custom_metadata_map
    assert (json.loads(said["mean"]), json.loads(said["std"])) == ([*tiny.mean], [*tiny.std])
    assert (said["size"], said["encoder"], said["normalise"]) == ("32", "tiny(widths=(8, 16))", "false")
    assert said["weights_sha256"] == tiny.fingerprint
    assert "recipe_sha256" not in said


@pytest.mark.parametrize(
    ("to", "out", "line"),
    [
        ("keras", "x", r"unknown export 'keras'; accepted: detectron2, hf, onnx, timm, torchvision"),
        ("onnx(opset=11)", "x.onnx", r"opset=11 must be a whole number, at least 18"),
        ("onnx(opset=999)", "x.onnx", r"opset=999 is not known to onnx here; accepted: to \d+"),
        ("onnx(normalise=1)", "x.onnx", r"normalise=1 must be True or False"),
        ("onnx(ops=18)", "x.onnx", r"unknown argument 'ops'; accepted: opset, normalise; did you mean 'opset'"),
        ("hf(licence='mine: [all]')", "x", r"licence='mine: \[all\]' must be a name as the Hub has it"),
        ("detectron2", "x.pkl", r"must end in .pth"),
        ("torchvision", "x.pth", r"must end in .safetensors"),
    ],
)
def test_what_is_wrong_is_one_clear_line(to: str, out: str, line: str, frozen: Frozen, tmp_path: Path) -> None:
    if to.startswith("onnx(opset=999"):
        needs("onnx")
    with pytest.raises(RequestError, match=line):
        export(frozen, to, tmp_path / out)
    assert not list(tmp_path.iterdir())


def test_a_wrong_ending_is_said_before_the_encoder_is_read(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"must end in \.safetensors"):
        augaware.export(tmp_path / "gone", to="torchvision", out=tmp_path / "x.pth")


@pytest.mark.parametrize("to", ["hf", "onnx"])
def test_without_the_other_library_nothing_is_written(
    to: str, frozen: Frozen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(lookup, "has", lambda room, name: True)
    with pytest.raises(RequestError, match=r"not installed: .* read back with it: pip install (transformers|onnx)"):
        export(frozen, to, tmp_path / OUT[to])
    assert not list(tmp_path.iterdir())


def fails(*given: object) -> None:
    raise OSError(28, "No space left on device")


def changed(self: Timm, frozen: Frozen, place: Path, run: Path | None) -> None:
    """As timm's, but one weight is another."""
    whole(self, frozen, place, run)
    weights = load_file(place / "model.safetensors")
    weights["layer4.1.bn2.bias"][7] += 1e-3
    save_file(weights, place / "model.safetensors")


def normalised_otherwise(self: Timm, frozen: Frozen, place: Path, run: Path | None) -> None:
    """As timm's, but the config has another mean."""
    whole(self, frozen, place, run)
    (place / "config.json").write_text((place / "config.json").read_text().replace("0.4", "0.45", 1))


def cut_short(self: Timm, frozen: Frozen, place: Path, run: Path | None) -> None:
    """As timm's, but half of the weights."""
    whole(self, frozen, place, run)
    file = place / "model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])


whole = Timm.write


@pytest.mark.parametrize(
    ("write", "code", "line"),
    [
        (fails, 2, "cannot write there (No space left on device)"),
        (changed, 1, "timm reads other features (largest difference "),
        (normalised_otherwise, 1, "timm reads other features (largest difference "),
        (cut_short, 1, "timm cannot read what was written (SafetensorError"),
    ],
)
def test_nothing_is_left_where_it_cannot_be_written_or_reads_otherwise(
    write: Any,
    code: int,
    line: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    made = load_encoder("random/resnet18", size=SIZE, device="cpu")
    made.mean = MEAN
    monkeypatch.setattr("augaware.frozen.load_encoder", lambda *given, **named: made)
    monkeypatch.setattr(Timm, "write", write)
    assert main(["export", "random/resnet18", "--to", "timm", "--out", str(tmp_path / "out")]) == code
    shown = capsys.readouterr()
    assert line in shown.err
    assert shown.err.count("\n") == 1
    assert not shown.out
    assert not list(tmp_path.iterdir())


def test_damaged_weights_are_not_exported(tmp_path: Path) -> None:
    made = load_encoder("random/resnet18", size=SIZE, device="cpu")
    made.f.backbone.bn1.bias.data[0] = float("nan")  # type: ignore[union-attr, index, operator]
    with pytest.raises(RequestError, match="features that are not finite"):
        export(made, "timm", tmp_path / "out")
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def run(small: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that is finished, with a result of a task, one of an analysis, and text that means something in YAML."""
    changes = {"epochs": 1, "encoder": "resnet18", "data": "shapes(n=32)", "aware": ("augself()",), "mean": MEAN}
    made = Run.create(tmp_path_factory.mktemp("runs") / "mine", small.changed(changes), environment())
    made.export(seeded_encoder("resnet18", seed=0))
    folder = made.path
    recipe = json.loads((folder / "recipe.json").read_text()) | {"data": "/home/somebody/private/data/stl10"}
    (folder / "recipe.json").write_text(json.dumps(recipe))
    result = {
        "task": "knn('/home/somebody/private/a|b')",
        "dataset": "a|b",
        "protocol": "knn/2",
        "metrics": {"test": 0.875, "standard_error": 0.01},
        "encoder": "mine",
    }
    (folder / "eval" / "knn.json").write_text(json.dumps(result))
    numbers = [{"measure": "difference", "value": v, "of": of, "stage": "y"} for of, v in (("crop", 0.8), ("flip", 0))]
    analysed = {
        **{"analysis": "parameter_probe", "title": "?", "protocol": "parameter_probe/1", "axis": "", "pictures": {}},
        **{"data": "/home/somebody/private/data/stl10", "images": 100, "measures": {"difference": "skill"}},
        "encoders": {"mine": numbers},
    }
    (folder / "analysis").mkdir()
    (folder / "analysis" / "parameter_probe.json").write_text(json.dumps(analysed))
    return folder


def test_the_card_says_what_the_files_of_the_run_say(run: Path, tmp_path: Path) -> None:
    needs("hf")
    yaml = pytest.importorskip("yaml", reason="reads the front matter as the Hub does")
    done = augaware.export(run, to="hf(licence='cc-by-4.0')", out=tmp_path / "my model")
    card = (done.path / "README.md").read_text()
    _, front, body = card.split("---\n", 2)
    assert yaml.safe_load(front) == {
        "license": "cc-by-4.0",
        "library_name": "transformers",
        "pipeline_tag": "image-feature-extraction",
        "tags": ["timm", "augaware", "simclr", "augself", "self-supervised-learning"],
        "datasets": ["stl10"],
    }
    assert "# my model\n" in body
    assert "`simclr()` with `augself()`: 1 epochs at 16 px" in body
    assert "AutoModel.from_pretrained('my model')" in body
    assert f"mean {[*MEAN]}" in body
    assert "Trained on `data/stl10`" in body
    assert "| a\\|b | knn('private/a\\|b') | test | 0.8750 | 0.8554 to 0.8946 | knn/2 |" in body
    assert "mine keeps crop; it has lost flip." in body
    assert "Asked of 100 images of `data/stl10`." in body
    assert f"| torch | {torch.__version__.partition('+')[0]}" in body
    assert "\ncc-by-4.0. What the data's licence" in body
    assert "somebody" not in card


@pytest.mark.parametrize(
    ("data", "said", "sets"),
    [
        ("hf:/home/somebody/sets/birds", "hf:sets/birds", None),
        ("hf:user/birds(split='train')", "hf:user/birds(split='train')", ["user/birds"]),
        ("torchvision:CIFAR10(root='/home/somebody/a/b')", "torchvision:CIFAR10(root='a/b')", ["CIFAR10"]),
        ("pairs('/home/somebody/a/pairs.csv')", "pairs('a/pairs.csv')", None),
        ("https://somewhere/a/b/c.tar", "https://somewhere/a/b/c.tar", ["c.tar"]),
        ("/nas/somebody/{000..011}.tar", "somebody/{000..011}.tar", None),
    ],
)
def test_the_card_names_the_data_and_nobodys_home(data: str, said: str, sets: list[str] | None, frozen: Frozen) -> None:
    known = copy.copy(frozen)
    known.recipe = asdict(Recipe(data=data))
    text = card(known, None, "mine", "mit", "pass")
    assert f"Trained on `{said}`" in text
    assert "/home" not in text
    assert [line[3:-1] for line in text.partition("datasets:\n")[2].partition("---")[0].splitlines()] == (sets or [])


def test_the_card_without_a_run_leaves_out_what_nobody_knows(frozen: Frozen, tmp_path: Path) -> None:
    needs("hf")
    card = (export(frozen, "hf", tmp_path / "out").path / "README.md").read_text()
    assert 'license: "unknown"' in card
    assert "Nobody has named one yet" in card
    assert not {"## Data", "## Recipe", "## Results", "## Made with"} & set(card.splitlines())


@pytest.mark.parametrize(
    "text", ["plain", 'a "b" \\ c', "no: yes # - [x] {y}", "ä € 😀", "a\nb\tc\0\x7f\x85\u2028", "", "'", "%&*!|>@`"]
)
def test_text_in_the_front_matter_is_text(text: str) -> None:
    yaml = pytest.importorskip("yaml", reason="reads the front matter as the Hub does")
    assert yaml.safe_load(f"key:\n- {quoted(text)}\n") == {"key": [text]}
    assert "\n" not in quoted(text)


def test_the_command_says_what_was_written_and_how_to_load_it(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "made" / "timm"
    assert main(["export", str(run), "--to", "timm", "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"wrote {out}; timm reads the same features (largest difference ")
    assert f"timm.create_model('local-dir:{out}', pretrained=True)" in said
    assert json.loads((out / "config.json").read_text())["pretrained_cfg"]["input_size"] == [3, 16, 16]


def test_the_export_folder_of_a_run_is_an_encoder(run: Path) -> None:
    x = torch.randn(2, 3, 16, 16)
    found = load_encoder(str(run / "export"), device="cpu")
    assert torch.equal(found(x), load_encoder(str(run), device="cpu")(x))
    assert (found.size, found.mean, found.architecture) == (16, MEAN, "resnet18")


@pytest.mark.parametrize("to", ["timm", "hf", "onnx"])
def test_other_channels_than_rgb(tmp_path: Path, to: str) -> None:
    needs(to)
    frozen = load_encoder("random/timm/resnet18(channels=5)", size=SIZE, device="cpu")
    if to == "timm" and tuple(map(int, version("timm").split(".")[:3])) < (1, 0, 31):  # it adapts the first weights
        with pytest.raises(RunError, match=r"timm reads other features .*; nothing was kept"):
            export(frozen, to, tmp_path / OUT[to])
        return
    assert export(frozen, to, tmp_path / OUT[to]).difference <= LIMIT
    if to == "hf":
        card = (tmp_path / OUT[to] / "README.md").read_text()
        assert "Images: 5 channels as the files have them, of which 0 is 0 and the largest of their type is 1" in card
        assert "RGB, the short side" not in card


@pytest.mark.parametrize("to", ["torchvision", "detectron2"])
def test_other_channels_are_refused_by_those_of_rgb(tmp_path: Path, to: str) -> None:
    frozen = load_encoder("random/timm/resnet18(channels=5)", size=SIZE, device="cpu")
    with pytest.raises(RequestError, match=f"takes 5 channels, and {to}'s networks have three; use --to timm or hf"):
        export(frozen, to, tmp_path / OUT[to])
    assert not list(tmp_path.iterdir())
