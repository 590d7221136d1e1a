"""Known encoders with the images that analyses show them."""

from __future__ import annotations

from torch import nn

from augaware.analysis.alone import Alone
from augaware.analysis.subject import Subject
from augaware.data.base import Source
from augaware.data.shapes import Shapes
from augaware.frozen import Frozen
from augaware.recipe import DEFAULT_AUGMENT
from known_encoders import known

IMAGES = Shapes(n=160)


def asked(
    encoder: type[nn.Module] | Frozen, images: Source = IMAGES, references: dict[str, Subject] | None = None
) -> Subject:
    """One of the known encoders, or any, with all ``images`` and the usual augmentations."""
    f = encoder if isinstance(encoder, Frozen) else known(encoder)
    alone = Alone(DEFAULT_AUGMENT, f.size, f.mean, f.std)
    return Subject(f, images, alone, len(images), references=references or {})


def numbers(analysis, subject):
    """(measure, of, stage, at) -> Number."""
    assert analysis.refusal(subject) is None
    found = analysis(subject)
    table = {(n.measure, n.of, n.stage, n.at): n for n in found}
    assert len(table) == len(found), "a number stands twice"
    assert {n.measure for n in found} <= set(analysis.measures)
    for n in found:
        assert n.low is None or n.low <= n.value + 1e-9, n
        assert n.high is None or n.value <= n.high + 1e-9, n
    return table
