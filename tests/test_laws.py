"""`augaware check`: the laws hold for our plug-ins, each can be broken, and the command says by what."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import augaware
from augaware import lookup
from augaware.augment.base import Augmentation, check_probability, where_applied
from augaware.awareness.base import Awareness, Extra, Setting, Views
from augaware.cli import main
from augaware.errors import RequestError
from augaware.hosts.base import Host, HostSetting
from augaware.laws import augmentation, awareness, host, task
from augaware.laws.base import Given, Law, judge, sentence
from augaware.nets.heads import mlp
from augaware.random import Draws
from augaware.spaces import Interval
from augaware.tasks.base import Task
from small_hosts import narrow


class Dim(Augmentation):
    """A sound one, to be spoilt."""

    space = Interval()
    identity = (0.0,)

    def __init__(self, size: int, p: float = 0.5) -> None:
        check_probability("planted", p)
        self.p = p

    def sample(self, draws: Draws, sizes: Tensor) -> Tensor:
        return self.off(draws, draws.uniform(1, 0.1, 0.5), self.p)

    @where_applied
    def apply(self, x: Tensor, omega: Tensor) -> Tensor:
        return x * (1 - omega[:, 0]).reshape(-1, 1, 1, 1)


class Cosine(Host):
    """A sound one, to be spoilt."""

    def __init__(self, setting: HostSetting) -> None:
        super().__init__()
        self.dim = setting.dim
        self.register_buffer("seen", torch.zeros(1))

    def projector(self, d_in: int) -> nn.Module:
        return mlp((d_in, self.dim, 8))

    def loss(self, online: Sequence[Tensor], target: Sequence[Tensor]) -> Tensor:
        return (1 - nn.functional.cosine_similarity(*online)).mean()


class Tell(Awareness):
    """A sound one, to be spoilt."""

    reads: Sequence[str] | None = ("flip",)

    def __init__(self, setting: Setting) -> None:
        super().__init__()
        self.phi = nn.Linear(setting.dim, 1)

    def losses(self, online: Views, target: Views) -> dict[str, Extra]:
        y, flip = torch.cat([v.y for v in online.values()]), torch.cat([v.omega["flip"] for v in online.values()])
        return {"flip": Extra(1.0, (self.phi(y).float() - flip).square().mean())}


class Constant(Task):
    """A sound one, to be spoilt."""

    protocol = "planted/1"

    def __call__(self, encoder: Any, splits: Any) -> dict[str, object]:
        return {"test": 0.5}


def planted(monkeypatch: pytest.MonkeyPatch, base: type, **members: Any) -> str:
    """A module of someone's that holds ``base`` with other members; -> its spec."""
    module = ModuleType("someones_lab.planted")
    kind = type("Planted", (base,), {"__module__": module.__name__, **members})
    module.__all__, module.Planted = ["Planted"], kind  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "someones_lab", ModuleType("someones_lab"))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module.__name__


def no_p(self: Dim, size: int, p: float = 0.5) -> None:
    self.p = p


def remembers(self: Cosine, online: Sequence[Tensor], target: Sequence[Tensor]) -> Tensor:
    self.seen += 1
    return Cosine.loss(self, online, target)


SPOILT_AUGMENTATIONS: list[tuple[Law, dict[str, Any]]] = [
    (augmentation.columns, {"sample": lambda self, draws, sizes: draws.uniform(2, 0.1, 0.5)}),
    (augmentation.columns, {"space": Interval(2)}),
    (augmentation.columns, {"space": Interval(reach=0.01)}),
    (augmentation.of_the_sample, {"sample": lambda self, draws, sizes: torch.rand(len(draws), 1)}),
    (augmentation.of_the_sample, {"sample": lambda self, draws, sizes: torch.arange(len(draws))[:, None] / 50}),
    (augmentation.not_applied, {"sample": lambda self, draws, sizes: draws.uniform(1, 0.1, 0.5)}),
    (augmentation.probability, {"__init__": no_p}),
    (augmentation.unchanged_by_identity, {"apply": lambda self, x, omega: x * 0.5}),
    (augmentation.pictures, {"apply": lambda self, x, omega: x * (1 + 9 * omega[:, :, None, None])}),
    (augmentation.pictures, {"apply": lambda self, x, omega: x[:, :, ::2]}),
    (augmentation.changes, {"apply": lambda self, x, omega: x}),
    (augmentation.replayed, {"apply": lambda self, x, omega: x * torch.rand(len(x), 1, 1, 1)}),
    (augmentation.pure, {"apply": lambda self, x, omega: x.mul_(1 - omega[:, :, None, None])}),
    (augmentation.pure, {"apply": lambda self, x, omega: x * (1 - omega.mul_(0.5)[:, :, None, None])}),
    (augmentation.one_by_one, {"apply": lambda self, x, omega: x * (1 - omega.mean())}),
    (augmentation.measured, {"measure": lambda self, before, after: {"surprise": before[:, :1, 0, 0]}}),
    (augmentation.measured, {"measures": {"light": Interval(1, measured=True)}}),
    (augmentation.in_a_pipeline, {"name": "another"}),
]
SPOILT_HOSTS: list[tuple[Law, dict[str, Any]]] = [
    (host.scalar, {"loss": lambda self, online, target: online[0].mean(dim=1)}),
    (host.scalar, {"loss": lambda self, online, target: online[0].square().mean()}),
    (host.pure, {"loss": remembers}),
    (host.pure, {"loss": lambda self, online, target: online[0].mean() * torch.rand(())}),
    (host.order, {"loss": lambda self, online, target: online[0][0].mean() + online[1].mean()}),
    (host.order, {"loss": lambda self, online, target: sum(z.square().mean() for z in online)}),
    (host.projectors, {"projector": lambda self, d_in: self.__dict__.setdefault("g", mlp((d_in, 8)))}),
    (host.in_an_objective, {"loss": lambda self, online, target: online[0].mean().bfloat16()}),
]
SPOILT_AWARENESS: list[tuple[Law, dict[str, Any]]] = [
    (awareness.trains, {"losses": lambda self, online, target: {"x": Extra(1.0, torch.tensor(float("nan")))}}),
    (awareness.trains, {"losses": lambda self, online, target: {}}),
    (awareness.repeatable, {"losses": lambda self, online, target: {"x": Extra(1.0, torch.tensor(next(COUNT)))}}),
    (
        awareness.untouched,
        {"losses": lambda self, online, target: {"x": Extra(1.0, online[0].omega["flip"].add_(1).sum())}},
    ),
    (awareness.reads, {"reads": ()}),
]
SPOILT_TASKS: list[tuple[Law, dict[str, Any]]] = [
    (task.answers, {"__call__": lambda self, encoder, splits: {"accuracy": 0.5}}),
    (task.answers, {"__call__": lambda self, encoder, splits: {"test": torch.tensor(0.5)}}),
    (task.versioned, {"protocol": "another/1"}),
    (task.same_again, {"__call__": lambda self, encoder, splits: {"test": next(COUNT)}}),
    (task.unchanged, {"__call__": lambda self, encoder, splits: {"test": len(str(encoder.train()))}}),
    (task.unchanged, {"__call__": lambda self, encoder, splits: {"test": float(torch.rand(()))}}),
    (
        task.unchanged,
        {"__call__": lambda self, encoder, splits: {"test": float(next(encoder.parameters()).add_(1).sum())}},
    ),
]
COUNT = (float(number) for number in range(1000))
SOUND = {"augment": Dim, "hosts": Cosine, "awareness": Tell, "tasks": Constant}
LAWS = {"augment": augmentation.LAWS, "hosts": host.LAWS, "awareness": awareness.LAWS, "tasks": task.LAWS}
SPOILT = [
    *(("augment", *spoilt) for spoilt in SPOILT_AUGMENTATIONS),
    *(("hosts", *spoilt) for spoilt in SPOILT_HOSTS),
    *(("awareness", *spoilt) for spoilt in SPOILT_AWARENESS),
    *(("tasks", *spoilt) for spoilt in SPOILT_TASKS),
]


@pytest.mark.parametrize("room", SOUND)
def test_a_sound_plug_in_of_ones_own_holds_all_laws_of_its_kind(room: str, monkeypatch: pytest.MonkeyPatch) -> None:
    verdicts = augaware.check(planted(monkeypatch, SOUND[room]))
    assert [verdict.law for verdict in verdicts] == [sentence(law) for law in LAWS[room]]
    assert not [verdict for verdict in verdicts if not verdict.holds]


@pytest.mark.parametrize(("room", "law", "members"), SPOILT, ids=lambda value: getattr(value, "__name__", None))
def test_each_law_can_be_broken(room: str, law: Law, members: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    (verdict,) = judge([law], Given(room, planted(monkeypatch, SOUND[room], **members)))
    assert verdict.found
    assert "\n" not in verdict.found
    assert law(Given(room, planted(monkeypatch, SOUND[room]))) == ""


def test_every_law_is_broken_above_and_is_a_sentence() -> None:
    laws = {law for room in LAWS.values() for law in room}
    assert {law for _, law, _ in SPOILT} == laws
    assert all(sentence(law).endswith(".") for law in laws)


@pytest.mark.parametrize("name", lookup.names("awareness"))
def test_the_laws_hold_for_every_awareness(name: str) -> None:
    assert not [verdict for verdict in augaware.check(narrow(name)) if not verdict.holds]


@pytest.mark.parametrize("spec", ["knn", "linear_probe", "knn('drawn', k=3)"])
def test_the_laws_hold_for_tasks_that_need_labels_alone(spec: str) -> None:
    assert not [verdict for verdict in augaware.check(spec) if not verdict.holds]


def test_the_command_says_each_law_and_ends_with_1_where_one_is_broken(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["check", "flip(p=0.3)"]) == 0
    out = capsys.readouterr().out
    assert out.count("holds ") == len(augmentation.LAWS)
    spec = planted(monkeypatch, Dim, apply=lambda self, x, omega: x)
    assert main(["check", spec]) == 1
    out = capsys.readouterr().out
    assert out.count("BROKEN") == 1
    assert f"BROKEN  {sentence(augmentation.changes)}\n        found: 0 of 8 images change, omega says 8" in out


def test_an_error_in_the_code_of_a_plug_in_is_what_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    verdicts = augaware.check(planted(monkeypatch, Dim, apply=lambda self, x, omega: x / {}[0]))
    assert {verdict.found for verdict in verdicts if not verdict.holds} == {"KeyError: 0"}


def test_a_refusal_in_the_code_of_a_plug_in_breaks_its_law_and_the_others_are_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def only_whole(self: Dim, x: Tensor, omega: Tensor) -> Tensor:
        if len(x) != 8:
            raise RequestError("my_lab.dim: takes 8 images at once")
        return x * omega[:, :, None, None]

    verdicts = augaware.check(planted(monkeypatch, Dim, apply=only_whole))
    assert len(verdicts) == len(augmentation.LAWS)
    assert any(verdict.found == "RequestError: my_lab.dim: takes 8 images at once" for verdict in verdicts)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("nothing", "check 'nothing': no plug-in has this name"),
        ("pathlib", "no plug-in has this name"),
        ("no_such_lab.dim", "cannot import the module 'no_such_lab'"),
        (
            "tiny",
            "check 'tiny': is of the kind encoder, which has no laws; accepted: augmentation, host, awareness, task",
        ),
        ("flip(q=1)", "unknown argument 'q'"),
        ("flip(p=2)", "p=2 is not a probability"),
        ("augaware.recipes.demo", "is none of these: Augmentation, Host, Awareness, Task"),
    ],
)
def test_what_cannot_be_checked_is_refused_in_one_line(spec: str, said: str) -> None:
    with pytest.raises(RequestError, match=said.replace("(", r"\(")) as refused:
        augaware.check(spec)
    assert "\n" not in str(refused.value)
