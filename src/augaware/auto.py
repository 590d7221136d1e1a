"""What "auto" stands for on this machine, and why, in plain language."""

from __future__ import annotations

import importlib.util
import os
import shutil
from typing import NamedTuple

import torch

AUTO = "auto"
LONG = 2000  # steps for which half a minute of compiling pays
NATIVE = ("amx_bf16", "avx512_bf16")  # instructions of a CPU that multiply bf16


class Chosen(NamedTuple):
    """The ``value`` that was chosen for the setting ``name``, and ``why``."""

    name: str
    value: str
    why: str

    @property
    def line(self) -> str:
        """``device auto -> cpu (no CUDA device is visible to torch 2.11)``."""
        return f"{self.name} {AUTO} -> {self.value} ({self.why})"

    def taken(self, asked: str) -> str:
        """What was ``asked`` for; where that is auto, what was chosen."""
        return self.value if asked == AUTO else asked


def device() -> Chosen:
    """cuda where torch sees one, else cpu."""
    if torch.cuda.is_available():
        return Chosen("device", "cuda", f"torch {torch.__version__} sees {torch.cuda.get_device_name()}")
    built = "" if torch.version.cuda or torch.version.hip else ", which is built without CUDA"
    return Chosen("device", "cpu", f"no CUDA device is visible to torch {torch.__version__}{built}")


def precision(device: str) -> Chosen:
    """bf16 where the hardware of ``device``, cuda or cpu, multiplies it natively, else fp32."""
    if device == "cuda":
        name = torch.cuda.get_device_name()
        if torch.cuda.is_bf16_supported():
            return Chosen("precision", "bf16", f"{name} multiplies it natively")
        return Chosen("precision", "fp32", f"{name} does not multiply bf16 natively")
    capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()  # torch before 2.11 does not say
    native = next((name for name in NATIVE if capabilities.get(name)), None)
    if native is not None:
        return Chosen("precision", "bf16", f"this CPU multiplies it natively: {native}")
    return Chosen("precision", "fp32", f"this CPU does not multiply bf16 natively: no {' and no '.join(NATIVE)}")


def compile(device: str, steps: int, alone: bool) -> Chosen:
    """yes on a GPU, for a run of many ``steps`` by one process ``alone``, where there is what it takes; else no."""
    if device != "cuda":
        return Chosen("compile", "no", "on CPUs it was measured slower")
    if not alone:
        return Chosen("compile", "no", "several processes train, for which it is not tried")
    if steps < LONG:
        return Chosen("compile", "no", f"{steps} steps are over before it pays")
    if importlib.util.find_spec("triton") is None:
        return Chosen("compile", "no", "triton is not installed")
    if shutil.which(os.environ.get("CC", "cc")) is None and shutil.which("gcc") is None:
        return Chosen("compile", "no", "there is no C compiler")
    return Chosen("compile", "yes", "the GPU then needs fewer passes over memory; the first steps wait for it")
