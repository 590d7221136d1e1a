"""BN over processes: two processes with half a batch each are one process with all of it."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn

from augaware.errors import RequestError
from augaware.nets.base import build_encoder
from augaware.nets.synchronised import SyncBatchNorm, synchronised

# on one worker, so that they are started once
pytestmark = [pytest.mark.long, pytest.mark.xdist_group("processes")]


@dataclass(frozen=True)
class Case:
    """A module, the shape of a whole batch, how much of it the first process gets."""

    make: Any
    shape: tuple[int, ...]
    first: int
    dtype: torch.dtype = torch.float64


def net() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(16, 5, bias=False),
        nn.BatchNorm1d(5, affine=False),
    )


CASES = {
    "rows": Case(lambda: nn.BatchNorm1d(3), (8, 3), 4),
    "maps": Case(lambda: nn.BatchNorm2d(3), (8, 3, 5, 4), 4),
    "unequal rows": Case(lambda: nn.BatchNorm1d(3), (8, 3), 7),
    "unequal maps": Case(lambda: nn.BatchNorm2d(3, momentum=0.3, eps=1e-3), (8, 3, 2, 2), 3),
    "a process without images": Case(lambda: nn.BatchNorm2d(3), (8, 3, 2, 2), 8),
    "no weight": Case(lambda: nn.BatchNorm1d(3, affine=False), (8, 3), 4),
    "no running statistics": Case(lambda: nn.BatchNorm1d(3, track_running_stats=False), (8, 3), 4),
    "average of all steps": Case(lambda: nn.BatchNorm1d(3, momentum=None), (8, 3), 4),
    "network": Case(net, (8, 3, 4, 4), 5),
    "float32": Case(lambda: nn.BatchNorm2d(3), (8, 3, 5, 4), 4, torch.float32),
    "bfloat16": Case(lambda: nn.BatchNorm2d(3), (8, 3, 5, 4), 4, torch.bfloat16),
}


def drawn(case: Case) -> tuple[nn.Module, list[Tensor], list[Tensor]]:
    """The module with drawn weights, images of two steps, and what weighs the outputs in each step's loss."""
    torch.manual_seed(0)
    module = case.make()
    for parameter in module.parameters():
        nn.init.uniform_(parameter, -2, 2)
    if case.dtype == torch.float64:
        module.double()
    images = [(3 * torch.randn(case.shape) + 50).to(case.dtype) for _ in range(2)]
    width = (8, 5) if case.make is net else case.shape
    return module, images, [torch.randn(width).to(case.dtype) for _ in range(2)]


MERGED = {"rows": lambda a, b: torch.cat([a, b]), "sum": torch.add, "same": lambda a, b: a}


def steps(module: nn.Module, images: list[Tensor], weights: list[Tensor]) -> dict[str, Tensor]:
    """Outputs, the loss's gradients of images and weights, and buffers after two steps; then outputs in eval mode.

    A name begins with what makes one of two processes' findings: rows one below the other, a sum, or they are the same.
    """
    found: dict[str, Tensor] = {}
    for i, (x, w) in enumerate(zip(images, weights, strict=True)):
        x = x.clone().requires_grad_()
        y = module(x)
        ((y + y**2) * w).sum().backward()
        assert x.grad is not None
        found |= {f"rows/y{i}": y.detach(), f"rows/dx{i}": x.grad}
    found |= {f"sum/{name}": p.grad for name, p in module.named_parameters() if p.grad is not None}
    found |= {f"same/{name}": b.clone() for name, b in module.named_buffers()}
    if len(list(module.buffers())):  # else the statistics are those of each process's own batch, as in torch
        found["rows/eval"] = module.eval()(images[0]).detach()
    return found


def one_of_two(rank: int, place: str) -> None:
    """What process ``rank`` finds in every case."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{place}/store", rank=rank, world_size=2)
    found = {}
    for name, case in CASES.items():
        module, images, weights = drawn(case)
        part = slice(0, case.first) if rank == 0 else slice(case.first, None)
        found[name] = steps(synchronised(module), [x[part] for x in images], [w[part] for w in weights])
    torch.save(found, f"{place}/{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, dict[str, Tensor]]]:
    """What the two processes found: case -> name -> value."""
    place = tmp_path_factory.mktemp("two")
    mp.spawn(one_of_two, args=(str(place),), nprocs=2)
    return [torch.load(place / f"{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.mark.parametrize("name", CASES)
def test_two_processes_are_one_with_the_whole_batch(two: list[dict[str, dict[str, Tensor]]], name: str) -> None:
    module, images, weights = drawn(CASES[name])
    expected = steps(module, images, weights)
    a, b = (found[name] for found in two)
    assert set(a) == set(b) == set(expected)
    tolerance = {torch.float64: 1e-9, torch.float32: 1e-5, torch.bfloat16: 0.1}[CASES[name].dtype]
    for key, value in expected.items():
        kind = key.split("/")[0]
        if kind == "same":
            assert torch.equal(a[key], b[key])
        merged = MERGED[kind](a[key], b[key])
        assert merged.dtype == value.dtype
        close = 1e-6 if kind == "same" else tolerance
        torch.testing.assert_close(merged, value, rtol=close, atol=close, msg=lambda m, key=key: f"{key}: {m}")


def test_one_process_is_plain_bn_to_the_bit(tmp_path: Path) -> None:
    def check() -> None:
        for name, case in CASES.items():
            module, images, weights = drawn(case)
            plain = steps(copy.deepcopy(module), images, weights)
            mine = steps(synchronised(module), images, weights)
            assert all(torch.equal(mine[key], plain[key]) for key in plain), name

    check()
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        check()
    finally:
        dist.destroy_process_group()


def test_replacing_keeps_everything_but_the_class() -> None:
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4, eps=1e-3, momentum=0.2), nn.Sequential(nn.BatchNorm1d(4)))
    module[2].eval()
    module[1].weight.requires_grad_(False)
    before, parameters = copy.deepcopy(module.state_dict()), list(module.parameters())
    assert synchronised(module) is module
    assert [type(m) for m in (module[1], module[2][0])] == [SyncBatchNorm] * 2
    assert list(module.state_dict()) == list(before)
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())
    assert all(p is q for p, q in zip(module.parameters(), parameters, strict=True))  # an optimiser keeps its hold
    assert (module[1].eps, module[1].momentum, module[1].training) == (1e-3, 0.2, True)
    assert not module[2][0].training
    again = module[1]
    assert synchronised(module)[1] is again
    alone = synchronised(nn.BatchNorm2d(3, affine=False, track_running_stats=False))
    assert isinstance(alone, SyncBatchNorm)
    assert (alone.weight, alone.running_mean, list(alone.state_dict())) == (None, None, [])


@pytest.mark.parametrize(
    "spec", ["resnet18(stem='cifar')", "tiny(widths=(4, 8))", "timm/test_resnet", "timm/test_byobnet"]
)
def test_encoders_stay_what_they_are(spec: str) -> None:
    torch.manual_seed(0)
    f = build_encoder(spec)
    g = synchronised(copy.deepcopy(f))
    count = sum(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in f.modules())
    assert sum(isinstance(m, SyncBatchNorm) for m in g.modules()) == count > 0
    assert list(g.state_dict()) == list(f.state_dict())
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(g(x), f(x))
    assert torch.equal(g.eval()(x), f.eval()(x))


def test_a_bn_with_a_forward_of_its_own_is_refused() -> None:
    class Odd(nn.BatchNorm1d):
        def forward(self, input: Tensor) -> Tensor:
            return super().forward(input) + 1

    with pytest.raises(RequestError, match="Odd is a BatchNorm of its own kind"):
        synchronised(nn.Sequential(Odd(3)))
