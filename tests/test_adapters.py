"""Adapters and what needs none, against the real packages: Lightning, lightly, solo-learn, timm, transformers."""

from __future__ import annotations

import functools
import json
import logging
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from augaware.adapters.solo import WithAugSelf
from augaware.data.shapes import Shapes
from augaware.errors import RequestError
from augaware.parts import AugSelf, ConditionedProjector, Views, loss, objective
from augaware.pretrain import start
from augaware.random import epoch_order
from augaware.recipe import Recipe

SOURCE = Shapes(16, size=24)
VIEWS = Views(16, seed=3)


class Images(Dataset[Any]):
    """As torchvision's data sets."""

    def __init__(self, transform: Callable[[Tensor], Any] = lambda image: image) -> None:
        self.transform = transform

    def __len__(self) -> int:
        return len(SOURCE)

    def __getitem__(self, i: int) -> tuple[Any, int]:
        return self.transform(SOURCE.load(i)), i % 2


def features() -> nn.Module:
    return nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(48, 8))


def moves(heads: nn.Module, told: Tensor) -> None:
    """The loss is a number, and reaches every parameter."""
    told.backward()
    assert bool(told.isfinite())
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in heads.parameters())


# --- lightning ---

RECIPE = {
    "data": "shapes(n=16, size=24)",
    "host": "moco_v2(queue=8)",
    "aware": ["augself()", "cassle(depth=2)"],
    "encoder": "tiny((4, 8))",
    "size": 16,
    "epochs": 3,
    "batch_size": 8,
    "clip_norm": 0.5,
    "warmup_epochs": 1.0,
    "health_images": 0,
    "log_steps": 1,
    "engine": "plain",
    "device": "cpu",
    "precision": "fp32",
}


class Order(torch.utils.data.Sampler[int]):
    """The order of a run, as of Lightning's epochs."""

    epoch = 0

    def __iter__(self) -> Any:
        return iter(epoch_order(16, 0, self.epoch).tolist())

    def __len__(self) -> int:
        return 16

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch


@pytest.fixture
def lightning() -> Any:
    """Lightning itself, without its advice."""
    pytest.importorskip("lightning.pytorch", reason="the adapter is for Lightning: pip install lightning")
    import lightning.pytorch

    return lightning.pytorch


def trainer(lightning: Any, folder: Path, *callbacks: Any, **changed: Any) -> Any:
    quiet = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    given = {"max_epochs": 3, **quiet, "default_root_dir": folder, **changed}
    return lightning.Trainer(callbacks=list(callbacks), **given)


advice = pytest.mark.filterwarnings("ignore:.*(num_workers|logging interval|tensorboard|isinstance.treespec|GPU).*")


@advice
def test_lightning_trains_as_our_own_loop(lightning: Any, tmp_path: Path) -> None:
    from augaware.adapters.lightning import Pretraining

    class Losses(lightning.Callback):  # type: ignore
        found: list[float] = []  # noqa: RUF012

        def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
            self.found.append(float(trainer.logged_metrics["loss"]))

    run = start(Recipe.from_fields(RECIPE), tmp_path / "run")
    lines = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    ours = [line["loss"] for line in lines if "loss" in line]
    module = Pretraining(RECIPE)
    loader = DataLoader(module.views.of(Images()), 8, sampler=Order())
    losses, its = Losses(), trainer(lightning, tmp_path, enable_checkpointing=True)
    its.callbacks.insert(0, losses)
    its.fit(module, loader)
    assert len(ours) == 6
    assert losses.found == pytest.approx(ours, abs=1e-6)

    saved = torch.load(its.checkpoint_callback.best_model_path, weights_only=True)
    assert any("awareness.augself.phi.crop" in name for name in saved["state_dict"])
    again = Pretraining.load_from_checkpoint(its.checkpoint_callback.best_model_path)
    assert again.recipe == module.recipe
    x = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(again.eval()(x), module.eval()(x))


@advice
def test_a_callback_adds_augself_to_anybody_s_module(lightning: Any, tmp_path: Path) -> None:
    from augaware.adapters.lightning import AugSelfCallback, HealthCallback

    def decorated(step: Any) -> Any:
        """As decorators of timers and profilers are, which leave ``__wrapped__``."""

        @functools.wraps(step)
        def inner(*given: Any) -> Any:
            return step(*given)

        return inner

    class Theirs(lightning.LightningModule):  # type: ignore
        def __init__(self, told: bool = True, trained: bool = True) -> None:
            super().__init__()
            self.f, self.told, self.trained = features(), told, trained

        @decorated
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            (v1, v2), _ = batch
            y1, y2 = self.f(v1.image), self.f(v2.image)
            own = (y1 - y2).square().mean()
            return {"loss": own, "views": [v1, v2], "features": [y1, y2]} if self.told else own

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD((self if self.trained else self.f).parameters(), 0.1)

    loader = DataLoader(VIEWS.of(Images()), 8)
    adds = AugSelfCallback(VIEWS.spaces, dim=8)
    before = [p.detach().clone() for p in adds.heads.parameters()]
    plain = DataLoader([(VIEWS.transform(SOURCE.load(i))[0].image, i % 2) for i in range(16)], 8)
    module, its = Theirs(), trainer(lightning, tmp_path, adds, HealthCallback(plain, "f"), max_epochs=1)
    its.fit(module, loader)
    assert all(not torch.equal(p, old) for p, old in zip(adds.heads.parameters(), before, strict=True))
    assert {"loss/augself", "health/feature_std", "health/effective_rank", "health/knn"} <= set(its.logged_metrics)
    saved = torch.load(its.checkpoint_callback.best_model_path, weights_only=True)
    assert any(name.startswith("augself.heads.phi") for name in saved["state_dict"])
    assert "training_step" not in vars(module)  # it is its own again

    for wrong, line in ((Theirs(told=False), "must return {'loss'"), (Theirs(trained=False), "leaves the heads out")):
        with pytest.raises(RequestError, match=line):
            trainer(lightning, tmp_path / line, AugSelfCallback(VIEWS.spaces, 8), max_epochs=1).fit(wrong, loader)


@advice
def test_what_lightning_cannot_do_is_one_line(lightning: Any, tmp_path: Path) -> None:
    from augaware.adapters.lightning import Pretraining

    with pytest.raises(RequestError, match="'equimod' plans the views of each step"):
        Pretraining({**RECIPE, "aware": ["equimod()"]})
    module = Pretraining({**RECIPE, "host": "simclr()"})
    for changed, images, size, line in (
        ({"accumulate_grad_batches": 2}, module.views.of(Images()), 8, "accumulate_grad_batches=2.*not supported"),
        ({}, Images(), 8, "a batch holds no views; load module.views.of"),
        ({}, module.views.of(Images()), 4, "a batch has 4 images, .*batch_size=8, drop_last=True"),
        ({"max_epochs": -1, "max_steps": 2}, module.views.of(Images()), 8, "need an end; give"),
    ):
        with pytest.raises(RequestError, match=line):
            trainer(lightning, tmp_path, **changed).fit(module, DataLoader(images, size))


def test_without_lightning_the_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lightning.pytorch", None)
    monkeypatch.delitem(sys.modules, "augaware.adapters.lightning", raising=False)
    with pytest.raises(RequestError, match="pip install lightning"):
        import augaware.adapters.lightning  # noqa: F401
    monkeypatch.delitem(sys.modules, "augaware.adapters.lightning", raising=False)


@pytest.mark.long
def test_the_lightning_example_runs(
    lightning: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(logging.getLogger("lightning.pytorch"), "level", logging.WARNING)  # which it changes
    runpy.run_path(str(Path(__file__).parents[1] / "examples" / "lightning_module.py"))
    said = capsys.readouterr().out
    assert "byol + augself: {'loss':" in said
    assert "your module + augself: {'loss/augself':" in said


# --- lightly: needs no adapter ---


def lightly(part: str) -> Any:
    return pytest.importorskip(f"lightly.{part}", reason="shown against lightly itself: pip install lightly")


@pytest.mark.filterwarnings("ignore")  # lightly asks its server for its newest version, and warns of what torch changed
def test_lightly_s_data_heads_and_losses_meet_ours(tmp_path: Path) -> None:
    data, heads, losses = lightly("data"), lightly("models.modules.heads"), lightly("loss")
    for i in range(4):
        (tmp_path / "a").mkdir(exist_ok=True)
        Image.fromarray(SOURCE.load(i).permute(1, 2, 0).numpy()).save(tmp_path / "a" / f"{i}.png")
    torch.manual_seed(0)
    dataset = data.LightlyDataset(str(tmp_path), transform=VIEWS.transform)
    (one, two), targets, names = next(iter(DataLoader(dataset, 4)))
    assert one.image.shape == (4, 3, 16, 16)
    assert len(targets) == len(names) == 4

    f, augself = features(), AugSelf(VIEWS.spaces, 8)
    g = ConditionedProjector(VIEWS.spaces, 8, lambda d_in: heads.SimCLRProjectionHead(d_in, 8, 5))
    y_1, y_2 = f(one.image), f(two.image)
    z_1, z_2 = g(y_1, one.omega), g(y_2, two.omega)
    theirs = losses.NTXentLoss(temperature=0.2)(z_1, z_2)
    torch.testing.assert_close(loss("simclr(temperature=0.2)")(z_1, z_2), theirs)
    whole = nn.ModuleList([f, g, augself])
    moves(whole, theirs + augself(one, two, y_1, y_2))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("ours", "theirs", "given"),
    [
        ("simclr(temperature=0.5)", "NTXentLoss", {"temperature": 0.5}),
        ("barlow_twins(lam=0.005)", "BarlowTwinsLoss", {"lambda_param": 0.005}),
        ("vicreg()", "VICRegLoss", {}),
    ],
)
def test_our_losses_are_lightly_s(ours: str, theirs: str, given: dict[str, float]) -> None:
    torch.manual_seed(0)
    z_1, z_2 = torch.randn(2, 16, 6)
    expected = getattr(lightly("loss"), theirs)(**given)(z_1, z_2)
    torch.testing.assert_close(loss(ours)(z_1, z_2), expected, rtol=1e-4, atol=1e-5)


# --- solo-learn ---


class Base(nn.Module):
    """A method in the shape of solo-learn's BaseMethod."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone, self.projector, self.seen = features(), nn.Linear(8, 4), False

    @property
    def learnable_params(self) -> list[dict[str, Any]]:
        return [{"name": "backbone", "params": self.backbone.parameters()}]

    def training_step(self, batch: Any, batch_idx: int) -> dict[str, Any]:
        _, X, _ = batch
        assert all(isinstance(x, Tensor) for x in X)
        return {"feats": [self.backbone(x) for x in X]}


class SimCLR(Base):
    """A method in the shape of solo-learn's."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        out = super().training_step(batch, batch_idx)
        return loss("simclr()")(*map(self.projector, out["feats"]))


def test_augself_in_a_method_of_solo_learn_s_shape() -> None:
    class Mine(WithAugSelf, SimCLR):
        pass

    torch.manual_seed(0)
    method = Mine()
    method.augself = AugSelf(VIEWS.spaces, 8)
    (one, two), labels = next(iter(DataLoader(VIEWS.of(Images()), 8)))
    told = method.training_step([torch.arange(8), [one, two], labels], 0)
    y_1, y_2 = method.backbone(one.image), method.backbone(two.image)
    own = loss("simclr()")(method.projector(y_1), method.projector(y_2))
    torch.testing.assert_close(told, own + method.augself(one, two, y_1, y_2))
    moves(method, told)
    trained = {id(p) for group in method.learnable_params for p in group["params"]}
    assert {id(p) for p in method.augself.parameters()} <= trained
    assert not method.backbone._forward_hooks


def test_a_method_that_encodes_one_view_is_told_so() -> None:
    class Half(Base):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return self.backbone(batch[1][0]).sum()

    class Mine(WithAugSelf, Half):
        pass

    method = Mine()
    method.augself = AugSelf(VIEWS.spaces, 8)
    views, labels = next(iter(DataLoader(VIEWS.of(Images()), 8)))
    with pytest.raises(RequestError, match="'backbone' encoded 8 images of a batch of 8"):
        method.training_step([labels, views, labels], 0)


@pytest.mark.filterwarnings("ignore")
def test_the_real_solo_learn() -> None:
    try:
        from solo.methods import SimCLR as Real
    except Exception as error:  # its pins are old: whatever they meet on import
        pytest.skip(f"solo-learn cannot be imported here ({type(error).__name__}); it pins an old Lightning")
    assert hasattr(Real, "training_step")
    assert isinstance(vars(Real).get("learnable_params"), property)


# --- networks of other libraries: need no adapter ---


def test_a_network_of_timm() -> None:
    import timm

    torch.manual_seed(0)
    f = timm.create_model("test_resnet", num_classes=0)
    views = Views(32, engine="plain")
    whole = objective(f, "simclr()", "augself()", views)
    moves(whole, whole(views(SOURCE.batch(torch.arange(8)).pixels))["loss"])


@pytest.mark.filterwarnings("ignore")
def test_a_network_of_transformers() -> None:
    transformers = pytest.importorskip("transformers", reason="a network of Hugging Face: pip install transformers")

    class Pooled(nn.Module):
        """Their models return an object; f returns features."""

        def __init__(self) -> None:
            super().__init__()
            sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
            self.model = transformers.ViTModel(
                transformers.ViTConfig(**sizes, image_size=16, patch_size=8), add_pooling_layer=False
            )

        def forward(self, x: Tensor) -> Any:
            return self.model(x).last_hidden_state[:, 0]

    torch.manual_seed(0)
    whole = objective(Pooled(), "simclr()", ["augself()", "cassle(depth=1)"], VIEWS)
    assert whole.online.f.dim == 16
    moves(whole, whole(VIEWS(SOURCE.batch(torch.arange(8)).pixels))["loss"])
