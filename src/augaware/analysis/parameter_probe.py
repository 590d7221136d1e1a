"""Which augmentation made a view, and how far: omega and omega_diff read from frozen features, one by one.

The direct test of what an encoder knows of its augmentations, which reviewers of augmentation-aware methods asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from augaware.analysis.axes import Axes
from augaware.analysis.base import Analysis, Number
from augaware.analysis.intervals import RESAMPLES, percentiles
from augaware.analysis.subject import Subject
from augaware.augment.base import Augmentation
from augaware.awareness.base import Embedding
from augaware.random import Draws, bootstrap
from augaware.spaces import Interval, Space
from augaware.tasks.ridge import STRENGTHS, Ridge
from augaware.views import difference

__all__ = ["ParameterProbe"]

LEAST = 100  # images
TRAIN, VAL = 0.6, 0.15
AXES, PRODUCTS = 48, 20
_SKILL = "as a share of what guessing gets wrong (R2 of numbers; of kinds, errors avoided): 1, kept; 0, lost"


class ParameterProbe(Analysis):
    """How well the parameters of each augmentation can be read off the features: 1 exactly, 0 no better than guessing.

    A small probe of y: 1 - its loss / the loss of one who sees nothing.

    The loss is squared error for numbers, so this is R2, averaged over the columns, and errors for flags and residues:
    (accuracy - base) / (1 - base). Who sees nothing says the mean or the most frequent of the training images. Views
    are by one augmentation alone, always applied; a flag or a residue is drawn uniformly (the plain image is one of
    its values). What cannot be done by half, or not at all, has no number.

    The probe is ridge regression (one-hot for flags and residues) on the first 48 principal components of each view
    and on the products of the first 20 of both, or of one with itself: whether two flags agree, or by how far a view
    was turned against another, is no sum of what each shows. Two rows per image; 60 % of the images train, 15 % choose
    the strength (of each number its own), 25 % are tested, and no image is in two parts. At another number of images
    the numbers are others.
    """

    protocol = "parameter_probe/1"
    title = "Which augmentation parameters the features keep"
    measures: ClassVar = {
        "difference": f"omega_diff of two views by this augmentation alone, from the features of both, {_SKILL}",
        "change": f"omega of a view by this augmentation alone, from its features and the plain image's, {_SKILL}",
        "parameter": f"omega of a view by this augmentation alone, from that view's features, {_SKILL}",
        "difference_in_training": f"omega_diff of two views as training makes them, by all augmentations, {_SKILL}",
        "parameter_in_training": f"omega of one view as training makes it, by all augmentations, {_SKILL}",
        "number": "as difference, of each number of the parameter by itself: 1, kept; 0, lost",
        "accuracy": "as difference, of flags and turns: the share that is named right; guessing gets half of the "
        "flags, and one in n of n turns",
    }

    def refusal(self, subject: Subject) -> str | None:
        """A probe has to be trained, chosen and tested on images."""
        n = len(subject.index)
        return None if n >= LEAST else f"{n} images are too few to train and test a probe; give {LEAST}, better 1000"

    def __call__(self, subject: Subject) -> Sequence[Number]:
        """Measure by measure; each augmentation in the order in which they act, and after it what it measures."""
        spaces, plain = subject.alone.pipeline.spaces, subject.embed()
        still = (plain, plain)
        read: dict[tuple[str, str], Score] = {}
        for a in subject.alone.pipeline.augmentations:
            one, two = (mixed(subject, a, plain, number) for number in (0, 1))
            probes = {
                "difference": Probe((one, two), (two, one)),
                "change": Probe((one, two), still),
                "parameter": Probe((one, two), still, alone=True),
            }
            read |= scores(probes, (a.name, *a.measures), spaces)
        own = subject.alone.own
        if own:
            one, two = (subject.embed(own, number, always=False) for number in (0, 1))
            probes = {
                "difference_in_training": Probe((one, two), (two, one)),
                "parameter_in_training": Probe((one, two), still, alone=True),
            }
            acting = [a for a in subject.alone.pipeline.augmentations if a.name in own]
            read |= scores(probes, [name for a in acting for name in (a.name, *a.measures)], spaces)
        return numbers(read, list(self.measures), spaces)


def numbers(
    read: Mapping[tuple[str, str], Score], measures: Sequence[str], spaces: Mapping[str, Space]
) -> list[Number]:
    """The numbers of what was ``read``, (measure, name) -> score, in the order of ``measures``."""
    found = []
    for (measure, name), score in read.items():
        found.append(Number.within(measure, score.skill(), name))
        if measure == "difference" and score.kinds:
            found.append(Number.within("accuracy", score.accuracy(), name))
        if measure == "difference" and not score.kinds:
            names = getattr(spaces[name], "names", ())
            columns = score.columns if names else ()
            found += [Number.within("number", score.skill(j), f"{name}.{names[j]}") for j in columns]
    return sorted(found, key=lambda number: measures.index(number.measure))


def scores(
    probes: Mapping[str, Probe], names: Sequence[str], spaces: Mapping[str, Space]
) -> dict[tuple[str, str], Score]:
    """(measure, name) -> what its probe reads; without what does not vary."""
    read = {(measure, name): probe(name, spaces) for measure, probe in probes.items() for name in names}
    return {key: score for key, score in read.items() if score is not None}


def mixed(subject: Subject, a: Augmentation, plain: Embedding, number: int) -> Embedding:
    """View ``number`` by ``a`` alone with all values of omega: of n kinds the identity, the plain image, is one."""
    if isinstance(a.space, Interval):
        return subject.embed([a.name], number)
    kinds = max(2, a.space.inputs)
    done = subject.embed([a.name], number if kinds > 2 else 0)  # there is one way to be flipped
    rows = Draws.of(subject.seed, 0, subject.index, number).stream(f"plain {a.name}").happens(1 / kinds)
    omega = {name: torch.where(rows, plain.omega[name], values) for name, values in done.omega.items()}
    return Embedding(omega, torch.where(rows, plain.y, done.y), done.z)


@dataclass(frozen=True)
class Score:
    """A probe's losses on the test images and those of one who sees nothing, (images, columns) each."""

    loss: Tensor
    nothing: Tensor
    columns: tuple[int, ...]  # of omega, those that vary
    kinds: bool

    def skill(self, column: int | None = None) -> tuple[float, float, float]:
        """1 - loss / loss of nothing, averaged over the columns or of one, and its 95 % interval over the images."""
        which = slice(None) if column is None else [self.columns.index(column)]
        loss, nothing = self.loss[:, which], self.nothing[:, which]
        drawn = bootstrap(len(loss), RESAMPLES)
        resampled = _skill(loss[drawn].sum(1), nothing[drawn].sum(1))
        return float(_skill(loss.sum(0), nothing.sum(0))), *percentiles(resampled)

    def accuracy(self) -> tuple[float, float, float]:
        """The share of rows without an error, and its interval."""
        right = 1 - self.loss[:, 0]
        return float(right.mean()), *percentiles(right[bootstrap(len(right), RESAMPLES)].mean(1))


def _skill(loss: Tensor, nothing: Tensor) -> Tensor:
    return (1 - loss / nothing.clamp_min(1e-12)).mean(-1)


class Probe:
    """Ridge regression from views to omega_diff, of ``first`` against ``second``, two rows per image.

    ``alone``: it sees the first view only.
    """

    def __init__(
        self, first: tuple[Embedding, Embedding], second: tuple[Embedding, Embedding], alone: bool = False
    ) -> None:
        self.first, self.second = first, second
        n = len(first[0].y)
        fitted, known = (2 * round(share * n) for share in (TRAIN, TRAIN + VAL))
        self.train, self.val, self.test = slice(fitted), slice(fitted, known), slice(known, 2 * n)
        self.both = slice(known)
        views = [_rows(e.y for e in first)] + ([] if alone else [_rows(e.y for e in second)])
        axes = Axes(torch.cat([y[self.train] for y in views]), AXES)
        seen = [axes(y) for y in views]
        one, two = seen[0][:, :PRODUCTS], seen[-1][:, :PRODUCTS]
        seen.append((one[:, :, None] * two[:, None]).flatten(1))
        self.x = torch.cat(seen, 1)
        self.chosen_on = Ridge(self.x[self.train])
        self.final = Ridge(self.x[self.both])

    def __call__(self, name: str, spaces: Mapping[str, Space]) -> Score | None:
        """What it reads of ``name``; None where that does not vary, or not among the training images."""
        pairs = zip(self.first, self.second, strict=True)
        wanted = _rows(
            difference(one.omega, two.omega, spaces, name).reshape(len(one.y), -1).double() for one, two in pairs
        )
        varies = (wanted[self.train].std(0) > 1e-6) & (wanted[self.test].std(0) > 1e-6)
        kinds = not isinstance(spaces[name], Interval)
        if not bool(varies.any()):
            return None
        t = F.one_hot(wanted[:, 0].long()).double() if kinds else wanted[:, varies]
        nothing = t[self.both].mean(0, keepdim=True).expand_as(t[self.test])
        # each number has a strength of its own; the first, so the strongest, of equals
        together = [list(range(t.shape[1]))] if kinds else [[j] for j in range(t.shape[1])]
        parts = []
        for j in together:
            tried = [self.chosen_on.predict(t[self.train][:, j], strength, self.x[self.val]) for strength in STRENGTHS]
            losses = [float(_loss(guessed, t[self.val][:, j], kinds).mean()) for guessed in tried]
            strength = STRENGTHS[losses.index(min(losses))]
            parts.append(self.final.predict(t[self.both][:, j], strength, self.x[self.test]))
        guessed = torch.cat(parts, 1)
        n_test = len(guessed) // 2
        loss, base = (_loss(p, t[self.test], kinds).reshape(n_test, 2, -1).mean(1) for p in (guessed, nothing))
        return Score(loss, base, tuple(varies.nonzero()[:, 0].tolist()), kinds)


def _loss(guessed: Tensor, t: Tensor, kinds: bool) -> Tensor:
    """Errors (N, 1) of one-hot kinds, squared errors (N, columns) of numbers."""
    if kinds:
        return (guessed.argmax(1) != t.argmax(1)).double()[:, None]
    return (guessed - t).square()


def _rows(values: Iterable[Tensor]) -> Tensor:
    """Both views of an image one after the other: (2 n, columns) from two (n, columns)."""
    return torch.stack(tuple(values), 1).flatten(0, 1)
