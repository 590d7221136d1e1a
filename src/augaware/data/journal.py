"""The journal of a store: which images lie in its file of pixels, in order, and what each must hash to.

A line per chunk, ``<sha256 of the text> <text>``, the text a list in JSON with an entry per image of the source:

    [name, height, width, sha256 of its pixels]    or, unreadable,    [name, reason]

The first line is the header, which names the kind of the images where that is not RGB in 8 bits; the last of a finished
store is ``{"content": sha256 of all entries}``. A line is written once the pixels it speaks of are on the disk, so that
a kill costs the current chunk: its line is missing or torn.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from augaware.data.base import Skipped
from augaware.errors import RequestError
from augaware.ragged import Ragged, starts

FORMAT = 1
JOURNAL, PIXELS = "journal", "pixels.bin"
_DIGITS = 32  # of a sha256 in hexadecimal: 128 bits

Entry = list[Any]


def checksum(content: bytes | memoryview) -> str:
    """The first 128 bits of the sha256: among the checksums of the standard library the fastest that is no toy."""
    return hashlib.sha256(content).hexdigest()[:_DIGITS]


def line(record: Any) -> bytes:
    """A record as a line of the journal."""
    text = json.dumps(record, ensure_ascii=True).encode()
    return f"{checksum(text)} ".encode() + text + b"\n"


@dataclass
class Journal:
    """What a store's journal says; ``length`` is how many of its bytes are whole lines."""

    header: dict[str, Any]
    entries: list[Entry] = field(default_factory=list)
    content: str | None = None  # of a finished store
    length: int = 0

    @property
    def sizes(self) -> Tensor:
        """(M, 2) int64 of the images that could be read."""
        return torch.tensor([entry[1:3] for entry in self.entries if len(entry) == 4], dtype=torch.int64).reshape(-1, 2)

    @property
    def index(self) -> Tensor:
        """(M,) int64: their places in the source."""
        return torch.tensor([i for i, entry in enumerate(self.entries) if len(entry) == 4], dtype=torch.int64)

    @property
    def skipped(self) -> list[Skipped]:
        """The others."""
        return [Skipped(*entry) for entry in self.entries if len(entry) == 2]

    @property
    def bytes(self) -> int:
        """Of the pixels that the journal speaks of."""
        return self.channels * self.dtype.itemsize * int(self.sizes.prod(1).sum())

    @property
    def channels(self) -> int:
        """Of each image."""
        return int(self.header.get("channels", 3))

    @property
    def dtype(self) -> torch.dtype:
        """Of the pixels."""
        return torch.uint16 if self.header.get("bits") == 16 else torch.uint8

    def images(self, data: Tensor) -> Ragged:
        """The images, as they lie in ``data``, the file of pixels in bytes."""
        return Ragged(data.view(self.dtype), starts(self.sizes, self.channels), self.sizes, self.channels)

    def digest(self) -> str:
        """What identifies the content: names, sizes and pixels of all images."""
        return checksum(json.dumps(self.entries).encode())


def read_journal(folder: Path) -> Journal | None:
    """The journal of the store in ``folder``, without a last line that is torn; None before there is one.

    Raises :class:`RequestError` where a line is damaged, the store is of another version, or the pixels are too few.
    """
    remedy = f"remove {str(folder)!r}, and it is built anew"
    try:
        content = (folder / JOURNAL).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise RequestError(f"store {str(folder)!r}: its journal cannot be read ({error.strerror})") from None
    journal, at = Journal({}), 0
    lines = content.split(b"\n")
    for number, whole in enumerate(lines[:-1], start=1):
        mark, _, text = whole.partition(b" ")
        if mark.decode(errors="replace") != checksum(text):
            if number == len(lines) - 1:
                break  # written in part before the last kill, and padded by the file system
            raise RequestError(f"store {str(folder)!r}: line {number} of its journal is damaged; {remedy}")
        record = json.loads(text)
        if number == 1:
            journal.header = record
        elif isinstance(record, dict):
            journal.content = str(record["content"])
        else:
            journal.entries += record
        at += len(whole) + 1
    journal.length = at
    if not journal.header:
        return None
    if journal.header.get("format") != FORMAT:
        raise RequestError(
            f"store {str(folder)!r} has format {journal.header.get('format')!r}, this augaware reads {FORMAT}; {remedy}"
        )
    found = (folder / PIXELS).stat().st_size if (folder / PIXELS).exists() else 0
    if found < journal.bytes or (journal.content is not None and found != journal.bytes):
        raise RequestError(
            f"store {str(folder)!r}: {PIXELS} has {found} bytes where the journal says {journal.bytes}; {remedy}"
        )
    return journal
