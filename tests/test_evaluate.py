"""ENCODER in all its forms, and the JSON files that scripts read."""

from __future__ import annotations

import importlib
import json
import shutil
from pathlib import Path
from types import FunctionType, ModuleType

import pytest
import torch

import augaware
from augaware.errors import RequestError
from augaware.evaluate import evaluate, slug
from augaware.frozen import load_encoder
from augaware.pretrain import start
from augaware.recipe import Recipe

DRAWN = "shapes(train=90, val=30, test=40, size=16)"
KNN, FACTORS = f'knn("{DRAWN}", k=5)', f'factors("{DRAWN}")'
CONTRACT = {"task", "dataset", "protocol", "metrics", "recipe", "environment", "seconds"}


@pytest.fixture(scope="module")
def finished(small: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    changes = {"epochs": 1, "mean": (0.4, 0.5, 0.6), "std": (0.2, 0.3, 0.4)}
    return start(small.changed(changes), tmp_path_factory.mktemp("run") / "finished").path


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished, tmp_path / "run")
    return tmp_path / "run"


def test_a_run_folder_is_evaluated_and_its_results_land_in_it(run: Path) -> None:
    found = augaware.evaluate(str(run), [KNN, FACTORS], device="cpu")
    assert [result["task"] for result in found] == [KNN, FACTORS]
    for result in found:
        written = json.loads((run / "eval" / f"{slug(result['task'])}.json").read_text())
        assert written == json.loads(json.dumps(result))
        assert set(written) >= CONTRACT
        assert written["dataset"] == DRAWN
        assert written["recipe"]["encoder"] == "tiny(widths=(8, 16))"
        assert written["encoder"] == "run"
        assert written["size"] == 16
        assert {"torch", "augaware", "command"} <= written["environment"].keys()
        assert written["seconds"] >= 0
    assert 0 <= found[0]["metrics"]["test"] <= 1
    assert found[0]["protocol"].startswith("knn/")
    assert set(found[1]["metrics"]["test"]) >= {"object_hue", "shape"}


def test_the_public_functions_stay_functions_when_modules_of_their_names_are_imported(run: Path) -> None:
    modules = [importlib.import_module(f"augaware.{name}") for name in ("pretrain", "evaluate", "report")]
    assert all(isinstance(module, ModuleType) for module in modules)
    for name in ("pretrain", "resume", "evaluate", "report"):
        assert isinstance(getattr(augaware, name), FunctionType), name
    with pytest.raises(AttributeError, match="pretrian"):
        augaware.pretrian  # noqa: B018


def test_the_encoder_of_a_run_is_frozen_and_knows_its_input(run: Path) -> None:
    frozen = load_encoder(str(run), device="cpu")
    assert (frozen.size, frozen.mean, frozen.std, frozen.dim) == (16, (0.4, 0.5, 0.6), (0.2, 0.3, 0.4), 16)
    assert not frozen.f.training
    assert not any(p.requires_grad for p in frozen.parameters())
    assert load_encoder(str(run), size=24, device="cpu").size == 24


def test_a_run_its_weights_file_and_its_checkpoint_are_one_encoder(run: Path) -> None:
    x = torch.randn(3, 3, 16, 16)
    whole = load_encoder(str(run), device="cpu")
    file = load_encoder(str(run / "export" / "encoder.safetensors"), device="cpu")
    (run / "export" / "encoder.safetensors").unlink()
    unfinished = load_encoder(str(run), device="cpu")
    for other in (file, unfinished):
        assert torch.equal(whole(x), other(x))
        assert (other.size, other.mean, other.std) == (whole.size, whole.mean, whole.std)
    assert file.recipe == {}


def test_a_weights_file_alone_needs_its_architecture(run: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare.safetensors"
    shutil.copy(run / "export" / "encoder.safetensors", bare)
    with pytest.raises(RequestError, match=r"no config\.json beside it.*--encoder"):
        load_encoder(str(bare))
    frozen = load_encoder(str(bare), "tiny(widths=(8, 16))", device="cpu")
    x = torch.randn(2, 3, 16, 16)
    assert torch.equal(frozen(x), load_encoder(str(run), device="cpu")(x))


@pytest.mark.parametrize("name", ["random/tiny(widths=(4, 8))", "random/pixels(side=3)"])
def test_random_encoders_are_baselines_that_leave_nothing_on_disk(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    one, two = (augaware.evaluate(name, FACTORS, size=16, device="cpu")[0] for _ in range(2))
    assert one["metrics"] == two["metrics"]
    assert one["recipe"] == {}
    assert one["encoder"] == name
    assert not list(tmp_path.iterdir())
    out = augaware.evaluate(name, KNN, size=16, device="cpu", out=tmp_path / "o")
    assert json.loads((tmp_path / "o" / "eval" / f"{slug(KNN)}.json").read_text()) == out[0]


def test_timm_without_a_network_gives_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    import timm

    original = timm.create_model

    def offline(name: str, pretrained: bool = False, **options: object) -> object:
        if pretrained:
            raise ConnectionError("Max retries exceeded\nwith a long story")
        return original(name, pretrained=False, **options)

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(RequestError, match=r"'timm/resnet10t'.*cannot be fetched.*random/timm/resnet10t") as refused:
        load_encoder("timm/resnet10t")
    assert "\n" not in str(refused.value)
    assert load_encoder("random/timm/resnet10t", device="cpu").dim == 512


def test_timm_weights_come_with_the_input_they_were_trained_for(monkeypatch: pytest.MonkeyPatch) -> None:
    import timm

    original = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda name, pretrained=False, **o: original(name, **o))
    frozen = load_encoder("timm/test_vit", device="cpu")
    assert frozen.size == 160
    assert frozen.mean == (0.5, 0.5, 0.5)
    assert frozen(torch.zeros(1, 3, 160, 160)).shape == (1, frozen.dim)


def test_a_run_without_weights_yet_says_how_to_go_on(run: Path) -> None:
    (run / "export" / "encoder.safetensors").unlink()
    (run / "checkpoints" / "last.pt").unlink()
    with pytest.raises(RequestError, match="has no weights yet; continue it with: augaware resume"):
        load_encoder(str(run))


@pytest.mark.parametrize(
    ("encoder", "words"),
    [
        ("no/such/run", ["'no/such/run'", "accepted: a run folder"]),
        ("nowhere.safetensors", ["nowhere.safetensors", "no such file"]),
        ("random/resnet81", ["resnet81", "did you mean"]),
        ("timm/resnet81", ["resnet81", "did you mean"]),
        (".", ["is not a run folder"]),
    ],
)
def test_an_unknown_encoder_is_refused_with_what_is_accepted(
    encoder: str, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RequestError) as refused:
        load_encoder(encoder)
    assert all(word in str(refused.value) for word in words), str(refused.value)


def test_weights_that_do_not_fit_are_refused(run: Path) -> None:
    with pytest.raises(RequestError, match="does not fit the encoder"):
        load_encoder(str(run / "export" / "encoder.safetensors"), "resnet18")
    for text in ("{", "[]", "3"):
        (run / "export" / "config.json").write_text(text)
        with pytest.raises(RequestError, match=r"config\.json.*damaged"):
            load_encoder(str(run / "export" / "encoder.safetensors"))


@pytest.mark.parametrize(("argument", "value"), [("device", "tpu"), ("size", 0), ("size", -1)])
def test_a_wrong_device_or_size_is_refused(argument: str, value: object) -> None:
    with pytest.raises(RequestError, match=f"{argument}="):
        load_encoder("random/pixels", **{argument: value})  # type: ignore[arg-type]


def test_all_tasks_are_read_before_the_first_one_runs(run: Path) -> None:
    before = sorted((run / "eval").iterdir())
    with pytest.raises(RequestError, match=r"unknown task 'knm'.*did you mean 'knn'"):
        evaluate(load_encoder(str(run), device="cpu"), [KNN, "knm('shapes')"], ".", run / "eval")
    assert sorted((run / "eval").iterdir()) == before


@pytest.mark.parametrize(
    ("spec", "name"),
    [("linear_probe('flowers102')", "linear_probe_flowers102"), ("knn('a/../b', k=1)", "knn_a_.._b_k_1")],
)
def test_a_spec_becomes_a_file_name(spec: str, name: str) -> None:
    assert slug(spec) == name
    assert "/" not in slug(spec)


@pytest.mark.realdata
def test_real_images_are_evaluated(real_data: Path, run: Path) -> None:
    result = augaware.evaluate(str(run), "knn('dtd10', k=5)", data=real_data, device="cpu")[0]
    assert 0 <= result["metrics"]["test"] <= 1
    assert result["metrics"]["classes"] == 10


def test_a_long_spec_is_a_file_name_of_its_own() -> None:
    long = [f"detection('x', anchors=({', '.join(map(str, range(100)))}), seed={seed})" for seed in (1, 2)]
    names = [slug(spec) for spec in long]
    assert names[0] != names[1]
    assert all(len(name) == 100 and name.startswith("detection_x_anchors_0_1_2") for name in names)
    assert slug("knn('cifar10')") == "knn_cifar10"
