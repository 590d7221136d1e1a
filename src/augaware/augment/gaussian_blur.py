"""Gaussian blur. omega = sigma in pixels of the view; 0 means not applied."""

from __future__ import annotations

from torch import Tensor

from augaware.augment.base import Augmentation, check_probability, check_range, where_applied
from augaware.augment.separable import blur_matrix, separable
from augaware.errors import RequestError
from augaware.random import Draws
from augaware.spaces import Interval

__all__ = ["GaussianBlur"]


class GaussianBlur(Augmentation):
    """Blur with sigma ~ U(sigma) pixels and an odd kernel; omega sigma, not rescaled.

    kernel: None is a tenth of the view, as in the papers (9 at 96 px, 23 at 224 px), and at least 5.
    """

    identity = (0.0,)
    fused = "blur"

    def __init__(
        self, size: int, p: float = 0.5, sigma: tuple[float, float] = (0.1, 2.0), kernel: int | None = None
    ) -> None:
        check_probability("gaussian_blur", p)
        check_range("gaussian_blur", "sigma", sigma, 1e-3, 1e3)
        if kernel is not None and (not isinstance(kernel, int) or kernel < 1 or kernel % 2 == 0):
            raise RequestError(
                f"augmentation 'gaussian_blur': kernel={kernel!r} must be an odd number of pixels, or None"
            )
        self.p, self.sigma = p, tuple(sigma)
        self.space = Interval(1, reach=float(sigma[1]))
        self.kernel = kernel or max(5, 2 * int(size / 20) + 1)

    def sample(self, draws: Draws, sizes: Tensor) -> Tensor:
        """omega (B, 1)."""
        return self.off(draws, draws.uniform(1, *self.sigma), self.p)

    @where_applied
    def apply(self, x: Tensor, omega: Tensor) -> Tensor:
        """Convolve rows and columns with each sample's own Gaussian, borders reflected."""
        rows = blur_matrix(omega[:, 0], self.kernel, x.shape[2])
        columns = rows if x.shape[2] == x.shape[3] else blur_matrix(omega[:, 0], self.kernel, x.shape[3])
        return separable(x, rows, columns)
