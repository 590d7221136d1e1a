"""The errors that are said in one line: a request that names something wrong, a run that cannot go on."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class RequestError(ValueError):
    """The request is wrong. One line: which argument, which value, what is accepted, how to fix it.

    The command line prints it as it is and exits with code 2.
    """


class RunError(RuntimeError):
    """A run cannot go on, through no fault of the request. One line: what happened, what is kept, how to go on.

    The command line prints it as it is and exits with code 1.
    """


def did_you_mean(word: str, accepted: Iterable[str]) -> str:
    """``"; did you mean 'cassle'?"`` when one of ``accepted`` is close to ``word``, else an empty string."""
    close = difflib.get_close_matches(word, list(accepted), n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""
