"""Fine-tuning: the objective against autograd and SGD's own weight decay, L2-SP's limits, the grid, refusals."""

from __future__ import annotations

import copy
import json

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from augaware import lookup
from augaware.data.base import Source
from augaware.data.shapes import BACKGROUNDS
from augaware.errors import RequestError
from augaware.frozen import load_encoder
from augaware.metrics import top1
from augaware.tasks.features import labelled
from augaware.tasks.finetune import Finetune, pull
from augaware.tasks.training import classifier, side, views
from test_tasks import colours


class Net(nn.Module):
    """A convolution, averaged; with BN and dropout unless ``bare``."""

    def __init__(self, bare: bool = False) -> None:
        super().__init__()
        self.name, self.dim, self.size = "net", 6, 8
        self.mean, self.std = (0.5, 0.4, 0.3), (0.2, 0.2, 0.2)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.conv = nn.Conv2d(3, 6, 3, 2, 1)
        self.rest = nn.Identity() if bare else nn.Sequential(nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout(0.1))

    def forward(self, x: Tensor) -> Tensor:
        return self.rest(self.conv(x)).mean((2, 3))


@pytest.fixture
def splits() -> dict[str, Source]:
    return {"train": colours(120, 0), "val": colours(60, 1), "test": colours(90, 2)}


def test_the_pull_is_the_gradient_of_the_penalty() -> None:
    g = torch.Generator().manual_seed(0)
    w = [torch.randn(*shape, generator=g, requires_grad=True) for shape in ((3, 2), (4,), (5,))]
    w0 = [torch.randn(p.shape, generator=g) for p in w]
    loss = sum((p**3).sum() for p in w[:2])
    penalty = 0.3 / 2 * sum((p - a).square().sum() for p, a in zip(w[:2], w0, strict=False))
    expected = torch.autograd.grad(loss + penalty, w[:2])
    loss = sum((p**3).sum() for p in w[:2])
    loss.backward()
    pull(w, w0, 0.3)
    for p, gradient in zip(w[:2], expected, strict=True):
        torch.testing.assert_close(p.grad, gradient)
    assert w[2].grad is None, "a weight that the network does not use takes no part"


def test_without_l2_sp_it_is_sgd_with_weight_decay(splits: dict[str, Source]) -> None:
    task, source = Finetune("x", steps=9, batch_size=50, weight_decay=0.02, beta=0.3, seed=4), splits["train"]
    encoder = Net()
    encoder.rest[2].p = 0.0
    tuned = task.tune(encoder, source, 0.1, 0.02)

    expected = copy.deepcopy(encoder).train()
    W, b = classifier(6, 3, 4, torch.device("cpu"))
    groups = [{"params": list(expected.parameters()), "weight_decay": 0.02}, {"params": [W, b], "weight_decay": 0.3}]
    sgd = torch.optim.SGD(groups, 0.1, momentum=0.9)
    drop = torch.optim.lr_scheduler.MultiStepLR(sgd, [6], gamma=0.1)
    batches = list(task.batches(120))[:9]
    for (_, index), x in zip(batches, views(encoder, source, 4, batches), strict=True):
        sgd.zero_grad()
        F.cross_entropy(expected(x) @ W.T + b, source.labels[index]).backward()
        sgd.step()
        drop.step()
    for name, value in expected.state_dict().items():
        torch.testing.assert_close(tuned.network.state_dict()[name], value, msg=lambda m, name=name: f"{name}: {m}")
    torch.testing.assert_close(tuned.head, [W, b])
    assert not torch.equal(expected.rest[0].running_mean, encoder.rest[0].running_mean)


def test_a_rate_near_zero_leaves_the_frozen_features_and_the_new_classifier(splits: dict[str, Source]) -> None:
    metrics = Finetune("x", steps=2, lrs=(1e-12,))(Net(bare=True), splits)
    test = labelled(Net(bare=True), splits["test"], side(8))
    W, b = classifier(6, 3, 0, torch.device("cpu"))
    assert metrics["test"] == pytest.approx(top1(F.linear(test.features, W, b).argmax(1), test.labels))
    assert metrics["moved"] < 1e-8


def test_a_strong_pull_keeps_the_weights_where_they_start(splits: dict[str, Source]) -> None:
    distance = {
        alpha: Finetune("x", steps=60, lrs=(0.05,), l2_sp=(alpha,))(Net(), splits)["moved"] for alpha in (1e-3, 1, 30)
    }
    assert distance[1e-3] > 2 * distance[1] > 2 * 10 * distance[30]
    shrunk = Finetune("x", steps=60, lrs=(0.05,), weight_decay=1.0)(Net(), splits)
    assert shrunk["moved"] > 0.5, "weight decay pulls to zero, not to the start"


def test_it_learns_what_the_frozen_features_do_not_hold(splits: dict[str, Source]) -> None:
    encoder = Net(bare=True)
    with torch.no_grad():
        encoder.conv.weight[:] = encoder.conv.weight.mean(1, keepdim=True)  # grey: blind to colour
    metrics = Finetune("x", steps=60, lrs=(0.001, 0.1), beta=0.0, weight_decay=0.0)(encoder, splits)
    assert metrics["test"] > 0.8
    assert metrics["lr"] == 0.1
    assert json.loads(json.dumps(metrics)) == metrics
    assert metrics["n"] == {"train": 120, "val": 60, "test": 90}


def test_a_small_network_learns_the_grounds_of_drawn_images() -> None:
    task = lookup.build(
        "tasks", "finetune('shapes(train=200, val=40, test=200, size=24)', 60, 32, lrs=(0.1,), beta=0.0)"
    )
    encoder = load_encoder("random/tiny(widths=(8, 16))", size=16, device="cpu")
    splits = task.splits("")
    for source in splits.values():
        source.labels, source.classes = source.factors["background"], BACKGROUNDS
    metrics = task(encoder, splits)
    assert metrics["test"] > 1 / metrics["classes"] + 3 * metrics["standard_error"]


def test_the_encoder_stays_as_it_was(splits: dict[str, Source]) -> None:
    encoder = Net().eval().requires_grad_(False)
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    Finetune("x", steps=3, lrs=(0.5,), l2_sp=(0.1,))(encoder, splits)
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())
    assert not any(module.training for module in encoder.modules())
    assert not any(p.requires_grad for p in encoder.parameters())
    assert all(p.grad is None for p in encoder.parameters())


def test_equal_seeds_give_equal_numbers_whatever_torch_draws_meanwhile(splits: dict[str, Source]) -> None:
    task, results = Finetune("x", steps=5, lrs=(0.1,)), []
    for seed in (1, 2):
        torch.manual_seed(seed)
        state = torch.get_rng_state()
        results.append(task(Net(), splits))
        assert torch.equal(torch.get_rng_state(), state)
    assert results[0] == results[1]
    assert results[0]["moved"] != Finetune("x", steps=5, lrs=(0.1,), seed=1)(Net(), splits)["moved"]


def test_every_image_is_seen_once_an_epoch_in_whole_batches() -> None:
    batches = list(Finetune("x", steps=7, batch_size=4).batches(13))[:7]
    assert [epoch for epoch, _ in batches] == [0, 0, 0, 1, 1, 1, 2]
    assert [len(index) for _, index in batches] == [4] * 7
    assert len(set(torch.cat([index for _, index in batches[:3]]).tolist())) == 12
    assert batches[0][1].tolist() != batches[3][1].tolist()
    assert [len(index) for _, index in list(Finetune("x", steps=2).batches(13))[:2]] == [13, 13]


def test_the_grid_is_every_pair_and_what_diverged_is_no_candidate(splits: dict[str, Source]) -> None:
    metrics = Finetune("x", steps=20, lrs=(1e30, 0.1), l2_sp=(0.1, 0.01))(Net(), splits)
    assert [(pair["lr"], pair["alpha"]) for pair in metrics["grid"]] == [
        (1e30, 0.1),
        (1e30, 0.01),
        (0.1, 0.1),
        (0.1, 0.01),
    ]
    vals = [pair["val"] for pair in metrics["grid"]]
    assert vals[:2] == [None, None]
    assert metrics["val"] == max(vals[2:])
    assert metrics["alpha"] == (0.1 if vals[2] >= vals[3] else 0.01)
    assert metrics["lr"] == 0.1


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (lambda s: Finetune("x", steps=0), r"task 'finetune': steps=0 must be a whole number, at least 1"),
        (lambda s: Finetune("x", beta=-1), r"task 'finetune': beta=-1 must be a number, at least 0"),
        (lambda s: Finetune("x", lrs=0.1), r"task 'finetune': lrs=0.1 must be a list of numbers"),
        (lambda s: Finetune("x", lrs=()), r"task 'finetune': lrs is empty"),
        (lambda s: Finetune("x", l2_sp=(0.1, 0)), r"task 'finetune': l2_sp=0 must be a number above 0"),
        (lambda s: Finetune("x", shots=1), r"shots=1 must be a whole number, at least 2"),
        (lambda s: Finetune("x", 20, lrs=(1e30,))(Net(), s), r"training diverged at lr=1e\+30; give lower lrs"),
        (lambda s: Finetune("x")(Net(), {"train": s["train"]}), r"no split 'val', only train"),
    ],
    ids=["steps", "beta", "lrs", "no lrs", "l2_sp", "shots", "diverged", "split"],
)
def test_wrong_requests_are_one_clear_line(splits, request_, message) -> None:
    with pytest.raises(RequestError, match=message) as error:
        request_(splits)
    assert "\n" not in str(error.value)
