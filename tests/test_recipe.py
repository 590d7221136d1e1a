"""A recipe: JSON and back, ``--set``, and every wrong value refused in one line."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

import pytest

from augaware import lookup
from augaware.errors import RequestError
from augaware.recipe import Recipe, parse_settings


def test_a_recipe_survives_json() -> None:
    recipe = Recipe(
        data="shapes(n=64)",
        aware=("augself({'crop': 0.5})", "cassle()"),
        augment=("crop()", "flip(p=0.25)"),
        mean=(0.1, 0.2, 0.3),
        base_lr=1e-3,
        seed=2**40,
    )
    assert Recipe.from_json(recipe.to_json()) == recipe
    assert json.loads(recipe.to_json()).keys() == {field.name for field in fields(Recipe)}
    assert Recipe.from_json('{"data": "shapes"}') == Recipe(data="shapes")


@pytest.mark.parametrize("name", lookup.names("recipes"))
def test_every_recipe_of_the_library_is_built_and_survives_json(name: str) -> None:
    recipe = lookup.build("recipes", name)
    assert isinstance(recipe, Recipe)
    assert Recipe.from_json(recipe.to_json()) == recipe


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("base_lr=0.1", "base_lr", 0.1),
        ("base_lr= 1e-3", "base_lr", 1e-3),
        ("epochs=3", "epochs", 3),
        ("mean=(0.5, 0.5, 0.5)", "mean", (0.5, 0.5, 0.5)),
        ("host=simclr(temperature=0.1)", "host", "simclr(temperature=0.1)"),
        ("data=a=b", "data", "a=b"),
        ("data=/some folder/here", "data", "/some folder/here"),
        ("aware=cassle()", "aware", "cassle()"),
        ("aware=('augself()', 'cassle()')", "aware", ("augself()", "cassle()")),
        ("augment=['crop()']", "augment", ["crop()"]),
        ("optimizer='adamw'", "optimizer", "adamw"),
        ("data={[]: 1}", "data", "{[]: 1}"),
        ("data=" + "(" * 500, "data", "(" * 500),
        ("data=__import__('os').getcwd()", "data", "__import__('os').getcwd()"),
    ],
)
def test_set_reads_literals_and_takes_everything_else_as_text(text: str, key: str, value: Any) -> None:
    assert parse_settings([text]) == {key: value}


def test_a_later_set_wins_and_a_single_spec_stands_for_a_list() -> None:
    assert parse_settings(["seed=1", "seed=2"]) == {"seed": 2}
    assert Recipe(data="shapes").changed(parse_settings(["aware=cassle()"])).aware == ("cassle()",)


def test_changed_changes_the_named_fields_only() -> None:
    recipe = Recipe(data="shapes")
    other = recipe.changed({"seed": 3, "aware": ["cassle()"], "mean": [0, 0, 0]})
    assert (other.seed, other.aware, other.mean) == (3, ("cassle()",), (0.0, 0.0, 0.0))
    assert other.changed({"seed": 0, "aware": (), "mean": recipe.mean}) == recipe
    assert recipe.seed == 0


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("size", 0), ("size", -3), ("size", 1.5), ("size", "96"), ("size", True), ("size", None),
        ("batch_size", 1), ("batch_size", 0), ("batch_size", 32.0),
        ("epochs", 0), ("epochs", "many"), ("log_steps", 0),
        ("seed", -1), ("seed", 0.5), ("seed", None),
        ("base_lr", 0), ("base_lr", -0.1), ("base_lr", float("nan")), ("base_lr", float("inf")), ("base_lr", "fast"),
        ("weight_decay", -1e-4), ("weight_decay", float("nan")), ("momentum", -0.9), ("clip_norm", -1),
        ("checkpoint_seconds", -1), ("checkpoint_seconds", float("inf")), ("snapshots", -1), ("memory_gib", -1),
        ("health_images", -1), ("health_images", 1), ("warmup_epochs", -1), ("warmup_epochs", 200.5),
        ("optimizer", "lamb"), ("optimizer", 1), ("exclude_1d", 1), ("lr_1d", -1), ("final_lr", -0.1),
        ("views", 2), ("views", ("view()", 1)), ("warmup_from", -1), ("weight_decay_end", -1),
        ("precision", "fp8"), ("device", "tpu"),
        ("data", 3), ("data", None), ("host", ("simclr()",)), ("encoder", 18),
        ("aware", 3), ("aware", ("cassle()", 1)), ("augment", {"crop": 1}),
        ("mean", (0.5, 0.5)), ("mean", ("a", "b", "c")), ("mean", 0.5), ("std", (1.0, 0.0, 1.0)), ("std", (1, 1, 1, 1)),
    ],
)  # fmt: skip
def test_a_wrong_value_is_refused_in_one_line_that_names_field_and_value(field: str, value: Any) -> None:
    with pytest.raises(RequestError) as refused:
        Recipe.from_fields({"data": "shapes", field: value})
    assert str(refused.value).startswith(f"{field}=") or field in str(refused.value)
    assert "\n" not in str(refused.value)
    shown = f"{value:g}" if field == "warmup_epochs" else str(value)
    assert shown.strip("()").split(",")[0] in str(refused.value)


def test_a_warm_up_as_long_as_the_run_is_accepted() -> None:
    assert Recipe(data="shapes", epochs=2, warmup_epochs=2).warmup_epochs == 2


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"bach_size": 3}, ["'bach_size'", "did you mean 'batch_size'"]),
        ({"lr": 3}, ["'lr'", "accepted: data, host"]),
        ({"set": 3}, ["'set'"]),
    ],
)
def test_an_unknown_field_is_refused_with_the_accepted_ones(given: dict[str, Any], words: list[str]) -> None:
    for make in (lambda: Recipe.from_fields({"data": "shapes", **given}), lambda: Recipe("shapes").changed(given)):
        with pytest.raises(RequestError) as refused:
            make()
        assert all(word in str(refused.value) for word in words)


@pytest.mark.parametrize("text", ["base_lr", "", "bach_size=3", "=3"])
def test_a_setting_that_is_no_key_and_value_is_refused(text: str) -> None:
    with pytest.raises(RequestError):
        parse_settings([text])
