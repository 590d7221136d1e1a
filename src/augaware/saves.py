"""Checkpoints on the disk: written beside the training step, sealed by a checksum, kept by count.

    checkpoints/last.pt           the newest
    checkpoints/step-000120.pt    those before it

A file is what ``torch.save`` writes, then a line with the sha256 of all before it. A file that its seal does not fit is
not used: the one before it is, and a line says so. Nothing in a file is executed (``weights_only``), and what it claims
to hold is compared with its length first.
"""

from __future__ import annotations

import copy
import hashlib
import os
import sys
import threading
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch import Tensor

from augaware.disk import replace_file
from augaware.errors import RequestError, RunError

STATE_VERSION = 2  # 1 had neither seal nor recipe
_MARK = b"\naugaware sha256 "
_SEAL = len(_MARK) + 64 + 1  # bytes: the mark, the digest, the end of the line


class Damaged(Exception):  # noqa: N818 - it reads as the sentence it is
    """This file is no whole checkpoint; the message says why, in one line."""


def say(line: str) -> None:
    """A line on standard error."""
    print(line, file=sys.stderr, flush=True)


def read_newest(last: Path, say: Callable[[str], None] = say) -> tuple[dict[str, Any], Path] | None:
    """The newest checkpoint that is whole, and its file; None before the first.

    Says in one line which are damaged and what that loses. Raises :class:`RequestError` where none is left.
    """
    older = sorted(last.parent.glob("step-*.pt"), reverse=True)
    damaged: list[str] = []
    for file in [last, *older] if last.exists() or older else []:
        try:
            state = read(file)
        except Damaged as error:
            damaged.append(f"{str(file)!r} cannot be read: {error}")
            continue
        if damaged:
            say(f"{'; '.join(damaged)}; {file.name} is used instead: the steps after {state['step']} are lost")
        return state, file
    if damaged:
        raise RequestError(f"{damaged[0]}; no older checkpoint is left: start the run anew, in another folder")
    return None


def read(file: Path) -> dict[str, Any]:
    """The checkpoint in ``file``. Raises :class:`Damaged`; :class:`RequestError` where another augaware wrote it."""
    try:
        sealed = _check_seal(file)
        _check_claims(file)
        state: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
    except Damaged:
        raise
    except FileNotFoundError:
        raise Damaged("it is missing") from None
    except Exception as error:  # whatever torch and zipfile say of a damaged file
        raise Damaged(" ".join((str(error) or type(error).__name__).split("\n")[0].split())) from None
    found = state.get("version") if isinstance(state, dict) else None
    if type(found) is not int or not 1 <= found <= STATE_VERSION:
        raise RequestError(f"{str(file)!r} has version {found!r}, this augaware reads 1 to {STATE_VERSION}")
    if found == STATE_VERSION and not sealed:
        raise Damaged("its checksum is missing: it was cut off")
    if type(state.get("step")) is not int or not isinstance(state.get("model"), dict):
        raise Damaged("it holds no step and model")
    return state


def _check_seal(file: Path) -> bool:
    """Whether there is a seal. Raises :class:`Damaged` where it does not fit."""
    state, left = hashlib.sha256(), file.stat().st_size - _SEAL
    with file.open("rb") as handle:
        while left > 0 and (piece := handle.read(min(left, 1 << 20))):
            state.update(piece)
            left -= len(piece)
        seal = handle.read()
    if not seal.startswith(_MARK):
        return False
    if seal != _MARK + state.hexdigest().encode() + b"\n":
        raise Damaged("its checksum does not fit its content")
    return True


def _check_claims(file: Path) -> None:
    """Raise :class:`Damaged` for a file that would be more in memory than it is on the disk."""
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
    if any(m.compress_type for m in members) or sum(m.file_size for m in members) > file.stat().st_size:
        raise Damaged("it claims to hold more than its length")


def write(state: Mapping[str, Any], last: Path, keep: int = 1, newest: int | None = None) -> None:
    """Make ``state`` the newest checkpoint: a kill leaves the old one or the new one, never half of one.

    The one before, of step ``newest``, stays beside it, and so do the ``keep`` newest in all; with None it is replaced.
    """
    draft = last.with_suffix(".draft")
    try:
        torch.save({"version": STATE_VERSION, **state}, draft)
        with draft.open("r+b") as handle:
            digest = hashlib.file_digest(handle, "sha256").hexdigest()
            handle.seek(0, os.SEEK_END)
            handle.write(_MARK + digest.encode() + b"\n")
        if newest is not None and keep > 1:
            _link(last, last.with_name(f"step-{newest:06d}.pt"))
        replace_file(draft, last)
    except (OSError, RuntimeError) as error:  # torch says of every failed write that it failed, not why
        reason = error if isinstance(error, OSError) else _reason(draft) or error
        draft.unlink(missing_ok=True)
        raise reason from None
    for file in sorted(last.parent.glob("step-*.pt"), reverse=True)[max(keep - 1, 0) :]:
        file.unlink()


def _reason(draft: Path) -> OSError | None:
    """Why nothing more can be written there; None where it can."""
    try:
        with draft.open("ab") as handle:
            handle.write(bytes(1 << 20))
    except OSError as error:
        return error
    return None


def _link(file: Path, name: Path) -> None:
    """Give ``file`` the name ``name`` too, or instead where the file system has no links."""
    name.unlink(missing_ok=True)
    try:
        os.link(file, name)
    except OSError:
        if file.exists():
            file.rename(name)


class Saver:
    """Writes checkpoints beside the training step, one at a time; the step waits only while its state is copied.

    The copies go to memory that is kept, as new memory takes longer than the copy. ``step`` is that of the newest
    checkpoint so far, which is in ``last`` where that is ``whole``. What a write meets is raised by the next call.
    """

    def __init__(self, last: Path, keep: int, step: int | None = None, whole: bool = True) -> None:
        self.last, self.keep, self.step, self.whole = last, keep, step, whole
        self._copy: Any = None
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def __enter__(self) -> Saver:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._thread is not None:
            self._thread.join()
        if error is None:
            self.check()

    def save(self, state: Mapping[str, Any]) -> None:
        """Copy ``state`` and begin to write it, once the write before is done."""
        self.wait()
        self._copy = copied(dict(state), self._copy)
        copied_all = torch.Event("cuda") if torch.cuda.is_initialized() else None  # type: ignore[no-untyped-call]
        if copied_all is not None:
            copied_all.record()
        self._thread = threading.Thread(target=self._write, args=(copied_all,), name="augaware-checkpoint", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raise what the last write met."""
        error, self._error = self._error, None
        if error is not None:
            raise error

    def wait(self) -> None:
        """Until the last state is on the disk; raises what its write met."""
        if self._thread is not None:
            self._thread.join()
        self.check()

    def _write(self, copied_all: torch.Event | None) -> None:
        try:
            if copied_all is not None:
                copied_all.synchronize()
            check_finite(self._copy["model"])
            write(self._copy, self.last, self.keep, self.step if self.whole else None)
            self.step, self.whole = self._copy["step"], True
        except BaseException as error:  # it is raised where it is waited for
            self._error = error


def copied(value: Any, before: Any = None) -> Any:
    """``value`` with its tensors copied to the CPU, into those of an earlier copy, ``before``, where they fit.

    Copies from a GPU run on its stream: they are whole once an event that is recorded there has passed.
    """
    if isinstance(value, Tensor):
        fits = isinstance(before, Tensor) and (before.shape, before.dtype) == (value.shape, value.dtype)
        if not fits or before.stride() != value.stride():  # the order in memory is kept: sums depend on it
            before = torch.empty_like(value, device="cpu", pin_memory=value.is_cuda, requires_grad=False)
        return before.copy_(value.detach(), non_blocking=True)
    if isinstance(value, dict):
        found = copy.copy(value)  # of its kind, with the versions of its modules that a state dict carries
        for key, held in value.items():
            found[key] = copied(held, before.get(key) if isinstance(before, dict) else None)
        return found
    if isinstance(value, (list, tuple)):
        pairs = zip(value, before, strict=True) if _alike(value, before) else ((held, None) for held in value)
        return type(value)(copied(held, old) for held, old in pairs)
    return value


def _alike(value: Any, before: Any) -> bool:
    return type(before) is type(value) and len(before) == len(value)


def check_finite(weights: Mapping[str, Any]) -> None:
    """Raise :class:`RunError` where a weight is NaN or infinite: such weights are never written."""
    for name, value in weights.items():
        # A sum is finite only if all terms are, and needs no memory.
        whole = isinstance(value, Tensor) and value.is_floating_point() and not value.sum().isfinite()
        if whole and not value.isfinite().all():
            raise RunError(f"the weights hold NaN or infinity, in {name!r} among others, and were not saved")
