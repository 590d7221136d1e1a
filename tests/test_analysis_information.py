"""Mutual information: Gaussians whose information is known, and encoders that keep or lose colour by construction."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from augaware.analyse import subject
from augaware.analysis.mutual_information import LEVELS, MutualInformation, histograms, information
from augaware.analysis.subject import Subject
from augaware.data.base import ImageBatch
from augaware.data.shapes import Shapes
from augaware.data.store import Part
from augaware.errors import RequestError
from augaware.tasks.factors import encode
from known_encoders import ColourBlind, Constant, Keeps, known


class Known(Shapes):
    """Drawn images of which some factors are told."""

    def __init__(self, n: int, told: tuple[str, ...]) -> None:
        super().__init__(n)
        self.drawn = Shapes(n)
        self.factors = {name: self.factors[name] for name in told}

    def batch(self, index: Tensor) -> ImageBatch:
        return self.drawn.batch(index)


def asked(kind: type[nn.Module], n: int = 900) -> Subject:
    return subject(known(kind), Shapes(n), 0)


@pytest.mark.parametrize(("rho", "d"), [(0.0, 2), (0.6, 2), (0.93, 2)])
def test_of_gaussians(rho: float, d: int) -> None:
    """I = -d/2 log(1 - rho^2), up to 2 nats: never above but for noise, and at least 80 % are found."""
    generator = torch.Generator().manual_seed(1)
    c, noise, other = torch.randn(3, 2100, d, generator=generator)
    z = torch.cat((rho * c + math.sqrt(1 - rho**2) * noise, other), 1) @ torch.randn(2 * d, 12, generator=generator)
    truth = -d / 2 * math.log(1 - rho**2)
    terms = information(c.double(), z, 256)
    error = float(terms.std()) / len(terms) ** 0.5
    assert 0.8 * truth - 3 * error <= float(terms.mean()) <= truth + 3 * error


def test_colour_is_known_to_who_keeps_it() -> None:
    keeps, blind = asked(Keeps), asked(ColourBlind)
    hue = encode({"": keeps.factors["object_hue"]}, "cyclic")[""]
    kept, lost = (float(information(hue, who.embed().y, 128).mean()) for who in (keeps, blind))
    assert kept > 0.8
    assert lost < 0.25 * kept  # of a hue, light says whether it is yellow or blue


def test_histograms_count_pixels() -> None:
    who = asked(Keeps, 20)
    found = histograms(who)
    image = who.images.load(int(who.index[3])).numpy().astype(int)
    counts, _ = np.histogramdd(image.reshape(3, -1).T, bins=[np.linspace(0, 256, LEVELS + 1)] * 3)
    assert np.allclose(found[3].numpy(), counts.transpose(2, 1, 0).ravel() / counts.sum())


def test_the_whole_analysis_twice_alike_and_nothing_for_a_collapsed_encoder() -> None:
    analysis, source = MutualInformation(batch=100), Known(450, ())
    source.labels = None
    first, again = (analysis(subject(known(Keeps), source, 0)) for _ in range(2))
    assert first == again
    assert [number.of for number in first] == ["colour"]
    assert first[0].low is not None
    assert 0 < first[0].low < first[0].value < math.log(100)
    for number in analysis(subject(known(Constant), source, 0)):
        assert (number.low, number.value, number.high) == (0, 0, 0)


def test_what_is_asked_about() -> None:
    few = MutualInformation(batch=16)
    source = Known(180, ("object_hue", "shape"))
    assert [n.of for n in few(subject(known(Constant), source, 0))] == ["colour", "object_hue", "shape"]
    source.factors = {}
    assert [n.of for n in few(subject(known(Constant), source, 0))] == ["colour", "class"]
    fewer = Part(source, torch.arange(168), "fewer")
    assert [n.of for n in few(subject(known(Constant), fewer, 0))] == ["colour"]  # 28 images per class


def test_few_images_and_small_batches_are_refused() -> None:
    assert "give 768 or more, or mutual_information(batch=100)" in str(MutualInformation().refusal(asked(Keeps, 300)))
    assert "give 768 or more" in str(MutualInformation().refusal(asked(Keeps, 20)))
    assert MutualInformation(batch=100).refusal(asked(Keeps, 300)) is None
    with pytest.raises(RequestError, match="batch=4 is too small"):
        MutualInformation(batch=4)
