"""The laws tried on a plug-in, as a function."""

from __future__ import annotations

from augaware.errors import RequestError
from augaware.laws.base import Verdict

KINDS = {"augment": "augmentation", "hosts": "host", "awareness": "awareness", "tasks": "task"}


def check(spec: str) -> list[Verdict]:
    """Try the laws of its kind on a plug-in: ``"my_lab.dim(low=0.2)"`` of yours, or a name of the library.

    It is an augmentation, a host, an awareness or a task by its class. Each :class:`augaware.laws.base.Verdict` has a
    ``law``, in a sentence, and what was ``found`` instead, "" where it holds. Raises :class:`RequestError`.
    """
    from importlib import import_module

    from augaware.laws.base import Given, judge

    room = room_of(spec)
    laws = import_module(f"augaware.laws.{KINDS[room]}").LAWS
    return judge(laws, Given(room, spec))


def room_of(spec: str) -> str:
    """The room of the plug-in that ``spec`` names; of yours, the one that its class belongs to."""
    from augaware import lookup
    from augaware.augment.base import Augmentation
    from augaware.awareness.base import Awareness
    from augaware.hosts.base import Host
    from augaware.tasks.base import Task

    name = lookup.parse(spec).name
    if "." not in name:
        for room in KINDS:
            if lookup.has(room, name):
                return room
        for room, kind in lookup.SINGULAR.items():
            if lookup.has(room, name):
                known = ", ".join(KINDS.values())
                raise RequestError(f"check {spec!r}: is of the kind {kind}, which has no laws; accepted: {known}")
        raise RequestError(f"check {spec!r}: no plug-in has this name; give a dotted module of yours, as my_lab.dim")
    target = lookup.load("augment", name)
    bases = {"augment": Augmentation, "hosts": Host, "awareness": Awareness, "tasks": Task}
    for room, base in bases.items():
        if isinstance(target, type) and issubclass(target, base):
            return room
    raise RequestError(f"check {spec!r}: {target!r} is none of these: {', '.join(b.__name__ for b in bases.values())}")
