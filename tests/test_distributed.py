"""Two processes on halves of the batch are one process on all of it: for every host, and for the collectives alone.

The two processes are real ones, on gloo, and are started once; they train every case and leave what they saw as
files. Losses are computed in float32, so that equal means to 1e-5 and not to the last bit.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from augaware import lookup
from augaware.augment.pipeline import Pipeline
from augaware.distributed import gather, local, rank, total, world
from augaware.hosts.base import Host, HostSetting, Moment
from augaware.nets.base import Encoder
from augaware.nets.synchronised import synchronised
from augaware.objective import Objective
from augaware.views import View
from small_hosts import HOSTS, narrow

# on one worker, so that they are started once
pytestmark = [pytest.mark.long, pytest.mark.xdist_group("processes")]

WORLD, BATCH, STEPS, CLASSES = 2, 16, 2, 4
SPECS = {name: narrow(name) for name in HOSTS} | {
    "moco_v2": "moco_v2(queue=24)",  # a batch and a half: the queue wraps around
    "swav": "swav(prototypes=6, hidden_dim=16, output_dim=8, queue=16, queue_epoch=0)",  # full after a step
}
AWARE = {"vanilla": [], "both": ["augself(hidden=8)", "cassle(depth=2, width=8)"]}
AUGMENT = ("crop()", "flip()", "color_jitter(0.4, 0.4, 0.4, 0.1)", "solarize(p=0.3)")
SIZES = {"two views": (24, 24), "multi-crop": (24, 24, 12, 12)}


@dataclass(frozen=True)
class Case:
    host: str
    aware: str
    plan: str = "two views"

    def __str__(self) -> str:
        return f"{self.host}, {self.aware}, {self.plan}"


def takes_crops(name: str) -> bool:
    host = lookup.build("hosts", SPECS[name], HostSetting(16, CLASSES))
    assert isinstance(host, Host)
    return host.multi_crop


def cases() -> list[Case]:
    """Every host with every awareness; the file of the test's own host exists only once the tests run."""
    found = [Case(host, aware) for host in HOSTS for aware in AWARE]
    crops = [host for host in lookup.names("hosts") if takes_crops(host)]
    return found + [Case(host, aware, "multi-crop") for host in crops for aware in AWARE]


CASES = cases()


# --- what each process does


def mine(x: Tensor) -> Tensor:
    """This process's rows of the batch."""
    return local(x).clone()


def pipelines(plan: str) -> list[Pipeline]:
    return [Pipeline.from_specs(AUGMENT, size, (0.5,) * 3, (0.25,) * 3) for size in SIZES[plan]]


def encoder() -> Encoder:
    """Smooth: with ReLUs a rounding error is, now and then, a gradient that a pixel has or has not."""
    layers = [nn.Conv2d(3, 6, 3, 2, 1, bias=False), nn.BatchNorm2d(6), nn.GELU()]
    layers += [nn.Conv2d(6, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.GELU()]
    return Encoder(nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()), dim=8)


@cache
def views(plan: str, step: int) -> list[View]:
    """The whole batch's views, and of them the rows of this process."""
    pixels = torch.rand(BATCH, 3, 32, 28, generator=torch.Generator().manual_seed(step))
    sizes, index = torch.tensor([[32, 28]]).expand(BATCH, 2), torch.arange(BATCH) + BATCH * step
    whole = [p.view(pixels, sizes, index, 0, 0, number) for number, p in enumerate(pipelines(plan))]
    return [View(mine(v.image), {name: mine(omega) for name, omega in v.omega.items()}) for v in whole]


def averaged(gradients: dict[str, Tensor]) -> dict[str, Tensor]:
    """The mean over processes, as data-parallel training takes it."""
    if world() == 1:
        return gradients
    flat = torch.cat([g.flatten() for g in gradients.values()])
    dist.all_reduce(flat)
    parts = torch.split(flat / world(), [g.numel() for g in gradients.values()])
    return {name: part.reshape(g.shape) for (name, g), part in zip(gradients.items(), parts, strict=True)}


def trained(case: Case) -> dict[str, dict[str, Tensor]]:
    """Losses and averaged gradients of each step, and the state at the end."""
    torch.manual_seed(0)
    whole = Objective.from_specs(
        encoder(), SPECS[case.host], AWARE[case.aware], pipelines(case.plan)[0].spaces, CLASSES
    )
    if world() > 1:
        synchronised(whole)
    names = {name: p for name, p in whole.named_parameters() if p.requires_grad}
    optimizer = torch.optim.SGD(names.values(), 1e-3)
    found: dict[str, dict[str, Tensor]] = {}
    for step in range(STEPS):
        now = Moment(step, STEPS, STEPS)
        whole.before_step(now)
        parts = whole(views(case.plan, step), mine((torch.arange(BATCH) * 7 + step) % CLASSES))
        optimizer.zero_grad()
        parts["loss"].backward()
        gradients = averaged({name: p.grad for name, p in names.items() if p.grad is not None})
        for name, gradient in gradients.items():
            names[name].grad = gradient
        whole.after_backward(now)
        optimizer.step()
        whole.after_step(now)
        found[f"loss {step}"] = {name: part.detach().clone() for name, part in parts.items()}
        found[f"gradient {step}"] = {name: gradient.clone() for name, gradient in gradients.items()}
    found["state"] = {name: value.clone() for name, value in whole.state_dict().items()}
    return found


def weight(number: int, *shape: int) -> Tensor:
    """Fixed numbers, others for each process ``number``."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(number))


def collectives() -> dict[str, Tensor]:
    """Each collective's value, and the gradient of sum_r (W_r * value) with W_r another weight in each process."""
    found = {"rank": torch.tensor(rank()), "world": torch.tensor(world())}
    for name, collective, rows in (("gather", gather, 3 * world()), ("total", total, 3)):
        x, w = weight(rank(), 3, 2).requires_grad_(), weight(10 + rank(), rows, 2)
        value = collective(x)
        (value * w).sum().backward()
        found |= {name: value.detach(), f"{name}, gradient": x.grad}
        # a sum hands one and the same gradient to both of its terms
        x, y = weight(rank(), 3, 2).requires_grad_(), weight(5 + rank(), 3, 2).requires_grad_()
        ((collective(x) + collective(y)) * w).sum().backward()
        found |= {f"{name}, gradient of a sum's first term": x.grad, f"{name}, gradient of its second": y.grad}
        # one process lays its numbers out in another order, and so its gradient
        x = weight(rank(), 3, 2).requires_grad_()
        value = collective(x.T.contiguous().T if rank() else x)
        (value * (w.T.contiguous().T if rank() else w)).sum().backward()
        found |= {f"{name}, transposed": value.detach().contiguous(), f"{name}, gradient when transposed": x.grad}
    found["local"] = local(gather(weight(rank(), 3, 2)))
    return found


def work(number: int, folder: str) -> None:
    """One of the two processes."""
    torch.set_num_threads(1)
    with warnings.catch_warnings():  # what measures coverage warns as the process ends
        warnings.simplefilter("error")
        dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=number, world_size=WORLD)
        found = {"collectives": collectives(), "cases": {str(case): trained(case) for case in CASES}}
        torch.save(found, f"{folder}/{number}.pt")
        dist.destroy_process_group()


# --- the laws


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of the two processes found."""
    folder = tmp_path_factory.mktemp("processes")
    torch.multiprocessing.spawn(work, (str(folder),), nprocs=WORLD)
    return [torch.load(folder / f"{number}.pt", weights_only=True) for number in range(WORLD)]


def largest(x: Tensor) -> float:
    return x.double().abs().max().item() if x.numel() else 0.0


def assert_close(found: dict[str, Tensor], expected: dict[str, Tensor], tiny: float) -> None:
    """Each tensor to 1e-5 of its largest entry, and ``tiny``."""
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        error, size = largest(found[name].double() - value.double()), largest(value)
        assert error <= 1e-5 * size + tiny, f"{name}: {error:.1e} of {size:.1e}"


@pytest.mark.parametrize("case", CASES, ids=str)
def test_two_processes_with_half_batches_are_one_with_the_full_batch(
    case: Case, processes: list[dict[str, Any]]
) -> None:
    expected = trained(case)
    one, two = (found["cases"][str(case)] for found in processes)
    for step in range(STEPS):
        mean = {name: (loss + two[f"loss {step}"][name]) / 2 for name, loss in one[f"loss {step}"].items()}
        assert_close(mean, expected[f"loss {step}"], tiny=1e-6)
        gradients = expected[f"gradient {step}"]
        assert gradients
        # the gradient of a bias before a BN is zero but for the rounding of the others
        assert_close(one[f"gradient {step}"], gradients, tiny=5e-7 * max(map(largest, gradients.values())))
    assert_close(one["state"], expected["state"], tiny=1e-6)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_parameters_queues_centres_and_statistics_are_the_same_on_all_processes(
    case: Case, processes: list[dict[str, Any]]
) -> None:
    one, two = (found["cases"][str(case)]["state"] for found in processes)
    assert one.keys() == two.keys()
    for name, value in one.items():
        assert torch.equal(value, two[name]), name


def test_the_cases_take_their_hosts_through_all_that_they_remember(processes: list[dict[str, Any]]) -> None:
    """Else equal queues and centres would be equal because nothing was in them."""
    states = {case: found["state"] for case, found in processes[0]["cases"].items()}
    assert states["moco_v2, both, two views"]["hosts.0.place"] == 2 * BATCH - 24
    assert states["swav, both, multi-crop"]["hosts.0.pushed"] == 2 * BATCH
    assert states["swav, both, multi-crop"]["hosts.0.queue"].norm(dim=2).allclose(torch.ones(2, 16))
    assert states["dino, both, multi-crop"]["hosts.0.centre"].abs().min() > 0


# --- the collectives


def summed(rows: int) -> Tensor:
    """sum_r W_r, the gradient that reaches a collective's value."""
    return sum((weight(10 + number, rows, 2) for number in range(WORLD)), torch.zeros(rows, 2))


@pytest.mark.parametrize("given", ["", ", transposed"])
def test_gather_puts_the_rows_of_all_processes_in_their_order(given: str, processes: list[dict[str, Any]]) -> None:
    for number, found in enumerate(processes):
        assert found["collectives"]["rank"] == number
        assert found["collectives"]["world"] == WORLD
        assert torch.equal(found["collectives"][f"gather{given}"], torch.cat([weight(n, 3, 2) for n in range(WORLD)]))
        assert torch.equal(found["collectives"]["local"], weight(number, 3, 2))


@pytest.mark.parametrize("given", ["", ", transposed"])
def test_total_is_the_sum_over_processes(given: str, processes: list[dict[str, Any]]) -> None:
    for found in processes:
        assert torch.allclose(found["collectives"][f"total{given}"], weight(0, 3, 2) + weight(1, 3, 2))


@pytest.mark.parametrize(
    "of", ["gradient", "gradient of a sum's first term", "gradient of its second", "gradient when transposed"]
)
@pytest.mark.parametrize("collective", ["gather", "total"])
def test_a_collectives_backward_pass_is_its_adjoint_summed_over_processes(
    collective: str, of: str, processes: list[dict[str, Any]]
) -> None:
    for number, found in enumerate(processes):
        expected = summed(3 * WORLD)[3 * number : 3 * number + 3] if collective == "gather" else summed(3)
        assert torch.allclose(found["collectives"][f"{collective}, {of}"], expected, atol=1e-6)


def test_with_one_process_every_collective_is_the_identity() -> None:
    x = weight(0, 3, 2).requires_grad_()
    assert (world(), rank()) == (1, 0)
    assert gather(x) is x
    assert total(x) is x
    assert torch.equal(local(x), x)
