"""A law: a sentence about every plug-in of a kind, and a function that tries it on one.

The sentence is the first line of the function's docstring; the function returns what it found instead, "" where the law
holds. The tests sweep the library's own plug-ins with the same functions.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from augaware import lookup
from augaware.errors import RequestError


class Given:
    """A plug-in as its spec says, to be built again and again: each law gets a fresh one."""

    def __init__(self, room: str, spec: str) -> None:
        parsed = lookup.parse(spec, lookup.SINGULAR[room])
        self.room, self.spec, self.name = room, spec, parsed.name.rpartition(".")[2]
        self.args, self.kwargs = parsed.args, parsed.kwargs
        self.target = lookup.load(room, parsed.name)

    def accepts(self, argument: str) -> bool:
        """Whether it has an argument of this name."""
        return argument in inspect.signature(self.target).parameters

    def build(self, *context: Any, **changed: Any) -> Any:
        """It, after the library's ``context``, with some of its arguments changed."""
        built = lookup.build(self.room, self.spec, *context)  # says what is wrong with the spec
        if not changed:
            return built
        bound = inspect.signature(self.target).bind(*context, *self.args, **self.kwargs)
        return self.target(**(bound.arguments | changed))


Law = Callable[[Given], str]


@dataclass(frozen=True)
class Verdict:
    """A law, and what was ``found`` instead: "" where it holds."""

    law: str
    found: str

    @property
    def holds(self) -> bool:
        """Whether nothing else was found."""
        return not self.found


def judge(laws: Sequence[Law], given: Given) -> list[Verdict]:
    """Each law tried on the plug-in; an exception breaks the law in whose trial it is raised.

    Raises :class:`RequestError` for a wrong spec: what the first law, which builds the plug-in, is refused.
    """
    return [Verdict(sentence(law), _tried(law, given, refused=law is laws[0])) for law in laws]


def sentence(law: Law) -> str:
    """What the law says."""
    return (inspect.getdoc(law) or "").split("\n", 1)[0]


def _tried(law: Law, given: Given, refused: bool) -> str:
    try:
        return law(given)
    except Exception as error:  # of code that is not ours: whatever it is, it is the finding
        if refused and isinstance(error, RequestError):
            raise
        return f"{type(error).__name__}: {' '.join(str(error).split())}"
