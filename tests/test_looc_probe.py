"""The probe by SGD on augmented views, and few images per class: transcriptions, laws, refusals."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from augaware.augment.crop import Crop
from augaware.augment.flip import Flip
from augaware.data.base import Source
from augaware.data.centre import centre_crop
from augaware.errors import RequestError
from augaware.metrics import top1
from augaware.random import Draws, epoch_order
from augaware.tasks.classification import few, joined
from augaware.tasks.linear_probe import LinearProbe
from augaware.tasks.looc_probe import LoocProbe
from augaware.tasks.training import classifier, views
from test_tasks import Flat, Memory, colours


@pytest.fixture
def splits() -> dict[str, Source]:
    return {"train": colours(120, 0), "val": colours(60, 1), "test": colours(90, 2)}


def view_of(source: Memory, index: Tensor, seed: int, epoch: int) -> Tensor:
    """The training views of ``Flat`` by the plain forms of crop and flip."""
    draws, sizes = Draws.of(seed, epoch, index, 0), torch.full((len(index), 2), 8)
    crop, flip = Crop(8, scale=(0.08, 1.0)), Flip(8)
    x = source.batch(index).pixels.float() / 255
    x = crop.apply(x, crop.sample(draws.stream("crop"), sizes))
    return normalised(flip.apply(x, flip.sample(draws.stream("flip"), sizes)))


def normalised(x: Tensor) -> Tensor:
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (Flat().mean, Flat().std))
    return (x - mean) / std


def slow(encoder: nn.Module, train: Source, scored: Source, epochs: int, lr: float, seed: int) -> list[float]:
    """MoCo's linear classification as it is written down: accuracy on ``scored`` after each epoch."""
    linear = nn.Linear(encoder.dim, 3)
    W, b = classifier(encoder.dim, 3, seed, torch.device("cpu"))
    linear.load_state_dict({"weight": W.detach(), "bias": b.detach()})
    sgd = torch.optim.SGD(linear.parameters(), lr, momentum=0.9, weight_decay=0)
    drops = torch.optim.lr_scheduler.MultiStepLR(sgd, [round(0.6 * epochs), round(0.8 * epochs)], gamma=0.1)
    images = torch.stack([centre_crop(scored.load(i), 8, 9) for i in range(len(scored))])
    reached = []
    for epoch in range(epochs):
        for index in epoch_order(len(train), seed, epoch).split(64):
            with torch.no_grad():
                y = encoder.eval()(view_of(train, index, seed, epoch))
            loss = F.cross_entropy(linear(y), train.labels[index])
            sgd.zero_grad()
            loss.backward()
            sgd.step()
        drops.step()
        with torch.no_grad():
            reached.append(top1(linear(encoder(normalised(images))).argmax(1), scored.labels))
    return reached


def test_looc_probe_is_the_slow_transcription(splits: dict[str, Source]) -> None:
    metrics = LoocProbe("x", epochs=10, lr=8.0, batch_size=64, seed=3)(Flat(), splits)
    vals = slow(Flat(), splits["train"], splits["val"], 10, 2.0, 3)
    tests = slow(Flat(), joined(splits["train"], splits["val"]), splits["test"], 10, 2.0, 3)
    best = vals.index(max(vals))
    assert len(set(tests)) > 3, "accuracies that do not move compare nothing"
    assert metrics["epoch"] == best + 1
    assert metrics["val"] == pytest.approx(vals[best])
    assert metrics["test"] == pytest.approx(tests[best])
    assert metrics["last_test"] == pytest.approx(tests[-1])
    assert metrics["best_test"] == pytest.approx(max(tests))
    assert metrics["n"] == {"train": 120, "val": 60, "test": 90}


def test_the_rate_is_mocos() -> None:
    paper = LoocProbe("x")
    assert [paper.rate(epoch) for epoch in (0, 119, 120, 159, 160, 199)] == pytest.approx([30, 30, 3, 3, 0.3, 0.3])
    short = LoocProbe("x", epochs=5, batch_size=128)
    assert [short.rate(epoch) for epoch in range(5)] == pytest.approx([15, 15, 15, 1.5, 0.15])


def test_the_best_on_test_is_never_below_the_honest_choice(splits: dict[str, Source]) -> None:
    noise = {name: Memory(torch.randint_like(s.images, 256), s.labels) for name, s in splits.items()}
    gains = []
    for seed in range(3):
        metrics = LoocProbe("x", epochs=8, seed=seed)(Flat(), noise)
        assert metrics["best_test"] >= max(metrics["test"], metrics["last_test"])
        gains.append(metrics["best_test"] - metrics["test"])
    assert max(gains) > 0, "on noise, choosing on test pays"


def test_equal_seeds_give_equal_numbers_and_others_other_ones(splits: dict[str, Source]) -> None:
    torch.manual_seed(5)
    first = LoocProbe("x", epochs=3, lr=0.5)(Flat(), splits)
    assert torch.initial_seed() == 5
    assert first == LoocProbe("x", epochs=3, lr=0.5)(Flat(), splits)
    assert first != LoocProbe("x", epochs=3, lr=0.5, seed=1)(Flat(), splits)


@pytest.mark.parametrize("task", [LoocProbe("x", epochs=2), LinearProbe("x", shots=6)], ids=["looc", "shots"])
def test_the_encoder_stays_as_it_was(splits: dict[str, Source], task: LoocProbe) -> None:
    encoder = Flat().train()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    flags = [module.training for module in encoder.modules()]
    task(encoder, splits)
    assert [module.training for module in encoder.modules()] == flags
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())
    assert all(p.grad is None for p in encoder.parameters())


def test_a_view_depends_on_seed_epoch_and_image_alone(splits: dict[str, Source]) -> None:
    source, encoder = splits["train"], Flat()
    (whole,) = views(encoder, source, 1, [(4, torch.arange(20))])
    torch.testing.assert_close(whole, view_of(source, torch.arange(20), 1, 4), atol=1e-3, rtol=0)
    other = list(views(encoder, source, 1, [(4, torch.tensor([7, 3])), (5, torch.tensor([7, 3]))]))
    torch.testing.assert_close(other[0], whole[[7, 3]])
    assert not torch.allclose(other[0], other[1])


def test_sources_end_to_end() -> None:
    a, b = colours(5, 0), colours(4, 2)
    both, images = joined(a, b), torch.cat([a.images, b.images])
    assert (len(both), both.classes) == (9, a.classes)
    assert all(torch.equal(both.load(i), images[i]) for i in range(9))
    assert torch.equal(both.labels, torch.cat([a.labels, b.labels]))
    index = torch.tensor([8, 0, 5, 5, 3])
    batch = both.batch(index)
    assert torch.equal(batch.index, index)
    assert torch.equal(batch.pixels, images[index])


def test_few_images_per_class_and_no_others(splits: dict[str, Source]) -> None:
    pool = joined(splits["train"], splits["val"])
    train, val = few(pool, 10, seed=0)
    assert torch.bincount(train.labels).tolist() == [8, 8, 8]
    assert torch.bincount(val.labels).tolist() == [2, 2, 2]
    drawn = set(train.index.tolist()) | set(val.index.tolist())
    assert len(drawn) == 30
    assert max(drawn) >= 120 > min(drawn), "drawn from both"
    assert torch.equal(few(pool, 10, seed=0)[0].index, train.index)
    assert not torch.equal(few(pool, 10, seed=1)[0].index, train.index)
    assert [len(part) for part in few(pool, 2, seed=0)] == [3, 3]


def test_a_probe_of_few_images_sees_those_alone(splits: dict[str, Source]) -> None:
    train, val = few(joined(splits["train"], splits["val"]), 5, seed=2)
    expected = LinearProbe("x")(Flat(), {"train": train, "val": val, "test": splits["test"]})
    assert LinearProbe("x", shots=5, seed=2)(Flat(), splits) == expected
    assert expected["n"] == {"train": 12, "val": 3, "test": 90}
    assert LoocProbe("x", epochs=1, shots=5)(Flat(), splits)["n"] == expected["n"]


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (lambda s: LoocProbe("x", epochs=0), r"task 'looc_probe': epochs=0 must be a whole number, at least 1"),
        (lambda s: LoocProbe("x", lr=0), r"task 'looc_probe': lr=0 must be a number above 0"),
        (lambda s: LoocProbe("x", metric="top5"), r"unknown metric 'top5'; accepted: auto, top1, class_average"),
        (lambda s: LoocProbe("x", seed=0.5), r"seed=0.5 must be a whole number"),
        (lambda s: LoocProbe("x", epochs=2, lr=1e38)(Flat(), s), r"its classifier has diverged; lower lr"),
        (lambda s: LoocProbe("x")(Flat(), {"train": s["train"]}), r"no split 'val', only train"),
        (lambda s: LoocProbe("x")(Flat(), s | {"val": Memory(s["val"].images)}), r"'memory' has no two classes"),
        (lambda s: LinearProbe("x", shots=1), r"shots=1 must be a whole number, at least 2"),
        (lambda s: LinearProbe("x", shots=90)(Flat(), s), r"shots=90: class 'a' has \d+ images in train and val"),
    ],
    ids=["epochs", "lr", "metric", "seed", "diverged", "split", "labels", "one shot", "too many shots"],
)
def test_wrong_requests_are_one_clear_line(splits, request_, message) -> None:
    with pytest.raises(RequestError, match=message) as error:
        request_(splits)
    assert "\n" not in str(error.value)
