"""Images in tars, read in place: members are never written to disk, so their names cannot do harm."""

from __future__ import annotations

import numpy as np

from augaware.data.archive import SIDECARS, Archive, open_archive
from augaware.data.files import FileSource, digest, label_by_folder, label_by_text
from augaware.data.shards import below, shards
from augaware.errors import RequestError

__all__ = ["Tar"]

_MAPPED = 16  # tars that are kept open, which saves a fifth of a small image's time; more are opened for each image


class Tar(FileSource):
    """The images in a ``.tar``, ``.tar.gz`` or ``.tgz``, or in several, the shards of a set: ``DIR/{000..011}.tar``.

    Members are ``<class>/<file>`` or flat; sorted by name, shard by shard, whose name then stands before theirs. Labels
    are those of the sidecars of every image, where there are such (webdataset's layout): ``KEY.cls``, ``KEY.json`` with
    a "label", or ``KEY.txt`` (texts of which more than half differ are captions); else folders are classes.

    A plain tar is read from the middle, a compressed one, which cannot be, is expanded in memory. Links, sparse files,
    absolute names and names with ``..`` are not read but listed in ``skipped``; other file types are ignored. Raises
    :class:`RequestError` for a missing or damaged archive or a set without images.
    """

    def __init__(self, path: str, short_side: int | None = None) -> None:
        paths = shards(path)
        self._archives = [open_archive(shard, len(paths) <= _MAPPED) for shard in paths]
        inner = [name for archive in self._archives for name in archive.spans]
        spans = [span for archive in self._archives for span in archive.spans.values()]
        if not inner:
            raise RequestError(f"data {path!r}: the archive holds no image (.jpg, .png, ...)")
        several = len(self._archives) > 1
        heads = [f"{shard}/" if several else "" for shard in below([archive.path for archive in self._archives])]
        counts = [len(archive.spans) for archive in self._archives]
        self._shard = np.repeat(np.arange(len(counts)), counts)
        self._spans = np.array(spans)
        names = [heads[shard] + name for shard, name in zip(self._shard, inner, strict=True)] if several else inner
        texts = _texts(self._archives)
        super().__init__(path, names, short_side, digest((*zip(names, spans, strict=True), *texts)))
        if texts:
            self.labels, self.classes = label_by_text(texts, lambda i: f"data {path!r}, {names[i]}")
        elif several:
            self.labels, self.classes = label_by_folder(inner)
        self.skipped = tuple(s for archive in self._archives for s in archive.refused)

    def read(self, index: int) -> bytes:
        """The bytes of member ``index``."""
        start, size = self._spans[index].tolist()
        return self._archives[int(self._shard[index])].read(start, size)

    def gone(self) -> bool:
        """Whether none of the tars is there any more."""
        return not any(archive.content or archive.path.exists() for archive in self._archives)


def _texts(archives: list[Archive]) -> list[str]:
    """The label of each image, as the sidecars say it; none where not all have one."""
    full = [archive for archive in archives if archive.spans]
    for ending in SIDECARS:
        if all(ending in archive.labels for archive in full):
            texts = [text for archive in full for text in archive.labels[ending]]
            if ending != ".txt" or 2 * len(set(texts)) <= len(texts):
                return texts
    return []
