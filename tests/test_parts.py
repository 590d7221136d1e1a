"""Parts by themselves: what they make is what a run makes, in any loop and in any worker."""

from __future__ import annotations

import pickle
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from augaware.awareness.augself import AugSelf as AugSelfAwareness
from augaware.awareness.base import Embedding, Setting
from augaware.data.shapes import Shapes
from augaware.errors import RequestError
from augaware.parts import AugSelf, ConditionedProjector, Moment, Viewed, Views, loss, objective
from augaware.views import View, condition

SOURCE = Shapes(12, size=24)
PIXELS = SOURCE.batch(torch.arange(12)).pixels
VIEWS = Views(16, seed=3)
ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
MEASURED = """
import multiprocessing
import sys

import coverage

import augaware
from augaware.errors import did_you_mean

coverage.Coverage(config_file=sys.argv[1]).start()
for work in ((did_you_mean, ("crp", ["crop"])), (abs, (-1,))):  # some of our lines, and none
    worker = multiprocessing.get_context("fork").Process(target=work[0], args=work[1])
    worker.start()
    worker.join()
    print(worker.exitcode)
"""


class Images(Dataset[Any]):
    """As torchvision's data sets."""

    def __init__(self, transform: Callable[[Tensor], Any] = lambda image: image) -> None:
        self.transform = transform

    def __len__(self) -> int:
        return len(SOURCE)

    def __getitem__(self, i: int) -> tuple[Any, int]:
        return self.transform(SOURCE.load(i)), i


def features() -> nn.Module:
    return nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(48, 8))


def equal(one: View | Viewed, two: View | Viewed) -> bool:
    return torch.equal(one.image, two.image) and all(torch.equal(w, two.omega[k]) for k, w in one.omega.items())


# --- views ---


def test_views_are_those_of_a_run() -> None:
    index = torch.arange(12)
    made = VIEWS(PIXELS, index, epoch=5)
    sizes = torch.full((12, 2), 24)
    expected = [VIEWS.camera.pipelines[0].view(PIXELS, sizes, index, 3, 5, number) for number in (0, 1)]
    assert all(equal(one, two) for one, two in zip(made, expected, strict=True))


def test_a_view_depends_on_its_own_image_epoch_and_number() -> None:
    one, two = VIEWS(PIXELS, range(12), epoch=1)
    shown, _ = VIEWS(PIXELS[[7, 2]], [7, 2], epoch=1)
    assert torch.equal(shown.image, one.image[[7, 2]])
    assert not torch.equal(one.omega["crop"], two.omega["crop"])
    assert not torch.equal(one.omega["crop"], VIEWS(PIXELS, range(12), epoch=2)[0].omega["crop"])


def test_images_of_any_size_and_pillows() -> None:
    wide = torch.randint(256, (3, 20, 40), dtype=torch.uint8)
    picture = Image.fromarray(wide.permute(1, 2, 0).numpy())
    ragged, _ = VIEWS([PIXELS[0], wide], [0, 1])
    pillow, _ = VIEWS([Image.fromarray(PIXELS[0].permute(1, 2, 0).numpy()), picture], [0, 1])
    alone, _ = VIEWS(PIXELS[:1], [0])
    assert equal(ragged, pillow)
    assert torch.equal(ragged.image[:1], alone.image)


def test_a_stored_omega_gives_the_same_view() -> None:
    for number, view in enumerate(VIEWS(PIXELS)):
        assert torch.equal(VIEWS.apply(PIXELS, view.omega, number).image, view.image)
    single = VIEWS.transform(PIXELS[4])[0]
    assert torch.equal(VIEWS.apply([PIXELS[4]], single.omega).image[0], single.image)


def test_other_laws_and_more_views() -> None:
    crops = Views(16, augment=["crop()", "flip()"], views=["view(2)", "view(2, size=8)"])
    assert crops.count == 4
    assert [tuple(v.image.shape[2:]) for v in crops(PIXELS)] == [(16, 16)] * 2 + [(8, 8)] * 2
    assert set(crops.spaces) == {"crop", "flip"}


def test_loaders_with_workers_give_the_views_of_the_batch() -> None:
    views = Views(16, seed=3)
    loader = DataLoader(views.of(Images()), 4, num_workers=2, persistent_workers=True, multiprocessing_context="fork")
    for epoch in (0, 1):  # workers that live on hear of the epoch
        views.set_epoch(epoch)
        for (one, two), index in loader:
            assert isinstance(one, Viewed)
            assert all(equal(a, b) for a, b in zip((one, two), VIEWS(PIXELS[index], index, epoch), strict=True))


def test_a_worker_whose_coverage_is_measured_ends_well(tmp_path: Path) -> None:
    """Else ``make test COVER=--cov`` fails at loaders: coverage warns in the worker, where warnings are errors too, and
    what it raises once the work is done nobody prints."""
    command = [sys.executable, "-W", "error", "-c", MEASURED, str(ROOT / "pyproject.toml")]
    told = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert (told.returncode, told.stdout) == (0, "0\n0\n"), told.stderr
    assert len(list(tmp_path.glob(".coverage.*"))) == 2


def test_a_transform_never_repeats_its_draws() -> None:
    views = Views(16, augment=["color_jitter(p=1.0)"])  # four numbers of 24 bits: none twice by chance
    loader = DataLoader(Images(views.transform), 3, num_workers=2, multiprocessing_context="fork")
    drawn = [view.omega["color_jitter"] for _ in range(3) for pair, _ in loader for view in pair]
    assert len(torch.cat(drawn)[:, :4].unique(dim=0)) == 3 * 2 * 12


def test_torch_s_seed_governs_a_transform() -> None:
    made = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        made.append(VIEWS.transform(PIXELS[0])[0])
    assert equal(made[0], made[1])
    assert not equal(made[0], made[2])


def test_views_go_to_a_process_that_is_started_anew() -> None:
    views = Views(16, seed=3, views=3)
    again = pickle.loads(pickle.dumps(views))
    assert all(equal(a, b) for a, b in zip(views(PIXELS, range(12)), again(PIXELS, range(12)), strict=True))


# --- heads ---


def test_augself_is_the_awareness() -> None:
    torch.manual_seed(0)
    heads = AugSelf(VIEWS.spaces, 8, {"crop": 0.5, "flip": 2.0}, hidden=16)
    torch.manual_seed(0)
    awareness = AugSelfAwareness(Setting(8, VIEWS.spaces), {"crop": 0.5, "flip": 2.0}, hidden=16)
    one, two = VIEWS(PIXELS)
    y_1, y_2 = torch.randn(2, 12, 8, requires_grad=True)
    parts = awareness.losses({i: Embedding(v.omega, y, y) for i, (v, y) in enumerate(((one, y_1), (two, y_2)))}, {})
    told = heads(one, two, y_1, y_2)
    torch.testing.assert_close(told, 0.5 * parts["crop"].loss + 2 * parts["flip"].loss)
    told.backward()
    assert all(bool(p.grad.abs().sum() > 0) for p in heads.parameters() if p.grad is not None)
    assert {name for name, p in heads.named_parameters() if p.grad is None} == set()


def test_a_conditioned_projector_reads_omega_with_anybody_s_projector() -> None:
    torch.manual_seed(0)
    one, _ = VIEWS(PIXELS)
    y, names = torch.randn(12, 8), ["crop", "flip"]
    g = ConditionedProjector(VIEWS.spaces, 8, lambda d_in: nn.Linear(d_in, 5), condition=names, depth=0)
    linear = next(m for m in g.modules() if isinstance(m, nn.Linear))
    expected = linear(torch.cat((y, condition(one.omega, VIEWS.spaces, names)), dim=1))
    torch.testing.assert_close(g(y, one.omega), expected)
    assert ConditionedProjector(VIEWS.spaces, 8, proj_output_dim=6)(y, one.omega).shape == (12, 6)


# --- losses ---


def test_a_loss_alone() -> None:
    z_1, z_2 = torch.randn(2, 6, 4)
    z = F.normalize(torch.cat((z_1, z_2)), dim=1)
    similar = (z @ z.T / 0.5).fill_diagonal_(float("-inf"))
    expected = F.cross_entropy(similar, torch.arange(12).roll(6))
    torch.testing.assert_close(loss("simclr(temperature=0.5)")(z_1, z_2), expected)
    predictor = loss("simsiam(hidden_dim=4, pred_hidden_dim=2)")
    assert predictor(z_1, z_2).requires_grad
    assert list(predictor.parameters())


def test_an_objective_in_a_loop_of_ones_own() -> None:
    torch.manual_seed(0)
    f = features()
    whole = objective(f, "moco_v2(queue=16)", ["augself()", "cassle(depth=1)", "shared(['flip'])"], VIEWS)
    optimizer = torch.optim.SGD([p for p in whole.parameters() if p.requires_grad], 0.1)
    target, head = whole.target.f.backbone[2], whole.awareness["augself"].phi["crop"][0]  # type: ignore
    before, told = target.weight.clone(), head.weight.detach().clone()
    now = Moment(0, 4, 2)
    whole.before_step(now)
    taken = VIEWS(PIXELS, range(12), plan=whole.plan(VIEWS.count))
    assert torch.equal(taken[0].omega["flip"], taken[1].omega["flip"])
    whole(taken)["loss"].backward()
    whole.after_backward(now)
    optimizer.step()
    whole.after_step(now)
    torch.testing.assert_close(target.weight, 0.999 * before + 0.001 * f[2].weight)
    assert not torch.equal(head.weight, told)
    assert int(whole.host.place) == 12


def test_collated_views_are_taken_where_views_are() -> None:
    torch.manual_seed(0)
    whole = objective(features(), "simclr()", "augself()", VIEWS)
    (one, two), index = next(iter(DataLoader(VIEWS.of(Images()), 12)))
    torch.testing.assert_close(whole([one, two])["loss"], whole(VIEWS(PIXELS, index))["loss"])


# --- one clear line ---


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        (lambda: Views(0), "Views: size=0 must be a whole number, at least 1"),
        (lambda: Views(16, views=0), "Views: views=0 must be"),
        (lambda: VIEWS(PIXELS, [1, 2]), r"index has shape \(2,\); one whole number per image, 12"),
        (lambda: VIEWS(PIXELS[0]), r"images are \(3, 24, 24\); accepted: \(B, C, H, W\), or a list"),
        (lambda: VIEWS("dog.jpg"), "images are a str"),
        (lambda: VIEWS([PIXELS[0], "dog.jpg"]), "an image is a str; accepted"),
        (lambda: VIEWS([PIXELS[0], PIXELS[0, :1]]), r"one kind; these have \[1, 3\] channels"),
        (lambda: VIEWS(PIXELS.int()), r"images are of torch.int32; accepted: torch.uint8, .*, such as images / 255"),
        (
            lambda: VIEWS(PIXELS.float()),
            r"images are floats from \d+ to \d+; accepted: in \[0, 1\], such as images",
        ),
        (lambda: VIEWS([PIXELS[0].float() / 64 - 2]), r"floats from -[.\d]+ to [.\d]+; .* before they are normalised"),
        (lambda: VIEWS(torch.full((2, 3, 24, 24), torch.nan)), "images are floats from nan to nan"),
        (lambda: VIEWS([PIXELS[0].long()]), r"images are of torch.int64; accepted"),
        (lambda: VIEWS.apply(PIXELS, {}, view=2), "view=2 is none of the 2 views; they count from 0"),
        (lambda: VIEWS.apply(PIXELS, {"crop": torch.zeros(12, 4)}), "omega has no 'flip'; it needs: crop, flip"),
        (lambda: loss("byol()"), "more than a loss of embeddings; use objective"),
        (lambda: loss("swav()"), "more than a loss"),
        (lambda: AugSelf(VIEWS.spaces, 8, ["croop"]), "did you mean 'crop'"),
        (lambda: objective(features(), "simclr()", ["ai()"], VIEWS), "makes an encoder of its own; give f as a spec"),
        (
            lambda: objective(features(), "simclr()", [], Views(16, views=3)),
            "3 are planned, but host 'simclr' takes two",
        ),
    ],
)
def test_a_wrong_request_is_one_line(wrong: Callable[[], Any], line: str) -> None:
    with pytest.raises(RequestError, match=line) as error:
        wrong()
    assert "\n" not in str(error.value)


@pytest.mark.long
def test_the_examples_run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(EXAMPLES)
    for argv in (*(["augself_in_your_loop.py", how] for how in ("augself", "cassle")), ["custom_host_loop.py"]):
        monkeypatch.setattr(sys, "argv", argv)
        runpy.run_path(argv[0])
    said = capsys.readouterr().out
    assert "augself: 32 views of (3, 32, 32)" in said
    assert "equal pixels True" in said
    for file in EXAMPLES.glob("*.py"):
        assert len(file.read_text(encoding="utf-8").splitlines()) < 80, file.name


def test_augself_takes_fewer_than_ten_lines() -> None:
    lines = (EXAMPLES / "augself_in_your_loop.py").read_text(encoding="utf-8").splitlines()
    assert 5 < sum("# +" in line and "CASSLE" not in line for line in lines) < 10
