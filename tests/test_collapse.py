"""Negative tests: a host without its protection collapses within a second or two, and the health numbers show it.

Each host trains a tiny network twice, as it is and with one line of its method taken out.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from augaware import metrics
from augaware.augment.pipeline import Pipeline
from augaware.data.loader import open_source
from augaware.hosts.barlow_twins import BarlowTwins
from augaware.hosts.base import Host, HostSetting, Moment
from augaware.hosts.byol import BYOL
from augaware.hosts.dino import DINO
from augaware.hosts.simsiam import SimSiam
from augaware.hosts.swav import SwAV
from augaware.hosts.vicreg import VICReg
from augaware.nets.base import build_encoder
from augaware.objective import Objective
from augaware.views import View

SETTING = HostSetting(16)
PER_EPOCH = 8  # pairs of views that a training sees again and again; one more pair is held out


@functools.cache
def pairs() -> list[list[View]]:
    """Two views each of the same 32 drawn images."""
    source = open_source("shapes(n=32, size=24)", 24, 2**30)
    images = source.batch(torch.arange(32))
    augment = ("crop(scale=(0.3, 1.0))", "flip", "color_jitter")
    pipeline = Pipeline.from_specs(augment, 16, (0.5,) * 3, (0.25,) * 3)
    made = [
        [pipeline.view(images.pixels, images.sizes, images.index, 0, epoch, number).image for number in range(2)]
        for epoch in range(PER_EPOCH + 1)
    ]
    return [[View(x.contiguous(memory_format=torch.channels_last), {}) for x in pair] for pair in made]


@dataclass
class Trained:
    """The last loss, and of held-out views the embeddings z and the target's."""

    loss: float
    z: Tensor
    target: Tensor | None

    @property
    def warning(self) -> str | None:
        return metrics.collapse_warning(self.z)

    @property
    def std(self) -> float:
        """1 when the directions spread over the sphere."""
        return metrics.feature_std(self.z) * math.sqrt(self.z.shape[1])

    @property
    def rank(self) -> float:
        return metrics.effective_rank(self.z)


def train(host: Host, steps: int, lr: float, adam: bool = False) -> Trained:
    """The loop of pretraining, bare."""
    torch.manual_seed(0)
    whole = Objective(build_encoder("tiny(widths=(8, 16))"), host, []).to(memory_format=torch.channels_last)
    trained = [p for p in whole.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr) if adam else torch.optim.SGD(trained, lr, momentum=0.9)
    for step in range(steps):
        now = Moment(step, steps, PER_EPOCH)
        whole.before_step(now)
        loss = whole(pairs()[step % PER_EPOCH])["loss"]
        optimizer.zero_grad()
        loss.backward()
        whole.after_backward(now)
        optimizer.step()
        whole.after_step(now)
    whole.eval()
    with torch.no_grad():
        held_out = dict(enumerate(pairs()[PER_EPOCH]))
        target = whole.target(held_out)[0].z if whole.target is not None else None
        return Trained(loss.item(), whole.online(held_out)[0].z, target)


def seeded(kind: type[Host], **arguments: object) -> Host:
    torch.manual_seed(0)
    return kind(SETTING, **arguments)


# SimSiam: the stop-gradient


class WithoutStopGradient(SimSiam):
    def loss(self, online: Sequence[Tensor], target: Sequence[Tensor]) -> Tensor:
        z_1, z_2 = online
        p_1, p_2 = map(self.h, online)
        return -(F.cosine_similarity(p_1, z_2).mean() + F.cosine_similarity(p_2, z_1).mean()) / 2


def test_simsiam_collapses_without_its_stop_gradient() -> None:
    real, broken = (
        train(seeded(kind, hidden_dim=32, pred_hidden_dim=16, affine=True), steps=50, lr=0.5)
        for kind in (SimSiam, WithoutStopGradient)
    )
    assert real.warning is None
    assert broken.std < 0.5 < 0.8 < real.std  # the paper's figure 2
    assert broken.loss < -0.9 < real.loss  # the loss looks better for it


# BYOL: the target


class OnlineIsTarget(BYOL):
    def loss(self, online: Sequence[Tensor], target: Sequence[Tensor]) -> Tensor:
        return super().loss(online, online)


def test_byol_collapses_when_its_target_is_the_online_network() -> None:
    real, broken = (
        train(seeded(kind, hidden_dim=64, output_dim=32, momentum=0.9), steps=25, lr=0.05)
        for kind in (BYOL, OnlineIsTarget)
    )
    assert real.warning is None
    assert broken.warning is not None
    assert metrics.mean_offdiagonal_cosine(broken.z) > 0.95 > 0.7 > metrics.mean_offdiagonal_cosine(real.z)
    assert broken.loss < 0.1 < real.loss


# DINO: centring against a constant, sharpening against uniformity


class WithoutCentre(DINO):
    def after_step(self, online: Sequence[Tensor], target: Sequence[Tensor]) -> None:
        pass


class WithoutSharpening(DINO):
    def before_step(self, now: Moment) -> None:
        self.t_t = self.t_s


def test_dino_collapses_to_one_output_without_centring_and_to_uniformity_without_sharpening() -> None:
    found: list[Trained] = []
    entropy: list[float] = []
    for kind, steps in ((DINO, 50), (WithoutCentre, 25), (WithoutSharpening, 25)):
        host = seeded(
            kind,
            output_dim=64,
            teacher_temperature_end=0.04,
            warmup_epochs=0,
            momentum=0.9,
            centre_momentum=0.7,
            freeze_epochs=0,
            hidden_dim=64,
            bottleneck_dim=32,
        )
        found.append(train(host, steps, lr=5e-3, adam=True))
        assert isinstance(host, DINO)
        assert found[-1].target is not None
        p_t = F.softmax((found[-1].target - host.centre) / host.t_t, dim=1)
        entropy.append(-(p_t * p_t.log()).sum(dim=1).mean().item())
    real, constant, uniform = found
    assert real.warning is None
    assert constant.warning is not None
    assert constant.loss < 0.1
    assert abs(uniform.loss - math.log(64)) < 0.1
    # The paper's figure 7: the teacher's entropy goes to 0, or to log K.
    assert entropy[1] < 0.1 < 1 < entropy[0] < math.log(64) - 0.2
    assert entropy[2] > math.log(64) - 0.1


# SwAV: balanced codes


class PlainCodes(SwAV):
    def _codes(self, scores: Tensor, queue: Tensor) -> Tensor:
        return F.softmax(scores / self.epsilon, dim=1)


def test_swav_collapses_without_sinkhorn() -> None:
    real, broken = (
        train(seeded(kind, prototypes=20, hidden_dim=64, output_dim=32), steps=30, lr=0.1)
        for kind in (SwAV, PlainCodes)
    )
    assert real.warning is None
    assert broken.warning is not None
    assert broken.loss < 0.1 < 1 < real.loss


# VICReg: variance against a point, covariance against a line


def test_vicreg_shrinks_to_a_point_without_variance_and_to_a_line_without_covariance() -> None:
    """The warning reads directions, so a cloud that shrinks and keeps its form has to be seen in its size."""
    real, point, line = (
        train(seeded(VICReg, hidden_dim=32, output_dim=32, **changed), steps, lr=0.02)
        for changed, steps in (({}, 40), ({"variance": 0, "covariance": 0}, 30), ({"covariance": 0}, 40))
    )
    assert real.warning is None
    assert real.z.std(dim=0).mean() > 0.3
    assert point.z.std(dim=0).mean() < 0.1
    assert point.loss < 0.1
    assert line.rank < 2.5 < 4 < real.rank


# Barlow Twins: redundancy


def test_barlow_twins_repeats_one_dimension_without_its_second_term() -> None:
    real, broken = (
        train(seeded(BarlowTwins, lam=lam, hidden_dim=32, output_dim=32), steps=50, lr=0.05) for lam in (0.05, 1e-6)
    )
    assert real.warning is None
    assert broken.rank < 2.5 < 4 < real.rank
    assert correlation(broken.z) > 1.5 * correlation(real.z)


def correlation(z: Tensor) -> float:
    """The mean absolute correlation of two different dimensions."""
    c = torch.corrcoef(z.T).abs()
    return ((c.sum() - len(c)) / (len(c) * (len(c) - 1))).item()
