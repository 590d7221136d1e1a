"""Undo: say from the features of a view, and from what was done to it, how it looked before. A method of this project.

    L = L_SSL + lambda mean_i || h([y_i, omega_i]) - s_i ||^2,    y_i = f(v_i)

s_i is a thumbnail of the same crop of the image, flipped the same, without what changed its colours: a few coarse
colours and where they are. With omega at hand the head can take the jitter back, if y has kept what the jitter left;
without it the best guess is blurred over all jitters. So y need not be told omega (CASSLE's gain), and is asked for
the quantities that the jitter changes, not for the change alone (AugSelf's).

The three channels of s are decorrelated over the batch, to variance 1 each: in natural images almost all that varies
is brightness, and a squared error of plain pixels would hardly ask for hue.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from augaware.awareness.base import Awareness, Extra, Setting, Told, Views, first_two
from augaware.checks import check_at_least_zero, check_flags, check_widths
from augaware.distributed import gather
from augaware.errors import RequestError
from augaware.nets.heads import mlp
from augaware.views import Plan, ViewPlan

__all__ = ["Undo"]


class Undo(Awareness):
    """Predict a thumbnail of each view before its colours were changed, from its features and omega.

    ``side``: of the thumbnail, in pixels. ``kept``: augmentations that it has undergone like the view; None is all that
    moves pixels. ``told`` False hides omega from the head: the control. ``hidden``: the width of its two hidden layers.
    Two thumbnails a step are made, and none is encoded.
    """

    def __init__(
        self,
        setting: Setting,
        lam: float = 3.0,
        side: int = 4,
        kept: Sequence[str] | None = None,
        told: bool = True,
        hidden: int = 512,
    ) -> None:
        super().__init__()
        check_at_least_zero("awareness 'undo'", lam=lam)
        check_widths("awareness 'undo'", side=side, hidden=hidden)
        check_flags("awareness 'undo'", told=told)
        self.kept = setting.check("undo", "kept", setting.geometric if kept is None else kept, drawn=True)
        changed = sorted(set(setting.drawn) - set(self.kept))
        if not changed:
            raise RequestError(
                f"awareness 'undo': there is nothing to undo, kept={list(self.kept)!r} is all that the pipeline does; "
                f"leave one out, or add an augmentation such as color_jitter"
            )
        self.lam, self.side = lam, side
        self.told = Told(changed, setting.spaces) if told else None
        self.h = mlp((setting.dim + (self.told.numbers if self.told else 0), hidden, hidden, 3 * side * side))

    def plan(self, plan: Plan) -> Plan:
        """A thumbnail for each of the first two views."""
        kept = frozenset(self.kept)
        return *plan, *(
            ViewPlan(view.law, size=self.side, only=kept, share=dict.fromkeys(self.kept, number), encoded=False)
            for number, view in enumerate(plan[:2])
        )

    def losses(self, online: Views, target: Views) -> dict[str, Extra]:
        """The squared error of thumbnails of variance 1; nothing: the mean thumbnail of the batch."""
        views = first_two(online, target)
        y = torch.cat([view.y for view in views])
        if self.told is not None:
            omega = [self.told(view.omega) for view in views]
            y = torch.cat((y, torch.cat(omega).to(y.dtype)), dim=1)
        s = decorrelated(torch.cat([online[number].y for number in self.own]).float())
        guess = s.mean(dim=0, keepdim=True).expand_as(s)
        return {"thumbnail": Extra(self.lam, F.mse_loss(self.h(y).float(), s), F.mse_loss(guess, s))}


def decorrelated(s: Tensor) -> Tensor:
    """Thumbnails (B, 3 n) with their three channels uncorrelated, each of mean 0 and about variance 1."""
    colours = s.reshape(len(s), 3, -1).transpose(1, 2).double()  # (B, n, 3); double: autocast leaves it alone
    every = gather(colours).flatten(0, 1)
    covariance = torch.cov(every.T, correction=0)
    ridge = 0.01 * covariance.trace() / 3 + 1e-6  # of gray images: nothing is divided by 0
    root: Tensor = torch.linalg.cholesky(covariance + ridge * torch.eye(3, dtype=s.dtype, device=s.device))
    white: Tensor = torch.linalg.solve_triangular(root.T, colours - every.mean(dim=0), upper=True, left=False)
    return white.transpose(1, 2).flatten(1).to(s.dtype)
