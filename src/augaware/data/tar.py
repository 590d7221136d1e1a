"""A tar of images, read in place: members are never written to disk, so their names cannot do harm."""

from __future__ import annotations

import gzip
import io
import mmap
import tarfile
import zlib
from pathlib import Path

import numpy as np

from augaware.data.base import Skipped
from augaware.data.decode import ARRAYS, EXTENSIONS
from augaware.data.files import FileSource, digest, is_image, pictures_first
from augaware.errors import RequestError

__all__ = ["Tar"]

TARS = (".tar", ".tar.gz", ".tgz")
_GZIP_LIMIT = 16 << 30
_GZIP_RATIO = 200  # images hardly shrink: what grows more than this, past the first 64 MiB, is made to fill the memory


class Tar(FileSource):
    """The images in a ``.tar``, ``.tar.gz`` or ``.tgz`` with ``<class>/<file>`` or flat members, sorted by name.

    A plain tar is mapped, a compressed one (which cannot be read from the middle) is expanded in memory. Links, sparse
    files, absolute names and names with ``..`` are not read but listed in ``skipped``; other file types are ignored.
    Raises :class:`RequestError` for a missing or damaged archive or one without images.
    """

    def __init__(self, path: str, short_side: int | None = None) -> None:
        try:
            self._data = _contents(Path(path))
            members, refused = _index(self._data)
        except FileNotFoundError:
            raise RequestError(f"data {path!r}: there is no such file") from None
        except (tarfile.TarError, EOFError, zlib.error, OSError, ValueError) as error:
            raise RequestError(f"data {path!r} is not a whole tar: {error}; copy or download it again") from None
        if not members:
            raise RequestError(f"data {path!r}: the archive holds no image (.jpg, .png, ...)")
        names = sorted(members)
        self._spans = [members[name] for name in names]
        super().__init__(path, names, short_side, digest(zip(names, self._spans, strict=True)))
        self.skipped = tuple(refused)

    def read(self, index: int) -> bytes:
        """The bytes of member ``index``."""
        start, size = self._spans[index]
        return self._data[start : start + size]


def count_images(path: Path) -> int:
    """How many images a tar holds: ``len(Tar(path))``, for a tenth of its time where all members are of plain kinds.

    Raises :class:`RequestError` as :class:`Tar` does.
    """
    try:
        count = _count(_contents(path))
    except (EOFError, zlib.error, OSError, ValueError):
        count = 0
    return count or len(Tar(str(path)))  # which says what is wrong, where something is


def _count(data: bytes | mmap.mmap) -> int:
    """The images of a whole tar of plain files and folders, with short names; 0 where it may be another."""
    at, count, block, heads, stated = 0, 0, tarfile.BLOCKSIZE, [], []
    while any(head := data[at : at + block]):
        name, size, check, kind = head[:100], head[124:135], head[148:154], head[156:157]
        if len(head) < block or kind not in (b"0", b"5") or head[345]:
            return 0
        text = name.rstrip(b"\0").decode(errors="replace")
        outside = text.startswith("/") or ".." in text.split("/")
        count += kind == b"0" and not outside and is_image(text.removeprefix("./"))
        heads.append(at // block)
        stated.append(int(check, 8))
        at += block + -(-int(size, 8) // block) * block
    if at >= len(data):
        return 0
    blocks = np.frombuffer(data, np.uint8, count=at).reshape(-1, block)[heads]
    blocks[:, 148:156] = ord(" ")  # the checksum's own place
    return count if blocks.sum(1, dtype=np.int64).tolist() == stated else 0


def _contents(path: Path) -> bytes | mmap.mmap:
    with path.open("rb") as file:
        if file.read(2) == b"\x1f\x8b":
            limit = min(_GZIP_LIMIT, (64 << 20) + _GZIP_RATIO * file.seek(0, io.SEEK_END))
            file.seek(0)
            with gzip.open(file) as expanded:
                content = expanded.read(limit)  # to the end, which checks gzip's checksum
            if len(content) == limit:
                raise ValueError(f"it expands to more than {limit >> 20} MiB: expand it to a .tar first")
            return content
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _index(data: bytes | mmap.mmap) -> tuple[dict[str, tuple[int, int]], list[Skipped]]:
    """Name -> (offset, size) of every image, and the members that are refused."""
    members: dict[str, tuple[int, int]] = {}
    refused: list[Skipped] = []
    with tarfile.open(fileobj=io.BytesIO(data) if isinstance(data, bytes) else data, mode="r:") as archive:
        for member in archive:
            name = member.name.removeprefix("./")
            regular = member.isreg() and not member.issparse()
            if regular and member.offset_data + member.size > len(data):
                raise tarfile.ReadError(f"unexpected end of data in {name!r}")
            if member.isdir() or not is_image(name.replace("..", ""), EXTENSIONS | ARRAYS):
                continue
            if name.startswith("/") or ".." in name.split("/"):
                refused.append(Skipped(name, "the name leads out of the archive"))
            elif not regular:
                refused.append(Skipped(name, "not a regular file (a link or a device)"))
            else:
                members[name] = (member.offset_data, member.size)
        # tarfile takes a damaged header after the first, and the end of the data, for the end; the true one is zeros.
        end = data[archive.offset : archive.offset + tarfile.BLOCKSIZE]
        if any(end) or len(end) < tarfile.BLOCKSIZE:
            raise tarfile.ReadError(f"{'damaged header' if any(end) else 'unexpected end'} at byte {archive.offset}")
    taken = pictures_first(members)
    pictures = any(map(is_image, taken))
    return taken, [image for image in refused if not pictures or is_image(image.name.replace("..", ""))]
