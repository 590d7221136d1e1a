"""A small residual network for two CPU cores: the demo's encoder."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from augaware.checks import check_widths
from augaware.errors import RequestError
from augaware.nets.base import Encoder

__all__ = ["tiny"]


def tiny(widths: tuple[int, ...] = (32, 64, 128), channels: int = 3) -> Encoder:
    """A residual network with one block per width and a stem of stride 2; D is the last width.

    Meant for images of 24 to 64 px, of ``channels``. Initialised as PyTorch does.
    """
    if not isinstance(widths, (tuple, list)) or not widths or not all(isinstance(w, int) and w > 0 for w in widths):
        raise RequestError(f"encoder 'tiny': widths={widths!r} must be a list of channel counts, such as (32, 64, 128)")
    check_widths("encoder 'tiny'", channels=channels)
    stem = nn.Sequential(nn.Conv2d(channels, widths[0], 3, 2, 1, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU())
    blocks = [
        Block(c_in, c_out, 1 if i == 0 else 2)
        for i, (c_in, c_out) in enumerate(zip(widths[:1] + widths[:-1], widths, strict=True))
    ]
    return Encoder(nn.Sequential(stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten()), dim=widths[-1])


class Block(nn.Module):
    """x -> relu(shortcut(x) + conv(relu(conv(x)))), batch-normalised."""

    def __init__(self, c_in: int, c_out: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False), nn.BatchNorm2d(c_out)
        self.conv2, self.bn2 = nn.Conv2d(c_out, c_out, 3, 1, 1, bias=False), nn.BatchNorm2d(c_out)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or c_in != c_out:
            self.shortcut = nn.Sequential(nn.Conv2d(c_in, c_out, 1, stride, bias=False), nn.BatchNorm2d(c_out))

    def forward(self, x: Tensor) -> Tensor:
        """(B, c_in, H, W) -> (B, c_out, H / stride, W / stride)."""
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.shortcut(x) + self.bn2(self.conv2(y)))
