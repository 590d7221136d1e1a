"""A process that is stuck, killed or cut off ends the run of all in one line that names it.

Each process writes a beat into the store that all share, from a thread of its own, with the place where its work
stands. Who sees no beat of another for so many seconds, or nobody's work go on, says which process is the one and
ends: a collective that waits for it would wait for ever.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from torch._C._distributed_c10d import Store

from augaware.progress import duration

BEAT = 1.0  # seconds between two beats
GRACE = 15.0  # seconds that a process has to end by itself once another has
DONE, GONE = "done", "gone "
KEEPER = "was killed or is cut off, and the store of all with it"
LOST = 3  # exit code of a process that another one holds up


@dataclass(frozen=True)
class Beat:
    """What a process last told, the place of its work (a number that grows), and when we first saw that beat."""

    text: str  # a count; done; or gone, and its last words
    place: int
    seen: float

    @property
    def last(self) -> bool:
        """Whether no other beat is to come."""
        return self.text.startswith((DONE, GONE))


class Watch:
    """The beats of ``world`` processes; ``names`` says who each is, ``patience`` is in seconds.

    ``store`` is a connection of its own, held up by no one who waits. ``shown`` hears the line of an end; ``leave``
    then ends the process.
    """

    def __init__(
        self,
        store: Store,
        rank: int,
        names: Mapping[int, str],
        patience: float,
        shown: Callable[[str], None] = lambda line: print(f"augaware: {line}", file=sys.stderr, flush=True),
        leave: Callable[[int], None] = os._exit,
    ) -> None:
        self._store, self.rank, self.names, self.patience = store, rank, names, patience
        self._shown, self._leave = shown, leave
        self._place, self._what, self._moved = 0, "starting", time.monotonic()
        self._beats: dict[int, Beat] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="augaware-watch", daemon=True)

    def start(self) -> None:
        """Begin to beat."""
        self._thread.start()

    def stop(self, words: str | None = None) -> None:
        """The last beat: this process needs the others no more; or, with last ``words``, they need not wait for it."""
        self._ended.set()
        self._thread.join()
        with suppress(RuntimeError):  # the store may be gone
            self._beat(DONE if words is None else GONE + words)

    def at(self, place: int, what: str) -> None:
        """The work of this process has come to ``place``, described by ``what``; 0 is a place of any length."""
        self._place, self._what, self._moved = place, what, time.monotonic()

    def culprit(self) -> str | None:
        """Who has ended or gives no sign of life, now that a collective has failed; None where all are well."""
        until = time.monotonic() + 5 * BEAT
        while time.monotonic() < until and self._thread.is_alive():
            for rank, beat in dict(self._beats).items():
                if rank != self.rank and beat.text.startswith(GONE):
                    return f"{self.names[rank]} stopped: {beat.text.removeprefix(GONE)}"
            lost = self._lost(3 * BEAT)
            if lost:
                return f"{self._named(lost)} was killed or is cut off"
            time.sleep(BEAT / 5)
        return None if self._thread.is_alive() else f"{self.names[0]} {KEEPER}"

    def _beat(self, text: str) -> None:
        self._store.set(f"beat/{self.rank}", f"{self._place} {text}")

    def _lost(self, seconds: float) -> list[int]:
        """The other processes whose beat did not come for so long."""
        now = time.monotonic()
        late = [rank for rank, beat in dict(self._beats).items() if not beat.last and now - beat.seen > seconds]
        return [rank for rank in late if rank != self.rank]

    def _named(self, ranks: Sequence[int]) -> str:
        return " and ".join(self.names[rank] for rank in ranks)

    def _run(self) -> None:
        number = 0
        while not self._ended.wait(BEAT):
            number += 1
            try:
                self._beat(str(number))
                self._read()
            except RuntimeError:  # the store went with the process that kept it
                if not self._ended.wait(GRACE):
                    self._end(f"{self.names[0]} {KEEPER}")
                return
            self._judge()

    def _read(self) -> None:
        for other in self.names:
            key = f"beat/{other}"
            place, _, text = (self._store.get(key).decode() if self._store.check([key]) else "0 none").partition(" ")
            before = self._beats.get(other)
            if before is None or before.text != text:
                self._beats[other] = Beat(text, int(place), time.monotonic())

    def _judge(self) -> None:
        """End this process where another has ended without it, is lost or late."""
        now, waits = time.monotonic(), duration(self.patience)
        for rank, beat in self._beats.items():
            if rank != self.rank and beat.text.startswith(GONE) and now - beat.seen > GRACE:
                self._end(f"{self.names[rank]} stopped: {beat.text.removeprefix(GONE)}")
        lost = self._lost(self.patience)
        if lost:
            self._end(f"{self._named(lost)} gave no sign of life for {waits}")
        elif self._place and now - self._moved > self.patience:
            places = {rank: beat.place for rank, beat in self._beats.items() if not beat.last}
            first = min(places.values(), default=0)
            late = [rank for rank, place in places.items() if place == first]
            if first and len(late) < len(places):  # one that is still starting is not late
                self._end(f"{self._named(late)} did not go on for {waits}")
            elif first:
                self._end(f"no process went on for {waits} and none is behind; look at the network between them")

    def _end(self, line: str) -> None:
        self._shown(f"{line}; {self._what}; the run goes on from its last checkpoint with: augaware resume DIR")
        self._leave(LOST)
