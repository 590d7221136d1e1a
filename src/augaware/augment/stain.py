"""Stain augmentation of histology: more or less haematoxylin and eosin, as another laboratory would have stained.

    OD = -log10(I + eps)                         optical density, of [0, 1] pixels (Beer and Lambert)
    C  = OD M^-1                                 concentrations of the stains (Ruifrok & Johnston, 2001)
    C' = (1 + alpha) C + beta                    stain by stain (Tellez et al., 2018, 2019)
    I' = 10^(-C' M) - eps

omega = (log(1 + alpha_H), log(1 + alpha_E), beta_H, beta_E): two gains, natural logarithms, and two shifts in units of
optical density; zeros mean not applied.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from augaware.augment.base import Augmentation, check_probability, check_range, where_applied
from augaware.random import Draws
from augaware.spaces import Interval

__all__ = ["Stain"]

EPS = 1 / 255  # one grey level: the darkest pixel has a density of 2.4
M = torch.tensor(  # the paper's table: optical density of red, green and blue, one row per stain
    [[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]]  # haematoxylin, eosin, DAB
)
M = M / M.norm(dim=1, keepdim=True)


class Stain(Augmentation):
    """With probability p, scale haematoxylin and eosin by 1 + alpha and shift them by beta; omega both, 4 numbers.

    alpha ~ U(gain), beta ~ U(shift) in optical density, drawn for each of the two. (Tellez et al., 2019: alpha and beta
    both within .05 of 0 is light and within .2 strong, in the units of their software.) They move the third stain too;
    here it is what the two leave over (DAB, where there is some) and stays. A shift stains the empty glass as well.
    """

    identity = (0.0, 0.0, 0.0, 0.0)
    channels = 3

    def __init__(
        self,
        size: int,
        gain: tuple[float, float] = (-0.2, 0.2),
        shift: tuple[float, float] = (-0.05, 0.05),
        p: float = 0.8,
    ) -> None:
        check_probability("stain", p)
        check_range("stain", "gain", gain, -0.99, 9)
        check_range("stain", "shift", shift, -2, 2)
        self.p, self.shift, self.gain = p, tuple(shift), (math.log1p(gain[0]), math.log1p(gain[1]))
        reach = max(high - low for low, high in (self.gain, self.shift))  # how far two views can be apart
        self.space = Interval(4, reach=reach or 1.0, names=("haematoxylin", "eosin", "haematoxylin_0", "eosin_0"))

    def sample(self, draws: Draws, sizes: Tensor) -> Tensor:
        """omega (B, 4)."""
        alpha = draws.stream("gain").uniform(2, *map(math.expm1, self.gain))
        beta = draws.stream("shift").uniform(2, *self.shift)
        return self.off(draws, torch.cat((torch.log1p(alpha), beta), dim=1), self.p)

    @where_applied
    def apply(self, x: Tensor, omega: Tensor) -> Tensor:
        """Unmix, change two stains, mix again; what would be brighter than the lamp is white."""
        m = M.to(x)
        stains = torch.einsum("bchw,cs->bshw", -torch.log10(x + EPS), torch.linalg.inv(m))
        gain, beta = omega[:, :2, None, None].exp(), omega[:, 2:, None, None]
        changed = torch.cat((gain * stains[:, :2] + beta, stains[:, 2:]), dim=1)
        return (10 ** -torch.einsum("bshw,sc->bchw", changed, m) - EPS).clamp(0, 1)
