"""Shared photometric parameters in all views (the "Shared" control of Moutakanni, Oquab, Szafraniec, Vakalopoulou,
Bojanowski: You Don't Need Domain-Specific Data Augmentations When Scaling Self-Supervised Learning, NeurIPS 2024).

    omega_2^aug = omega_1^aug    for every photometric aug

The views still look augmented, but nothing can be learnt about what differs in colour: a host is invariant to the
crop alone. The cheapest way to keep colour, and the control for what the other methods add.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from augaware.awareness.base import Awareness, Setting
from augaware.views import Plan

__all__ = ["Shared"]


class Shared(Awareness):
    """All views of an image have the parameters of its first view for ``names``; None is all that is photometric."""

    reads = ()

    def __init__(self, setting: Setting, names: Sequence[str] | None = None) -> None:
        super().__init__()
        chosen = sorted(set(setting.drawn) - set(setting.geometric)) if names is None else names
        self.names = setting.check("shared", "names", chosen, drawn=True, empty=False)

    def plan(self, plan: Plan) -> Plan:
        """The later views of the host take their omega from the first; views that others added are left alone."""
        first, *rest = plan
        host = [view.role is not None for view in rest]
        return first, *(
            replace(view, share={**view.share, **dict.fromkeys(self.names, 0)}) if of_host else view
            for view, of_host in zip(rest, host, strict=True)
        )
