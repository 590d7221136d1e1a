"""What a host accepts: every argument of every host has a range, and a wrong one is refused in one clear line."""

from __future__ import annotations

import inspect

import pytest
from torch import nn

from augaware import lookup
from augaware.errors import RequestError
from augaware.hosts.base import HostSetting

DIM = 24
ARGUMENTS = [
    (name, key, parameter.default)
    for name in lookup.names("hosts")
    for key, parameter in [*inspect.signature(lookup.load("hosts", name)).parameters.items()][1:]
]


@pytest.mark.parametrize(("name", "key", "default"), ARGUMENTS)
def test_every_argument_of_every_host_has_a_range_and_says_so(name: str, key: str, default: object) -> None:
    for wrong in ("nonsense", -1, [1], float("inf"), float("nan"), *([0, 1] if isinstance(default, bool) else [])):
        with pytest.raises(RequestError) as refused:
            lookup.load("hosts", name)(HostSetting(DIM), **{key: wrong})
        text = str(refused.value)
        assert text.startswith(f"host {name!r}: ")
        assert "\n" not in text
        assert f"={wrong!r}" in text


@pytest.mark.parametrize(
    ("spec", "word"),
    [
        ("simclr(temperature=0)", "temperature=0 must be a number above 0"),
        ("simclr(temperature=True)", "temperature=True must be"),
        ("simclr(proj_output_dim=0)", "proj_output_dim=0 must be a whole number, at least 1"),
        ("simclr(proj_hidden_dim=1.5)", "proj_hidden_dim=1.5"),
        ("simclr(proj_hidden_dim=0)", "proj_hidden_dim=0"),
        ("moco_v2(8, proj_hidden_dim=0)", "proj_hidden_dim=0"),
        ("moco_v2(queue='keys')", "accepted: 'key', 'query', or a length"),
        ("moco_v2(queue=0)", "queue=0 must be a whole number, at least 1"),
        ("moco_v2(length=1.5)", "length=1.5"),
        ("moco_v2(momentum=1.01)", "momentum=1.01 must be a number above 0, at most 1"),
        ("moco_v3(proj_layers=0)", "proj_layers=0"),
        ("byol(momentum=0)", "momentum=0 must be a number above 0, at most 1"),
        ("byol(momentum_end=2)", "momentum_end=2"),
        ("dino(centre_momentum=1.5)", "centre_momentum=1.5"),
        ("dino(teacher_temperature_end=0)", "teacher_temperature_end=0"),
        ("swav(freeze=1.5)", "freeze=1.5 must be a whole number, at least 0"),
        ("swav(iterations=0)", "iterations=0"),
        ("barlow_twins(lam=0)", "lam=0 must be a number above 0"),
        ("vicreg(variance=-1)", "variance=-1 must be a number, at least 0"),
        ("moco_v2(8, bn='no')", "bn='no' must be True or False"),
        ("supervised", "the data has no labels"),
        ("supervised(classes=0)", "classes=0"),
        ("simclr(temprature=0.2)", "did you mean 'temperature'"),
        ("simclr(dim=3)", "unknown argument 'dim'"),
        ("simclr(setting=3)", "unknown argument 'setting'"),
        ("simclr(0.2, 3, 4, 5)", "too many positional arguments"),
        ("simclr(temperature=open('x'))", "must be literals"),
        ("simklr", "did you mean 'simclr'"),
        ("no_such_package_of_mine.host", "cannot import"),
    ],
)
def test_a_wrong_host_spec_is_refused_in_one_line_that_names_it(spec: str, word: str) -> None:
    with pytest.raises(RequestError) as refused:
        lookup.build("hosts", spec, HostSetting(DIM))
    assert word in str(refused.value)
    assert "\n" not in str(refused.value)


def test_fewer_classes_than_the_data_has_are_refused() -> None:
    with pytest.raises(RequestError, match="classes=3, but the data has 4"):
        lookup.build("hosts", "supervised(classes=3)", HostSetting(DIM, classes=4))
    for spec, classes in (("supervised", 4), ("supervised(classes=5)", 5)):
        (linear,) = lookup.build("hosts", spec, HostSetting(DIM, classes=4)).projector(DIM)
        assert isinstance(linear, nn.Linear)
        assert linear.out_features == classes
