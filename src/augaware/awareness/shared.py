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
from augaware.errors import RequestError
from augaware.views import Plan

__all__ = ["Shared"]

GEOMETRIC = ("crop", "flip", "rotate90")


class Shared(Awareness):
    """All views of an image have the parameters of its first view for ``names``; None is all that is photometric."""

    def __init__(self, setting: Setting, names: Sequence[str] | None = None) -> None:
        super().__init__()
        chosen = [name for name in setting.drawn if name not in GEOMETRIC] if names is None else names
        self.names = setting.check("shared", "names", (chosen,) if isinstance(chosen, str) else chosen)
        measured = sorted(set(self.names) - set(setting.drawn))
        if measured or not self.names:
            what = f"names={names!r} is nothing to share"
            if measured:
                what = f"names {measured[0]!r}, which is measured, not drawn"
            raise RequestError(f"awareness 'shared': {what}; accepted: {', '.join(setting.drawn)}")

    def plan(self, plan: Plan) -> Plan:
        """The later views of the host take their omega from the first; views that others added are left alone."""
        first, *rest = plan
        host = [view.role is not None for view in rest]
        return first, *(
            replace(view, share={**view.share, **dict.fromkeys(self.names, 0)}) if of_host else view
            for view, of_host in zip(rest, host, strict=True)
        )
