"""How far each augmentation moves an image on its way through the network (CASSLE, Przewiezlikowski et al., Knowledge-
Based Systems 2024, section 4.2), in eval mode; the authors' script runs batch normalisation in training mode.

    c_i, a_i: unit activations of image i, plain and augmented, flattened;   s_ij = c_i . a_j
    positive P = mean_i s_ii,   negative N = mean_{i != j} s_ij,   moved = (1 - P) / (1 - N)
    InfoNCE = mean_i -log( exp(s_ii / T) / sum_j exp(s_ij / T) ),   T = .2

Features after a ReLU point one way, so that P alone is high for any two images; and InfoNCE grows with N, whatever the
augmentation does. As |c - a|^2 = 2 - 2 s, ``moved`` is a ratio of squared distances, with a scale of its own. j runs
over a batch. (Paper: batches of 256, of which the last may be short, a partner from the other end of the batch for N,
InfoNCE times 2T; here: equal batches of about 256, all others of the batch, InfoNCE itself.)
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from augaware.analysis.alone import squares
from augaware.analysis.base import Analysis, Number
from augaware.analysis.stages import stages, watching
from augaware.analysis.subject import Subject
from augaware.awareness.base import Embedding
from augaware.checks import check_numbers, check_widths
from augaware.nets.base import evaluating
from augaware.views import View

__all__ = ["Sensitivity"]

Heard = Callable[[str, Tensor], None]

PLAIN = ""
STRENGTHS = (0.25, 0.5, 0.75, 1.0)
ROWS = 32  # images of which differences are held at a time: an activation can have a million numbers
SAME = 1e-5  # 1 - N below this is rounding: all images are one


class Sensitivity(Analysis):
    """Plain images against their views by each augmentation alone, at every stage from the pixels to z.

    ``batch``: about how many images a view is told apart from; ``temperature`` is T. Memory holds the activations of
    one batch at the stages (:mod:`augaware.analysis.stages`). The strengths below 1 are asked of y and z. z of several
    branches is read branch by branch: ``z1``, ``z2``, ... Intervals are over the images, each with its share in N.
    """

    protocol: ClassVar[str] = "sensitivity/1"
    title: ClassVar[str] = "How far each augmentation moves an image, from the pixels to the projector"
    axis: ClassVar[str] = "strength"
    measures: ClassVar[Mapping[str, str]] = {
        "moved": "how far the augmentation moves an image, as a share of the squared distance to another image: 0 is "
        "blind to it, 1 as far away as another image",
        "positive": "mean cosine of an image and its augmented version: 1 is the same",
        "negative": "mean cosine of an image and the augmented version of another: what positive would be of an "
        "encoder that told nothing apart, high for all features after a ReLU",
        "info_nce": "InfoNCE of finding an image's augmented version among those of a batch, in nats: higher is more "
        "sensitive, chance is the end; it rises too where different images are alike, so read moved beside it",
        "chance": "the InfoNCE of an encoder that tells no images apart: the logarithm of the batch",
    }

    def __init__(self, batch: int = 256, temperature: float = 0.2) -> None:
        check_widths("analysis 'sensitivity'", batch=batch)
        check_numbers("analysis 'sensitivity'", 0, temperature=temperature)
        self.batch, self.temperature = batch, temperature

    def refusal(self, subject: Subject) -> str | None:
        """One image has no other."""
        return None if len(subject.index) > 1 else "it compares different images; give at least 2"

    def __call__(self, subject: Subject) -> Sequence[Number]:
        """Augmentation by augmentation, from the pixels to z; then the curves, then chance."""
        numbers = [n for (name, stage), rows in self._walk(subject).items() for n in numbers_of(rows, name, stage)]
        for name in subject.alone.gradual:
            for strength in STRENGTHS:
                for stage, rows in self._end(subject, name, strength).items():
                    found = numbers_of(rows, name, stage, strength)
                    numbers += [n for n in found if n.measure in ("moved", "info_nce")]
        chance = [math.log(len(part)) for part in self._split(subject.index) for _ in part]
        return [*numbers, Number("chance", sum(chance) / len(chance), stage="")]

    def _split(self, x: Tensor) -> tuple[Tensor, ...]:
        """Batches as equal as can be, of two at least."""
        return torch.tensor_split(x, max(1, min(round(len(x) / self.batch), len(x) // 2)))

    def _walk(self, subject: Subject) -> dict[tuple[str, str], Tensor]:
        """(augmentation, stage) -> :func:`compare`, (3, n); one pass of each view, which the subject remembers."""
        encoder, alone = subject.encoder, subject.alone
        assert isinstance(encoder, nn.Module)
        plain: dict[str, Tensor] = {}
        found: dict[tuple[str, str], list[Tensor]] = defaultdict(list)
        parts: dict[str, list[Embedding]] = defaultdict(list)

        def keep(stage: str, x: Tensor) -> None:
            plain[stage] = unit(x)

        def hold_against(name: str, stage: str, x: Tensor) -> None:
            found[name, stage].append(compare(plain[stage], unit(x), self.temperature).cpu())

        with evaluating(encoder), torch.inference_mode():
            places: dict[str, nn.Module] | None = None
            for index in self._split(subject.index):
                batch = squares(subject.images, index).to(subject.device)
                view = alone.view(batch, (), subject.seed)
                if places is None:
                    places = stages(encoder, view.image[:2])
                parts[PLAIN].append(_pass(subject, view, places, keep))
                for name in alone.names:
                    view = alone.view(batch, [name], subject.seed)
                    parts[name].append(_pass(subject, view, places, partial(hold_against, name)))
        for name, embedded in parts.items():
            subject.remember(embedded, [name] if name != PLAIN else ())
        return {key: torch.cat(rows, dim=1) for key, rows in found.items()}

    def _end(self, subject: Subject, name: str, strength: float) -> dict[str, Tensor]:
        """Stage -> :func:`compare`, (3, n), of y and z alone, at a strength."""
        plain, moved = (_ends(subject, e) for e in (subject.embed(), subject.embed([name], strength=strength)))
        return {
            stage: torch.cat(
                [
                    compare(unit(c), unit(a), self.temperature)
                    for c, a in zip(self._split(plain[stage]), self._split(moved[stage]), strict=True)
                ],
                dim=1,
            )
            for stage in plain
        }


def _pass(subject: Subject, view: View, places: Mapping[str, nn.Module], heard: Heard) -> Embedding:
    """One batch through the network; ``heard`` is told of every stage, in order."""
    heard("pixels", view.image)
    with watching(places, heard):
        e = subject.embedded(view)
    for stage, x in _ends(subject, e).items():
        heard(stage, x)
    return e


def _ends(subject: Subject, e: Embedding) -> dict[str, Tensor]:
    """y, and z branch by branch."""
    if subject.objective is None:
        return {"y": e.y}
    branches = e.z.chunk(len(subject.objective.hosts), dim=1)
    return {"y": e.y, **{"z" if len(branches) == 1 else f"z{k}": z for k, z in enumerate(branches, 1)}}


def unit(x: Tensor) -> Tensor:
    """Activations (B, ...) flattened, with norm 1; a copy."""
    return F.normalize(x.float().flatten(1), dim=1)


def compare(c: Tensor, a: Tensor, temperature: float) -> Tensor:
    """s_ii, the image's share in N, and its term of InfoNCE, of unit vectors c, a (B, d) -> (3, B).

    Its share in N is what N moves by with the image, as c and as a: the mean over i is N.
    """
    # |c - a|^2 and not c . a, which is 1 only up to rounding where nothing moved.
    apart = torch.cat(
        [(p - q).square().sum(1) for p, q in zip(torch.split(c, ROWS), torch.split(a, ROWS), strict=True)]
    )
    positive = 1 - apart / 2
    s = c @ a.T
    others = s.fill_diagonal_(0)
    shares = (others.sum(0) + others.sum(1) - others.mean(0).sum()) / (len(c) - 1)
    s = s.diagonal_scatter(positive) / temperature
    return torch.stack((positive, shares, s.logsumexp(1) - s.diagonal()))


def numbers_of(rows: Tensor, name: str, stage: str, at: float | None = None) -> list[Number]:
    """The measures of :func:`compare`'s rows (3, n); ``moved`` is left out where all images are one."""
    positive, shares, info_nce = rows.double()
    found = [
        Number.mean("positive", positive, name, stage, at),
        Number.mean("negative", shares, name, stage, at),
        Number.mean("info_nce", info_nce, name, stage, at),
    ]
    moved, apart = 1 - positive, 1 - shares
    if float(apart.mean()) > SAME:
        ratio = moved.mean() / apart.mean()
        # The ratio of two means as a mean: what each image adds to it, to first order.
        found.insert(0, Number.mean("moved", ratio + (moved - ratio * apart) / apart.mean(), name, stage, at))
    return found
