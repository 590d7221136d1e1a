"""Few-shot episodes: laws of their sampling, the solver against scikit-learn's liblinear, and what the task says."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier

from augaware.errors import RequestError
from augaware.tasks import few_shot
from augaware.tasks.episodes import Episodes, different, draw
from augaware.tasks.few_shot import FewShot, accuracies
from augaware.tasks.one_vs_rest import gram, newton, solve
from small_tables import Numbered, Table, clusters

LABELS = torch.arange(120) % 6  # 20 images of each of six classes


def liblinear(x, y, q):
    """Decision values (m, classes) of one-vs-rest liblinear, solved to the end."""
    model = LogisticRegression(solver="liblinear", C=1, tol=1e-10, max_iter=10000)
    fitted = OneVsRestClassifier(model).fit(x.double().numpy(), y)
    return np.stack([one.decision_function(q.double().numpy()) for one in fitted.estimators_], axis=1)


@pytest.mark.parametrize(("shots", "d", "scale"), [(1, 40, 1), (5, 40, 1), (5, 8, 30), (5, 64, 0.01), (2, 300, 5)])
def test_the_solver_is_liblinear(shots, d, scale):
    features = scale * clusters(LABELS, d)
    episodes = draw(LABELS, ways=5, shots=shots, queries=10, episodes=12)
    reached = accuracies(features, episodes)
    y, truth = np.arange(5).repeat(shots), np.arange(5).repeat(10)
    for e in range(12):
        x, q = features[episodes.support[e].flatten()], features[episodes.queries[e].flatten()]
        expected = liblinear(x, y, q)
        ours = (gram(q, x) @ solve(gram(x, x)[None], torch.from_numpy(y), 5))[0].numpy()
        np.testing.assert_allclose(ours, expected, atol=1e-4)
        assert float(reached[e]) == (expected.argmax(1) == truth).mean()


def moved(x, t, a):
    """How far one Newton step on the weights [X, 1]^T a would still move f, relative to the largest |f|, (P,)."""
    X = torch.cat([x, torch.ones(*x.shape[:2], 1)], dim=2).double()
    w = X.mT @ a[:, :, None]
    p = torch.sigmoid(X @ w)
    hessian = torch.eye(X.shape[2]) + X.mT @ (p * (1 - p) * X)
    change = X @ torch.linalg.solve(hessian, w + X.mT @ (p - t[:, :, None]))
    return (change.abs().amax(1) / (X @ w).abs().amax(1))[:, 0]


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
def test_the_optimum_is_reached_where_images_repeat_under_other_labels(scale):
    """K is singular, and no class can be told from the rest."""
    x = scale * clusters(torch.arange(10), 6)[torch.tensor([0, 0, 1, 2, 3, 3, 4, 5, 6, 7, 8, 8])]
    labels = torch.tensor([0, 1, 2] * 4)
    a = solve(gram(x, x)[None], labels, 3)[0].T
    t = torch.nn.functional.one_hot(labels).T.double()
    assert float(moved(x.expand(3, -1, -1), t, a).max()) < 1e-7


def test_the_optimum_is_reached_where_whole_steps_overshoot():
    """Of two hundred problems with far outliers, some oscillate for ever without the halving of steps."""
    g = torch.Generator().manual_seed(0)
    x, t = 1000 * torch.randn(200, 12, 5, generator=g) ** 3, (torch.rand(200, 12, generator=g) < 0.4).double()
    assert float(moved(x, t, newton(gram(x, x), t)).max()) < 1e-6


def test_many_episodes_at_once_are_one_by_one(monkeypatch):
    features, episodes = clusters(LABELS, 16), draw(LABELS, ways=4, shots=3, queries=7, episodes=30)
    together = accuracies(features, episodes)
    alone = [accuracies(features, Episodes(s[None], q[None])) for s, q in zip(*vars(episodes).values(), strict=True)]
    assert torch.equal(together, torch.cat(alone))
    monkeypatch.setattr(few_shot, "_BYTES", 50_000)
    assert torch.equal(together, accuracies(features, episodes))
    assert 0.4 < together.mean() < 0.9  # neither hopeless nor trivial


def test_different_integers_are_those_left_in_order():
    u = torch.rand(50, 4, generator=torch.Generator().manual_seed(0))
    u[:2] = torch.tensor([0.0, 1 - 2**-24])[:, None]  # the ends of what Draws gives
    without = torch.tensor([5, 0, 3]).expand(50, 3)
    found = different(u, torch.full((50,), 9), without)
    for row, numbers in zip(u.double().tolist(), found.tolist(), strict=True):
        left = [1, 2, 4, 6, 7, 8]
        assert numbers == [left.pop(int(number * len(left))) for number in row]


def test_every_pair_is_equally_likely():
    u = torch.rand(60_000, 2, generator=torch.Generator().manual_seed(0))
    found = different(u, torch.full((60_000,), 5), torch.tensor([2]))
    counts = torch.bincount(5 * found[:, 0] + found[:, 1], minlength=25).view(5, 5)
    possible = torch.tensor([0, 1, 3, 4])
    off = counts[possible][:, possible][~torch.eye(4, dtype=torch.bool)]
    assert off.sum() == 60_000
    assert ((off - 5000).abs() < 5 * 5000**0.5).all()


def test_an_episode_has_the_right_images():
    labels = LABELS[torch.randperm(120, generator=torch.Generator().manual_seed(0))]
    episodes = draw(labels, ways=5, shots=4, queries=16, episodes=300)  # 4 + 16 are all there are
    assert episodes.support.shape == (300, 5, 4)
    assert episodes.queries.shape == (300, 5, 16)
    for support, queries in zip(labels[episodes.support], labels[episodes.queries], strict=True):
        assert len(set(support[:, 0].tolist())) == 5
        assert (support == support[:, :1]).all()
        assert (queries == support[:, :1]).all()
    whole = torch.cat([episodes.support, episodes.queries], dim=2).sort(2).values
    assert (whole[..., 1:] > whole[..., :-1]).all()
    seen = torch.bincount(episodes.support.flatten(), minlength=120)
    assert seen.min() > 0.5 * seen.double().mean()


def test_small_classes_are_asked_with_replacement_and_smaller_ones_never():
    labels = torch.tensor([0] * 3 + [1] * 4 + [2] * 9 + [3] * 8)  # with 3 shots and 6 queries
    episodes = draw(labels, ways=3, shots=3, queries=6, episodes=200)
    classes = labels[episodes.support[..., 0]]
    assert set(classes.flatten().tolist()) == {1, 2, 3}
    repeats = {1: 0, 2: 0, 3: 0}
    for support, queries, label in zip(
        episodes.support.flatten(0, 1).tolist(),
        episodes.queries.flatten(0, 1).tolist(),
        classes.flatten().tolist(),
        strict=True,
    ):
        assert not set(support) & set(queries)
        assert len(set(support)) == 3
        repeats[label] += 6 - len(set(queries))
        if label == 1:
            assert len(set(queries)) == 1  # the only image left
    assert repeats[2] == 0
    assert repeats[3] > 200


def test_episodes_are_the_same_for_everyone():
    few, many = (draw(LABELS, 5, 1, 3, episodes) for episodes in (4, 40))
    assert torch.equal(many.support[:4], few.support)
    assert torch.equal(many.queries[:4], few.queries)
    # other numbers than these are another protocol
    assert few.support[:2].flatten().tolist() == [95, 80, 72, 112, 9, 61, 88, 9, 24, 62]
    assert few.queries[0].flatten().tolist() == [59, 53, 71, 86, 68, 110, 66, 114, 42, 88, 100, 16, 69, 3, 39]


def task_splits():
    labels = LABELS.tolist()
    return {"train": Numbered(range(70), labels[:70]), "test": Numbered(range(70, 120), labels[70:])}


def test_the_task_pools_its_splits():
    splits, encoder = task_splits(), Table(clusters(LABELS, 16))
    metrics = FewShot("numbered", ways=4, shots=2, queries=5, episodes=60)(encoder, splits)
    scores = accuracies(encoder.table, draw(LABELS, 4, 2, 5, 60)).numpy()
    expected = {"ways": 4, "shots": 2, "queries": 5, "episodes": 60, "classes": 6, "dropped": 0, "images": 120}
    expected |= {"test": pytest.approx(scores.mean()), "interval": pytest.approx(1.96 * scores.std(ddof=1) / 60**0.5)}
    assert metrics == expected
    assert json.loads(json.dumps(metrics)) == metrics
    alone = {"test": Numbered(range(120), LABELS.tolist())}
    assert FewShot("numbered", ways=4, shots=2, queries=5, episodes=60)(encoder, alone) == metrics


def test_the_task_counts_the_classes_that_it_drops():
    labels = [0] * 3 + [1] * 4 + [2] * 9
    splits = {"test": Numbered(range(16), labels, classes="abcd")}  # d has no image at all
    metrics = FewShot("numbered", ways=2, shots=3, episodes=20)(Table(torch.eye(16)), splits)
    assert (metrics["classes"], metrics["dropped"], metrics["images"]) == (2, 2, 16)


def test_classes_far_apart_are_told_apart_and_equal_ones_are_not():
    far = FewShot("numbered", episodes=50)(Table(clusters(LABELS, 16, noise=0.01)), task_splits())
    assert (far["test"], far["interval"]) == (1.0, 0.0)
    blind = FewShot("numbered", episodes=400)(Table(clusters(torch.zeros_like(LABELS), 16)), task_splits())
    assert blind["test"] == pytest.approx(0.2, abs=0.03)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"shots": 0}, r"task 'few_shot': shots=0 must be a whole number, at least 1"),
        ({"queries": 1.5}, r"queries=1.5 must be a whole number"),
        ({"ways": 1}, r"ways=1 and episodes=2000 must be at least 2"),
        ({"episodes": 1}, r"ways=5 and episodes=1 must be at least 2"),
        ({"ways": 7}, r"ways=7 and shots=1 need 7 classes of more than 1 images, and 'numbered' has 6 \(of 6\)"),
        ({"shots": 20}, r"need 5 classes of more than 20 images, and 'numbered' has 0 \(of 6\): lower ways or shots"),
    ],
)
def test_wrong_requests_are_one_clear_line(arguments, message):
    with pytest.raises(RequestError, match=message) as error:
        FewShot("numbered", **arguments)(Table(torch.zeros(120, 2)), task_splits())
    assert "\n" not in str(error.value)


def test_labels_are_needed():
    with pytest.raises(RequestError, match=r"'numbered' has no two classes to tell apart"):
        FewShot("numbered")(Table(torch.zeros(120, 2)), {"test": Numbered(range(9), None)})


@pytest.mark.realdata
def test_pixels_of_real_leaves_beat_chance(real_data):
    if not (real_data / "medleaf36").is_dir():
        pytest.skip(f"no medleaf36 in {real_data}")
    from augaware.frozen import load_encoder

    task = FewShot("medleaf36", shots=5, episodes=200)
    metrics = task(load_encoder("random/pixels(side=4)", size=8, device="cpu"), task.splits(real_data))
    assert metrics["images"] == 1296
    assert metrics["test"] > 0.4
