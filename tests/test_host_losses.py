"""Every host's loss against a slow transcription of its paper's equation: plain Python, one pair at a time, float64."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from augaware import lookup
from augaware.hosts.base import Host, HostSetting, Moment

N, D = 6, 5
NOW = Moment(step=40, steps=100, per_epoch=2)
Rows = list[list[float]]


def build(spec: str) -> Host:
    torch.manual_seed(0)
    made = lookup.build("hosts", spec, HostSetting(8, classes=4))
    assert isinstance(made, Host)
    return made


def embeddings(views: int, seed: int = 0, n: int = N, d: int = D) -> list[Tensor]:
    """Correlated views of ``n`` images, float64."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.randn(n, d, generator=generator, dtype=torch.float64)
    return [1.5 * y + torch.randn(n, d, generator=generator, dtype=torch.float64) + 0.3 for _ in range(views)]


def check(host: Host, online: list[Tensor], target: list[Tensor], expected: float) -> None:
    """``expected`` in float64 to 1e-9, and in float32, as in training, to 1e-6."""
    single = [t.float() if t.is_floating_point() else t for t in target]
    assert host.loss([z.float() for z in online], single).item() == pytest.approx(expected, rel=1e-6, abs=1e-6)
    assert host.double().loss(online, target).item() == pytest.approx(expected, rel=1e-9)


# Words of the equations


def dot(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def unit(a: list[float]) -> list[float]:
    length = math.sqrt(dot(a, a))
    return [x / length for x in a]


def cosine(a: list[float], b: list[float]) -> float:
    return dot(unit(a), unit(b))


def softmax(a: list[float]) -> list[float]:
    mass = sum(math.exp(x) for x in a)
    return [math.exp(x) / mass for x in a]


def cross_entropy(q: list[float], p: list[float]) -> float:
    return -sum(x * math.log(y) for x, y in zip(q, p, strict=True))


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def transposed(rows: Rows) -> Rows:
    return [list(column) for column in zip(*rows, strict=True)]


def predicted(h: nn.Module, z: Tensor) -> Rows:
    """h(z): Linear, BN over the batch, ReLU, Linear (and BN), number by number."""
    rows: Rows = z.tolist()
    for layer in h:
        if isinstance(layer, nn.Linear):
            weight = layer.weight.double().tolist()
            bias = layer.bias.double().tolist() if layer.bias is not None else [0.0] * len(weight)
            rows = [[dot(w, row) + b for w, b in zip(weight, bias, strict=True)] for row in rows]
        elif isinstance(layer, nn.BatchNorm1d):
            columns = []
            for j, column in enumerate(transposed(rows)):
                m = mean(column)
                deviation = math.sqrt(mean([(x - m) ** 2 for x in column]) + 1e-5)
                scale, shift = (layer.weight[j].item(), layer.bias[j].item()) if layer.affine else (1.0, 0.0)
                columns.append([scale * (x - m) / deviation + shift for x in column])
            rows = transposed(columns)
        else:
            assert isinstance(layer, nn.ReLU)
            rows = [[max(x, 0.0) for x in row] for row in rows]
    return rows


# Contrast


@pytest.mark.parametrize("temperature", [0.1, 0.2, 1.0])
def test_simclr(temperature: float) -> None:
    z_1, z_2 = embeddings(2)
    z = [*z_1.tolist(), *z_2.tolist()]
    terms = []
    for i in range(2 * N):
        others = [math.exp(cosine(z[i], z[k]) / temperature) for k in range(2 * N) if k != i]
        terms.append(-math.log(math.exp(cosine(z[i], z[(i + N) % (2 * N)]) / temperature) / sum(others)))
    check(build(f"simclr(temperature={temperature})"), [z_1, z_2], [], mean(terms))


def slow_moco_v2(z_1: Tensor, z_2: Tensor, queue: Rows, temperature: float) -> float:
    terms = []
    for query, key in zip(z_1.tolist(), z_2.tolist(), strict=True):
        positive = math.exp(cosine(query, key) / temperature)
        negatives = sum(math.exp(dot(unit(query), other) / temperature) for other in queue)
        terms.append(-math.log(positive / (positive + negatives)))
    return mean(terms)


@pytest.mark.parametrize("temperature", [0.07, 0.2])
def test_moco_v2_with_its_first_queue(temperature: float) -> None:
    host = build(f"moco_v2(queue=20, temperature={temperature}, proj_output_dim={D})")
    torch.testing.assert_close(host.queue.norm(dim=1), torch.ones(20))
    z_1, z_2 = embeddings(2)
    queue = host.queue.double().tolist()
    check(host, [z_1], [z_2], slow_moco_v2(z_1, z_2, queue, temperature))


@pytest.mark.parametrize("remembers", ["key", "query"])
@pytest.mark.parametrize("length", [4, 6, 8, 17])
def test_the_queue_of_moco_v2_is_first_in_first_out_and_wraps_around(remembers: str, length: int) -> None:
    """A batch may not divide the queue, and may be larger than it."""
    host = build(f"moco_v2({remembers!r}, length={length}, proj_output_dim={D})").double()
    oldest_first = host.queue.tolist()
    for step in range(5):
        z_1, z_2 = embeddings(2, seed=step)
        expected = slow_moco_v2(z_1, z_2, oldest_first, 0.2)
        assert host.loss([z_1], [z_2]).item() == pytest.approx(expected, rel=1e-9)
        with torch.no_grad():
            host.after_step([z_1], [z_2])
        new = [unit(row) for row in (z_2 if remembers == "key" else z_1).tolist()]
        oldest_first = [*oldest_first, *new][-length:]
        assert sorted(host.queue.tolist()) == [pytest.approx(row, abs=1e-12) for row in sorted(oldest_first)]


def test_a_number_for_the_queue_of_moco_v2_is_the_length_of_a_queue_of_keys() -> None:
    short, long = build("moco_v2(queue=4096)"), build("moco_v2('key', length=4096)")
    assert torch.equal(short.queue, long.queue)
    assert short.queue.shape == (4096, 128)
    z_1, z_2 = embeddings(2, d=128)
    for host in (short, long):
        host.after_step([z_1.float()], [z_2.float()])
        torch.testing.assert_close(host.queue[:N].double(), torch.tensor([unit(row) for row in z_2.tolist()]).double())
    assert torch.equal(short.queue, long.queue)


@pytest.mark.parametrize("spec", ["moco_v3(0.2, {})", "moco_v3(1.0, {}, proj_layers=2, predictor_bn=False)"])
def test_moco_v3(spec: str) -> None:
    host = build(spec.format(f"hidden_dim=7, output_dim={D}"))
    online, target = embeddings(2), embeddings(2, seed=1)
    t = host.temperature

    def ctr(q: Rows, k: Rows) -> float:
        """2T CE of all pairs' similarities against the diagonal."""
        terms = []
        for i in range(N):
            scores = [math.exp(cosine(q[i], k[j]) / t) for j in range(N)]
            terms.append(-math.log(scores[i] / sum(scores)))
        return 2 * t * mean(terms)

    q_1, q_2 = (predicted(host.h, z) for z in online)
    k_1, k_2 = (z.tolist() for z in target)
    check(host, online, target, ctr(q_1, k_2) + ctr(q_2, k_1))


# Prediction


def test_byol() -> None:
    host = build(f"byol(hidden_dim=7, output_dim={D})")
    online, target = embeddings(2), embeddings(2, seed=1)
    p_1, p_2 = (predicted(host.h, z) for z in online)
    t_1, t_2 = (z.tolist() for z in target)

    def squared_distance(a: list[float], b: list[float]) -> float:
        return sum((x - y) ** 2 for x, y in zip(unit(a), unit(b), strict=True))

    terms = [squared_distance(p_1[i], t_2[i]) + squared_distance(p_2[i], t_1[i]) for i in range(N)]
    check(host, online, target, mean(terms))


def test_simsiam() -> None:
    host = build(f"simsiam(hidden_dim={D}, pred_hidden_dim=4)")
    z_1, z_2 = embeddings(2)
    p_1, p_2 = predicted(host.h, z_1), predicted(host.h, z_2)
    terms = [-cosine(p_1[i], z_2[i].tolist()) / 2 - cosine(p_2[i], z_1[i].tolist()) / 2 for i in range(N)]
    check(host, [z_1, z_2], [], mean(terms))


@pytest.mark.parametrize("view", [0, 1])
def test_no_gradient_of_simsiam_flows_through_the_view_that_is_predicted(view: int) -> None:
    """The gradient of z_1 is that of D(p_1, z_2) / 2 with z_2 a constant, and the other way round."""
    host = build(f"simsiam(hidden_dim={D}, pred_hidden_dim=4)").double()
    online = [z.requires_grad_(True) for z in embeddings(2)]
    host.loss(online, []).backward()
    found, step = online[view].grad, 1e-6
    predicts, constant = online[view].detach(), online[1 - view].tolist()
    assert found is not None
    for i, j in ((0, 0), (2, 3), (5, 1)):
        moved = []
        for sign in (1, -1):
            z = predicts.clone()
            z[i, j] += sign * step
            moved.append(mean([-cosine(p, t) / 2 for p, t in zip(predicted(host.h, z), constant, strict=True)]))
        assert found[i, j].item() == pytest.approx((moved[0] - moved[1]) / (2 * step), rel=1e-5, abs=1e-8)


# Clusters and distillation


def slow_sinkhorn(scores: Rows, epsilon: float, iterations: int) -> Rows:
    q = [[math.exp(s / epsilon) for s in row] for row in scores]
    for _ in range(iterations):
        q = transposed([[x / sum(column) / len(q[0]) for x in column] for column in transposed(q)])
        q = [[x / sum(row) / len(q) for x in row] for row in q]
    return [[len(q) * x for x in row] for row in q]


def slow_swav(online: list[Tensor], c: Rows, queues: list[Rows], scale: float = 1.0) -> float:
    scores = [[[dot(unit(z), k) for k in c] for z in view.tolist()] for view in online]
    per_code = []
    for i in (0, 1):
        remembered = [[dot(z, k) for k in c] for z in queues[i]]
        codes = slow_sinkhorn([*scores[i], *remembered], 0.05, 3)[: len(online[i])]
        per_view = []
        for v in range(len(online)):
            if v != i:
                p = [softmax([s / 0.1 for s in row]) for row in scores[v]]
                per_view.append(mean([cross_entropy(q, p[n]) for n, q in enumerate(codes)]))
        per_code.append(mean(per_view))
    return scale * mean(per_code)


@pytest.mark.parametrize("views", [2, 3, 4])
@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_swav(views: int, scale: float) -> None:
    host = build(f"swav(prototypes=7, output_dim={D}, scale={scale})")
    online = embeddings(views)
    host.double().before_step(NOW)  # unit prototypes to the last digit
    check(host.float(), online, [], slow_swav(online, host.c.double().tolist(), [[], []], scale))


@pytest.mark.parametrize("length", [4, 6, 15])
@pytest.mark.parametrize("views", [2, 4])
def test_swav_with_a_queue_that_is_used_once_it_is_full(length: int, views: int) -> None:
    host = build(f"swav(prototypes=7, output_dim={D}, queue={length}, queue_epoch=20)").double()
    queues: list[Rows] = [[], []]  # newest last
    differed = False
    for step in range(36, 46):
        host.before_step(Moment(step, 100, 2))  # epoch 20 starts with step 40
        online = embeddings(views, seed=step)
        full = [queue if len(queue) == length else [] for queue in queues]
        c = host.c.tolist()
        expected = slow_swav(online, c, full)
        assert host.loss(online, []).item() == pytest.approx(expected, rel=1e-9)
        differed |= bool(full[0]) and abs(expected - slow_swav(online, c, [[], []])) > 1e-3
        with torch.no_grad():
            host.after_step(online, [])
        if step >= 40:
            for i in (0, 1):
                queues[i] = [*queues[i], *(unit(z) for z in online[i].tolist())][-length:]
    assert differed


@pytest.mark.parametrize("views", [2, 3, 4])
def test_dino_with_a_centre_that_is_not_zero(views: int) -> None:
    host = build(f"dino(output_dim={D}, warmup_epochs=40)")
    host.before_step(NOW)  # epoch 20 of 40
    t_s, t_t = 0.1, (0.04 + 0.07) / 2
    online, target = ([0.2 * z for z in embeddings(views)], [0.2 * z for z in embeddings(2, seed=1)])
    host.double()
    for seed in range(3):
        with torch.no_grad():
            host.after_step([], [0.2 * z for z in embeddings(2, seed=seed + 5)])
    host.float()
    centre = host.centre.double().tolist()
    assert min(abs(c) for c in centre) > 1e-3
    terms = []
    for i in (0, 1):
        for v in range(views):
            if v == i:
                continue
            for n in range(N):
                teacher = softmax([(x - c) / t_t for x, c in zip(target[i][n].tolist(), centre, strict=True)])
                student = softmax([x / t_s for x in online[v][n].tolist()])
                terms.append(cross_entropy(teacher, student))
    check(host, online, target, mean(terms))


# Redundancy


@pytest.mark.parametrize("lam", [0.0051, 0.5])
def test_barlow_twins(lam: float) -> None:
    """BN's epsilon, 1e-5 beside a variance, is not part of the equation; these embeddings are large."""
    z_1, z_2 = (1000 * z for z in embeddings(2))

    def standardised(z: Tensor) -> Rows:
        """Columns of mean 0 and variance 1."""
        columns = []
        for column in transposed(z.tolist()):
            m = mean(column)
            deviation = math.sqrt(mean([(x - m) ** 2 for x in column]))
            columns.append([(x - m) / deviation for x in column])
        return columns

    a, b = standardised(z_1), standardised(z_2)
    expected = 0.0
    for i in range(D):
        for j in range(D):
            c = dot(a[i], b[j]) / N
            expected += (1 - c) ** 2 if i == j else lam * c**2
    check(build(f"barlow_twins(lam={lam}, hidden_dim=4)"), [z_1, z_2], [], expected)


@pytest.mark.parametrize("weights", [(25.0, 25.0, 1.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)])
@pytest.mark.parametrize("size", [0.3, 1.0])
def test_vicreg(weights: tuple[float, float, float], size: float) -> None:
    z_1, z_2 = (size * z for z in embeddings(2))

    def covariance(columns: Rows, i: int, j: int) -> float:
        a, b = columns[i], columns[j]
        return sum((x - mean(a)) * (y - mean(b)) for x, y in zip(a, b, strict=True)) / (N - 1)

    a, b = transposed(z_1.tolist()), transposed(z_2.tolist())
    s = mean([(a[j][n] - b[j][n]) ** 2 for j in range(D) for n in range(N)])
    v = c = 0.0
    for columns in (a, b):
        v += mean([max(0.0, 1 - math.sqrt(covariance(columns, j, j) + 1e-4)) for j in range(D)]) / 2
        c += sum(covariance(columns, i, j) ** 2 for i in range(D) for j in range(D) if i != j) / D
    expected = weights[0] * s + weights[1] * v + weights[2] * c
    check(build("vicreg({}, {}, {}, hidden_dim=4)".format(*weights)), [z_1, z_2], [], expected)


# Labels


@pytest.mark.parametrize("views", [2, 3])
def test_supervised(views: int) -> None:
    online, labels = embeddings(views), torch.tensor([0, 1, 4, 2, 2, 3])
    per_view = [
        mean([-math.log(softmax(row)[label]) for row, label in zip(z.tolist(), labels.tolist(), strict=True)])
        for z in online
    ]
    check(build("supervised(classes=5)"), online, [labels], mean(per_view))


def test_every_host_is_compared_with_its_equation() -> None:
    compared = {name.removeprefix("test_") for name in globals() if name.startswith("test_")}
    assert all(any(test.startswith(host) for test in compared) for host in lookup.names("hosts"))
