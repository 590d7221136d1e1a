"""Laws of every task: tried on drawn images, labelled by shape, with a small encoder."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import torch

from augaware.checkpoint import seeded_encoder
from augaware.data.base import Source
from augaware.data.shapes import Shapes
from augaware.frozen import Frozen, freeze
from augaware.laws.base import Given, Law
from augaware.tasks.base import Task

DATA = "drawn"
SIZE = 16


def build(given: Given) -> Task:
    """The task; where its spec names no data set, of drawn images."""
    made: Task = given.build() if given.args or "dataset" in given.kwargs else given.build(DATA)
    return made


def splits() -> dict[str, Source]:
    """Train, val and test: drawn images."""
    return {name: Shapes(n, size=24, seed=seed) for seed, (name, n) in enumerate(COUNTS.items())}


COUNTS: Mapping[str, int] = {"train": 96, "val": 48, "test": 48}


def encoder() -> Frozen:
    """A small network."""
    return freeze(seeded_encoder("tiny(widths=(8, 16))", seed=0), "tiny", SIZE)


def answers(given: Given) -> str:
    """Its metrics are what JSON holds, with the result, in fractions, under "test"."""
    metrics = build(given)(encoder(), splits())
    try:
        json.dumps(metrics, allow_nan=False)
    except (TypeError, ValueError) as error:
        return f"{error}: {metrics}"
    test = metrics.get("test")
    values = list(test.values()) if isinstance(test, dict) else [test]
    return "" if values and all(isinstance(v, (int, float)) for v in values) else f"no number under 'test': {test!r}"


def versioned(given: Given) -> str:
    """Its protocol is its name and a version: numbers compare only within one."""
    protocol: Any = getattr(given.target, "protocol", None)
    fits = isinstance(protocol, str) and re.fullmatch(re.escape(given.name) + r"/\d+", protocol)
    return "" if fits else f"protocol {protocol!r}; write {given.name}/1"


def same_again(given: Given) -> str:
    """Asked twice it says the same: what it draws comes from fixed seeds."""
    one, two = (json.dumps(build(given)(encoder(), splits()), sort_keys=True) for _ in range(2))
    return "" if one == two else f"{one}, then {two}"


def unchanged(given: Given) -> str:
    """It leaves the encoder as it was: weights, buffers, training flags; and torch's global generator."""
    asked = encoder()
    before = {name: value.clone() for name, value in asked.state_dict().items()}
    flags, state = [module.training for module in asked.modules()], torch.random.get_rng_state()
    build(given)(asked, splits())
    changed = [name for name, value in asked.state_dict().items() if not torch.equal(value, before[name])]
    if changed:
        return f"{changed[0]} changed"
    if flags != [module.training for module in asked.modules()]:
        return "training flags changed"
    return "" if torch.equal(state, torch.random.get_rng_state()) else "it draws from torch's global generator"


LAWS: tuple[Law, ...] = (answers, versioned, same_again, unchanged)
