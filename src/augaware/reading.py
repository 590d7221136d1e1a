"""How the files of a source become pixels: as pictures, or as the data that they hold."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Reading:
    """``channels`` 0: each file is a picture, as a viewer shows it: RGB, 8 bits. n: each is data, taken as it is, n
    channels of 8 or 16 bits (:mod:`augaware.data.planes`). A user has to say so, since a file does not tell which of
    the two is meant: a folder of 16-bit PNGs may be photographs.

    ``pixel_range`` (low, high), of data alone: the values that become 0 and the largest of the type; what lies outside
    is clipped. A 12-bit sensor in files of 16 bits has (0, 4095). () is the type's own range.
    """

    channels: int = 0
    pixel_range: tuple[float, ...] = ()


PICTURES = Reading()
