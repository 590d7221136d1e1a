"""How many nats of known causes of an image its features carry: of its colours, its class, whatever is known of it.

The information between the colour histogram C of an image and Z = f(x) is AugSelf's own account of what colour jitter
takes away (Lee et al. 2021); bins, critic and training were not published, those here are ours.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from augaware.analysis.axes import Axes
from augaware.analysis.base import Analysis, Number
from augaware.analysis.subject import Subject
from augaware.checks import check_widths
from augaware.errors import RequestError
from augaware.nets.heads import mlp
from augaware.random import seeded
from augaware.tasks.factors import encode, factor_kinds

__all__ = ["MutualInformation"]

FOLDS = 3
PER_CLASS = 30  # images: with fewer, a critic finds nothing of what is there
LEVELS = 4  # of each channel: 4 x 4 x 4 colours
AXES_C, AXES_Z = 16, 32  # more are noise to a critic that learns from hundreds of images
WIDTH, PLACE = 64, 32
STEPS, EVERY, PATIENCE = 400, 10, 5
ROUNDS = 8


class MutualInformation(Analysis):
    """How many nats the features tell of an image's colours and of its known causes; a lower bound.

    I_NCE(C; Z) = log B - CE.

    ``batch``: B, among how many images a critic has to find the one that belongs to y, and the y that belongs to one;
    CE is the mean of both. No bound exceeds log B (5.5 for 256). C is the colour histogram (joint, 4 levels of each
    channel, its square root) as ``"colour"``, and each known factor or the label, if its classes have 30 images each on
    average. The critic is -|a(C) - b(Z)|^2 with two small MLPs on principal axes, trained until other images say stop,
    and the bound is that of images which it has not seen: three parts of the images take turns. Where no critic is
    better than none the bound is 0. It grows with the number of images to learn from, and of few it finds little:
    compare at one number.
    """

    protocol = "mutual_information/1"
    title = "How much the features say of colour, and of what else is known"
    measures: ClassVar = {
        "information": "nats of the cause that are found in the features (InfoNCE, a lower bound): 0, none; the log of "
        "the batch (5.5 for 256) is the most that can be shown"
    }

    def __init__(self, batch: int = 256) -> None:
        check_widths("analysis 'mutual_information'", batch=batch)
        if batch < 16:
            raise RequestError(
                f"analysis 'mutual_information': batch={batch} is too small; give at least 16, better 256"
            )
        self.batch = batch

    def refusal(self, subject: Subject) -> str | None:
        """A held-out part has to fill a batch."""
        n = len(subject.index)
        if n >= FOLDS * self.batch:
            return None
        fitting = n // FOLDS
        smaller = f", or mutual_information(batch={fitting})" if fitting >= 16 else ""
        return f"{n} images are too few for batch={self.batch}; give {FOLDS * self.batch} or more{smaller}"

    def __call__(self, subject: Subject) -> Sequence[Number]:
        """One number per cause, with the interval of the mean over the images."""
        y = subject.embed().y
        kinds = factor_kinds(subject.images) if subject.images.factors else {"class": "class"}
        causes = {name: encode({"": values.cpu()}, kinds[name])[""] for name, values in subject.factors.items()}
        causes = {name: c for name, c in causes.items() if kinds[name] != "class" or len(c) >= PER_CLASS * c.shape[1]}
        found = []
        for name, c in {"colour": histograms(subject).sqrt(), **causes}.items():
            terms = information(c, y, self.batch, subject.seed)
            found.append(Number.mean("information", terms, name))
        return found


def histograms(subject: Subject) -> Tensor:
    """The share of each of LEVELS^channels colours in the images' central squares, (n, colours) float64."""
    found = []
    for batch in subject.batches():
        for image in batch.cut():
            levels = (image.double() / _largest(image) * LEVELS).long().clamp_max(LEVELS - 1).flatten(1)
            code = sum(level * LEVELS**place for place, level in enumerate(levels))
            found.append(torch.bincount(torch.as_tensor(code), minlength=LEVELS ** len(levels)) / levels.shape[1])
    return torch.stack(found).double()


def _largest(image: Tensor) -> float:
    return 1.0 if image.is_floating_point() else float(torch.iinfo(image.dtype).max)


def information(c: Tensor, z: Tensor, batch: int, seed: int = 0) -> Tensor:
    """log B - CE of each image, (n,), from critics that did not see it; of ``c`` (n, k) and ``z`` (n, D).

    The mean is the bound. Images that no batch held are left out.
    """
    parts, terms = torch.tensor_split(torch.arange(len(c)), FOLDS), []
    for fold, test in enumerate(parts):
        rest = torch.cat([part for part in parts if part is not test])
        val, train = rest[: len(rest) // 5], rest[len(rest) // 5 :]
        # one-hot classes have no main axes
        most = c.shape[1] if bool((c.sum(1) == 1).all() and ((c == 0) | (c == 1)).all()) else AXES_C
        C, Z = Axes(c[train], most)(c).float(), Axes(z[train], AXES_Z)(z).float()
        with seeded(C.device, seed, fold):
            critic = trained(C, Z, train, val, batch)
            terms.append(scores(critic, C[test], Z[test], batch))
    return torch.cat(terms)


class Critic(nn.Module):
    """-t |a(c) - b(z)|^2 between all c (B, k) and all z (B, r): (B, B).

    a and b are linear maps and a small MLP beside each; the square lets two Gaussians have their exact critic.
    """

    def __init__(self, k: int, r: int) -> None:
        super().__init__()
        self.straight = nn.ModuleList([nn.Linear(d, PLACE, bias=False) for d in (k, r)])
        self.bent = nn.ModuleList(
            [
                nn.Sequential(
                    nn.Dropout(0.1), mlp((d, WIDTH), hidden="relu"), nn.ReLU(), nn.Dropout(0.1), mlp((WIDTH, PLACE))
                )
                for d in (k, r)
            ]
        )
        self.log_t = nn.Parameter(torch.zeros(()))

    def forward(self, c: Tensor, z: Tensor) -> Tensor:
        """Row i, column j: how well c_i and z_j belong together."""
        a, b = (line(x) + bend(x) for line, bend, x in zip(self.straight, self.bent, (c, z), strict=True))
        nearness: Tensor = -self.log_t.exp() * (a.square().sum(1)[:, None] + b.square().sum(1) - 2 * a @ b.T)
        return nearness


def cross_entropy(logits: Tensor) -> Tensor:
    """Of finding each row's own column and each column's own row, (B,): the mean of the two."""
    own = torch.arange(len(logits))
    one, other = (F.cross_entropy(way, own, reduction="none") for way in (logits, logits.T))
    both: Tensor = (one + other) / 2
    return both


def trained(c: Tensor, z: Tensor, train: Tensor, val: Tensor, batch: int) -> Critic | None:
    """The critic with the best bound on ``val``; None where none is above 0."""
    if not c.shape[1] or not z.shape[1]:
        return None
    critic = Critic(c.shape[1], z.shape[1])
    optimizer = torch.optim.AdamW(critic.parameters(), lr=4e-3, weight_decay=1e-2)
    best, kept, since = 0.0, None, 0
    for step in range(1, STEPS + 1):
        rows = train[torch.randperm(len(train))[:batch]]
        loss = cross_entropy(critic(c[rows], z[rows])).mean()
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        if step % EVERY == 0:
            critic.eval()
            with torch.no_grad():
                bound = math.log(len(val)) - float(cross_entropy(critic(c[val], z[val])).mean())
            critic.train()
            since += 1
            if bound > best:
                best, since = bound, 0
                kept = {name: weight.clone() for name, weight in critic.state_dict().items()}
            elif since == PATIENCE:
                break
    if kept is None:
        return None
    critic.load_state_dict(kept)
    return critic.eval()


@torch.no_grad()
def scores(critic: Critic | None, c: Tensor, z: Tensor, batch: int) -> Tensor:
    """log B - CE of each row, averaged over the batches that held it: ROUNDS orders of the rows, cut into batches."""
    if critic is None:
        return torch.zeros(len(c))
    total, times = torch.zeros(len(c)), torch.zeros(len(c))
    for _ in range(ROUNDS):
        for rows in torch.randperm(len(c))[: len(c) // batch * batch].reshape(-1, batch):
            total[rows] += math.log(batch) - cross_entropy(critic(c[rows], z[rows]))
            times[rows] += 1
    mean: Tensor = total / times
    return mean[times > 0]
