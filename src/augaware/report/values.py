"""What a function returns and a person looks at: the same data as ever, that shows itself.

A :class:`Shown` says of which parts a page about it would consist; a terminal shows them as text, a notebook as HTML.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from augaware.report.parts import Part

Result = dict[str, Any]


class Shown:
    """Shows its ``parts``: ``repr`` as aligned text, a notebook as HTML."""

    @abstractmethod
    def parts(self) -> Sequence[Part]:
        """What there is to see."""

    def __repr__(self) -> str:
        from augaware.report.terminal import text

        return text(self.parts())

    def _repr_html_(self) -> str:
        from augaware.report.notebook import html

        return html(self.parts())


class Results(Shown, list[Result]):
    """A list of dicts, each as JSON holds it; ``show`` makes of it what there is to see."""

    def __init__(self, results: Iterable[Result], show: Callable[[Sequence[Result]], Sequence[Part]]) -> None:
        super().__init__(results)
        self._show = show

    def parts(self) -> Sequence[Part]:
        """What there is to see."""
        return self._show(self)


class Record(Shown, dict[str, Any]):
    """A dict, as JSON holds it; ``show`` makes of it what there is to see."""

    def __init__(self, record: Mapping[str, Any], show: Callable[[Mapping[str, Any]], Sequence[Part]]) -> None:
        super().__init__(record)
        self._show = show

    def parts(self) -> Sequence[Part]:
        """What there is to see."""
        return self._show(self)
