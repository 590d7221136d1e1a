"""Activations that are computed again: the same loss, gradients, statistics and draws, in less memory."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from augaware import lookup
from augaware.augment.plan import Camera
from augaware.errors import RequestError
from augaware.hosts.base import Moment
from augaware.nets.base import Encoder, build_encoder
from augaware.nets.recomputed import in_chunks, in_stages
from augaware.objective import Objective, encoder_spec
from augaware.pretrain import start
from augaware.recipe import Recipe
from small_hosts import HOSTS, narrow

B, SIZE, STEPS = 12, 16, 2
AUGMENT = ("crop()", "flip()", "color_jitter(0.4, 0.4, 0.4, 0.1)", "rotate90()")
CAMERA = Camera(Recipe(data="shapes", augment=AUGMENT, size=SIZE, engine="plain"))
VIT = "timm/test_vit"
Found = dict[str, Tensor]


def normfree(spec: str = "") -> Encoder:
    """No statistics of a batch."""
    layers = [nn.Conv2d(3, 8, 3, 2, 1), nn.GroupNorm(2, 8), nn.GELU(), nn.Conv2d(8, 8, 3, 2, 1), nn.GELU()]
    return Encoder(nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()), dim=8)


def trained(f: Callable[[], Encoder], host: str, aware: list[str], chunk: int = 0, recompute: bool = False) -> Found:
    """Losses, gradients and the last state of two steps."""
    torch.manual_seed(0)
    objective = Objective.from_specs(f(), narrow(host), aware, CAMERA.pipelines[0].spaces, 4)
    objective.spare_memory(chunk, recompute)
    found: Found = {}
    optimizer = torch.optim.SGD([p for p in objective.parameters() if p.requires_grad], 0.05)
    for step in range(STEPS):
        now = Moment(step, STEPS, STEPS)
        objective.before_step(now)
        torch.manual_seed(step)
        pixels = torch.rand(B, 3, 20, 20, generator=torch.Generator().manual_seed(step))
        views = CAMERA.take(objective.plan(2), pixels, torch.full((B, 2), 20), torch.arange(B), 0, step)
        parts = objective(views, torch.arange(B) % 4)
        optimizer.zero_grad()
        parts["loss"].backward()
        objective.after_backward(now)
        found |= {f"{step} {name}": value.detach() for name, value in parts.items()}
        found |= {f"{step} {k}": p.grad.clone() for k, p in objective.named_parameters() if p.grad is not None}
        optimizer.step()
        objective.after_step(now)
    return found | {k: v.clone() for k, v in objective.state_dict().items()}


def assert_close(found: Found, expected: Found) -> None:
    """Each tensor to 1e-5 of its largest entry, gradients to 1e-6 of the largest of all."""
    assert found.keys() == expected.keys()
    largest = max(v.abs().max().item() for k, v in expected.items() if k[0].isdigit())
    for name, value in expected.items():
        if value.numel():
            error = (found[name].double() - value.double()).abs().max().item()
            assert error <= 1e-5 * value.double().abs().max().item() + 1e-6 * largest, f"{name}: {error:.1e}"


@pytest.mark.parametrize("host", HOSTS)
def test_the_loss_of_chunks_is_that_of_the_whole_batch_for_every_host(host: str) -> None:
    assert_close(trained(normfree, host, [], chunk=5), trained(normfree, host, []))


@pytest.mark.parametrize("name", [name for name in lookup.names("awareness") if name != "ai"])
def test_and_for_every_awareness(name: str) -> None:
    """Chunks of views that an awareness adds too; of AI, whose encoder is its own, below."""
    separate = "looc(['color_jitter'], separate=True)" if name == "looc" else narrow(name)
    for aware in {narrow(name), separate}:
        f = normfree if "separate" not in aware else lambda aware=aware: branched(aware)
        assert_close(trained(f, "moco_v2", [aware], chunk=7), trained(f, "moco_v2", [aware]))


def branched(aware: str) -> Encoder:
    """LooC++'s encoder; its GroupNorm stands in for a BatchNorm."""
    return without_statistics(build_encoder(encoder_spec("tiny(widths=(8, 8))", [aware], CAMERA.pipelines[0].spaces)))


def without_statistics(f: Encoder) -> Encoder:
    """``f`` with GroupNorm in the place of BatchNorm."""
    for parent in list(f.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.BatchNorm2d):
                setattr(parent, name, nn.GroupNorm(1, child.num_features))
    return f


@pytest.mark.parametrize("form", ["linear", "hyper"])
def test_an_encoder_that_is_told_a_code_is_told_it_in_each_chunk(form: str) -> None:
    aware = f"ai(form={form!r}, hidden=8)"

    def f() -> Encoder:
        return without_statistics(build_encoder(encoder_spec("tiny(widths=(8,))", [aware], CAMERA.pipelines[0].spaces)))

    assert_close(trained(f, "simclr", [aware], chunk=5), trained(f, "simclr", [aware]))


@pytest.mark.parametrize("spec", ["tiny(widths=(8, 16))", "torchvision/resnet18"])
@pytest.mark.parametrize("host", ["simclr", "byol"])
def test_stages_computed_again_change_no_bit_batch_statistics_included(spec: str, host: str) -> None:
    found = trained(lambda: build_encoder(spec), host, [], recompute=True)
    expected = trained(lambda: build_encoder(spec), host, [])
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], value) for name, value in expected.items())


def test_the_second_pass_draws_what_the_first_drew_and_the_draws_after_it_stay_what_they_were() -> None:
    torch.manual_seed(0)
    f = nn.Sequential(nn.Linear(4, 64), nn.Dropout(0.5), nn.Linear(64, 3))
    x, w = torch.randn(10, 4), torch.randn(10, 3)
    found = []
    for forward in (lambda: torch.cat([f(part) for part in x.tensor_split(3)]), lambda: in_chunks(f, 4, x)):
        torch.manual_seed(1)
        y = forward()
        f.zero_grad()
        (y * w).sum().backward()
        found.append([y.detach(), torch.rand(5), *(p.grad.clone() for p in f.parameters())])  # type: ignore[union-attr]
    assert all(torch.equal(one, two) for one, two in zip(*found, strict=True))


def test_in_chunks_batch_statistics_are_those_of_the_chunks_and_move_once_each() -> None:
    x = torch.randn(10, 4)
    f, plain = nn.BatchNorm1d(4), nn.BatchNorm1d(4)
    y = in_chunks(f, 5, x.requires_grad_())
    expected = torch.cat([plain(part) for part in x.detach().split(5)])
    y.square().sum().backward()
    assert torch.equal(y, expected)
    assert f.momentum == 0.1
    assert all(torch.equal(f.state_dict()[name], value) for name, value in plain.state_dict().items())


def kept_bytes(f: Callable[[Tensor], Tensor], x: Tensor) -> int:
    """What a forward pass keeps for the backward pass, without the weights and x."""
    known = {x.untyped_storage().data_ptr()}
    held: list[Tensor] = []

    def pack(t: Tensor) -> Tensor:
        if not isinstance(t, nn.Parameter) and t.untyped_storage().data_ptr() not in known:
            known.add(t.untyped_storage().data_ptr())
            held.append(t)
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        y = f(x)
    assert y.requires_grad
    return sum(t.untyped_storage().nbytes() for t in held)


def test_what_is_computed_again_is_not_kept() -> None:
    torch.manual_seed(0)
    f, x = build_encoder("resnet18(stem='cifar')"), torch.randn(8, 3, 32, 32)
    forgetful = copy.deepcopy(f)
    in_stages(forgetful)
    whole, stages, chunks = kept_bytes(f, x), kept_bytes(forgetful, x), kept_bytes(lambda x: in_chunks(f, 2, x), x)
    print(f"kept between the passes: whole {whole}, stages {stages}, chunks of 2 {chunks} bytes")
    assert stages < 0.4 * whole
    assert chunks < 0.01 * whole
    assert forgetful.state_dict().keys() == f.state_dict().keys()


def test_a_vision_transformer_forgets_its_blocks() -> None:
    torch.manual_seed(0)
    f, x = build_encoder(VIT), torch.randn(3, 3, 160, 160)
    forgetful = copy.deepcopy(f)
    in_stages(forgetful)
    assert kept_bytes(forgetful, x) < 0.5 * kept_bytes(f, x)
    for network in (f, forgetful):
        network(x).square().sum().backward()
    for one, two in zip(f.parameters(), forgetful.parameters(), strict=True):
        assert (one.grad is None) == (two.grad is None)
        assert one.grad is None or torch.equal(one.grad, two.grad)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"recompute": True, "aware": ("ai()",)}, ["recompute", "'invariance'", "chunk"]),
        ({"chunk": -1}, ["chunk=-1", "at least 0"]),
        ({"recompute": 1}, ["recompute=1", "bool"]),
    ],
)
def test_what_cannot_be_computed_again_is_refused(
    small: Recipe, tmp_path: Path, changes: dict[str, object], words: list[str]
) -> None:
    with pytest.raises(RequestError) as refused:
        start(small.changed(changes), tmp_path / "run")
    assert all(word in str(refused.value) for word in words), str(refused.value)


def test_a_network_without_stages_is_refused() -> None:
    with pytest.raises(RequestError, match="Sequential has no sequence of stages; use --set chunk"):
        in_stages(normfree())


def test_a_run_with_stages_computed_again_is_the_same_run(small: Recipe, tmp_path: Path) -> None:
    one = start(small.changed({"epochs": 1}), tmp_path / "one")
    two = start(small.changed({"epochs": 1, "recompute": True}), tmp_path / "two")
    assert one.exported.read_bytes() == two.exported.read_bytes()
