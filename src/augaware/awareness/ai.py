"""AI (Chavhan, Gouk, Stuehmer, Heggan, Yaghoobi, Hospedales: Amortised Invariance Learning for Contrastive
Self-Supervision, ICLR 2023).

    L = L_host(g_i(f(v_1; i)), g_i(f(v_2; i))),   v augmented by the groups of invariances that i asks for

One backbone with an invariance code i in {0, 1}^k holds many: in each step one code is drawn, views are made by the
augmentations of its groups alone, and the host compares them in a projector (queue, predictor) of that code's own. In
use i is any point of [0, 1]^k and learnt with the task (:mod:`augaware.tasks.learned_code`). The network that reads i
is :mod:`augaware.nets.invariant`.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from augaware import lookup
from augaware.awareness.base import Awareness, Branches, HostLoss, MakeProjector, Setting
from augaware.checks import check_widths
from augaware.errors import RequestError
from augaware.nets.invariant import FORMS, Invariant
from augaware.views import Plan, ViewPlan

__all__ = ["AI"]

EXAMPLE = {"spatial": "crop", "appearance": "color_jitter"}


class AI(Awareness):
    """Tell the backbone what to be invariant to: f(x; i), one code i of augmentation groups per step.

    ``groups`` are lists of augmentations, i_k being whether the k-th acts; what is in none always does. None is the
    paper's two: spatial (crop, flip, rotate90) and appearance (the others). All codes but zero are drawn alike: [0, 1]
    appearance, [1, 0] spatial, [1, 1] both. (Paper: each code has strengths of its own, such as p = 1 of the jitter
    under appearance, and of five groups those codes with two or more; here: the recipe's strengths, all codes.)
    ``form``, ``hidden`` and ``prompts`` are those of the encoder :func:`augaware.nets.invariant.invariant`.
    """

    reads = ()
    resting = True

    def __init__(
        self,
        setting: Setting,
        form: str = "film",
        groups: Sequence[Sequence[str]] | None = None,
        hidden: int = 32,
        prompts: int = 256,
    ) -> None:
        super().__init__()
        check_widths("awareness 'ai'", hidden=hidden, prompts=prompts)
        if not isinstance(form, str) or form not in FORMS:
            raise RequestError(f"awareness 'ai': form={form!r} is unknown; accepted: {', '.join(FORMS)}")
        self.names = frozenset(setting.drawn)
        self.groups = _default(setting) if groups is None else _checked(groups, setting)
        self.codes = [code for code in itertools.product((0.0, 1.0), repeat=len(self.groups)) if any(code)]
        self.branches = len(self.codes)
        self.drawn = self.branches - 1  # where nothing was planned, all augmentations act
        self.form, self.hidden, self.prompts = form, hidden, prompts

    def encoder(self, spec: str) -> str:
        """f(x; i)."""
        k, widths = len(self.groups), f"hidden={self.hidden}, prompts={self.prompts}"
        return f"invariant({spec!r}, codes={k}, form={self.form!r}, {widths})"

    def plan(self, plan: Plan) -> Plan:
        """All views by the groups of one code, which they carry as the omega that f reads."""
        self.drawn = int(torch.randint(self.branches, ()))
        code = self.codes[self.drawn]
        off = {name for group, acts in zip(self.groups, code, strict=True) if not acts for name in group}
        return tuple(replace(v, only=self._only(v, off), given={**v.given, Invariant.reads: code}) for v in plan)

    def _only(self, view: ViewPlan, off: set[str]) -> frozenset[str]:
        """What acts in a view: not what is off, unless another awareness planned the view for that very change."""
        changed = {lookup.parse(spec).name.rpartition(".")[2] for spec in view.change}
        return frozenset((self.names | changed if view.only is None else view.only) - (off - changed))

    def projector(self, make: MakeProjector, dim: int) -> nn.Module:
        """A projector of the host's for each code."""
        return Branches([make(dim) for _ in self.codes])

    def pair(self, loss: HostLoss) -> Tensor:
        """L_host in the branch of this step's code."""
        return loss(branch=self.drawn)


def _default(setting: Setting) -> list[tuple[str, ...]]:
    """Spatial and appearance, of the augmentations there are."""
    groups = {"spatial": setting.geometric, "appearance": tuple(sorted(set(setting.drawn) - set(setting.geometric)))}
    for kind, group in groups.items():
        if not group:
            raise RequestError(
                f"awareness 'ai': the pipeline ({', '.join(setting.drawn) or 'nothing'}) has no {kind} augmentation; "
                f"add one to augment, such as {EXAMPLE[kind]}, or name groups"
            )
    return list(groups.values())


def _checked(groups: Any, setting: Setting) -> list[tuple[str, ...]]:
    lists = isinstance(groups, (list, tuple)) and all(isinstance(group, (list, tuple)) and group for group in groups)
    if not lists or len(groups) < 2:
        raise RequestError(
            f"awareness 'ai': groups={groups!r} must be two or more lists of augmentations, "
            "such as [['crop', 'flip'], ['color_jitter']]"
        )
    checked = [setting.check("ai", "groups", group, drawn=True) for group in groups]
    given = [name for group in checked for name in group]
    for name in given:
        if given.count(name) > 1:
            raise RequestError(f"awareness 'ai': groups names {name!r} in two groups; name each augmentation once")
    return checked
