"""AugSelf (Lee, Lee, Lee, Lee, Shin: Improving Transferability of Representations via Augmentation-Aware
Self-Supervision, NeurIPS 2021).

    L = L_SSL + sum_{aug in A} lambda_aug L_aug( phi^aug([y_1, y_2]), omega_diff^aug ),    y_i = f(v_i)

phi^aug is an MLP per augmentation on the two backbone features; what omega_diff and L_aug are is a matter of the
augmentation's space (:mod:`augaware.spaces`). Symmetrised: the ordered pairs 1 -> 2 and 2 -> 1 form one batch of 2B.

Which pair, with more than two views (multi-crop): the first two, the big ones, and no other (``first_two``). y_i is
the online feature where the host encodes view i online. MoCo v2 encodes view 2 by its EMA target alone: there y_2 is
the target's, and the gradient flows through y_1 only, as in the authors' code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from augaware.awareness.base import Awareness, Extra, Setting, Views, first_two
from augaware.checks import check_flags, check_widths
from augaware.errors import RequestError
from augaware.nets.heads import mlp
from augaware.views import difference

__all__ = ["AugSelf"]


class AugSelf(Awareness):
    """Predict the difference of two views' augmentation parameters from their features.

    ``targets`` maps an augmentation to its weight lambda (the paper's lambda = 1 is crop 1 and color_jitter 1 on
    STL10; ImageNet100 uses 0.5 each), or lists augmentations for weight 1. ``hidden`` is the width of phi's two
    hidden layers. ``scaled`` divides each difference by the largest there is, so that tanh can follow it; False leaves
    it as the authors' code does, where blur's +-2 pixels are out of reach. ``mirror``: the centres of crop are mirrored
    by the ``"first"`` view's flip, as the authors do, or each by its ``"own"``.
    """

    def __init__(
        self,
        setting: Setting,
        targets: Mapping[str, float] | Sequence[str] = ("crop", "color_jitter"),
        hidden: int = 512,
        scaled: bool = True,
        mirror: str = "first",
    ) -> None:
        super().__init__()
        if not isinstance(targets, Mapping):
            targets = setting.check("augself", "targets", targets)
        weights = dict(targets) if isinstance(targets, Mapping) else dict.fromkeys(targets, 1.0)
        for name, weight in weights.items():
            if not isinstance(weight, (int, float)) or weight < 0:
                raise RequestError(f"awareness 'augself': the weight of {name!r} is {weight!r}; give a number >= 0")
        if not weights:
            raise RequestError(
                f"awareness 'augself': targets is empty; name augmentations, accepted: {', '.join(setting.spaces)}"
            )
        check_widths("awareness 'augself'", hidden=hidden)
        check_flags("awareness 'augself'", scaled=scaled)
        if mirror not in ("first", "own"):
            raise RequestError(f"awareness 'augself': mirror={mirror!r} is unknown; accepted: 'first', 'own'")
        self.scaled, self.mirror = scaled, mirror
        self.spaces = setting.spaces
        self.lam = {name: float(weights[name]) for name in setting.check("augself", "targets", weights)}
        self.compares = self.reads = tuple(self.lam)
        self.phi = nn.ModuleDict(
            {name: mlp((2 * setting.dim, hidden, hidden, setting.spaces[name].outputs)) for name in self.lam}
        )

    def losses(self, online: Views, target: Views) -> dict[str, Extra]:
        """L_aug for each augmentation, its lambda, and L_aug of a head that predicts nothing."""
        one, two = first_two(online, target)
        pairs = torch.cat((torch.cat((one.y, two.y), dim=1), torch.cat((two.y, one.y), dim=1)))  # (2B, 2D)
        found = {}
        for name, lam in self.lam.items():
            space = self.spaces[name]
            d = torch.cat(
                [difference(a.omega, b.omega, self.spaces, name, self.mirror) for a, b in ((one, two), (two, one))]
            )
            omega_diff = space.scaled(d) if self.scaled else d
            prediction = self.phi[name](pairs).float()
            nothing = torch.zeros_like(prediction)
            found[name] = Extra(lam, space.loss(prediction, omega_diff), space.loss(nothing, omega_diff))
        return found
