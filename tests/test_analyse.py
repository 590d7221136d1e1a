"""What is put to an encoder: views by one augmentation alone, embeddings of them, references, results in files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import augaware
from augaware import lookup
from augaware.analyse import analyse, analyses, compared_with, looked_at, subject
from augaware.analysis.alone import Alone, squares, towards
from augaware.analysis.base import Analysis
from augaware.analysis.subject import Subject
from augaware.augment import grayscale
from augaware.checkpoint import Run
from augaware.data.base import ImageBatch, Source
from augaware.data.shapes import Shapes
from augaware.errors import RequestError
from augaware.frozen import Frozen, freeze, load_encoder, load_objective
from augaware.pretrain import start
from augaware.recipe import DEFAULT_AUGMENT, Recipe
from known_encoders import SIZE, ColourBlind, Keeps, known

MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)


@pytest.fixture(scope="module")
def alone() -> Alone:
    return Alone(DEFAULT_AUGMENT, SIZE, MEAN, STD)


@pytest.fixture(scope="module")
def images() -> Shapes:
    return Shapes(40, size=32)


@pytest.fixture(scope="module")
def run(small: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run with a projector that reads omega."""
    recipe = small.changed({"aware": ("cassle(depth=2, width=8)",), "epochs": 1})
    return start(recipe, tmp_path_factory.mktemp("runs") / "told")


def asked(frozen: Frozen, images: Shapes) -> Subject:
    return subject(frozen, images, 0)


def test_the_recipes_augmentations_come_first_and_the_librarys_others_after(alone: Alone) -> None:
    assert alone.own == ("crop", "flip", "color_jitter", "grayscale", "gaussian_blur")
    assert alone.names[: len(alone.own)] == alone.own
    assert set(alone.names) == set(lookup.names("augment"))
    assert set(alone.gradual) == {"crop", "color_jitter", "exposure", "gaussian_blur", "solarize", "stain"}
    assert Alone(["flip()"], SIZE, MEAN, STD).names[0] == "crop"  # which has to be first


@pytest.mark.parametrize("name", lookup.names("augment"))
def test_an_augmentation_alone_is_applied_to_every_image_and_the_others_to_none(
    name: str, alone: Alone, images: Shapes
) -> None:
    batch = squares(images, torch.arange(40))
    view = alone.view(batch, [name], seed=0)
    for a in alone.pipeline.augmentations:
        off = (view.omega[a.name] == torch.tensor(a.identity)).all(1)
        assert bool((~off).all() if a.name == name else off.all()), a.name
    plain = alone.view(batch, [], seed=0).image
    changed = (view.image != plain).flatten(1).any(1).float().mean()
    assert float(changed) > 0.8  # a blur of a tenth of a pixel, or a threshold of one, shows nothing


def test_as_in_training_an_augmentation_is_applied_as_often_as_its_p_says(images: Shapes) -> None:
    batch = squares(Shapes(600, size=8), torch.arange(600))
    often = Alone(["crop()", "grayscale(p=0.2)"], 8, MEAN, STD).view(batch, ["grayscale"], seed=0, always=False)
    assert 0.14 < float(often.omega["grayscale"].mean()) < 0.26


def test_views_of_two_numbers_and_two_seeds_differ_and_the_same_are_the_same(alone: Alone, images: Shapes) -> None:
    batch = squares(images, torch.arange(8))
    one, again = (alone.view(batch, ["crop"], seed=3, number=0) for _ in range(2))
    other, seeded = alone.view(batch, ["crop"], seed=3, number=1), alone.view(batch, ["crop"], seed=4, number=0)
    assert torch.equal(one.image, again.image)
    assert not torch.equal(one.omega["crop"], other.omega["crop"])
    assert not torch.equal(one.omega["crop"], seeded.omega["crop"])
    part = alone.view(squares(images, torch.arange(3, 8)), ["crop"], seed=3, number=0)
    assert torch.equal(part.omega["crop"], one.omega["crop"][3:])  # whatever batch an image is in


def test_strength_goes_from_the_plain_image_to_what_was_drawn(alone: Alone, images: Shapes) -> None:
    batch = squares(images, torch.arange(16))
    plain = alone.view(batch, [], seed=0).image
    for name in alone.gradual:
        far = [
            float((alone.view(batch, [name], 0, strength=s).image - plain).abs().mean()) for s in (0.0, 0.25, 0.5, 1.0)
        ]
        assert far[0] < 1e-5, name
        assert far[1] < far[3], name
        assert far[2] < far[3], name
    whole, half = (alone.view(batch, ["flip"], 0, strength=s).image for s in (1.0, 0.5))
    assert torch.equal(whole, half)  # there is no half of it


def test_at_half_its_strength_a_jitter_keeps_the_order_of_its_operations(alone: Alone) -> None:
    jitter = next(a for a in alone.pipeline.augmentations if a.name == "color_jitter")
    omega = torch.tensor([[0.4, -0.2, 0.1, 0.5, 17.0]])
    assert torch.allclose(towards(jitter, omega, 0.5), torch.tensor([[0.2, -0.1, 0.05, 0.25, 17.0]]))


def test_an_augmentation_of_yours_is_asked_about_by_the_name_of_its_file(
    images: Shapes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lab_of_views").mkdir()
    (tmp_path / "lab_of_views" / "__init__.py").write_text("")
    source = Path(grayscale.__file__).read_text()
    (tmp_path / "lab_of_views" / "greyed.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    alone = Alone(["crop()", "lab_of_views.greyed(p=0.3)"], SIZE, MEAN, STD)
    assert alone.own == ("crop", "greyed") == alone.names[:2]
    assert alone.specs[:3] == ("crop()", "lab_of_views.greyed(p=0.3)", "color_jitter")
    assert bool((alone.view(squares(images, torch.arange(4)), alone.own[1:], seed=0).omega["greyed"] == 1).all())


@pytest.mark.parametrize("never", ["solarize(p=0)", "solarize(p=0.0)", "color_jitter(0, 0, 0, 0)"])
def test_an_augmentation_that_is_never_applied_counts_as_not_named(never: str, images: Shapes) -> None:
    name = lookup.parse(never).name
    alone = Alone(["crop()", never], SIZE, MEAN, STD)
    assert alone.own == ("crop",)
    assert name in alone.names
    found = alone.view(squares(images, torch.arange(4)), [name], seed=0).omega[name]
    identity = next(a.identity for a in alone.pipeline.augmentations if a.name == name)
    assert bool((found != torch.tensor(identity)).any(1).all())  # by its defaults


def test_the_plain_view_is_the_central_square_resized(images: Shapes) -> None:
    class Wide(Shapes):
        drawn: Shapes

        def load(self, index: int) -> Tensor:
            return torch.cat([torch.zeros(3, 32, 20, dtype=torch.uint8), self.drawn.load(index)], dim=2)

        def batch(self, index: Tensor) -> ImageBatch:
            return Source.batch(self, index)

    wide = Wide(4, size=32)
    wide.drawn = Shapes(4, size=32)
    found = squares(wide, torch.arange(4))
    assert found.sizes.tolist() == [[32, 32]] * 4
    assert torch.equal(found.cut()[1], wide.load(1)[:, :, 10:42])


def test_embeddings_are_the_encoders_and_made_once(images: Shapes) -> None:
    calls = []

    class Counted(Keeps):
        def forward(self, x: Tensor) -> Tensor:
            calls.append(len(x))
            return super().forward(x)

    one = asked(freeze(Counted(), "counted", SIZE, MEAN, STD), images)
    calls.clear()
    plain, again = one.embed(), one.embed([])
    assert plain is again
    assert calls == [40]
    alone = torch.cat([view.image for view in one.views()])
    assert torch.equal(plain.y, Keeps()(alone))
    assert plain.z.shape == (40, 0)
    assert one.embed(["crop"], number=1).omega["crop"].shape == (40, 4)


def test_a_diverged_encoder_is_called_so(images: Shapes) -> None:
    class Diverged(Keeps):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) * float("nan")

    with pytest.raises(RequestError, match="'diverged' gives NaN or infinity on 40 of 40 images"):
        asked(freeze(Diverged(), "diverged", SIZE, MEAN, STD), images).embed()


def test_an_encoder_is_left_as_it_was(run: Run, images: Shapes) -> None:
    frozen = load_encoder(str(run.path), device="cpu")
    one = asked(frozen, images)
    frozen.f.train()
    before = {k: v.clone() for k, v in frozen.state_dict().items()}
    one.embed(["flip"])
    assert frozen.f.training
    assert all(torch.equal(v, before[k]) for k, v in frozen.state_dict().items())


def test_the_projector_of_a_run_is_that_which_was_trained_and_is_told_omega(run: Run, images: Shapes) -> None:
    frozen = load_encoder(str(run.path), device="cpu")
    state = run.load_state()
    assert state is not None
    objective = load_objective(run, frozen.f)
    assert objective is not None
    assert all(torch.equal(v, state["model"][k]) for k, v in objective.state_dict().items())
    found = asked(frozen, images).embed(["color_jitter"])
    with torch.no_grad():
        assert torch.allclose(found.z, objective.online.g(found.y, found.omega), atol=1e-5)
        identity = {name: torch.zeros_like(w) for name, w in found.omega.items()}
        assert not torch.allclose(found.z, objective.online.g(found.y, identity), atol=1e-3)


def test_a_checkpoint_of_another_recipe_is_refused(run: Run) -> None:
    other = Run(run.path, run.recipe.changed({"aware": ("cassle(depth=3, width=8)",)}))
    with pytest.raises(RequestError, match=r"does not fit its recipe\.json"):
        load_objective(other, load_encoder(str(run.path), device="cpu").f)
    assert load_objective(Run(run.path / "none", run.recipe), nn.Identity()) is None  # type: ignore[arg-type]


@pytest.mark.parametrize("host", ["supervised()", "dino(output_dim=16, hidden_dim=16, bottleneck_dim=8)"])
def test_the_projector_of_every_kind_of_host_is_found(host: str, small: Recipe, tmp_path: Path) -> None:
    made = start(small.changed({"host": host, "epochs": 1}), tmp_path / "run")
    assert asked(load_encoder(str(made.path), device="cpu"), Shapes(8, size=16)).embed().z.shape[1] > 1


def test_references_are_the_pixels_the_untrained_network_and_those_that_are_named(run: Run, images: Shapes) -> None:
    frozen = load_encoder(str(run.path), device="cpu")
    against = compared_with(frozen, ["random/resnet18", str(run.path)])
    assert list(against) == ["pixels", "untrained", "random/resnet18", str(run.path)]
    one = subject(frozen, images, 0, None, against)
    assert {name: other.alone.own for name, other in one.references.items()} == dict.fromkeys(against, one.alone.own)
    assert one.references["untrained"].encoder.dim == frozen.dim
    assert not torch.equal(one.references["untrained"].embed().y, one.embed().y)
    assert one.references[str(run.path)].objective is not None
    assert torch.equal(one.references[str(run.path)].embed().y, one.embed().y)
    mine = freeze(Keeps(), "mine", SIZE, MEAN, STD)
    assert list(compared_with(mine, [])) == ["pixels"]  # how to make it anew is not known


def test_a_reference_never_takes_the_name_of_the_encoder_that_is_asked_about() -> None:
    mine = freeze(Keeps(), "pixels", SIZE, MEAN, STD)
    assert list(compared_with(mine, [])) == ["random/pixels"]
    run = load_encoder("random/tiny", size=SIZE, device="cpu")
    run.name = "untrained"
    assert list(compared_with(run, [])) == ["pixels", "random/tiny"]
    with pytest.raises(RequestError, match="'random/pixels' has the name of the encoder that is asked about"):
        compared_with(load_encoder("random/pixels", size=SIZE, device="cpu"), ["random/pixels"])


def test_images_are_chosen_by_the_seed_and_decoded_once() -> None:
    one, again, other = (looked_at("shapes(n=300)", 50, seed, 16) for seed in (0, 0, 1))
    assert len(one) == 50
    assert one.names == again.names != other.names
    assert max(looked_at("shapes(n=60)", 100, 0, 16).batch(torch.arange(60)).sizes.flatten()) <= 48
    with pytest.raises(RequestError, match="images=0 must be at least 1"):
        looked_at("shapes(n=60)", 0, 0, 16)


TOY = '''"""A test's analysis."""

from augaware.analysis.base import Analysis, Number

__all__ = ["Toy"]


class Toy(Analysis):
    """The mean of y."""

    protocol, title, measures = "toy/1", "A toy", {"mean": "the mean", "nothing": "never measured"}

    def __init__(self, least=0):
        self.least = least

    def refusal(self, subject):
        return "it is too narrow; take a wider one" if subject.encoder.dim < self.least else None

    def __call__(self, subject):
        return [Number("mean", float(subject.embed().y.mean()), low=0.0), Number("nothing", float("nan"), "this")]

    def pictures(self, subject):
        return {"a dot": b"\\x89PNG\\r\\n\\x1a\\n" + bytes(30)}
'''


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> str:
    import sys

    place = tmp_path_factory.mktemp("toys")
    (place / "augaware_toys").mkdir()
    (place / "augaware_toys" / "__init__.py").write_text("")
    (place / "augaware_toys" / "mean.py").write_text(TOY)
    sys.path.insert(0, str(place))
    return "augaware_toys.mean"


def test_a_result_says_all_that_it_takes_to_make_it_again(toy: str, images: Shapes, tmp_path: Path) -> None:
    frozen = known(Keeps)
    one = subject(frozen, images, 0, None, {"other": freeze(nn.Flatten(), "x", 8, MEAN, STD)})
    heard: list[str] = []
    (result,) = analyse(frozen, one, [toy], tmp_path / "analysis", heard.append)
    written = json.loads((tmp_path / "analysis" / "augaware_toys.mean.json").read_text())
    assert written == result
    assert heard == [f"1/2 {toy}: Keeps", f"2/2 {toy}: other"]
    assert list(result["encoders"]) == ["Keeps", "other"]
    number, missing = result["encoders"]["Keeps"]
    assert number == {
        "measure": "mean",
        "value": pytest.approx(float(one.embed().y.mean())),
        "stage": "y",
        "low": 0.0,
    }
    assert missing == {"measure": "nothing", "of": "this", "stage": "y"}  # JSON has no NaN
    assert result["pictures"] == {"augaware_toys.mean-1.png": "a dot"}
    assert (tmp_path / "analysis" / "augaware_toys.mean-1.png").read_bytes().startswith(b"\x89PNG")
    assert (result["data"], result["images"], result["seed"], result["size"]) == (images.name, 40, 0, SIZE)
    assert result["augment"][: len(DEFAULT_AUGMENT)] == list(DEFAULT_AUGMENT)  # with their arguments
    assert result["fingerprint"] == frozen.fingerprint


def test_who_cannot_be_asked_is_refused_by_name_and_left_out_otherwise(toy: str, images: Shapes) -> None:
    one = subject(known(Keeps), images, 0, None, {"narrow": freeze(nn.Flatten(), "x", 4, MEAN, STD)})
    (result,) = analyse(one.encoder, one, [f"{toy}(least=100)"])  # type: ignore[arg-type]
    assert list(result["encoders"]) == ["Keeps"]
    with pytest.raises(RequestError, match="too narrow; take a wider one"):
        analyse(one.encoder, one, [f"{toy}(least=1000)"])  # type: ignore[arg-type]


def test_all_says_what_it_leaves_out_and_why(images: Shapes) -> None:
    one, heard = asked(known(Keeps), images), list[str]()
    chosen = analyses(["all"], one, heard.append)
    assert {line.partition(" ")[0] for line in heard} == set(lookup.names("analysis")) - set(chosen)
    assert (
        "parameter_probe is left out: 40 images are too few to train and test a probe; give 100, better 1000" in heard
    )
    alone = subject(known(Keeps), Shapes(1, size=16), 0)
    with pytest.raises(RequestError, match=r"no analysis can be put to encoder 'Keeps': .*spectrum: 1 images have no"):
        analyses(["all"], alone)
    with pytest.raises(RequestError, match="none was named; accepted: all, alignment"):
        analyses([], one)


def test_images_that_cannot_be_read_are_told_of_and_lines_count_what_is_asked(tmp_path: Path) -> None:
    for i in range(9):
        Image.fromarray(Shapes(9, size=16).load(i).permute(1, 2, 0).numpy()).save(tmp_path / f"{i}.png")
    (tmp_path / "torn.png").write_bytes(b"torn")
    heard: list[str] = []
    (_, result) = augaware.analyse("random/tiny", ["cka", "spectrum"], data=str(tmp_path), size=16, told=heard.append)
    assert result["images"] == 9
    assert heard[0].startswith("images that cannot be read and are left out: 1, such as torn.png: ")
    assert heard[1:] == ["1/3 cka: random/tiny", "2/3 spectrum: random/tiny", "3/3 spectrum: pixels"]


def test_results_about_something_else_are_neither_lost_nor_mixed(toy: str, images: Shapes, tmp_path: Path) -> None:
    out, one = tmp_path / "analysis", asked(known(Keeps), images)
    analyse(known(Keeps), one, [toy], out)
    analyse(known(Keeps), one, [toy, f"{toy}(least=1)"], out)
    held = (out / "augaware_toys.mean.json").read_bytes()
    blind, fewer = asked(known(ColourBlind), images), asked(known(Keeps), Shapes(30, size=32))
    for other, says in ((blind, "encoder 'Keeps'"), (fewer, "images '40'")):
        with pytest.raises(RequestError, match=f"{says}.*give another --out"):
            analyse(other.encoder, other, [toy], out)  # type: ignore[arg-type]
    assert (out / "augaware_toys.mean.json").read_bytes() == held
    (tmp_path / "file").write_text("")
    with pytest.raises(RequestError, match="cannot write there"):
        analyse(known(Keeps), one, [toy], tmp_path / "file" / "analysis")


class Sized(nn.Sequential):
    """Takes one size of images only."""

    def __init__(self, side: int) -> None:
        super().__init__(nn.Flatten(), nn.Linear(3 * side**2, 4))


def test_a_network_of_yours_is_left_as_it_was() -> None:
    mine = Sized(96).train()
    (result,) = augaware.analyse(mine, "spectrum", data="shapes(n=8)", augment="flip()", against="random/tiny")
    assert list(result["encoders"]) == ["encoder", "pixels", "random/tiny"]
    assert mine.training
    assert all(p.requires_grad for p in mine.parameters())  # it goes on training


def test_a_network_of_yours_that_cannot_be_asked_is_refused_in_a_line() -> None:
    with pytest.raises(
        RequestError, match=r"Sized cannot take images of 3 x 96 x 96 .*--size 224, or freeze\(network, size=224\)"
    ):
        augaware.analyse(Sized(32), data="shapes(n=8)")
    with pytest.raises(RequestError, match=r"size, device, \.\.\. of an encoder that is frozen are its own"):
        augaware.analyse(freeze(Sized(32), size=32), data="shapes(n=8)", size=32)
    with pytest.raises(RequestError, match="VisionTransformer cannot take images of 3 x 32 x 32"):
        augaware.analyse("random/timm/vit_tiny_patch16_224", data="shapes(n=8)", size=32)

    class Two(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return x, x

    with pytest.raises(RequestError, match=r"Two returns a tuple; pooled \(B, dim\) is needed"):
        freeze(Two())


def test_the_width_of_a_network_is_found_where_it_is() -> None:
    assert freeze(Sized(16).to("meta"), size=16).dim == 4  # on a GPU, say


@pytest.mark.parametrize("name", lookup.names("analysis"))
def test_every_analysis_explains_itself(name: str) -> None:
    analysis = lookup.build("analysis", name)
    assert isinstance(analysis, Analysis)
    assert analysis.protocol.startswith(f"{name}/")
    assert analysis.title
    assert analysis.measures
    assert all(len(means) > 20 for means in analysis.measures.values())
