"""Tasks on small sources held in memory: what they measure, what they leave untouched, what they refuse."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor, nn

from augaware import lookup
from augaware.data.base import Source
from augaware.errors import RequestError
from augaware.tasks.factors import Factors
from augaware.tasks.features import extract
from augaware.tasks.knn import KNN
from augaware.tasks.linear_probe import LinearProbe

REAL = Path(os.environ.get("AUGAWARE_DATA", Path(__file__).parents[2] / "shared" / "data"))


class Memory(Source):
    """Images (N, 3, H, W) uint8 and what is known of them."""

    def __init__(self, images: Tensor, labels: Tensor | None = None, factors: dict[str, Tensor] | None = None) -> None:
        self.images, self.labels, self.factors = images, labels, factors or {}
        self.classes = () if labels is None else tuple("abc")
        self.name, self.skipped, self.fingerprint = "memory", (), "0"
        self.names = [str(i) for i in range(len(images))]

    def __len__(self) -> int:
        return len(self.images)

    def load(self, index: int) -> Tensor:
        return self.images[index]


class Flat(nn.Module):
    """The image averaged down to 2 x 2, through a BatchNorm: no linear factor is lost."""

    def __init__(self) -> None:
        super().__init__()
        self.name, self.dim, self.size = "flat", 12, 8
        self.mean, self.std = (0.5, 0.4, 0.3), (0.2, 0.2, 0.2)
        self.norm = nn.BatchNorm1d(12)
        self.norm.running_mean += 0.1
        self.frozen = nn.Sequential(nn.Dropout(0.5)).eval()

    def forward(self, x: Tensor) -> Tensor:
        return self.frozen(self.norm(nn.functional.adaptive_avg_pool2d(x, 2).flatten(1)))


def colours(n: int, seed: int) -> Memory:
    """One colour an image, red, green or blue by class; the level is written in its brightness, the noise nowhere."""
    g = torch.Generator().manual_seed(seed)
    labels, turns = torch.randint(3, (n,), generator=g), torch.rand(n, generator=g)
    level, noise = torch.rand(n, generator=g), torch.randn(n, generator=g)
    images = torch.randint(0, 12, (n, 3, 8, 8), generator=g)
    images[torch.arange(n), labels] += 60
    images[:, 0, 0:4, 0:4] += (60 * (1 + torch.cos(2 * torch.pi * turns))).long()[:, None, None]
    images[:, 1, 0:4, 0:4] += (60 * (1 + torch.sin(2 * torch.pi * turns))).long()[:, None, None]
    images[:, :, 4:, 4:] += (60 * level).long()[:, None, None, None]
    factors = {
        "background_hue": turns,
        "level": level,
        "noise": noise,
        "pair": torch.stack([level, noise], 1),
        "kind": labels,
    }
    return Memory(images.to(torch.uint8), labels, factors)


@pytest.fixture
def splits() -> dict[str, Source]:
    return {"train": colours(120, 0), "val": colours(60, 1), "test": colours(90, 2)}


def test_extract_leaves_the_encoder_as_it_was(splits):
    encoder = Flat().train()
    encoder.frozen.eval()
    flags = {name: module.training for name, module in encoder.named_modules()}
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    y = extract(encoder, splits["test"], batch_size=32)
    assert y.shape == (90, 12)
    assert y.dtype == torch.float32
    assert {name: module.training for name, module in encoder.named_modules()} == flags
    for name, value in encoder.state_dict().items():
        assert torch.equal(value, before[name]), name
    torch.testing.assert_close(y, extract(encoder, splits["test"], batch_size=1))
    assert torch.equal(y, extract(encoder, splits["test"], batch_size=32))


def test_extract_restores_training_after_an_error(splits):
    encoder = Flat().train()
    encoder.dim = 5
    with pytest.raises(RuntimeError):
        extract(encoder, splits["test"])
    assert encoder.training
    assert encoder.norm.training


def test_extract_normalises_whole_images():
    encoder = Flat()
    encoder.norm = nn.Identity()
    y = extract(encoder, Memory(torch.full((1, 3, 8, 12), 51, dtype=torch.uint8)))
    torch.testing.assert_close(y[0].view(3, 4)[:, 0], (0.2 - torch.tensor(encoder.mean)) / 0.2)


def test_extract_refuses_a_diverged_encoder_and_an_empty_source():
    encoder = Flat()
    encoder.norm.running_mean[0] = float("nan")
    with pytest.raises(RequestError, match=r"encoder 'flat' gives NaN or infinity on 2 of 2 images"):
        extract(encoder, Memory(torch.zeros(2, 3, 8, 8, dtype=torch.uint8)))
    with pytest.raises(RequestError, match="holds no image"):
        extract(encoder, Memory(torch.zeros(0, 3, 8, 8, dtype=torch.uint8)))


def test_linear_probe_and_knn_separate_colours(splits):
    probe = LinearProbe("colours")(Flat(), splits)
    assert probe["test"] > 0.95
    assert probe["n"] == {"train": 120, "val": 60, "test": 90}
    assert (probe["metric"], probe["classes"]) == ("top1", 3)
    knn = KNN("colours", k=5)(Flat(), splits)
    assert knn["test"] > 0.6
    assert knn["n"] == {"memory": 180, "test": 90}
    del splits["val"]
    assert KNN("colours", k=5)(Flat(), splits)["n"] == {"memory": 120, "test": 90}
    for metrics in (probe, knn):
        assert json.loads(json.dumps(metrics)) == metrics


@pytest.mark.parametrize(("k", "temperature"), [(1, 0.07), (7, 0.02), (40, 0.5)])
def test_knn_is_scikit_learns_weighted_vote(splits, k, temperature):
    y = {name: extract(Flat(), source) for name, source in splits.items()}
    peer = KNeighborsClassifier(k, weights=lambda distances: np.exp((1 - distances) / temperature), metric="cosine")
    memory = torch.cat([y["train"], y["val"]]), torch.cat([splits["train"].labels, splits["val"].labels])
    peer.fit(memory[0].double().numpy(), memory[1].numpy())
    expected = peer.score(y["test"].double().numpy(), splits["test"].labels.numpy())
    assert KNN("colours", k, temperature)(Flat(), splits)["test"] == pytest.approx(expected)


def test_factors_reads_what_is_linear_and_not_what_is_absent(splits):
    metrics = Factors("colours")(Flat(), splits)
    assert metrics["kind"] == {
        "background_hue": "cyclic",
        "level": "real",
        "noise": "real",
        "pair": "real",
        "kind": "class",
    }
    score = metrics["test"]
    assert score["background_hue"] > 0.9
    assert score["level"] > 0.9
    assert score["kind"] > 0.9
    assert score["noise"] < 0.1
    assert score["pair"] == pytest.approx((score["level"] + score["noise"]) / 2, abs=0.1)
    assert json.loads(json.dumps(metrics)) == metrics


def test_a_source_may_declare_its_kinds_and_a_class_may_be_rare(splits):
    splits["train"].factor_kinds = {"level": "cyclic"}
    splits["val"].factors["kind"].clamp_(max=1)
    metrics = Factors("colours")(Flat(), splits)
    assert metrics["kind"]["level"] == "cyclic"
    assert metrics["kind"]["background_hue"] == "real"


@pytest.mark.parametrize(
    ("dataset", "metric", "expected"),
    [
        ("flowers102", "auto", "class_average"),
        ("pets", "auto", "class_average"),
        ("cifar10", "auto", "top1"),
        ("flowers102", "top1", "top1"),
    ],
)
def test_metric_is_the_papers(dataset, metric, expected):
    assert LinearProbe(dataset, metric).metric == expected


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (
            lambda s: LinearProbe("x", metric="top2"),
            r"unknown metric 'top2'; accepted: auto, top1, class_average; did you",
        ),
        (lambda s: LinearProbe(3), r"task data 3 is not a name"),
        (lambda s: KNN("x", k=0), r"k must be 1 or more"),
        (lambda s: KNN("x", k=500)(Flat(), s), r"k 500 is not in 1..180"),
        (lambda s: LinearProbe("x")(Flat(), {"train": s["train"]}), r"no split 'val', only train"),
        (lambda s: KNN("x")(Flat(), {"train": Memory(s["train"].images)}), r"'memory' has no two classes"),
        (lambda s: Factors("x")(Flat(), dict.fromkeys(s, Memory(s["val"].images))), r"has no known factors"),
    ],
    ids=["metric", "dataset", "k", "large k", "split", "labels", "factors"],
)
def test_wrong_requests_are_one_clear_line(splits, request_, message):
    with pytest.raises(RequestError, match=message) as error:
        request_(splits)
    assert "\n" not in str(error.value)


def test_tasks_are_plug_ins():
    assert set(lookup.names("tasks")) >= {"factors", "knn", "linear_probe"}
    for name in lookup.names("tasks"):
        task = lookup.build("tasks", f"{name}('shapes')")
        assert task.protocol.split("/")[0] == name
        assert task.dataset == "shapes"
    assert "features" not in lookup.names("tasks")


def test_drawn_data_opens_without_a_root():
    splits = Factors("shapes(size=16)").splits("")
    assert list(splits) == ["train", "val", "test"]


@pytest.mark.realdata
@pytest.mark.skipif(not (REAL / "dtd10").is_dir(), reason=f"no dtd10 in {REAL}: set AUGAWARE_DATA")
def test_pixels_of_real_textures_beat_chance():
    probe = LinearProbe("dtd10")
    metrics = probe(Flat(), probe.splits(REAL))
    assert metrics["n"] == {"train": 400, "val": 400, "test": 400}
    assert metrics["test"] > 0.1 + 2 * metrics["standard_error"]
