"""CONTRIBUTING.md: what it shows for a new plug-in runs as it stands there, from a module of one's own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import augaware
from augaware.pretrain import start
from augaware.recipe import Recipe

GUIDE = Path(__file__).parents[1] / "CONTRIBUTING.md"
IMPORTS = """
from __future__ import annotations
from collections.abc import Mapping, Sequence
from typing import ClassVar
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from augaware.analysis.base import Analysis, Number
from augaware.analysis.subject import Subject
from augaware.augment.base import Augmentation, check_probability, check_range, where_applied
from augaware.awareness.base import Awareness, Extra, Setting, Views
from augaware.checks import check_widths
from augaware.hosts.base import Host, HostSetting
from augaware.nets.heads import mlp
from augaware.random import Draws
from augaware.spaces import Interval
from augaware.views import condition
"""


def test_what_the_guide_shows_trains_and_is_analysed(
    small: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks = re.findall(r"^```python\n(class (\w+).*?)^```", GUIDE.read_text(), flags=re.DOTALL | re.MULTILINE)
    (tmp_path / "guided_lab").mkdir()
    (tmp_path / "guided_lab" / "__init__.py").write_text("")
    for code, name in blocks:
        (tmp_path / "guided_lab" / f"{name.lower()}.py").write_text(f"{IMPORTS}\n__all__ = ['{name}']\n\n\n{code}")
    assert {name for _, name in blocks} == {"Dim", "Cosine", "Tell", "Blindness"}
    monkeypatch.syspath_prepend(tmp_path)
    augment = (*small.augment, "guided_lab.dim(low=0.2)")
    fields = {"host": "guided_lab.cosine(width=8)", "aware": ("guided_lab.tell(['color_jitter', 'dim'])",)}
    run = start(small.changed({**fields, "augment": augment, "epochs": 1}), tmp_path / "run")
    (result,) = augaware.analyse(str(run.path), "guided_lab.blindness", data="shapes(n=12)", device="cpu")
    assert result["augment"] == [*augment, "rotate90", "solarize", "stain"]
    found = {number["of"]: number["value"] for number in result["encoders"]["pixels"]}
    others = {"rotate90", "solarize", "stain"}
    assert set(found) == {"crop", "flip", "color_jitter", "grayscale", "gaussian_blur", "dim", *others}
    assert all(-1 <= value <= 1 for value in found.values())
    assert found["gaussian_blur"] > found["solarize"]
    assert (run.path / "analysis.html").is_file()
