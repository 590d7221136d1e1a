"""The bench of a training step: where ours goes, what each awareness adds, and how fast other libraries' are."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from augaware.bench import pictures
from augaware.bench.base import OURS, Bench, Round, Side, Work
from augaware.bench.own_steps import Job, Own
from augaware.bench.peer_steps import HOSTS, PEERS
from augaware.bench.rows import ratios
from augaware.errors import RequestError
from augaware.lookup import parse

__all__ = ["Step"]

FP32, BF16, VIEWS = " fp32", " bf16", " with views"


class Step(Bench):
    """A step of SimCLR or another host, on views that are given, alone and with each awareness and all of them.

    ``jobs``: encoder, pixels and batch, ``"resnet18 96x32"``. The side "with views" makes its views too: its parts
    say where a whole step goes. ``precision``: ours, ``"auto"``, ``"bf16"`` or ``"fp32"``; the peers' steps (of SimCLR
    and MoCo v2 alone) are measured at their default, float32, and in bf16.
    """

    measure = "job"

    def __init__(
        self,
        jobs: Sequence[str] = ("resnet18 96x32", "resnet18(stem='cifar') 32x32"),
        host: str = "simclr()",
        aware: Sequence[str] = ("augself()", "cassle()"),
        precision: str = "auto",
        threads: int = 1,
        rounds: int = 5,
        seconds: float = 1.0,
    ) -> None:
        super().__init__(jobs, rounds, seconds)
        if isinstance(jobs, str) or not jobs or not all(isinstance(text, str) for text in jobs):
            raise RequestError(f"bench 'step': jobs={jobs!r} must be a list, such as ['resnet18 96x32']")
        if isinstance(aware, str) or not all(isinstance(text, str) for text in aware):
            raise RequestError(f"bench 'step': aware={aware!r} must be a list of specs, such as ['augself()']")
        if type(threads) is not int or threads < 1:
            raise RequestError(f"bench 'step': threads={threads!r} must be a whole number, at least 1")
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        compiled = "yes" if self.device == "cuda" else "no"  # as for a long run
        self.jobs = {text: replace(_job(text, host), compile=compiled) for text in jobs}
        self.at_once = self.device == "cuda"  # they compile their networks
        for job in self.jobs.values():
            job.recipe(self.device, precision, aware)  # wrong requests are found here
        self.host, self.precision, self.threads = host, precision, threads
        self.aware: dict[str, tuple[str, ...]] = {parse(spec, "awareness").name: (spec,) for spec in aware}
        if len(aware) > 1:
            self.aware["+".join(self.aware)] = tuple(aware)

    def prepare(self, folder: Path, data: str | None) -> str:
        """Images of SRC or drawn ones, from which views are made."""
        for size in {job.size for job in self.jobs.values()}:
            pictures.write(folder, size, max(job.batch for job in self.jobs.values()), data)
        return f"{f'images of {data}' if data else 'drawn images'}; {self.host} on {self.device}"

    def sides(self, peers: bool) -> list[Side]:
        """Ours, at our precision and in float32, with each awareness, with its views; the peers' at both."""
        given = "its views are given"
        found = [Side(OURS, self.threads, f"{self.precision} precision, {given}")]
        if self.precision != "fp32":
            found.append(Side(OURS + FP32, self.threads, f"float32, {given}"))
        found += [Side(f"{OURS} {name}", self.threads, f"aware: {', '.join(s)}") for name, s in self.aware.items()]
        found.append(Side(OURS + VIEWS, self.threads, "the whole step, views included"))
        if peers and parse(self.host, "host").name in HOSTS:
            for name, kind in PEERS.items():
                for variant, how in (("", "float32, its default"), (BF16, "bf16 by autocast, channels last")):
                    found.append(Side(name + variant, self.threads, f"{how}; {kind.note}", kind.package, kind.module))
        return found

    def work(self, name: str, threads: int, size: Any, folder: Path) -> Work:
        """One pass is one step."""
        job = self.jobs[size]
        if name.removesuffix(BF16) in PEERS:
            return PEERS[name.removesuffix(BF16)](job, folder, self.device, name.endswith(BF16))
        precision = "fp32" if name.endswith(FP32) else self.precision
        aware = self.aware.get(name.removeprefix(OURS).strip(), ())
        return Own(job, folder, self.device, precision, aware, given=not name.endswith(VIEWS))

    def compare(self, sides: Mapping[Side, Sequence[Round]]) -> Mapping[Side, dict[str, Any]]:
        """Of ours MiB, and of each part of a step milliseconds, median of the rounds, and its share, [median, least,
        most]; on a GPU also TFLOP/s, and which part that is of what a product of matrices reaches there. Of the peers
        in float32: how many times as fast ours is in float32, [median, least, most].
        """
        ours = next((turns for side, turns in sides.items() if side.name == OURS + FP32), None)
        compared: dict[Side, dict[str, Any]] = {}
        for side, turns in sides.items():
            if side.name in PEERS and ours:
                fast = (
                    [t.per_core if self.device == "cpu" else t.per_second for t in other] for other in (ours, turns)
                )
                compared[side] = {"ours in fp32": ratios(*fast)}
            elif side.name.startswith(OURS):
                parts = {part: [turn.found["ms"].get(part, 0.0) for turn in turns] for part in turns[-1].found["ms"]}
                shares = {part: ratios(spent, parts["step"]) for part, spent in parts.items()}
                found = {part: {"ms": statistics.median(spent), "share": shares[part]} for part, spent in parts.items()}
                compared[side] = {"MiB": turns[-1].found["MiB"], "parts": found}
                if "TFLOP" in turns[-1].found:
                    done = [turn.found["TFLOP"] * turn.per_second for turn in turns]
                    of_all = ratios(done, [turn.found["rate"] for turn in turns])
                    compared[side] |= {"TFLOP/s": statistics.median(done), "of the GPU's": of_all}
                    compared[side]["launched"] = turns[-1].found["launched"]
        return compared


def _job(text: str, host: str) -> Job:
    encoder, _, shape = text.strip().rpartition(" ")
    size, _, batch = shape.partition("x")
    if not encoder or not size.isdecimal() or not batch.isdecimal() or int(size) < 1 or int(batch) < 2:
        raise RequestError(
            f"bench 'step': job {text!r} must be an encoder, pixels and images in a batch, such as 'resnet18 96x32'"
        )
    return Job(encoder, int(size), int(batch), host)
