"""The published settings: every recipe, with every argument, is built at full width and holds the papers' constants."""

from __future__ import annotations

import itertools
import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from augaware import lookup
from augaware.augment.plan import pipelines
from augaware.checkpoint import Run
from augaware.cli import main
from augaware.errors import RequestError
from augaware.hosts.base import Moment
from augaware.nets.base import Encoder, build_encoder
from augaware.objective import Objective
from augaware.optim import build_optimizer, learning_rate, peak_rate
from augaware.pretrain import Trainer
from augaware.progress import Display
from augaware.recipe import Recipe

STL10 = ("simclr", "moco_v2", "byol", "simsiam", "swav")
IMAGENET100 = (*STL10, "barlow_twins", "supervised")
AWARE = ("vanilla", "augself", "cassle", "augself+cassle")
PRESETS = ("faces", "flowers", "histology", "inspection", "remote_sensing")  # by domain
ASKED: dict[str, list[str]] = {  # recipe -> the calls that its docstring speaks of, beside its defaults
    "augself_imagenet100": [f"(host={h!r}, aware={a!r})" for h, a in itertools.product(IMAGENET100, AWARE)],
    "augself_imagenet_vit": [f"(aware={a!r})" for a in AWARE],
    "augself_stl10": [f"(host={h!r}, aware={a!r})" for h, a in itertools.product(STL10, AWARE)],
    "demo": ["(aware=('cassle()',), seed=3)"],
    "multichannel": ["(channels=5)"],
    **{name: ["(encoder='resnet50', epochs=50, size=128)"] for name in PRESETS},
    "paper_barlow_twins": ["(epochs=300)"],
    "paper_byol": ["(epochs=100)", "(epochs=300)", "(epochs=1000)"],
    "paper_dino": ["(epochs=100)", "(epochs=300)"],
    "paper_moco_v2": ["(epochs=800)"],
    "paper_moco_v3": ["(batch_size=1024)", "(batch_size=4096)"],
    "paper_simclr": ["(epochs=100)"],
    "paper_simsiam": ["(epochs=800)"],
    "paper_supervised": ["(epochs=100)"],
    "paper_swav": ["(batch_size=256)", "(batch_size=4096, epochs=800)", "(batch_size=256, epochs=200)"],
    "paper_vicreg": ["(epochs=100)", "(epochs=1000)"],
    "tinyimagenet100_cpu": [f"(variant={a!r})" for a in AWARE],
}
CALLS = [f"{name}{asked}" for name in lookup.names("recipes") for asked in ("", *ASKED.get(name, ()))]
PUBLISHED = [name for name in lookup.names("recipes") if name.startswith(("paper_", "augself_"))]
DEVICE = torch.device("meta")  # full width without memory: no value is computed


@cache
def recipe_of(call: str) -> Recipe:
    recipe = lookup.build("recipes", call)
    assert isinstance(recipe, Recipe)
    return recipe


@cache
def encoder_of(spec: str) -> Encoder:
    with DEVICE:
        return build_encoder(spec)


@pytest.fixture
def no_values(monkeypatch: pytest.MonkeyPatch) -> None:
    """The seed of an awareness' heads is read from a tensor, which meta tensors have not."""
    monkeypatch.setattr("augaware.objective.word", lambda *_: 0)


def objective_of(call: str) -> Objective:
    recipe = recipe_of(call)
    spaces = pipelines(recipe)[0].spaces
    with DEVICE:
        return Objective.from_specs(encoder_of(recipe.encoder), recipe.host, recipe.aware, spaces, classes=1000)


def refusal(call: str) -> str:
    with pytest.raises(RequestError) as refused:
        lookup.build("recipes", call)
    line = str(refused.value)
    assert "\n" not in line
    return line


# --- all of them ---


def test_every_recipe_with_arguments_has_its_calls_here() -> None:
    assert set(ASKED) == set(lookup.names("recipes"))


@pytest.mark.parametrize("call", CALLS)
def test_a_recipe_is_built_whole_and_survives_json(call: str, no_values: None) -> None:
    recipe = recipe_of(call)
    assert Recipe.from_json(recipe.to_json()) == recipe
    objective = objective_of(call)
    objective.check_views(len(pipelines(recipe)))
    groups = build_optimizer(objective, recipe).param_groups
    trained = sum(p.requires_grad for p in objective.parameters())
    assert sum(len(group["params"]) for group in groups) == trained > 0


@pytest.mark.parametrize("name", lookup.names("recipes"))
def test_a_recipe_says_what_to_expect_and_how_to_run_it(name: str) -> None:
    shown = lookup.summary("recipes", name)
    assert any(character.isdigit() for character in shown["expected"])
    assert shown["expected"].endswith(".")
    doc = lookup.load("recipes", name).__doc__
    assert (
        f"augaware pretrain --recipe {name}" in doc or f'augaware pretrain --recipe "{name}(' in doc or name == "demo"
    )


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_number_that_is_not_ours_says_so(name: str) -> None:
    expected = lookup.summary("recipes", name)["expected"]
    assert expected.endswith("Not run by us.")
    assert any(source in expected for source in ("authors'", "poster", "paper", "memory"))


# --- constants of the papers ---

HOST: dict[str, dict[str, Any]] = {
    "paper_simclr": {"temperature": 0.1, "widths": (2048, 128)},
    "paper_moco_v2": {"temperature": 0.2, "momentum": 0.999, "remembers": "key", "hidden": "relu"},
    "paper_moco_v3": {"temperature": 0.2, "momentum": 0.99, "momentum_end": 1.0, "widths": (4096, 4096, 256)},
    "paper_byol": {"momentum": 0.996, "momentum_end": 1.0, "widths": (4096, 256)},
    "paper_byol(epochs=300)": {"momentum": 0.99},
    "paper_byol(epochs=100)": {"momentum": 0.99},
    "paper_simsiam": {"widths": [2048, 2048, 2048], "last": "bn_plain"},
    "paper_swav": {"temperature": 0.1, "epsilon": 0.05, "iterations": 3, "freeze": 313, "scale": 1.0},
    "paper_swav(batch_size=256)": {"freeze": 5005, "queue_epoch": 15.0},
    "paper_barlow_twins": {"lam": 0.0051, "widths": (8192, 8192, 8192)},
    "paper_vicreg": {"invariance": 25.0, "variance": 25.0, "covariance": 1.0, "widths": (8192, 8192, 8192)},
    "paper_dino": {"output_dim": 65536, "t_s": 0.1, "t_t_range": (0.04, 0.04), "momentum": 0.996, "freeze_epochs": 1},
    "paper_dino(epochs=300)": {"t_t_range": (0.04, 0.07), "warmup_epochs": 30},
    "paper_supervised": {"classes": 1000},
    "augself_stl10(host='simclr')": {"temperature": 0.2, "widths": (512, 128)},
    "augself_stl10(host='moco_v2')": {"momentum": 0.999, "remembers": "query", "hidden": "bn"},
    "augself_stl10(host='byol')": {"momentum": 0.996, "widths": (4096, 256)},
    "augself_stl10(host='simsiam')": {"widths": [2048, 2048], "last": "bn"},
    "augself_stl10(host='swav')": {"freeze": 409, "scale": 2.0, "widths": (2048, 128)},
    "augself_imagenet100(host='simsiam')": {"widths": [2048, 2048, 2048], "last": "bn"},
    "augself_imagenet100(host='simclr')": {"widths": (2048, 128)},
    "augself_imagenet100(host='barlow_twins')": {"lam": 0.0051},
    "augself_imagenet_vit": {"momentum": 0.999, "momentum_end": 0.999, "temperature": 0.2},
}
BUFFERS: dict[str, dict[str, tuple[int, ...]]] = {
    "paper_moco_v2": {"queue": (65536, 128)},
    "augself_stl10(host='moco_v2')": {"queue": (65536, 128)},
    "paper_swav": {"queue": (2, 0, 128), "c": (3000, 128)},
    "paper_swav(batch_size=256)": {"queue": (2, 3840, 128), "c": (3000, 128)},
    "augself_stl10(host='swav')": {"queue": (2, 0, 128), "c": (100, 128)},
}
FIELDS: dict[str, dict[str, Any]] = {
    "paper_simclr": {
        "batch_size": 4096,
        "optimizer": "lars",
        "weight_decay": 1e-6,
        "warmup_epochs": 10,
        "epochs": 1000,
    },
    "paper_moco_v2": {"batch_size": 256, "optimizer": "sgd", "weight_decay": 1e-4, "epochs": 200, "warmup_epochs": 0},
    "paper_moco_v3": {"optimizer": "adamw", "weight_decay": 0.1, "warmup_epochs": 40, "epochs": 300},
    "paper_byol": {"batch_size": 4096, "weight_decay": 1.5e-6, "exclude_1d": True, "warmup_epochs": 10},
    "paper_byol(epochs=300)": {"weight_decay": 1e-6, "epochs": 300},
    "paper_byol(epochs=100)": {"weight_decay": 1e-6, "epochs": 100},
    "paper_simsiam": {"batch_size": 512, "weight_decay": 1e-4, "epochs": 100},
    "paper_swav": {"batch_size": 4096, "weight_decay": 1e-6, "std": (0.228, 0.224, 0.225), "exclude_1d": False},
    "paper_swav(batch_size=256)": {"batch_size": 256, "warmup_epochs": 0},
    "paper_barlow_twins": {"batch_size": 2048, "weight_decay": 1e-6, "exclude_1d": True, "epochs": 1000},
    "paper_vicreg": {"batch_size": 2048, "weight_decay": 1e-6, "exclude_1d": True, "epochs": 1000},
    "paper_dino": {"weight_decay": 0.04, "weight_decay_end": 0.4, "clip_norm": 3, "warmup_epochs": 10},
    "augself_stl10": {"size": 96, "epochs": 200, "batch_size": 256, "weight_decay": 5e-4, "encoder": "resnet18"},
    "augself_imagenet100": {"size": 224, "epochs": 500, "weight_decay": 1e-4, "encoder": "resnet50"},
    "augself_imagenet100(host='barlow_twins')": {"epochs": 300, "lr_1d": 0.024, "optimizer": "sgd", "warmup_from": 0.1},
    "augself_imagenet_vit": {"epochs": 300, "weight_decay": 0.1, "optimizer": "adamw", "encoder": "vit_small"},
}
RATES = {  # call -> peak, last rate
    "paper_simclr": (4.8, 0.0),
    "paper_moco_v2": (0.03, 0.0),
    "paper_moco_v3": (1.5e-4 * 16, 0.0),
    "paper_byol": (0.2 * 16, 0.0),
    "paper_byol(epochs=300)": (0.3 * 16, 0.0),
    "paper_byol(epochs=100)": (0.45 * 16, 0.0),
    "paper_simsiam": (0.1, 0.0),
    "paper_swav": (4.8, 0.0048),
    "paper_swav(batch_size=256)": (0.6, 0.0006),
    "paper_barlow_twins": (0.2 * 8, 0.2 * 8e-3),
    "paper_vicreg": (0.2 * 8, 0.2 * 8e-3),
    "paper_vicreg(epochs=100)": (0.6, 0.0006),
    "paper_dino": (1e-3, 1e-6),
    "paper_dino(epochs=300)": (2e-3, 1e-6),
    "augself_stl10(host='byol')": (0.03, 0.0),
    "augself_imagenet100(host='moco_v2')": (0.03, 0.0),
    "augself_imagenet100(host='simsiam')": (0.05, 0.0),
    "augself_imagenet_vit": (1.5e-4, 0.0),
}


@pytest.mark.parametrize("call", HOST)
def test_a_host_has_its_published_constants(call: str, no_values: None) -> None:
    host = objective_of(call).host
    assert {key: getattr(host, key) for key in HOST[call]} == HOST[call]
    assert {key: tuple(getattr(host, key).shape) for key in BUFFERS.get(call, {})} == BUFFERS.get(call, {})


@pytest.mark.parametrize("call", FIELDS)
def test_a_recipe_has_its_published_constants(call: str) -> None:
    recipe = recipe_of(call)
    assert {key: getattr(recipe, key) for key in FIELDS[call]} == FIELDS[call]


@pytest.mark.parametrize("call", RATES)
def test_a_rate_peaks_and_ends_where_it_was_published(call: str) -> None:
    recipe = recipe_of(call)
    peak, last = RATES[call]
    assert peak_rate(recipe) == pytest.approx(peak)
    assert learning_rate(recipe, recipe.epochs * 10**6, 10**6) == pytest.approx(last, abs=1e-12)


def test_warm_ups_start_where_they_were_published() -> None:
    assert learning_rate(recipe_of("paper_swav"), 0, 10**6) == pytest.approx(0.3, rel=1e-4)
    assert learning_rate(recipe_of("augself_imagenet100(host='barlow_twins')"), 0, 10**6) == pytest.approx(0.005, 1e-3)
    assert learning_rate(recipe_of("augself_imagenet_vit"), 0, 10**6) == pytest.approx(1.5e-4 / 40, 1e-3)


def test_barlow_twins_moves_biases_at_their_own_rate(no_values: None) -> None:
    groups = build_optimizer(objective_of("paper_barlow_twins"), recipe_of("paper_barlow_twins")).param_groups
    rates = {group["excluded"]: (0.2 * group["factor"], group["weight_decay"]) for group in groups}
    assert rates == {False: (0.2, 1e-6), True: (pytest.approx(0.0048), 0.0)}


def test_cassles_moco_v3_does_not_move_m(no_values: None) -> None:
    hosts = [objective_of(call).host for call in ("augself_imagenet_vit", "paper_moco_v3")]
    assert [[h.momentum_at(Moment(step, 10, 1)) for step in (0, 10)] for h in hosts] == [[0.999, 0.999], [0.99, 1.0]]


# --- views ---


def laws(call: str) -> list[dict[str, Any]]:
    """What differs between views: side, crop, blur and solarize of each."""
    found = []
    for pipeline in pipelines(recipe_of(call)):
        made = {a.name: a for a in pipeline.augmentations}
        law = {"size": pipeline.size, "scale": made["crop"].scale, "blur": made["gaussian_blur"].p}
        found.append(law | {"solarize": made["solarize"].p} if "solarize" in made else law)
    return found


def test_the_views_are_those_of_the_papers() -> None:
    byol = [
        {"size": 224, "scale": (0.08, 1.0), "blur": 1.0, "solarize": 0.0},
        {"size": 224, "scale": (0.08, 1.0), "blur": 0.1, "solarize": 0.2},
    ]
    for call in ("paper_byol", "paper_moco_v3", "paper_barlow_twins", "paper_vicreg"):
        assert laws(call) == byol
    big, small = {"size": 224, "scale": (0.14, 1.0), "blur": 0.5}, {"size": 96, "scale": (0.05, 0.14), "blur": 0.5}
    assert laws("paper_swav") == [big] * 2 + [small] * 6
    local = {"size": 96, "scale": (0.05, 0.4), "blur": 0.5, "solarize": 0.0}
    assert laws("paper_dino") == [{**law, "scale": (0.4, 1.0)} for law in byol] + [local] * 8
    for call in ("paper_moco_v2", "paper_simsiam", "augself_imagenet100", "augself_imagenet_vit"):
        assert laws(call) == [{"size": 224, "scale": (0.2, 1.0), "blur": 0.5}] * 2
    assert laws("augself_stl10") == [{"size": 96, "scale": (0.2, 1.0), "blur": 0.5}] * 2
    assert laws("paper_simclr") == [{"size": 224, "scale": (0.08, 1.0), "blur": 0.5}] * 2


@pytest.mark.parametrize(("call", "kernel"), [("augself_stl10", 9), ("augself_imagenet100", 23), ("paper_swav", 23)])
def test_the_blur_has_the_published_kernel_in_every_view(call: str, kernel: int) -> None:
    for pipeline in pipelines(recipe_of(call)):
        assert [a.kernel for a in pipeline.augmentations if a.name == "gaussian_blur"] == [kernel]


# --- awareness ---


@pytest.mark.parametrize(
    ("call", "dim", "lam"),
    [("augself_stl10", 512, 1.0), ("augself_imagenet100", 2048, 0.5), ("augself_imagenet_vit", 384, 0.5)],
)
def test_the_variants_are_augself_and_cassle_as_published(call: str, dim: int, lam: float, no_values: None) -> None:
    vanilla, augself, cassle, both = (objective_of(f"{call}(aware={a!r})") for a in AWARE)
    assert [list(o.awareness) for o in (vanilla, augself, cassle, both)] == [
        [],
        [AWARE[1]],
        [AWARE[2]],
        list(AWARE[1:3]),
    ]
    for objective in (augself, both):
        phi = objective.awareness["augself"]
        assert phi.lam == {"crop": lam, "color_jitter": lam}
        assert [m.out_features for m in phi.phi["crop"] if hasattr(m, "out_features")] == [512, 512, 4]
    for objective in (cassle, both):
        g = objective.online.g
        widths = [(m.in_features, m.out_features) for m in g.gamma if hasattr(m, "in_features")]
        assert widths == [(13, 64)] + [(64, 64)] * 5  # all but flip
        assert next(m.in_features for m in g.g if hasattr(m, "in_features")) == dim + 64


# --- presets by domain ---


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_starts_on_images_of_ones_own_and_learns_from_its_first_step(name: str) -> None:
    recipe = recipe_of(f"{name}(encoder='tiny(widths=(4, 8))', epochs=1, size=16)")
    small = {"data": "shapes(n=8)", "batch_size": 8, "health_images": 0, "device": "cpu", "precision": "fp32"}
    trainer = Trainer(recipe.changed(small), Display("", 1, silent=True))
    trainer.objective.train()
    before = [p.clone() for p in trainer.objective.parameters()]
    parts, _ = trainer._step(0, 0, trainer.source.batch(torch.arange(8)))
    assert all(bool(value.isfinite()) for value in parts.values())
    assert any(not torch.equal(p, old) for p, old in zip(trainer.objective.parameters(), before, strict=True))


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_gives_its_reasons_and_says_that_it_is_not_measured(name: str) -> None:
    doc = lookup.load("recipes", name).__doc__
    assert all(words in doc for words in ("What the domain needs:", "RESULTS.md", "not measured"))


def test_the_presets_leave_out_what_their_domain_needs() -> None:
    made = {name: {a.name: a for a in pipelines(recipe_of(name))[0].augmentations} for name in PRESETS}
    for name in ("faces", "inspection"):  # a flip swaps what is left and right
        assert not {"flip", "rotate90"} & made[name].keys()
    for name in ("histology", "remote_sensing"):  # no up: four turns, equally likely, and told to the projector
        assert (made[name]["rotate90"].p, made[name]["rotate90"].turns) == (1.0, (0, 1, 2, 3))
        (cassle,) = (spec for spec in recipe_of(name).aware if spec.startswith("cassle"))
        assert "rotate90" in cassle
    for name in ("histology", "inspection", "remote_sensing"):
        assert "grayscale" not in made[name]
    assert made["inspection"]["crop"].scale[0] > made["faces"]["crop"].scale[0] > made["flowers"]["crop"].scale[0]


# --- wrong requests ---


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ("augself_stl10(host='simsam')", ["host='simsam'", "accepted: simclr, moco_v2", "did you mean 'simsiam'"]),
        ("augself_stl10(host='barlow_twins')", ["host='barlow_twins'", "accepted: "]),
        ("augself_stl10(host=('byol',))", ["host=('byol',)"]),
        ("augself_stl10(host=['byol'])", ["host=['byol']"]),
        ("augself_stl10(aware='casle')", ["aware='casle'", "augself+cassle", "did you mean 'cassle'"]),
        ("augself_imagenet100(host='dino')", ["host='dino'", "supervised"]),
        ("augself_imagenet_vit(aware='cassle+augself')", ["aware='cassle+augself'"]),
        ("augself_stl10(hosts='byol')", ["'hosts'", "did you mean 'host'"]),
        ("paper_byol(epochs=200)", ["epochs=200", "accepted: 1000, 300, 100"]),
        ("paper_byol(epochs=300.0)", ["epochs=300.0"]),
        ("paper_swav(batch_size=512)", ["batch_size=512", "accepted: 4096, 256"]),
        ("paper_moco_v3(batch_size=256)", ["batch_size=256", "4096, 1024"]),
        ("paper_vicreg(epochs='100')", ["epochs='100'"]),
        ("paper_simclr(epochs=5)", ["warmup_epochs=10"]),
        ("tinyimagenet100_cpu(variant='augsef')", ["variant='augsef'", "did you mean 'augself'"]),
        ("paper_mocov2", ["recipe 'paper_mocov2'", "did you mean 'paper_moco_v2'"]),
        ("shared", ["unknown recipe 'shared'"]),
    ],
)
def test_a_wrong_argument_is_refused_in_one_line(call: str, words: list[str]) -> None:
    line = refusal(call)
    assert all(word in line for word in words), line


# --- the command line ---


def test_list_shows_what_to_expect_of_recipes_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "recipes"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + 3 * len(lookup.names("recipes"))
    assert sum(line.startswith("      Expected: ") for line in lines) == len(lookup.names("recipes"))
    assert main(["list", "hosts"]) == 0
    assert "Expected" not in capsys.readouterr().out


def test_list_json_carries_what_to_expect(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "recipes", "--json"]) == 0
    found = {entry["name"]: entry["expected"] for entry in json.loads(capsys.readouterr().out)["recipes"]}
    assert "59.19 -> 72.18" in found["augself_stl10"]
    assert "61.87 -> 63.80 -> 64.48" in found["augself_imagenet100"]
    assert "71.1 at 800" in found["paper_moco_v2"]
    assert "RESULTS.md" in found["demo"]


def test_a_recipe_that_does_not_say_what_to_expect_is_shown_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "augaware_recipes").mkdir()
    (tmp_path / "augaware_recipes" / "mine.py").write_text('__all__ = ["mine"]\ndef mine():\n    """A run."""\n')
    monkeypatch.syspath_prepend(tmp_path)
    assert lookup.summary("recipes", "augaware_recipes.mine")["expected"] == "not stated"


SMALL_SWAV = "views=('view(2)', \"view(2, size=12, change=['crop(scale=(0.05, 0.14))'])\")"


@pytest.mark.parametrize(
    ("call", "views", "settings"),
    [
        ("paper_byol(epochs=100)", 2, ["warmup_epochs=1"]),
        ("paper_swav(batch_size=4096)", 4, ["warmup_epochs=1", SMALL_SWAV]),
        ("augself_stl10(host='byol', aware='cassle')", 2, []),
        ("augself_imagenet100(host='moco_v2', aware='augself+cassle')", 2, []),
    ],
)
def test_a_recipe_trains_on_other_data_with_a_small_network(
    call: str, views: int, settings: list[str], tmp_path: Path
) -> None:
    small = ["encoder=tiny(widths=(4, 8))", "size=16", "health_images=0", "log_steps=1", "device=cpu", "precision=fp32"]
    options = [*small, *settings]
    arguments = ["--recipe", call, "--data", "shapes(n=8)", "--epochs", "2", "--batch-size", "8"]
    for option in options:
        arguments += ["--set", option]
    assert main(["pretrain", *arguments, "--out", str(tmp_path / "run")]) == 0
    run = Run.open(tmp_path / "run")
    assert run.exported.exists()
    assert len(pipelines(run.recipe)) == views
    assert run.recipe.host == recipe_of(call).host  # the published one, at its own width
    lines = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2]
