"""From SRC to batches: open a source by its name, and prepare its batches ahead of the consumer."""

from __future__ import annotations

import inspect
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Generic, TypeVar

import torch
from torch import Tensor

from augaware import lookup
from augaware.data.archive import TARS
from augaware.data.base import ImageBatch, Source
from augaware.data.file_list import FileList
from augaware.data.files import LISTS
from augaware.data.folder import Folder
from augaware.data.mapped import on_disk, place
from augaware.data.paired import Paired
from augaware.data.shards import holds_shards, is_pattern
from augaware.data.store import Stored, TooLarge, in_memory
from augaware.data.tar import Tar
from augaware.errors import RequestError, did_you_mean
from augaware.reading import PICTURES, Reading
from augaware.spaces import stated

ACCEPTED = (
    "a folder of images, a .tar, .tar.gz or .tgz, shards such as 'DIR/{000..011}.tar' or a folder of them, a list of "
    "files (.txt, .csv, .tsv, .jsonl), pairs('FILE.csv'), hf:NAME or hf:FOLDER, torchvision:NAME, shapes, "
    "imagenet100('FOLDER'), or a dotted spec"
)
T = TypeVar("T")
_PIECE = 32  # images decoded as one piece of work


class Loader(Generic[T]):
    """Iterates over ``make(index)`` for the index tensors ``batches``, in order, made ahead by threads.

    ``make`` is a source's ``batch``, or what is done with it too.

    At most ``max(prefetch, workers)`` batches are in preparation or ready at a time. An error in a thread is raised
    to the consumer; when it stops early the threads end with the iterator. A batch of which
    nothing could be read comes out empty, so that batches can be counted. ``waited`` is how many seconds the consumer
    has waited for batches so far.
    """

    def __init__(
        self, make: Callable[[Tensor], T], batches: Iterable[Tensor], workers: int = 1, prefetch: int = 2
    ) -> None:
        if workers < 1 or prefetch < 1:
            raise RequestError(f"workers={workers}, prefetch={prefetch}: both must be 1 or more")
        self.make = make
        self.batches = batches
        self.workers = workers
        self.ahead = max(prefetch, workers)
        self.waited = 0.0

    def __iter__(self) -> Iterator[T]:
        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="augaware-loader")
        pending: deque[Future[T]] = deque()
        try:
            for index in self.batches:
                pending.append(pool.submit(self.make, index))
                if len(pending) == self.ahead:
                    yield self._next(pending)
            while pending:
                yield self._next(pending)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _next(self, pending: deque[Future[T]]) -> T:
        start = time.perf_counter()
        batch = pending.popleft().result()
        self.waited += time.perf_counter() - start
        return batch


def open_source(
    src: str,
    short_side: int | None = None,
    memory: int = 4 << 30,
    progress: Callable[[int, int], None] | None = None,
    workers: int | None = None,
    store: str = "",
    say: Callable[[str], None] = lambda line: None,
    reading: Reading = PICTURES,
) -> Source:
    """Open SRC: a folder, a tar or several, a list of files, ``hf:NAME``, ``torchvision:NAME``, ``shapes`` or a dotted
    spec that gives a :class:`Source`.

    Its images are decoded once, by ``workers`` threads (one per core), shrunk to ``short_side`` pixels where theirs
    is longer, and kept: in the folder ``store`` for this run and others, or, without one, in memory if they fit in
    ``memory`` bytes. Those that cannot be read are left out and listed in ``skipped``. A larger source is decoded anew
    for each batch, and an unreadable image is found, and dropped from its batch, only then; with ``memory`` 0 nothing
    is decoded here. ``progress(done, total)`` is called as images are decoded, ``say`` with lines on the store and on
    what is read otherwise than one may expect. ``reading``: as pictures or as they are. Raises :class:`RequestError`.
    """
    if short_side is not None and short_side < 1:
        raise RequestError(f"short_side={short_side}: must be 1 pixel or more")
    source = resolved(src, short_side)
    source.read_as(reading)
    return keep(source, short_side, memory, progress, workers, store, say)


def keep(
    source: Source,
    short_side: int | None = None,
    memory: int = 4 << 30,
    progress: Callable[[int, int], None] | None = None,
    workers: int | None = None,
    store: str = "",
    say: Callable[[str], None] = lambda line: None,
) -> Source:
    """``source``, which shrinks to ``short_side``, decoded and kept as :func:`open_source` says."""
    if isinstance(source, Paired):
        return source.kept(keep(source.photographs, short_side, memory, progress, workers, store, say))
    if not store and memory <= 0:
        return source
    sample = source.batch(torch.linspace(0, len(source) - 1, min(len(source), 64)).long())
    pixel = source.channels * source.dtype.itemsize
    size = int(sample.sizes.prod(1).sum()) * pixel * len(source) // max(1, len(sample))
    source.decoded = size
    for note in source.notes:
        say(f"data {source.name!r}: {note}")

    def decoded(first: int) -> Iterator[tuple[Tensor, ImageBatch]]:
        """The images from ``first`` on, piece by piece: the places asked for, and what could be read."""
        pieces = [torch.arange(at, min(at + _PIECE, len(source))) for at in range(first, len(source), _PIECE)]
        for index, batch in zip(pieces, Loader(source.batch, pieces, workers or os.cpu_count() or 1), strict=True):
            yield index, batch
            if progress is not None:
                progress(int(index[-1]) + 1, len(source))

    try:
        if store:
            kept: Stored = on_disk(source, place(store, source, short_side), size, sample, decoded, say)
        elif size <= memory:
            kept = in_memory(source, (batch for _, batch in decoded(0)), size, memory)
        else:
            return source
    except TooLarge:
        return source
    if not len(kept):
        first = kept.skipped[0]
        raise RequestError(
            f"data {source.name!r}: none of its {len(kept.skipped)} images can be read; {first.name}: {first.reason}"
        )
    return kept


def is_spec(src: str) -> bool:
    """Whether SRC is a plug-in's name or call, which may be a module to import, and no file or folder."""
    return not (src.lower().endswith((*TARS, *LISTS)) or _exists(src))


def _exists(src: str) -> bool:
    """Whether SRC is a path of something; one that is too long for a name is none."""
    try:
        return Path(src).expanduser().exists()
    except OSError:
        return False


def resolved(src: str, short_side: int | None = None) -> Source:
    """The source that SRC names, nothing decoded yet, and as which kind it is to be read not said."""
    scheme, _, rest = src.partition(":")
    if scheme == "hf":
        name, bracket, arguments = (rest, "", "") if _exists(rest) else rest.partition("(")
        spec = lookup.parse(f"hf{bracket}{arguments}", "data")
        return _built(lookup.Spec("hugging_face", (name.strip(), *spec.args), spec.kwargs), short_side)
    if scheme == "torchvision":
        spec = lookup.parse(rest, "torchvision set")
        return _built(lookup.Spec("torchvision_set", (spec.name, *spec.args), spec.kwargs), short_side)
    if not src.strip():
        raise RequestError(f"data is empty; accepted: {ACCEPTED}")
    path = Path(src).expanduser()
    if not _exists(src) or src == "shapes":  # a folder of that name is ./shapes
        return Tar(src, short_side) if is_pattern(src) else _named(src, short_side)
    if path.is_dir():
        return Tar(str(path), short_side) if holds_shards(path) else Folder(str(path), short_side)
    if path.name.endswith(TARS):
        return Tar(str(path), short_side)
    if path.name.lower().endswith(LISTS):
        return FileList(str(path), short_side)
    raise RequestError(f"data {src!r} is a file but no tar and no list; accepted: {ACCEPTED}")


def _named(src: str, short_side: int | None) -> Source:
    """The source of a plug-in, ``shapes(n=4000)`` or ``my_lab.images(root='x')``, as SRC is no path that exists."""
    if "/" in src.partition("(")[0] or not is_spec(src):
        raise RequestError(f"data {src!r}: there is no such folder or file")
    spec = lookup.parse(src, "data")
    if "." not in spec.name and spec.name not in (known := lookup.names("data")):
        raise RequestError(
            f"data {src!r}: there is no such folder or file; accepted: {ACCEPTED}{did_you_mean(spec.name, known)}"
        )
    return _built(spec, short_side)


def known(src: str) -> tuple[str, ...]:
    """What SRC knows of each photograph, as ``Recipe.known`` states it; reads a table, opens no image."""
    name = src.partition("(")[0].strip()
    if not name.replace(".", "").isidentifier() or _exists(src):
        return ()
    if "." not in name and name not in lookup.names("data"):
        return ()  # to open it says so
    kind = lookup.load("data", name)
    return stated(_named(src, None).spaces) if isinstance(kind, type) and issubclass(kind, Paired) else ()


def _built(spec: lookup.Spec, short_side: int | None) -> Source:
    """The source of ``spec``; a plug-in that takes ``short_side`` is given it where the spec does not say."""
    kwargs = dict(spec.kwargs)
    if "short_side" in list(inspect.signature(lookup.load("data", spec.name)).parameters)[len(spec.args) :]:
        kwargs.setdefault("short_side", short_side)
    arguments = [*map(repr, spec.args), *(f"{key}={value!r}" for key, value in kwargs.items())]
    text = f"{spec.name}({', '.join(arguments)})"
    source = lookup.build("data", text)
    if not isinstance(source, Source):
        raise RequestError(f"data {text!r} gives a {type(source).__name__}, not an augaware.data.base.Source")
    return source
