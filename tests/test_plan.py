"""The plan of views: how many, how large, what differs, what is drawn, and multi-crop from end to end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from augaware.augment.pipeline import Pipeline
from augaware.augment.plan import pipelines
from augaware.errors import RequestError
from augaware.pretrain import Trainer, resume, start
from augaware.progress import Display
from augaware.random import Draws, epoch_order
from augaware.recipe import DEFAULT_AUGMENT, Recipe
from augaware.views import View
from small_hosts import narrow
from small_runs import assert_same_run, start_and_kill

BYOL = ("view()", "view(change=['gaussian_blur(p=0.1)', 'solarize(p=0.2)'])")
AUGMENT = (*DEFAULT_AUGMENT, "solarize(p=0.0)")
MULTI_CROP = ("view(2)", "view(2, size=8, change=['crop(scale=(0.05, 0.14))'])")


def plan(*views: str, **changes: Any) -> list[Pipeline]:
    return pipelines(Recipe(data="shapes", size=16, **({"augment": AUGMENT, "views": views} | changes)))


def law(pipeline: Pipeline) -> list[tuple[str, dict[str, str]]]:
    """Name and settings of every augmentation, but for the size."""
    return [(a.name, {k: repr(v) for k, v in vars(a).items() if k != "size"}) for a in pipeline.augmentations]


def views(of: list[Pipeline], index: torch.Tensor) -> list[View]:
    pixels = torch.randint(0, 256, (40, 3, 24, 20), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))
    sizes = torch.tensor([[24, 20]]).expand(len(index), 2)
    return [p.view(pixels[index], sizes, index, 5, 2, number) for number, p in enumerate(of)]


def test_by_default_two_views_share_the_recipes_law() -> None:
    recipe = Recipe(data="shapes", size=16)
    one, two = pipelines(recipe)
    assert one.size == two.size == 16
    assert law(one) == law(two) == law(Pipeline.from_specs(recipe.augment, 16, recipe.mean, recipe.std))


@pytest.mark.parametrize("text", ["view", "view()", "view(1)", "view(count=1)", "view(size=16)", "view(1, 16, [])"])
def test_one_view_can_be_written_in_many_ways(text: str) -> None:
    (only,) = plan(text)
    assert only.size == 16
    assert law(only) == law(plan("view()")[0])


def test_a_change_replaces_its_namesake_in_place_and_in_that_view_only() -> None:
    one, two = plan(*BYOL)
    names = ["crop", "flip", "color_jitter", "grayscale", "gaussian_blur", "solarize"]
    assert [a.name for a in one.augmentations] == [a.name for a in two.augmentations] == names
    p = [{a.name: vars(a).get("p") for a in pipeline.augmentations} for pipeline in (one, two)]
    assert (p[0]["gaussian_blur"], p[1]["gaussian_blur"]) == (0.5, 0.1)
    assert (p[0]["solarize"], p[1]["solarize"]) == (0.0, 0.2)
    assert law(one)[:4] == law(two)[:4]


def test_a_single_change_needs_no_list() -> None:
    assert law(plan("view(change='flip(p=0.0)')")[0]) == law(plan("view(change=['flip(p=0.0)'])")[0])


def test_small_crops_have_their_size_and_scale_and_the_others_the_recipes() -> None:
    of = plan(*MULTI_CROP, "view(size=12)")
    assert [p.size for p in of] == [16, 16, 8, 8, 12]
    seen = views(of, torch.arange(40))
    assert [tuple(view.image.shape) for view in seen] == [(40, 3, p.size, p.size) for p in of]
    areas = [view.omega["crop"][:, 2:].prod(dim=1) for view in seen]
    for area, (low, high) in zip(areas, [(0.2, 1.0)] * 2 + [(0.05, 0.14)] * 2 + [(0.2, 1.0)], strict=True):
        assert low - 0.05 < area.min()
        assert area.max() < high + 0.05


def test_the_names_and_widths_of_omega_are_the_same_in_all_views() -> None:
    of = plan("view()", "view(2, size=8, change=['solarize(p=0.9)', 'color_jitter(p=0.0)', 'crop(scale=(0.1, 0.2))'])")
    seen = views(of, torch.arange(6))
    shapes = [{name: omega.shape for name, omega in view.omega.items()} for view in seen]
    assert shapes[0] == shapes[1] == shapes[2]
    assert of[0].spaces == of[1].spaces == of[2].spaces
    assert of[0].spaces.keys() == shapes[0].keys()


def test_view_k_of_a_sample_is_drawn_from_its_seed_epoch_index_and_k_alone() -> None:
    of = plan(*BYOL, *MULTI_CROP)
    assert len(of) == 6
    index = torch.tensor([31, 4, 17, 8])
    together = views(of, index)
    for k, view in enumerate(together):
        sizes = torch.tensor([[24, 20]])
        for row, i in enumerate(index):
            drawn = of[k].sample(Draws.of(5, 2, i[None], k), sizes)
            assert all(torch.equal(view.omega[name][row], omega[0]) for name, omega in drawn.items())
            alone = views(of, i[None])[k]
            assert torch.allclose(alone.image[0], view.image[row], atol=1e-5)
    crops = torch.stack([view.omega["crop"] for view in together])
    assert len({tuple(crop) for crop in crops.reshape(-1, 4).tolist()}) == 6 * 4  # no two views share their draws


def test_what_a_view_changes_leaves_the_draws_of_its_other_augmentations_alone() -> None:
    plain, changed = (views(plan(*given), torch.arange(40))[1] for given in (("view(2)",), BYOL))
    for name in ("crop", "flip", "color_jitter", "grayscale"):
        assert torch.equal(plain.omega[name], changed.omega[name])
    assert not torch.equal(plain.omega["gaussian_blur"], changed.omega["gaussian_blur"])


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("view(0)", "count=0 must be a whole number, at least 1"),
        ("view(-2)", "count=-2"),
        ("view(2.0)", "count=2.0"),
        ("view(True)", "count=True"),
        ("view('two')", "count='two'"),
        ("view(size=0)", "size=0"),
        ("view(size=8.5)", "size=8.5"),
        ("view(size='big')", "size='big'"),
        ("view(2, 8, [], 1)", "accepted: view(count=1, size=None, change=[augmentations])"),
        ("view(number=2)", "accepted: view(count=1"),
        ("crop()", "accepted: view(count=1"),
        ("views(2)", "accepted: view(count=1"),
        ("view(change=3)", "accepted: view(count=1"),
        ("view(change={'flip': 0})", "accepted: view(count=1"),
        ("view(change=[3])", "accepted: view(count=1"),
        ("view(2", "not a spec"),
        ("2 views", "not a spec"),
        ("", "not a spec"),
        ("view(count=n)", "must be literals"),
        ("view(count=1, count=2)", "must be literals"),
        ("view(change=['rotate90()'])", "changes 'rotate90', which augment does not name (crop, flip,"),
        ("view(change=['flip()', 'flip(p=0.0)'])", "changes 'flip' twice"),
        ("view(change=['flip(q=1)'])", "unknown argument 'q'"),
        ("view(change=['flip(p=2)'])", "p=2"),
        ("view(change=['crop(scale=(2, 1))'])", "scale=(2, 1)"),
    ],
)
def test_a_wrong_view_is_refused_in_one_line_that_names_it(text: str, word: str) -> None:
    with pytest.raises(RequestError) as refused:
        plan("view()", text)
    message = str(refused.value)
    assert word in message
    assert "\n" not in message
    assert repr(text) in message or "'flip" in message or "'crop" in message  # a wrong change is named alone


def test_a_plan_without_views_is_refused() -> None:
    with pytest.raises(RequestError, match=r"views is empty; two views of one kind are: view\(2\)"):
        plan()


def test_without_augmentations_a_change_says_that_there_is_nothing_to_change() -> None:
    with pytest.raises(RequestError, match=r"which augment does not name \(nothing\)"):
        plan("view(change=['flip()'])", augment=())


@pytest.mark.parametrize("given", [("view(2)",), BYOL, MULTI_CROP])
def test_a_recipe_with_views_survives_json(given: tuple[str, ...]) -> None:
    recipe = Recipe(data="shapes", size=16, augment=AUGMENT, views=given)
    again = Recipe.from_json(recipe.to_json())
    assert again == recipe
    assert again.views == given
    assert [law(p) for p in pipelines(again)] == [law(p) for p in pipelines(recipe)]


# --- multi-crop from end to end


@pytest.fixture(scope="module")
def multi_crop(small: Recipe) -> Recipe:
    """Two steps of SwAV on two large and two small crops, with everything that it remembers."""
    return small.changed(
        {
            "data": "shapes(n=32)",
            "host": narrow("swav").replace(")", ", queue=16, queue_epoch=0)"),
            "aware": ("augself(hidden=16)", "cassle(depth=2, width=8)"),
            "views": MULTI_CROP,
            "epochs": 1,
            "batch_size": 16,
            "checkpoint_seconds": 0.0,
        }
    )


def test_a_step_sees_view_k_of_its_plan_drawn_as_number_k(multi_crop: Recipe) -> None:
    with Display("", total=1) as display:
        trainer = Trainer(multi_crop, display)
    seen: list[View] = []

    def keep(module: object, inputs: tuple[Any, ...]) -> None:
        seen.extend(inputs[0])

    trainer._objective.register_forward_pre_hook(keep)
    index = epoch_order(32, multi_crop.seed, 0)[:16]
    trainer._step(0, 0, trainer.source.batch(index))
    assert [view.image.shape[2] for view in seen] == [16, 16, 8, 8]
    for k, view in enumerate(seen):
        drawn = pipelines(multi_crop)[k].sample(Draws.of(multi_crop.seed, 0, index, k), torch.full((16, 2), 48))
        assert all(torch.equal(view.omega[name], omega) for name, omega in drawn.items())


def test_a_multi_crop_run_that_is_killed_and_resumed_is_the_uninterrupted_one(
    multi_crop: Recipe, tmp_path: Path
) -> None:
    whole = start(multi_crop, tmp_path / "whole").path
    assert "2 steps" in (whole / "log.txt").read_text()
    start_and_kill(multi_crop, tmp_path / "run", 2)
    resume(tmp_path / "run")
    state = assert_same_run(tmp_path / "run", whole, 2)
    assert state["hosts.0.pushed"] == 32
