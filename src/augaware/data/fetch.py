"""Published data sets are fetched by torchvision, which knows their addresses and checksums."""

from __future__ import annotations

import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from augaware.errors import RequestError


def fetch(name: str, root: Path, arguments: Mapping[str, object]) -> None:
    """Download ``torchvision.datasets.NAME`` below ``root``, where it is not there yet.

    Raises :class:`RequestError` where it cannot be reached, arrives damaged, or cannot be written.
    """
    from torchvision import datasets

    with _explained(f"torchvision:{name}", root):
        getattr(datasets, name)(str(root), download=True, **arguments)


def fetch_archive(url: str, root: Path, md5: str | None = None) -> None:
    """Download an archive, check it where ``md5`` is known, and unpack it in ``root``. Raises :class:`RequestError`."""
    from torchvision.datasets.utils import download_and_extract_archive

    with _explained(url, root):
        download_and_extract_archive(url, str(root), md5=md5, remove_finished=True)


@contextmanager
def _explained(what: str, root: Path) -> Iterator[None]:
    try:
        root.mkdir(parents=True, exist_ok=True)
        yield
    except (OSError, RuntimeError, ValueError, EOFError, tarfile.TarError, zipfile.BadZipFile) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise RequestError(
            f"{what} cannot be fetched into {root}: {reason}; try again, or fetch it elsewhere and copy it there"
        ) from None
