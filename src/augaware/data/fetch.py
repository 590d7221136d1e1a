"""Published data sets are fetched by torchvision, which knows their addresses and checksums."""

from __future__ import annotations

import shutil
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from augaware.errors import RequestError
from augaware.progress import amount


def fetch(name: str, root: Path, arguments: Mapping[str, object]) -> None:
    """Download ``torchvision.datasets.NAME`` below ``root``, where it is not there yet.

    Raises :class:`RequestError` where it cannot be reached, arrives damaged, or cannot be written.
    """
    from torchvision import datasets

    with _explained(f"torchvision:{name}", root):
        getattr(datasets, name)(str(root), download=True, **arguments)


def fetch_archive(url: str, root: Path, md5: str | None = None) -> None:
    """Download an archive, check it where ``md5`` is known, and unpack it in ``root``. Raises :class:`RequestError`."""
    from torchvision.datasets.utils import download_url

    with _explained(url, root):
        file = root / url.rpartition("/")[2]
        download_url(url, str(root), file.name, md5)
        unpack(file, root)
        file.unlink()


def unpack(archive: Path, root: Path) -> None:
    """The files of a zip or a tar below ``root``. Raises :class:`ValueError`, having written nothing, where one would
    lead out of it, is a link or a device, or all of them do not fit on the disk.
    """
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as zipped:
            _check_members({member.filename: member.file_size for member in zipped.infolist()}, root)
            zipped.extractall(root)  # noqa: S202 - checked; each member is cut off at the size that it states
        return
    with tarfile.open(archive) as tarred:
        members = tarred.getmembers()
        for member in members:
            if not (member.isreg() or member.isdir()):
                raise ValueError(f"its member {member.name!r} is a link or a device")
        _check_members({member.name: member.size for member in members}, root)
        tarred.extractall(root, filter="data")


def _check_members(sizes: Mapping[str, int], root: Path) -> None:
    for name in sizes:
        if name.startswith(("/", "\\")) or ".." in name.replace("\\", "/").split("/"):
            raise ValueError(f"its member {name!r} leads out of the folder")
    size, free = sum(sizes.values()), shutil.disk_usage(root).free
    if size > free:
        raise ValueError(f"unpacked it takes {amount(size)}, and {amount(free)} are free")


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
