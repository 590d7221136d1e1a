"""What an encoder knows: ``analysis(subject) -> numbers``, for any encoder, ours or not."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from augaware.analysis.intervals import NORMAL, Bounded
from augaware.analysis.subject import Subject


@dataclass(frozen=True)
class Number:
    """One number that an analysis found.

    ``measure`` is a key of the analysis' ``measures``; ``of`` what it is about, mostly an augmentation or a factor;
    ``stage`` where it was read: ``"y"``, ``"z"``, or a layer; ``at`` its place on the analysis' ``axis``. ``low`` and
    ``high``: the 95 % interval over the images.
    """

    measure: str
    value: float
    of: str = ""
    stage: str = "y"
    at: float | None = None
    low: float | None = None
    high: float | None = None

    @classmethod
    def mean(cls, measure: str, values: Tensor, of: str = "", stage: str = "y", at: float | None = None) -> Number:
        """The mean of ``values`` (n,), one per image, and its interval: 1.96 standard errors to either side."""
        values = values.double()
        value = float(values.mean())
        reach = NORMAL * float(values.std()) / len(values) ** 0.5 if len(values) > 1 else float("nan")
        return cls.within(measure, (value, value - reach, value + reach), of, stage, at)

    @classmethod
    def within(cls, measure: str, interval: Bounded, of: str = "", stage: str = "y", at: float | None = None) -> Number:
        """A number with its interval, (value, low, high)."""
        value, low, high = interval
        return cls(measure, value, of, stage, at, low, high)


class Analysis(ABC):
    """A question about what a frozen encoder keeps and loses.

    ``protocol`` is the name and the version of the procedure, ``"spectrum/1"``: numbers compare only within one.
    ``title`` heads its section of a report, ``measures`` says in a sentence what each of its numbers means, with what
    it is at its ends, ``axis`` what ``Number.at`` is. An analysis changes nothing about the encoder.
    """

    protocol: ClassVar[str]
    title: ClassVar[str]
    measures: ClassVar[Mapping[str, str]]
    axis: ClassVar[str] = ""

    def refusal(self, subject: Subject) -> str | None:
        """Why the question cannot be put to ``subject``, and what would help; None where it can."""
        return None

    @abstractmethod
    def __call__(self, subject: Subject) -> Sequence[Number]:
        """What was found, in the order in which people want to read it."""

    def pictures(self, subject: Subject) -> Mapping[str, bytes]:
        """PNGs for people to look at, by what they show in a sentence; empty where there is nothing to draw."""
        return {}
