"""A planned view, on omega and on pixels: what is shared, tied, left out, changed or told, and what stays as it was."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from itertools import combinations

import pytest
import torch
from torch import Tensor

from augaware.augment.pipeline import Pipeline
from augaware.augment.plan import Camera, pipelines
from augaware.data.base import ImageBatch, collate
from augaware.errors import RequestError
from augaware.random import Draws
from augaware.recipe import Recipe
from augaware.views import Plan, View, ViewPlan, plain_plan

SEED, EPOCH, BATCH, SIZE = 5, 2, 12, 16
AUGMENT = (
    "crop(scale=(0.2, 1.0))",
    "flip()",
    "color_jitter(0.4, 0.4, 0.4, 0.1, p=1.0)",
    "grayscale(p=0.4)",
    "gaussian_blur(p=1.0)",
    "solarize(p=0.5)",
)
NAMES = ("crop", "flip", "color_jitter", "grayscale", "gaussian_blur", "solarize")
CONTINUOUS = ("crop", "color_jitter", "gaussian_blur")  # no two images draw the same
TWO_LAWS = ("view()", "view(change=['gaussian_blur(p=0.1)', 'solarize(p=0.2)'])")
MULTI_CROP = ("view(2)", "view(2, size=8, change=['crop(scale=(0.05, 0.14))'])")


def recipe(*views: str, augment: Sequence[str] = AUGMENT) -> Recipe:
    return Recipe(data="shapes", size=SIZE, augment=tuple(augment), views=views or ("view(2)",))


@cache
def camera(*views: str) -> Camera:
    return Camera(recipe(*views))


def alone(*names: str) -> Pipeline:
    """The pipeline of ``names`` and nothing else."""
    given = recipe()
    chosen = [spec for spec, name in zip(AUGMENT, NAMES, strict=True) if name in names]
    return Pipeline.from_specs(chosen, SIZE, given.mean, given.std)


def images(padded: bool, count: int = BATCH) -> ImageBatch:
    generator = torch.Generator().manual_seed(3)
    index = torch.randperm(1000, generator=generator)[:count]
    shapes = [(20 + 3 * (i % 4), 26 - 2 * (i % 5)) if padded else (24, 20) for i in range(count)]
    return collate([torch.randint(0, 256, (3, *s), dtype=torch.uint8, generator=generator) for s in shapes], index)


@pytest.fixture(params=[False, True], ids=["one_size", "padded"])
def batch(request: pytest.FixtureRequest) -> ImageBatch:
    return images(request.param)


def take(of: Camera, plan: Plan, batch: ImageBatch, seed: int = SEED, epoch: int = EPOCH) -> list[View]:
    return of.take(plan, batch.pixels, batch.sizes, batch.index, seed, epoch)


def drawn(of: Pipeline, batch: ImageBatch, number: int, seed: int = SEED, epoch: int = EPOCH) -> dict[str, Tensor]:
    """What view ``number`` draws when nothing is planned for it."""
    return of.sample(Draws.of(seed, epoch, batch.index, number), batch.sizes)


def same(one: View, two: View) -> bool:
    """Bit for bit, omega and pixels."""
    return torch.equal(one.image, two.image) and same_omega(one.omega, two.omega)


def same_omega(one: Mapping[str, Tensor], two: Mapping[str, Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(value, two[name]) for name, value in one.items())


def replays(of: Camera, plan: Plan, batch: ImageBatch, views: Sequence[View]) -> bool:
    """Whether the stored omega of every view gives its pixels again, and is measured to be the same."""
    again = [
        of.pipeline(planned).apply(batch.pixels, batch.sizes, view.omega)
        for planned, view in zip(plan, views, strict=True)
    ]
    return all(same(one, two) for one, two in zip(again, views, strict=True))


def distinct(rows: Tensor) -> int:
    return len({tuple(row) for row in rows.tolist()})


# --- the recipe's own views, and the draws of added ones


@pytest.fixture
def threads(request: pytest.FixtureRequest) -> Iterator[None]:
    """torch on so many threads; other tests get theirs back."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("threads", [1, 3], indirect=True)
def test_batches_begun_ahead_are_those_taken_one_by_one() -> None:
    of, plan, batches = camera(), plain_plan(2), [images(True, count) for count in (5, 12, 0, 7)]
    begun = [of.begin(plan, b.images, b.sizes, b.index, SEED, e) for e, b in enumerate(batches)]
    for epoch, (batch, wait) in enumerate(zip(batches, begun, strict=True)):
        ahead, alone = wait(), take(of, plan, batch, epoch=epoch)
        assert all(same(one, two) for one, two in zip(ahead, alone, strict=True))


@pytest.mark.parametrize("views", [("view(2)",), TWO_LAWS, MULTI_CROP])
def test_the_recipes_own_views_are_bit_for_bit_what_their_pipelines_give(
    views: tuple[str, ...], batch: ImageBatch
) -> None:
    of, expected = camera(*views), pipelines(recipe(*views))
    taken = take(of, plain_plan(len(expected)), batch)
    assert len(taken) == len(expected)
    for number, (view, pipeline) in enumerate(zip(taken, expected, strict=True)):
        plain = pipeline.view(batch.pixels, batch.sizes, batch.index, SEED, EPOCH, number)
        assert same(view, plain), number
        assert list(view.omega) == list(plain.omega)
        assert view.image.dtype == torch.float32
        assert view.image.is_contiguous(memory_format=torch.channels_last)


def test_planned_views_are_contiguous_channels_last_whatever_was_planned(batch: ImageBatch) -> None:
    plan = (
        *plain_plan(2),
        ViewPlan(0, only=frozenset()),
        ViewPlan(1, share=dict.fromkeys(NAMES, 0)),
        ViewPlan(0, tie=dict.fromkeys(NAMES, 4)),
        ViewPlan(0, size=8, change=("rotate90(p=1.0)",)),
    )
    for view in take(camera(), plan, batch):
        assert view.image.is_contiguous(memory_format=torch.channels_last)


ADDED = (
    ViewPlan(0),
    ViewPlan(1, 1),
    ViewPlan(0, size=8),
    ViewPlan(0, change=("rotate90(p=1.0)", "crop(scale=(0.05, 0.1))")),
    ViewPlan(0, only=frozenset({"flip"})),
    ViewPlan(0, share={"crop": 0, "flip": 1}),
    ViewPlan(0, tie={"crop": 3}),
    ViewPlan(0, given={"angle": (0.5,)}),
)


@pytest.mark.parametrize("added", ADDED, ids=range(len(ADDED)))
def test_an_added_view_leaves_all_other_views_bit_for_bit_alone(added: ViewPlan, batch: ImageBatch) -> None:
    of, last = camera(*TWO_LAWS), ViewPlan(0, share={"color_jitter": 1})
    without = take(of, (*plain_plan(2), ViewPlan(1), last), batch)
    with_it = take(of, (*plain_plan(2), added, last), batch)
    assert [same(without[n], with_it[n]) for n in (0, 1, 3)] == [True] * 3


@pytest.mark.parametrize("number", [2, 5])
def test_an_added_view_draws_from_seed_epoch_index_and_its_number_alone(number: int) -> None:
    batch = images(padded=True)
    of, padding = camera(), (ViewPlan(1),) * (number - 2)

    def added(seed: int, epoch: int, images: ImageBatch) -> View:
        return take(of, (*plain_plan(2), *padding, ViewPlan(0)), images, seed, epoch)[-1]

    view = added(SEED, EPOCH, batch)
    assert same_omega(view.omega, {**view.omega, **drawn(of.pipelines[0], batch, number)})
    others = [added(SEED + 1, EPOCH, batch), added(SEED, EPOCH + 1, batch)]
    others += [take(of, (*plain_plan(2), *padding, ViewPlan(0), ViewPlan(0)), batch)[n] for n in (0, 1, -1)]
    for name in CONTINUOUS:
        assert all((view.omega[name] != other.omega[name]).any(dim=1).all() for other in others), name

    backwards = torch.arange(BATCH - 1, -1, -1)
    turned = added(SEED, EPOCH, ImageBatch(batch.pixels[backwards], batch.sizes[backwards], batch.index[backwards]))
    for name in NAMES:
        assert torch.equal(turned.omega[name], view.omega[name][backwards]), name
    one = ImageBatch(batch.pixels[4:5], batch.sizes[4:5], batch.index[4:5])
    by_itself = added(SEED, EPOCH, one)
    assert all(torch.equal(by_itself.omega[name][0], view.omega[name][4]) for name in NAMES)
    assert torch.allclose(by_itself.image[0], view.image[4], atol=1e-5)


# --- share


@pytest.mark.parametrize(("name", "source"), [(name, number % 2) for number, name in enumerate(NAMES)])
def test_a_shared_omega_is_the_earlier_views_and_the_others_are_the_views_own(
    name: str, source: int, batch: ImageBatch
) -> None:
    of, plan = camera(*TWO_LAWS), (*plain_plan(2), ViewPlan(0, share={name: source}))
    views = take(of, plan, batch)
    own = drawn(of.pipelines[0], batch, 2)
    assert torch.equal(views[2].omega[name], views[source].omega[name])
    assert not torch.equal(views[2].omega[name], own[name])
    for other in set(NAMES) - {name}:
        assert torch.equal(views[2].omega[other], own[other]), other
        assert not torch.equal(views[2].omega[other], views[source].omega[other]), other
    assert replays(of, plan, batch, views)


def test_the_recipes_own_second_view_can_share_with_the_first(batch: ImageBatch) -> None:
    of, (one, two) = camera(), plain_plan(2)
    plan = (one, replace(two, share={"crop": 0}))
    plain, views = take(of, plain_plan(2), batch), take(of, plan, batch)
    assert same(views[0], plain[0])
    assert torch.equal(views[1].omega["crop"], views[0].omega["crop"])
    assert all(torch.equal(views[1].omega[name], plain[1].omega[name]) for name in NAMES[1:])
    assert not torch.equal(views[1].image, plain[1].image)
    assert replays(of, plan, batch, views)


def test_a_shared_jitter_takes_the_order_of_its_operations_along(batch: ImageBatch) -> None:
    views = take(camera(), (*plain_plan(2), ViewPlan(0, share={"color_jitter": 0})), batch)
    orders = [view.omega["color_jitter"][:, 4] for view in views]
    assert torch.equal(orders[2], orders[0])
    assert not torch.equal(orders[1], orders[0])
    assert len(orders[0].unique()) > 3


@pytest.mark.parametrize("source", [0, 1])
@pytest.mark.parametrize("law", [0, 1])
def test_a_view_that_shares_everything_is_the_same_picture(law: int, source: int, batch: ImageBatch) -> None:
    of = camera(*TWO_LAWS)
    views = take(of, (*plain_plan(2), ViewPlan(law, share=dict.fromkeys(NAMES, source))), batch)
    assert same(views[2], views[source])
    assert not torch.equal(views[2].image, views[1 - source].image)


def test_sharing_follows_a_chain_and_takes_from_several_views(batch: ImageBatch) -> None:
    plan = (*plain_plan(2), ViewPlan(0, share={"crop": 0, "flip": 1}), ViewPlan(0, share={"crop": 2, "flip": 2}))
    of = camera()
    views = take(of, plan, batch)
    for view in views[2:]:
        assert torch.equal(view.omega["crop"], views[0].omega["crop"])
        assert torch.equal(view.omega["flip"], views[1].omega["flip"])
    assert not torch.equal(views[2].omega["color_jitter"], views[3].omega["color_jitter"])
    assert replays(of, plan, batch, views)


def test_a_view_of_another_size_can_share_a_crop(batch: ImageBatch) -> None:
    plan = (*plain_plan(2), ViewPlan(0, size=8, share=dict.fromkeys(NAMES, 1)))
    of = camera()
    views = take(of, plan, batch)
    assert views[2].image.shape == (BATCH, 3, 8, 8)
    assert all(torch.equal(views[2].omega[name], views[1].omega[name]) for name in NAMES)
    assert replays(of, plan, batch, views)


def test_what_is_shared_from_a_tied_view_is_tied(batch: ImageBatch) -> None:
    plan = (ViewPlan(0, 0, tie={"crop": 3}), ViewPlan(0, 1, share={"crop": 0}))
    one, two = take(camera(), plan, batch)
    assert distinct(one.omega["crop"]) == BATCH // 3
    assert torch.equal(one.omega["crop"], two.omega["crop"])


# --- tie


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("m", [1, 4])
def test_tied_images_have_the_omega_that_the_first_of_their_group_draws(name: str, m: int, batch: ImageBatch) -> None:
    of, plan = camera(), (*plain_plan(2), ViewPlan(0, tie={name: m}))
    views = take(of, plan, batch)
    own, omega = drawn(of.pipelines[0], batch, 2), views[2].omega
    assert torch.equal(omega[name], own[name][::m].repeat_interleave(m, dim=0))
    if name in CONTINUOUS:
        assert distinct(omega[name]) == BATCH // m
    assert all(torch.equal(omega[other], own[other]) for other in set(NAMES) - {name})
    assert replays(of, plan, batch, views)


def test_each_augmentation_is_tied_by_its_own_number(batch: ImageBatch) -> None:
    of, plan = camera(), (replace(plain_plan(1)[0], tie={"crop": 3, "color_jitter": 2, "gaussian_blur": 12}),)
    views = take(of, plan, batch)
    assert {name: distinct(views[0].omega[name]) for name in CONTINUOUS} == {
        "crop": 4,
        "color_jitter": 6,
        "gaussian_blur": 1,
    }
    assert replays(of, plan, batch, views)


def test_tied_images_of_one_picture_are_one_picture() -> None:
    twice = images(padded=True)
    twice = ImageBatch(*(t.repeat_interleave(2, dim=0) for t in (twice.pixels, twice.sizes)), torch.arange(2 * BATCH))
    view = take(camera(), (ViewPlan(0, tie=dict.fromkeys(NAMES, 2)),), twice)[0]
    assert torch.equal(view.image[::2], view.image[1::2])
    untied = take(camera(), (ViewPlan(0),), twice)[0]
    assert not torch.equal(untied.image[::2], untied.image[1::2])


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize(("count", "m"), [(10, 4), (9, 4), (3, 4), (7, 2)])
def test_where_images_could_not_be_read_the_last_group_is_smaller(padded: bool, count: int, m: int) -> None:
    of, fewer, plan = camera(), images(padded, count), (*plain_plan(2), ViewPlan(0, tie=dict.fromkeys(NAMES, m)))
    views = take(of, plan, fewer)
    groups = torch.split(views[2].omega["crop"], m)
    assert [len(group) for group in groups] == [m] * (count // m) + [count % m]
    assert [distinct(group) for group in groups] == [1] * len(groups)
    assert distinct(views[2].omega["crop"]) == len(groups)
    assert replays(of, plan, fewer, views)


@pytest.mark.parametrize(
    ("batch_size", "m", "works"), [(13, 4, 12), (17, 4, 16), (10, 8, 8), (3, 4, 4), (1, 2, 2), (257, 16, 256)]
)
def test_a_batch_size_that_is_no_multiple_of_the_tie_is_refused_with_one_that_is(
    batch_size: int, m: int, works: int
) -> None:
    of, plan = camera(), (*plain_plan(2), ViewPlan(0, tie={"crop": m}))
    with pytest.raises(RequestError) as refused:
        of.check(plan, batch_size)
    message = str(refused.value)
    assert message == (
        f"batch_size={batch_size} is no multiple of the {m} images that share parameters; use --batch-size {works}"
    )
    of.check(plan, works)


def test_a_batch_size_that_fits_all_ties_is_accepted() -> None:
    of, plan = camera(), (ViewPlan(0, tie={"crop": 4}), ViewPlan(0, tie={"flip": 6, "crop": 1}))
    for batch_size in (12, 24, 240):
        of.check(plan, batch_size)
    for batch_size in (4, 6, 20, 30):
        with pytest.raises(RequestError, match="is no multiple of the"):
            of.check(plan, batch_size)


def test_the_batch_size_to_use_fits_all_ties_at_once() -> None:
    of, plan = camera(), (ViewPlan(0, tie={"crop": 4}), ViewPlan(0, tie={"crop": 6}))
    with pytest.raises(RequestError) as refused:
        of.check(plan, 10)
    of.check(plan, int(str(refused.value).rpartition(" ")[2]))


def test_the_batch_size_to_use_is_the_nearest() -> None:
    with pytest.raises(RequestError, match=r"use --batch-size 20$"):
        camera().check((ViewPlan(0, tie={"crop": 4}),), 19)


@pytest.mark.parametrize("name", NAMES)
def test_an_augmentation_that_is_shared_and_tied_in_one_view_is_refused_in_one_line(name: str) -> None:
    with pytest.raises(RequestError) as refused:
        ViewPlan(0, share={name: 1}, tie={name: 4})
    message = str(refused.value)
    assert f"{name!r} of a view is to be shared with view 2 and tied between 4 images at once" in message
    assert "keep one of the two" in message
    assert "\n" not in message
    with pytest.raises(RequestError, match="keep one of the two"):
        replace(ViewPlan(0, share={name: 1}), tie={name: 4})


def test_one_augmentation_may_be_shared_and_another_tied(batch: ImageBatch) -> None:
    of, plan = camera(), (*plain_plan(2), ViewPlan(0, share={"crop": 0}, tie={"color_jitter": 3}))
    of.check(plan, BATCH)
    views = take(of, plan, batch)
    assert torch.equal(views[2].omega["crop"], views[0].omega["crop"])
    assert distinct(views[2].omega["color_jitter"]) == BATCH // 3
    assert replays(of, plan, batch, views)


# --- only


SUBSETS = [c for n in (1, 5) for c in combinations(NAMES, n)]


@pytest.mark.parametrize("chosen", SUBSETS, ids="+".join)
def test_only_named_augmentations_act_as_if_the_pipeline_were_theirs_alone(chosen: tuple[str, ...]) -> None:
    batch = images(padded=True)
    of, plan = camera(), (*plain_plan(2), ViewPlan(0, only=frozenset(chosen)))
    views = take(of, plan, batch)
    own, pipeline = drawn(of.pipelines[0], batch, 2), of.pipelines[0]
    for a in pipeline.augmentations:
        off = torch.tensor(a.identity).expand(BATCH, -1)
        assert torch.equal(views[2].omega[a.name], own[a.name] if a.name in chosen else off), a.name
    expected = alone(*chosen).view(batch.pixels, batch.sizes, batch.index, SEED, EPOCH, 2)
    assert torch.equal(views[2].image, expected.image)
    assert replays(of, plan, batch, views)


def test_with_nothing_to_act_a_view_is_the_plain_image_resized(batch: ImageBatch) -> None:
    of, plan = camera(), (*plain_plan(2), ViewPlan(0, only=frozenset()))
    views = take(of, plan, batch)
    plain = alone().view(batch.pixels, batch.sizes, batch.index, SEED, EPOCH, 2)
    assert plain.omega == {}
    assert torch.equal(views[2].image, plain.image)
    for a in of.pipelines[0].augmentations:
        assert torch.equal(views[2].omega[a.name], torch.tensor([a.identity] * BATCH)), a.name
    assert torch.equal(views[2].omega["color_diff"], torch.zeros(BATCH, 3))
    assert replays(of, plan, batch, views)


def test_a_plain_image_knows_nothing_of_the_padding_around_it() -> None:
    batch = images(padded=True)
    views = take(camera(), (ViewPlan(0, only=frozenset()),), batch)
    for row in range(BATCH):
        height, width = batch.sizes[row].tolist()
        cut = ImageBatch(
            batch.pixels[row : row + 1, :, :height, :width].contiguous(), batch.sizes[row : row + 1], torch.tensor([0])
        )
        assert torch.allclose(take(camera(), (ViewPlan(0, only=frozenset()),), cut)[0].image[0], views[0].image[row])


@pytest.mark.parametrize("size", [8, 16, 32])
def test_a_plain_image_of_its_own_size_is_itself(size: int) -> None:
    pixels = torch.randint(0, 256, (4, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    of = camera()
    batch = ImageBatch(pixels, torch.full((4, 2), size), torch.arange(4))
    (view,) = take(of, (ViewPlan(0, size=size, only=frozenset()),), batch)
    assert torch.allclose(of.pipelines[0].displayed(view), pixels / 255, atol=1e-6)


# --- change and size


def law(pipeline: Pipeline) -> list[tuple[str, dict[str, str]]]:
    """Name and settings of every augmentation, but for the size."""
    return [(a.name, {k: repr(v) for k, v in vars(a).items() if k != "size"}) for a in pipeline.augmentations]


def test_a_change_replaces_its_namesake_in_its_place(batch: ImageBatch) -> None:
    of, changed = camera(), ViewPlan(0, change=("crop(scale=(0.05, 0.1))", "solarize(p=1.0)"))
    assert [a.name for a in of.pipeline(changed).augmentations] == list(NAMES)
    plain = law(of.pipelines[0])
    assert [one == two for one, two in zip(law(of.pipeline(changed)), plain, strict=True)] == [
        False,
        *[True] * 4,
        False,
    ]
    views = take(of, (*plain_plan(2), changed), batch)
    own = drawn(of.pipelines[0], batch, 2)
    assert all(torch.equal(views[2].omega[name], own[name]) for name in NAMES[1:-1])
    assert views[2].omega["crop"][:, 2:].prod(dim=1).max() < 0.15
    assert not (views[2].omega["solarize"] == 1).any()
    assert replays(of, (*plain_plan(2), changed), batch, views)


def test_a_change_is_made_to_the_law_of_the_view_that_it_names() -> None:
    of = camera(*TWO_LAWS)
    for number in (0, 1):
        changed = of.pipeline(ViewPlan(number, change=("flip(p=0.0)",)))
        expected = law(of.pipelines[number])
        assert law(changed)[:1] + law(changed)[2:] == expected[:1] + expected[2:]
    assert law(of.pipeline(ViewPlan(0, change=("flip(p=0.0)",)))) != law(
        of.pipeline(ViewPlan(1, change=("flip(p=0.0)",)))
    )


def test_a_new_name_comes_last_and_acts_in_that_view_only(batch: ImageBatch) -> None:
    of, turned = camera(), ViewPlan(0, change=("rotate90(p=1.0)", "flip(p=1.0)"), share={"crop": 0, "color_jitter": 0})
    plan = (*plain_plan(2), turned, ViewPlan(0))
    of.check(plan, BATCH)
    assert [a.name for a in of.pipeline(turned).augmentations] == [*NAMES, "rotate90"]
    views = take(of, plan, batch)
    assert ["rotate90" in view.omega for view in views] == [False, False, True, False]
    k = views[2].omega["rotate90"]
    assert k.shape == (BATCH, 1)
    assert len(k.unique()) > 1
    assert (views[2].omega["flip"] == 1).all()
    assert replays(of, plan, batch, views)
    upright = of.pipelines[0].apply(batch.pixels, batch.sizes, views[2].omega)
    back = torch.stack([torch.rot90(x, -int(n), dims=(1, 2)) for x, n in zip(views[2].image, k[:, 0], strict=True)])
    assert torch.equal(back, upright.image)


def test_two_new_names_come_in_the_order_given() -> None:
    given = recipe(augment=("crop", "flip"))
    of = Camera(given)
    changed = ViewPlan(0, change=("solarize(p=1.0)", "rotate90", "flip(p=0.0)", "grayscale"))
    names = [a.name for a in of.pipeline(changed).augmentations]
    assert names == ["crop", "flip", "solarize", "rotate90", "grayscale"]
    assert [a.name for a in of.pipelines[0].augmentations] == ["crop", "flip"]


@pytest.mark.parametrize("size", [8, 24])
def test_a_view_of_another_size_has_the_same_draws_and_that_size(size: int, batch: ImageBatch) -> None:
    of, plan = camera(), (*plain_plan(2), ViewPlan(0, size=size), ViewPlan(0, size=size, change=("flip(p=0.0)",)))
    views = take(of, plan, batch)
    assert [tuple(view.image.shape) for view in views] == [(BATCH, 3, s, s) for s in (SIZE, SIZE, size, size)]
    assert all(torch.equal(views[2].omega[name], omega) for name, omega in drawn(of.pipelines[0], batch, 2).items())
    assert not views[3].omega["flip"].any()
    assert replays(of, plan, batch, views)


def test_a_law_of_small_crops_keeps_its_size_where_the_plan_names_none() -> None:
    of = camera(*MULTI_CROP)
    assert of.pipeline(ViewPlan(2, change=("flip(p=0.0)",))).size == 8
    assert of.pipeline(ViewPlan(2, size=12)).size == 12
    assert law(of.pipeline(ViewPlan(2, size=12))) == law(of.pipelines[2])


def test_a_pipeline_is_made_once() -> None:
    of = camera(*TWO_LAWS)
    first = of.pipeline(ViewPlan(0, size=8, change=("flip(p=0.0)",)))
    assert of.pipeline(ViewPlan(0, 1, 8, ("flip(p=0.0)",), only=frozenset(), share={"crop": 0})) is first
    others = [ViewPlan(1, size=8, change=("flip(p=0.0)",)), ViewPlan(0, size=8), ViewPlan(0, change=("flip(p=0.0)",))]
    made = [of.pipeline(view) for view in others]
    assert len({id(pipeline) for pipeline in (first, *made, *of.pipelines)}) == 6
    assert all(of.pipeline(view) is pipeline for view, pipeline in zip(others, made, strict=True))
    assert all(of.pipeline(ViewPlan(n, only=frozenset(), tie={"crop": 2})) is of.pipelines[n] for n in (0, 1))


# --- given


@pytest.mark.parametrize("row", [(0.25,), (1.0, -2.0, 3.5)])
def test_what_is_told_stands_in_omega_once_per_image_and_moves_no_pixel(
    row: tuple[float, ...], batch: ImageBatch
) -> None:
    of = camera()
    plain = take(of, (*plain_plan(2), ViewPlan(0)), batch)
    told = take(of, (*plain_plan(2), ViewPlan(0, given={"angle": row, "place": (7.0,)})), batch)
    assert torch.equal(told[2].omega["angle"], torch.tensor(row).expand(BATCH, -1))
    assert torch.equal(told[2].omega["place"], torch.full((BATCH, 1), 7.0))
    assert told[2].omega["angle"].dtype == torch.float32
    assert torch.equal(told[2].image, plain[2].image)
    assert told[2].omega.keys() == plain[2].omega.keys() | {"angle", "place"}
    assert same_omega({name: told[2].omega[name] for name in plain[2].omega}, plain[2].omega)
    assert [same(one, two) for one, two in zip(plain[:2], told[:2], strict=True)] == [True, True]


def test_what_a_plan_does_not_measure_is_lacking_and_the_rest_is_as_it_was(batch: ImageBatch) -> None:
    of, (one, two) = camera(), plain_plan(2)
    everything = take(of, (one, two), batch)
    views = take(of, (replace(one, measure=frozenset()), replace(two, measure=frozenset({"color_diff"}))), batch)
    assert set(everything[0].omega) - set(views[0].omega) == {"color_diff"}
    assert all(torch.equal(w, everything[0].omega[name]) for name, w in views[0].omega.items())
    assert torch.equal(views[0].image, everything[0].image)
    assert same(views[1], everything[1])


def test_what_is_told_to_an_empty_batch_has_its_columns() -> None:
    nothing = collate([], torch.zeros(0, dtype=torch.int64))
    (view,) = take(camera(), (ViewPlan(0, given={"angle": (1.0, 2.0)}),), nothing)
    assert view.omega["angle"].shape == (0, 2)


def test_an_empty_batch_makes_empty_views() -> None:
    nothing = collate([], torch.zeros(0, dtype=torch.int64))
    plan = (*plain_plan(2), ViewPlan(0, share={"crop": 0}, tie={"flip": 4}, only=frozenset({"crop", "flip"})))
    for view in take(camera(), plan, nothing):
        assert view.image.shape == (0, 3, SIZE, SIZE)
        assert view.omega["crop"].shape == (0, 4)


# --- what is refused


@pytest.mark.parametrize(
    "planned",
    [
        ViewPlan(0, share={"rotate90": 0}),
        ViewPlan(0, tie={"rotate90": 4}),
        ViewPlan(0, only=frozenset({"crop", "rotate90"})),
    ],
    ids=["share", "tie", "only"],
)
def test_a_plan_for_an_augmentation_that_is_not_in_the_pipeline_names_it_and_says_what_to_do(planned: ViewPlan) -> None:
    of = camera()
    with pytest.raises(RequestError) as refused:
        of.check((*plain_plan(2), planned), BATCH)
    message = str(refused.value)
    assert "'rotate90', which is not in the pipeline" in message
    assert ", ".join(NAMES) in message
    assert "add it to augment" in message
    assert "\n" not in message
    of.check(
        (*plain_plan(2), ViewPlan(0, change=("rotate90",)), replace(planned, change=("rotate90",), share={})), BATCH
    )


def test_a_plan_of_what_is_there_is_accepted() -> None:
    camera(*MULTI_CROP).check((*plain_plan(4), *ADDED), BATCH)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (("flip()", "flip(p=0.0)"), "changes 'flip' twice"),
        (("flip(p=2)",), "p=2"),
        (("flipp()",), "unknown augmentation 'flipp'"),
        (("flip(q=1)",), "unknown argument 'q'"),
    ],
)
def test_a_change_that_cannot_be_is_refused_in_one_line(change: tuple[str, ...], word: str) -> None:
    with pytest.raises(RequestError) as refused:
        camera().check((*plain_plan(2), ViewPlan(0, change=change)), BATCH)
    assert word in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_crop_that_a_view_adds_behind_the_others_is_refused() -> None:
    with pytest.raises(RequestError, match="'crop' must come first"):
        Camera(recipe(augment=("flip",))).check((ViewPlan(0, change=("crop",)),), BATCH)


@pytest.mark.parametrize(
    "planned",
    [ViewPlan(0, change=("rotate90",), share={"rotate90": 0}), ViewPlan(0, share={"crop": 2})],
    ids=["an earlier view without it", "the view itself"],
)
def test_sharing_with_a_view_that_has_nothing_to_share_is_refused(planned: ViewPlan) -> None:
    of, plan = camera(), (*plain_plan(2), planned)
    try:
        of.check(plan, BATCH)
    except RequestError:
        return
    take(of, plan, images(padded=False))
