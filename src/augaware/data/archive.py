"""One tar: where the images in it lie, and the labels that lie beside them. Nothing is ever unpacked to disk."""

from __future__ import annotations

import gzip
import io
import json
import mmap
import os
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from augaware.data.base import Skipped
from augaware.data.decode import ARRAYS, EXTENSIONS
from augaware.data.files import is_image, pictures_first
from augaware.errors import RequestError

TARS = (".tar", ".tar.gz", ".tgz")
SIDECARS = (".cls", ".json", ".txt")  # the first of which every image has one is what labels them
_GZIP_LIMIT = 16 << 30
_GZIP_RATIO = 200  # images hardly shrink: what grows more than this, past the first 64 MiB, is made to fill the memory
_SIDECAR_LIMIT = 1 << 20
_PIECE = 4096  # headers looked at together
_HARMLESS = frozenset((b"mtime", b"atime", b"ctime", b"uid", b"gid", b"uname", b"gname"))  # records of a pax header

Span = tuple[int, int]  # offset and size in bytes
Member = tuple[str, bool, int, int]  # name, whether it is a regular file, offset, size


@dataclass(frozen=True)
class Archive:
    """The images of a tar: ``spans`` their names, sorted -> where they lie, and the members that are ``refused``.

    ``labels`` extension -> the text of each image's sidecar, for extensions of which all images have one. ``content``
    is a compressed tar, expanded, or a plain one, mapped; None for one that is opened for each image: a set may have
    more tars than a process may have open files.
    """

    path: Path
    content: bytes | mmap.mmap | None
    spans: dict[str, Span]
    labels: dict[str, list[str]]
    refused: list[Skipped]

    def read(self, start: int, size: int) -> bytes:
        """The bytes of a member. Raises :class:`OSError`."""
        if self.content is not None:
            return self.content[start : start + size]
        handle = os.open(self.path, os.O_RDONLY)
        try:
            return os.pread(handle, size, start)
        finally:
            os.close(handle)


def open_archive(path: Path, mapped: bool = False) -> Archive:
    """The tar ``path``, its headers read and checked; ``mapped``: kept open.

    Raises :class:`RequestError` for a missing or damaged one.
    """
    try:
        data = _contents(path)
        kept = mapped or isinstance(data, bytes)
        with nullcontext() if kept or isinstance(data, bytes) else data:
            members = _plain_members(data)
            spans, beside, refused = _told_apart(_any_members(data) if members is None else members)
            labels = _labels(path, spans, beside, data)
            return Archive(path, data if kept else None, spans, labels, refused)
    except FileNotFoundError:
        raise RequestError(f"data {str(path)!r}: there is no such file") from None
    except RequestError:
        raise
    except (tarfile.TarError, EOFError, zlib.error, OSError, ValueError) as error:
        raise RequestError(f"data {str(path)!r} is not a whole tar: {error}; copy or download it again") from None


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


def _told_apart(members: Iterable[Member]) -> tuple[dict[str, Span], dict[str, Span], list[Skipped]]:
    """The images, sorted by name, what may be their sidecars, and the members that are refused."""
    images: dict[str, Span] = {}
    beside: dict[str, Span] = {}
    refused: list[Skipped] = []
    for full, regular, start, size in members:
        name = full.removeprefix("./")
        image = is_image(name.replace("..", ""), EXTENSIONS | ARRAYS)
        if not image and not name.endswith(SIDECARS):
            continue
        outside = name.startswith("/") or ".." in name.split("/")
        if image and (outside or not regular):
            why = "the name leads out of the archive" if outside else "not a regular file (a link or a device)"
            refused.append(Skipped(name, why))
        elif image:
            images[name] = (start, size)
        elif regular and size <= _SIDECAR_LIMIT:
            beside[name] = (start, size)
    taken = pictures_first(images)
    if any(map(is_image, taken)):  # arrays beside pictures are not looked at
        refused = [member for member in refused if is_image(member.name.replace("..", ""))]
    return dict(sorted(taken.items())), beside, refused


def _labels(
    path: Path, images: Iterable[str], beside: dict[str, Span], data: bytes | mmap.mmap
) -> dict[str, list[str]]:
    """Extension -> the label of each image. The sidecar of ``a/b.c.png`` is ``a/b.c.cls``, or ``a/b.cls``, its key."""
    found: dict[str, list[str]] = {}
    for ending in SIDECARS if beside else ():
        texts = []
        for image in images:
            folder, slash, file = image.rpartition("/")
            stems = (file.rpartition(".")[0], file.partition(".")[0])
            name = next((n for stem in stems if (n := f"{folder}{slash}{stem}{ending}") in beside), "")
            if not name:
                break
            start, size = beside[name]
            try:
                text = _label(data[start : start + size].decode("utf-8"), ending)
            except (ValueError, RecursionError) as error:
                raise RequestError(f"data {str(path)!r}: {name} cannot be read: {error}") from None
            if not text:
                break
            texts.append(text)
        else:
            found[ending] = texts
    return found


def _label(text: str, ending: str) -> str:
    """What a sidecar says; nothing where its JSON has no label."""
    if ending != ".json":
        return text.strip()
    content = json.loads(text)
    label = content.get("label") if isinstance(content, dict) else None
    return str(label).strip() if isinstance(label, str | int) and not isinstance(label, bool) else ""


def _plain_members(data: bytes | mmap.mmap) -> list[Member] | None:
    """Those of a whole tar of plain files and folders with short names, in a tenth of tarfile's time.

    None where it may be another.
    """
    at, block, found, heads, stated = 0, tarfile.BLOCKSIZE, [], [], []
    try:
        while any(head := data[at : at + block]):
            size, kind, begin = int(head[124:135], 8), head[156:157], at + block
            if len(head) < block or head[345] or size < 0 or (kind == b"5" and size) or kind not in (b"0", b"5", b"x"):
                return None
            if kind == b"x" and not _HARMLESS.issuperset(_records(data[begin : begin + size])):
                return None
            if kind == b"0":
                name = head[:100].partition(b"\0")[0].decode("utf-8", "surrogateescape")
                found.append((name, True, begin, size))
            heads.append(at // block)
            stated.append(int(head[148:154], 8))
            at = begin + -(-size // block) * block
    except (ValueError, IndexError):
        return None
    if at >= len(data):
        return None
    blocks = np.frombuffer(data, np.uint8, count=at).reshape(-1, block)
    for first in range(0, len(heads), _PIECE):  # those of a million members would be half a gigabyte
        some = blocks[heads[first : first + _PIECE]]
        some[:, 148:156] = ord(" ")  # the checksum's own place
        if some.sum(1, dtype=np.int64).tolist() != stated[first : first + _PIECE]:
            return None
    return found


def _records(content: bytes) -> Iterator[bytes]:
    """The keys of a pax header: ``LENGTH KEY=VALUE`` and a line's end, the length that of it all."""
    while content:
        length, _, rest = content.partition(b" ")
        if not 0 < int(length) <= len(content):
            raise ValueError
        yield rest.partition(b"=")[0]
        content = content[int(length) :]


def _any_members(data: bytes | mmap.mmap) -> Iterator[Member]:
    """Those of any tar but its folders, as tarfile reads it. Raises :class:`tarfile.TarError`."""
    with tarfile.open(fileobj=io.BytesIO(data) if isinstance(data, bytes) else data, mode="r:") as archive:
        for member in archive:
            regular = member.isreg() and not member.issparse()
            if regular and member.offset_data + member.size > len(data):
                raise tarfile.ReadError(f"unexpected end of data in {member.name.removeprefix('./')!r}")
            if not member.isdir():
                yield member.name, regular, member.offset_data, member.size
        # tarfile takes a damaged header after the first, and the end of the data, for the end; the true one is zeros.
        end = data[archive.offset : archive.offset + tarfile.BLOCKSIZE]
        if any(end) or len(end) < tarfile.BLOCKSIZE:
            raise tarfile.ReadError(f"{'damaged header' if any(end) else 'unexpected end'} at byte {archive.offset}")
