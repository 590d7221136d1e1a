"""Whether a method uses the omega it is told: methods that undo an augmentation or ignore it, and the real ones."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from augaware.analysis.alone import Alone
from augaware.analysis.base import Number
from augaware.analysis.condition_check import ConditionCheck, of_another
from augaware.analysis.subject import Subject
from augaware.awareness.base import Awareness, Embedding, MakeProjector
from augaware.data.shapes import Shapes
from augaware.frozen import Frozen
from augaware.hosts.base import HostSetting
from augaware.hosts.simclr import SimCLR
from augaware.losses import nt_xent
from augaware.nets.base import Encoder, build_encoder
from augaware.objective import Objective
from augaware.spaces import Binary, Cyclic, Interval
from augaware.views import Omega
from known_encoders import SIDE, SIZE, Keeps, known

AUGMENT = ("crop(scale=(0.2, 1.0))", "flip()", "color_jitter(0.4, 0.4, 0.4, 0.1)", "rotate90()", "grayscale(p=0.2)")
MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
OWN = ["crop", "flip", "color_jitter", "rotate90", "grayscale"]


class Undo(nn.Module):
    """z: the small image y, mirrored back where it is told that it was mirrored."""

    def forward(self, y: Tensor, omega: Omega) -> Tensor:
        image = y.reshape(-1, 3, SIDE, SIDE)
        return torch.where(omega["flip"][:, :, None, None] > 0, image.flip(3), image).flatten(1)


class Ignore(nn.Module):
    """z: y, whatever is told."""

    def forward(self, y: Tensor, omega: Omega) -> Tensor:
        return y


class Told(Awareness):
    """A method of the test's own, with a g that is given."""

    def __init__(self, g: nn.Module) -> None:
        super().__init__()
        self.made = [g]

    @property
    def name(self) -> str:
        return "mine"

    def projector(self, make: MakeProjector, dim: int) -> nn.Module:
        return self.made[0]

    def when_told(self, g: nn.Module, plain: Embedding, view: Embedding, omega: Omega) -> tuple[Tensor, Tensor]:
        return g(view.y, omega), plain.z


def mine(g: nn.Module, n: int = 40) -> Subject:
    encoder = known(Keeps)
    objective = Objective(encoder.f, SimCLR(HostSetting(encoder.dim)), [Told(g)])
    return Subject(encoder, Shapes(n, size=24), Alone(AUGMENT, SIZE, MEAN, STD), n, 0, objective)


def asked(*aware: str, n: int = 40, augment: tuple[str, ...] = AUGMENT) -> Subject:
    """An untrained small run, whose norms have seen nothing."""
    torch.manual_seed(0)
    f: Encoder = build_encoder("tiny(widths=(4, 8))")
    alone = Alone(augment, SIZE, MEAN, STD)
    host = "simclr(proj_hidden_dim=8, proj_output_dim=4)"
    objective = Objective.from_specs(f, host, aware, alone.pipeline.spaces)
    return Subject(Frozen(f, "small", {}, SIZE, MEAN, STD), Shapes(n, size=24), alone, n, 0, objective)


def answers(subject: Subject) -> dict[tuple[str, str], Number]:
    return {(x.measure, x.of): x for x in ConditionCheck()(subject)}


# ---- whose omega is another's


def test_another_omega_is_the_next_images_and_the_identity_where_that_is_the_same() -> None:
    omega = {
        "flag": torch.tensor([[1.0], [1.0], [0.0], [1.0]]),
        "turn": torch.tensor([[2.0], [2.0], [2.0], [1.0]]),
        "noise": torch.tensor([[1.0, 7.0], [1.0, 8.0], [1.0, 9.0], [1.0, 7.0]]),  # its second column is for replay
        "measured": torch.tensor([[0.1], [0.2], [0.3], [0.4]]),
    }
    identity = {name: torch.zeros_like(value) for name, value in omega.items()}
    found = of_another(omega, identity, {"flag": Binary(), "turn": Cyclic(4), "noise": Interval(1)})
    # Image 0 and 1 differ in what is no parameter alone; 1 and 2 in the flag, 2 and 3 in both, 3 and 0 in the turn.
    assert found["flag"].tolist() == [[0], [0], [1], [1]]
    assert found["turn"].tolist() == [[0], [2], [1], [2]]
    assert found["noise"].tolist() == [[0, 0], [1, 9], [1, 7], [1, 7]]
    assert found["measured"].flatten().tolist() == pytest.approx([0, 0.3, 0.4, 0.1])


def test_where_all_are_applied_alike_another_is_none() -> None:
    subject = mine(Undo())
    found = answers(subject)
    for of in ("flip", "grayscale"):
        assert found["another", of] == Number(
            "another", *[getattr(found["none", of], key) for key in ("value", "of", "stage", "at", "low", "high")]
        )
    assert found["another", "color_jitter"].value == found["none", "color_jitter"].value  # Undo reads the flip alone


# ---- methods whose truth is known


def test_a_projector_that_undoes_what_it_is_told_needs_the_right_omega() -> None:
    found = answers(mine(Undo()))
    assert list(dict.fromkeys(of for _, of in found)) == [*OWN, "all"]
    assert {x.stage for x in found.values()} == {"mine"}
    assert found["own", "flip"].value == pytest.approx(1, abs=1e-6)
    low = found["own_over_another", "flip"].low
    assert low is not None
    assert low > 0.05
    for of in ("crop", "color_jitter", "rotate90", "grayscale"):  # of which it reads nothing
        assert found["own_over_another", of].value == found["own_over_none", of].value == 0.0
    assert found["own_over_another", "all"].value > 0
    assert found["own_over_none", "all"].value > 0


def test_the_cosines_are_those_of_a_slow_transcription() -> None:
    subject = mine(Undo())
    plain, view = (
        subject.embed(),
        subject.embed(["crop", "flip", "color_jitter", "rotate90", "grayscale"], always=False),
    )
    found, n = answers(subject), len(plain.y)
    cosines: dict[str, list[float]] = {"own": [], "another": [], "none": []}
    for i in range(n):
        image = view.y[i].reshape(3, SIDE, SIDE)
        for told, flipped in (
            ("own", view.omega["flip"][i]),
            ("another", view.omega["flip"][(i + 1) % n]),
            ("none", torch.zeros(1)),
        ):
            z = (image.flip(2) if flipped else image).flatten()
            cosines[told].append(float(F.cosine_similarity(z, plain.y[i], dim=0)))
    for told, values in cosines.items():
        assert found[told, "all"].value == pytest.approx(sum(values) / n, abs=1e-6)
        difference = torch.tensor(cosines["own"]) - torch.tensor(values)
        if told != "own":
            number = found[f"own_over_{told}", "all"]
            half = 1.96 * float(difference.std()) / n**0.5
            assert (number.value, number.low, number.high) == pytest.approx(
                (float(difference.mean()), float(difference.mean()) - half, float(difference.mean()) + half), abs=1e-4
            )


def test_a_projector_that_ignores_what_it_is_told_is_found_out() -> None:
    found = answers(mine(Ignore()))
    assert {x.value for (measure, _), x in found.items() if measure.startswith("own_over")} == {0.0}
    assert found["own", "flip"].value < 0.99


# ---- the methods of the library


@pytest.mark.parametrize("how", ["concat", "add", "multiply", "hyper", "hyper_bn"])
def test_cassle_is_moved_by_what_it_is_told_of_and_by_that_alone(how: str) -> None:
    subject = asked(f"cassle(depth=1, width=4, how={how!r}, condition=['color_jitter'])")
    assert subject.objective is not None
    for p in subject.objective.online.g.parameters():
        if p.ndim == 1:  # the biases that a hyper-network makes of nothing are zero before training
            nn.init.normal_(p)
    found = answers(subject)
    for of in OWN:
        assert (found["own_over_another", of].value != 0) == (of == "color_jitter")
        assert (found["own_over_none", of].value != 0) == (of == "color_jitter")


def test_cassle_told_noise_makes_no_difference_and_the_same_noise_again() -> None:
    subject, state = asked("cassle(depth=1, width=4, condition='random')"), torch.get_rng_state()
    found = answers(subject)
    assert torch.equal(torch.get_rng_state(), state)
    assert {x.value for (measure, _), x in found.items() if measure.startswith("own_over")} == {0.0}
    again = answers(asked("cassle(depth=1, width=4, condition='random')"))
    assert found == again


@pytest.mark.parametrize(
    "aware", ["equimod(hidden_dim=8, output_dim=8, told_dim=4)", "sie(hidden_dim=8, output_dim=4)"]
)
def test_methods_that_are_told_elsewhere_answer_too(aware: str) -> None:
    found = answers(asked("augself", aware))
    assert {x.stage for x in found.values()} == {aware.partition("(")[0]}
    assert all(found["own_over_another", of].value != 0 for of in OWN)


def test_equimods_answer_is_the_prediction_of_its_loss() -> None:
    subject = asked("equimod(hidden_dim=8, output_dim=8, told_dim=4)")
    assert subject.objective is not None
    (method,) = subject.objective.aware
    method.eval()
    method.own = range(2, 3)
    plain, one, two = subject.embed(), subject.embed(["crop"]), subject.embed(["color_jitter"])
    told = [method.when_told(subject.objective.online.g, plain, view, view.omega) for view in (one, two)]
    made, truth = (torch.cat([answer[k] for answer in told if answer is not None]) for k in (0, 1))
    loss = method.losses({0: one, 1: two, 2: plain}, {})["equi"].loss
    torch.testing.assert_close(loss, nt_xent(truth, made, 0.2))


def test_sies_answer_is_the_prediction_of_its_loss() -> None:
    subject = asked("sie(hidden_dim=8, output_dim=4, variance=0.0, covariance=0.0)")
    assert subject.objective is not None
    (method,) = subject.objective.aware
    method.eval()
    plain, view = subject.embed(), subject.embed(["crop"])
    answer = method.when_told(subject.objective.online.g, plain, view, view.omega)
    assert answer is not None
    torch.testing.assert_close(method.losses({0: plain, 1: view}, {})["equi"].loss, 4.5 * F.mse_loss(*answer))


# ---- whom it cannot be asked, and what is left


def test_it_is_refused_where_nothing_is_told_omega() -> None:
    who = "cassle, equimod, sie"
    check, alone = ConditionCheck(), Subject(known(Keeps), Shapes(5, size=24), Alone((), SIZE, MEAN, STD))
    assert check.refusal(alone) == (
        f"there is no projector or predictor beside this encoder; it is for runs, trained with one of: {who}"
    )
    beside = "trains beside the encoder is told omega; it is for runs with one of"
    assert check.refusal(asked()) == f"nothing that 'vanilla' {beside}: {who}"
    assert check.refusal(asked("augself", "looc")) == f"nothing that 'augself+looc' {beside}: {who}"
    assert check.refusal(asked("augself", "cassle(depth=1)")) is None
    assert check.refusal(mine(Undo(), 1)) == "it tells a view the parameters of another image's; give at least 2 images"


def test_the_objective_is_left_as_it_was() -> None:
    subject = asked("cassle(depth=1, width=4)")
    assert subject.objective is not None
    subject.objective.online.g.train()
    state = {key: x.clone() for key, x in subject.objective.state_dict().items()}
    flags = [module.training for module in subject.objective.modules()]
    found = answers(subject)
    assert all(torch.equal(x, state[key]) for key, x in subject.objective.state_dict().items())
    assert [module.training for module in subject.objective.modules()] == flags
    assert found == answers(subject)


def test_the_picture_is_drawn_for_odd_numbers_too() -> None:
    for subject in (mine(Ignore(), 2), asked("cassle(depth=1, width=4)", augment=("flip()",))):
        (png,) = ConditionCheck().pictures(subject).values()
        assert png.startswith(b"\x89PNG")
        assert len(png) > 5000
