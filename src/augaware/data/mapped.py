"""The store on disk: a source is decoded once into a file, which every run that needs it maps into its memory.

    STORE/<key>/pixels.bin    all images, (channels, height, width) each, end to end; uint16 as this machine has it
    STORE/<key>/journal       which they are (journal.py)

The key is a hash of the source's fingerprint, the short side and what decodes, so that other data, another size or a
folder that has changed gets a store of its own. One process builds; who needs the same store meanwhile waits.
"""

from __future__ import annotations

import mmap
import os
import shutil
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

from augaware.data.base import ImageBatch, Source
from augaware.data.decode import DECODING
from augaware.data.files import digest
from augaware.data.journal import FORMAT, JOURNAL, PIXELS, Entry, Journal, checksum, line, read_journal
from augaware.data.store import Stored
from augaware.disk import held
from augaware.errors import RequestError
from augaware.progress import amount

CHUNK = 256  # images; a kill while building costs no more than these

PAGE = mmap.PAGESIZE

Decoded = Callable[[int], Iterator[tuple[Tensor, ImageBatch]]]  # from image n on: places asked for, images read
Say = Callable[[str], None]


class Mapped(Stored):
    """The images of ``source`` in the store of ``folder``, which ``journal`` describes, as a file that is mapped.

    Processes that read it share its pages. A batch reads its own, so that this happens ahead of their use, in the
    loader's thread.
    """

    def __init__(self, source: Source, folder: Path, journal: Journal) -> None:
        self.folder = folder
        with (folder / PIXELS).open("rb") as pixels, warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The given buffer is not writable")  # nor is it written to
            self._map = mmap.mmap(pixels.fileno(), 0, access=mmap.ACCESS_READ) if journal.bytes else None
            data = torch.frombuffer(self._map, dtype=torch.uint8) if self._map else torch.empty(0, dtype=torch.uint8)
        super().__init__(source, journal.index, journal.images(data), (*source.skipped, *journal.skipped))
        self._content = str(journal.content)

    @property
    def content(self) -> str:
        """That of the journal, which holds a checksum of every image."""
        return self._content

    def batch(self, index: Tensor) -> ImageBatch:
        """The images ``index`` (B,) int64, once they are in memory."""
        batch = super().batch(index)
        width = self.dtype.itemsize
        begin = width * self.images.offsets[index]
        end = begin + width * self.channels * batch.sizes.prod(1)
        first, pages = begin // PAGE, (end - 1) // PAGE - begin // PAGE + 1
        if self._map is not None:
            for at, count in zip(first.tolist(), pages.tolist(), strict=True):  # all at once: ten times as fast
                self._map.madvise(mmap.MADV_WILLNEED, at * PAGE, count * PAGE)
        within = torch.arange(int(pages.sum())) - (pages.cumsum(0) - pages).repeat_interleave(pages)
        places = (first.repeat_interleave(pages) + within) * PAGE
        self.images.data.view(torch.uint8)[places]  # a number of each, without Python's lock
        return batch


def place(store: str, source: Source, short_side: int | None) -> Path:
    """The folder of the images of ``source`` below ``store``."""
    key = digest([FORMAT, DECODING, short_side, source.fingerprint])[:16]
    return Path(store).expanduser() / key


def on_disk(source: Source, folder: Path, size: int, sample: ImageBatch, decoded: Decoded, say: Say) -> Mapped:
    """The images of ``source`` from the store in ``folder``, which is built, or built to its end, where it is not.

    ``size`` is what they will take, in bytes; ``sample`` some of them, as they decode now. Raises
    :class:`RequestError` where they do not fit on the disk or the store holds other images.
    """
    journal = read_journal(folder)
    if journal is None or journal.content is None:
        journal = _built(source, folder, size, decoded, say)
    for i, image in zip(sample.index.tolist(), sample.cut(), strict=True):
        if journal.entries[i][-1] != checksum(_raw(image)):
            raise RequestError(
                f"data {source.name!r}: {source.names[i]} does not decode to what store {str(folder)!r} holds: "
                "the file has changed under its name and size, or what decodes has; remove that folder to build it anew"
            )
    stored = Mapped(source, folder, journal)
    say(f"store {folder}: {len(stored)} images, {amount(journal.bytes)}, content {journal.content}")
    return stored


def check(store: str, progress: Callable[[int, int], None] | None = None) -> list[str]:
    """Read every pixel of the stores in ``store``, or of the one that it is, against its checksum.

    A line for each image that is damaged and for each store that cannot be read or is not finished; none where all is
    sound. Raises :class:`RequestError` where there is no store.
    """
    root = Path(store).expanduser()
    folders = [root] if (root / JOURNAL).exists() else sorted(file.parent for file in root.glob(f"*/{JOURNAL}"))
    if not folders:
        raise RequestError(f"store {store!r}: there is none; build one with: augaware store {store} --data SRC")
    found = []
    for folder in folders:
        try:
            journal = read_journal(folder)
        except RequestError as error:
            found.append(str(error))
            continue
        found += [] if journal is None else _damaged(folder, journal, progress)
        if journal is None or journal.content is None:
            found.append(f"store {str(folder)!r} is not finished; what is to read it goes on building it")
    return found


def _damaged(folder: Path, journal: Journal, progress: Callable[[int, int], None] | None) -> Iterator[str]:
    if journal.content not in (None, journal.digest()):
        yield f"store {str(folder)!r}: its journal is not the one that was finished; remove it, and it is built anew"
    with (folder / PIXELS).open("rb") as pixels:
        for number, (name, *entry) in enumerate(journal.entries, start=1):
            if len(entry) == 3:
                height, width, expected = entry
                length = journal.channels * journal.dtype.itemsize * height * width
                if checksum(pixels.read(length)) != expected:
                    yield f"store {str(folder)!r}: image {name} is damaged; remove that folder, and it is built anew"
            if progress is not None:
                progress(number, len(journal.entries))


def _built(source: Source, folder: Path, size: int, decoded: Decoded, say: Say) -> Journal:
    """Build the store, from where a process that was killed left it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(folder, say):
            journal = read_journal(folder) or Journal({})
            if journal.content is not None:  # another process has built it meanwhile
                return journal
            _say_size(source, folder, size, journal, say)
            with (folder / PIXELS).open("ab") as pixels, (folder / JOURNAL).open("ab") as log:
                pixels.truncate(journal.bytes)
                log.truncate(journal.length)
                if not journal.header:
                    _append(
                        log,
                        {"format": FORMAT, "source": source.name, "fingerprint": source.fingerprint, **_kind(source)},
                    )
                chunk: list[Entry] = []
                for index, batch in decoded(len(journal.entries)):
                    chunk += _written(source, index, batch, pixels)
                    if len(chunk) >= CHUNK or int(index[-1]) + 1 == len(source):
                        _sync(pixels)
                        _append(log, chunk)
                        journal.entries += chunk
                        chunk = []
                _append(log, {"content": journal.digest()})
            found = read_journal(folder)
            assert found is not None
            return found
    except OSError as error:
        raise RequestError(
            f"store {str(folder)!r}: cannot be written ({error.strerror}); what is there is kept"
        ) from None


def _say_size(source: Source, folder: Path, size: int, journal: Journal, say: Say) -> None:
    """Say how large the store will be and where it goes on. Raises :class:`RequestError` where there is no room."""
    done = len(journal.entries)
    free = shutil.disk_usage(folder).free
    if size - journal.bytes > free:
        raise RequestError(
            f"store {str(folder)!r}: the {len(source)} images of {source.name!r} decoded take about {amount(size)}, "
            f"and {amount(free)} are free there; name another folder, or use a smaller size"
        )
    say(
        f"store {folder}: {len(source)} images, decoded about {amount(size)}, {amount(free)} free"
        + (f"; continuing at image {done}" if done else "")
    )


def _written(source: Source, index: Tensor, batch: ImageBatch, pixels: BinaryIO) -> Iterator[Entry]:
    """Append the images of ``batch``; an entry for each place in ``index``."""
    images = dict(zip(batch.index.tolist(), batch.cut(), strict=True))
    reasons = {image.name: image.reason for image in source.skipped} if len(images) < len(index) else {}
    for i in index.tolist():
        if i in images:
            raw = _raw(images[i])
            pixels.write(raw)
            yield [source.names[i], *images[i].shape[1:], checksum(raw)]
        else:
            yield [source.names[i], reasons[source.names[i]]]


def _kind(source: Source) -> dict[str, int]:
    """What the header says of the images, where they are not RGB in 8 bits."""
    usual = source.channels == 3 and source.dtype == torch.uint8
    return {} if usual else {"channels": source.channels, "bits": 8 * source.dtype.itemsize}


def _raw(image: Tensor) -> memoryview:
    """Its bytes, row by row."""
    return image.contiguous().numpy().data.cast("B")


def _append(log: BinaryIO, record: object) -> None:
    log.write(line(record))
    _sync(log)


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


@contextmanager
def _alone(folder: Path, say: Say) -> Iterator[None]:
    """Hold the folder for this process, once whoever builds in it has ended."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        if not held(handle):
            say(f"store {folder}: another process is building it; waiting for that")
            while not held(handle):
                time.sleep(0.2)
        yield
    finally:
        os.close(handle)
