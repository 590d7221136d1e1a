"""A step without numbers: it counts what a real step computes and holds."""

from __future__ import annotations

import json

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import augaware
from augaware import lookup
from augaware.cli import main
from augaware.dry_run import step
from augaware.errors import RequestError
from augaware.pretrain import Trainer
from augaware.progress import Display
from augaware.recipe import Recipe

SMALL = {"data": "shapes(n=64)", "encoder": "tiny(widths=(8, 16))", "size": 16, "epochs": 3, "batch_size": 16}
AWARE = ("augself(hidden=16)", "cassle(depth=2)")


@pytest.mark.parametrize("host", ["simclr()", "byol(hidden_dim=32)", "swav(prototypes=8)", "moco_v2(64)"])
def test_it_computes_as_much_as_a_step(host: str) -> None:
    recipe = Recipe(**SMALL, host=host, aware=AWARE, device="cpu", precision="fp32", health_images=0)
    with Display("", 1) as display:
        trainer = Trainer(recipe, display)
    with FlopCounterMode(display=False) as counter:
        trainer._step(0, 0, trainer.source.batch(torch.arange(16)))
    found = step(recipe)
    assert found.tflop * 1e12 == pytest.approx(counter.get_total_flops())


def test_it_holds_the_weights_their_gradients_and_the_optimiser_s() -> None:
    recipe = Recipe(**SMALL, aware=AWARE, precision="fp32", host="byol(hidden_dim=32)")
    found = step(recipe)
    with Display("", 1) as display:
        objective = Trainer(recipe.changed({"device": "cpu"}), display)._objective
    every, trained = (
        4 * sum(p.numel() for p in given)
        for given in (list(objective.parameters()), [p for p in objective.parameters() if p.requires_grad])
    )
    assert found.kinds["param"] * 2**30 == pytest.approx(every, rel=0.01)
    assert found.kinds["grad"] * 2**30 == pytest.approx(trained, rel=0.01)
    assert found.kinds["opt"] * 2**30 == pytest.approx(trained, rel=0.01)
    assert found.gib == pytest.approx(sum(found.kinds.values()))
    views = 2 * 16 * 3 * 16 * 16 * 4
    assert found.kinds["act"] * 2**30 > views


def test_more_gpus_share_the_images() -> None:
    recipe = Recipe(**SMALL | {"batch_size": 64, "size": 32, "encoder": "resnet18(stem='cifar')"}, precision="fp32")
    one, two = step(recipe), step(recipe, gpus=2)
    assert two.tflop == pytest.approx(one.tflop / 2, rel=0.01)
    assert two.kinds["act"] == pytest.approx(one.kinds["act"] / 2, rel=0.05)


def test_the_command_projects_a_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dry-run", "demo", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    recipe = lookup.build("recipes", "demo")
    assert found["steps"] == 4608 // recipe.batch_size * recipe.epochs
    assert found["hours"] == pytest.approx(found["steps"] * found["tflop"] / found["rate"] / 3600)
    assert main(["dry-run", "flowers"]) == 0
    said = capsys.readouterr().out
    assert "--images N" in said
    assert augaware.dry_run("flowers", images=1000)["steps"] == 1000 // 256 * 200


def test_a_batch_that_cannot_be_divided_is_one_line() -> None:
    for gpus in (0, 3, 16):
        with pytest.raises(RequestError, match=f"gpus={gpus} cannot divide batch_size=16; give a divisor of it"):
            step(Recipe(**SMALL), gpus=gpus)
