"""Whether a method uses the omega that it is told (CASSLE, Przewiezlikowski et al., Knowledge-Based Systems 2024, Fig.
3): what it makes of a view should be what the truth is, and worse when it is told a wrong omega.

    own      cos( g(y_v, omega_v), g(y_x, identity) )       v: a view of the image x
    another  cos( g(y_v, omega_u), g(y_x, identity) )       u: the view of the next image
    none     cos( g(y_v, identity), g(y_x, identity) )

For a method that is told omega elsewhere, its prediction of the view from x and omega, against the view (EquiMod: u
against e_i; SIE: W(r) e_0 against e_i): :meth:`augaware.awareness.base.Awareness.when_told`. (Paper: u is the batch in
reverse; for flip and grayscale, always the same, their flag is zeroed. Here: the identity wherever the next image's
omega is the same.)
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn import functional as F

from augaware import lookup
from augaware.analysis.base import Analysis, Number
from augaware.analysis.subject import BATCH, Subject
from augaware.awareness.base import Awareness, Embedding
from augaware.nets.base import evaluating
from augaware.random import seeded
from augaware.spaces import Space
from augaware.views import Omega

__all__ = ["ConditionCheck"]

ALL = "all"
TOLD = (("told its own", "tab:blue", "-"), ("another image's", "tab:orange", "-"), ("nothing", "dimgrey", "--"))
Cosines = tuple[str, str, Tensor, Tensor, Tensor]  # method, augmentation; own, another, none, (n,) each


class ConditionCheck(Analysis):
    """Cosines of what a method makes of each view with what it should be, told the right omega and wrong ones.

    For each augmentation of the recipe alone, always applied, and for all of them as in training. ``stage`` is the
    method. An augmentation of which it is not told makes no difference, exactly.
    """

    protocol: ClassVar[str] = "condition_check/1"
    title: ClassVar[str] = "Whether the method uses the augmentation parameters that it is told"
    measures: ClassVar[Mapping[str, str]] = {
        "own": "mean cosine of what is made of a view with what it should be, told the view's own parameters: 1 is "
        "perfect",
        "another": "the same when told the parameters of another image's view: equal to own where they are not used",
        "none": "the same when told that nothing was done",
        "own_over_another": "own minus another, image by image: above 0, the parameters are used; 0, they are "
        "not; below 0, they mislead",
        "own_over_none": "own minus none, image by image: above 0, the parameters are used; 0, they are not; below 0, "
        "they mislead",
    }

    def refusal(self, subject: Subject) -> str | None:
        """There is nothing that reads omega, or no second image."""
        if len(subject.index) < 2:
            return "it tells a view the parameters of another image's; give at least 2 images"
        who = ", ".join(n for n in lookup.names("awareness") if _is_told(lookup.load("awareness", n)))
        if subject.objective is None:
            return f"there is no projector or predictor beside this encoder; it is for runs, trained with one of: {who}"
        if not _tellers(subject):
            names = "+".join(a.name for a in subject.objective.aware) or "vanilla"
            return f"nothing that {names!r} trains beside the encoder is told omega; it is for runs with one of: {who}"
        return None

    def __call__(self, subject: Subject) -> Sequence[Number]:
        """Augmentation by augmentation, then all."""
        numbers = []
        for method, of, own, another, none in self._cosines(subject):
            numbers += [
                Number.mean(measure, values, of, method)
                for measure, values in (
                    ("own", own),
                    ("another", another),
                    ("none", none),
                    ("own_over_another", own - another),
                    ("own_over_none", own - none),
                )
            ]
        return numbers

    def _cosines(self, subject: Subject) -> list[Cosines]:
        plain, drawn = subject.embed(), _drawn(subject)
        found = []
        for method in _tellers(subject):
            for name in (*subject.alone.own, ALL):
                view = subject.embed(subject.alone.own, always=False) if name == ALL else subject.embed([name])
                right, wrong = view.omega, of_another(view.omega, plain.omega, drawn)
                own, another, none = (
                    _cosine(subject, method, plain, view, omega) for omega in (right, wrong, plain.omega)
                )
                found.append((method.name, name, own, another, none))
        return found

    def pictures(self, subject: Subject) -> Mapping[str, bytes]:
        """The distributions of the cosines, told right and wrong."""
        shows = "Cosine of what is made of a view with what it should be, by what it was told; lines are means"
        return {shows: _png(self._cosines(subject))}


def _is_told(method: type[Awareness]) -> bool:
    return method.when_told is not Awareness.when_told


def _tellers(subject: Subject) -> list[Awareness]:
    return [] if subject.objective is None else [a for a in subject.objective.aware if _is_told(type(a))]


def of_another(omega: Omega, identity: Omega, spaces: Mapping[str, Space]) -> Omega:
    """omega of the next image, and after the last the first; the identity where ``spaces`` see no difference.

    omega, identity: name -> (n, columns), more names than the ``spaces`` that decide.
    """
    other = {name: value.roll(-1, 0) for name, value in omega.items()}
    unlike = [(space.encode(omega[name]) != space.encode(other[name])).any(1) for name, space in spaces.items()]
    differs = torch.stack(unlike).any(0)[:, None]
    return {name: torch.where(differs, value, identity[name]) for name, value in other.items()}


def _drawn(subject: Subject) -> dict[str, Space]:
    """The spaces of what is drawn: what is measured differs with the image, whatever was done."""
    return {name: space for name, space in subject.alone.pipeline.spaces.items() if not space.measured}


def _cosine(subject: Subject, method: Awareness, plain: Embedding, view: Embedding, omega: Omega) -> Tensor:
    """Of what the method makes of the view when told omega with what that should be, (n,) float64 on the CPU."""
    objective, device = subject.objective, subject.device
    assert objective is not None
    found = []
    with evaluating(objective), torch.inference_mode(), seeded(device, subject.seed, 1):  # "random" reads noise
        for rows in torch.split(torch.arange(len(view.y)), BATCH):
            part, whole = (_rows(e, rows, device) for e in (view, plain))
            told = {name: value[rows].to(device) for name, value in omega.items()}
            answer = method.when_told(objective.online.g, whole, part, told)
            assert answer is not None
            made, truth = answer
            found.append(F.cosine_similarity(made.double(), truth.double()).cpu())
    return torch.cat(found)


def _rows(e: Embedding, rows: Tensor, device: torch.device) -> Embedding:
    omega = {name: value[rows].to(device) for name, value in e.omega.items()}
    return Embedding(omega, e.y[rows].to(device), e.z[rows].to(device))


def _png(cosines: Sequence[Cosines]) -> bytes:
    columns = min(3, len(cosines))
    rows = -(-len(cosines) // columns)
    figure = Figure(figsize=(3.1 * columns, 2.0 * rows + 0.4), dpi=120, layout="constrained", facecolor="white")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax in axes[len(cosines) :]:
        ax.set_axis_off()
    several = len({method for method, *_ in cosines}) > 1
    for ax, (method, of, *values) in zip(axes, cosines, strict=False):
        everything = torch.cat(values)
        low, high = everything.quantile(0.005).item(), everything.max().item()
        bins = torch.linspace(low - 1e-6, high + 1e-6, 41).tolist()
        for (told, colour, line), value in zip(TOLD, values, strict=True):
            inside = value.clamp_min(low).numpy()
            ax.hist(inside, bins, histtype="stepfilled", color=colour, alpha=0.2)
            ax.hist(inside, bins, histtype="step", color=colour, linestyle=line, linewidth=1.1)
            ax.axvline(value.mean().item(), color=colour, linestyle=line, linewidth=0.9, label=told)
        ax.set_title(f"{method}: {of}" if several else of, fontsize=8, loc="left")
        ax.tick_params(labelsize=6)
        ax.set_yticks([])
        for side in ("top", "right", "left"):
            ax.spines[side].set_visible(False)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3, fontsize=7, frameon=False)
    file = io.BytesIO()
    FigureCanvasAgg(figure).print_png(file)  # type: ignore[no-untyped-call]
    return file.getvalue()
