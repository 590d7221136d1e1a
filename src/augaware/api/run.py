"""A run folder as a value: what ``pretrain`` and ``resume`` return, and what goes wherever ENCODER or DIR is asked."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from augaware.report.parts import Cell, KeyValues, Lines, Part, Table, Text
from augaware.report.values import Shown

if TYPE_CHECKING:
    from augaware.frozen import Frozen
    from augaware.recipe import Recipe


class Run(Shown, os.PathLike[str]):
    """An existing run folder. ``str(run)`` and :func:`os.fspath` are its path.

    Nothing is kept but the path: what it says is read when it is asked, also while the run goes on. Raises
    :class:`augaware.errors.RequestError` where ``path`` is no run folder.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        _ = self.recipe  # a folder that is none is said here

    def __fspath__(self) -> str:
        return str(self.path)

    def __str__(self) -> str:
        return str(self.path)

    def __eq__(self, other: object) -> bool:
        return self.path == other.path if isinstance(other, Run) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.path)

    @property
    def recipe(self) -> Recipe:
        """The run as data."""
        from augaware.checkpoint import Run as Folder

        return Folder.open(self.path).recipe

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """The lines of ``metrics.jsonl``: ``{"step", "epoch", "loss", ...}`` each; one that is half written is not."""
        from augaware.disk import json_lines

        return json_lines(self.path / "metrics.jsonl")[0]

    @property
    def weights(self) -> Path | None:
        """The file of the finished encoder, None while there is none."""
        from augaware.checkpoint import EXPORT

        return file if (file := self.path / EXPORT).exists() else None

    def encoder(self, size: int | None = None, device: str = "auto", precision: str = "fp32") -> Frozen:
        """f, frozen: normalised images (B, 3, size, size) -> features (B, dim); of a run that goes on, as it is now."""
        from augaware.frozen import load_encoder

        return load_encoder(self, size=size, device=device, precision=precision)

    def parts(self) -> Sequence[Part]:
        """Its recipe in a line, how far it is, its loss, its kNN accuracy, where its weights are, its results."""
        from augaware.report.folder import read

        recipe, found = self.recipe, read(self.path)
        said = (
            f"{recipe.encoder} with {recipe.host}, aware {', '.join(recipe.aware) or 'vanilla'}; {recipe.data!r} at "
            f"{recipe.size} px; {recipe.epochs} epochs in batches of {recipe.batch_size}, seed {recipe.seed}"
        )
        epochs = found.curves.get("epoch", {}).values()
        facts: dict[str, Cell] = {"run": str(self.path), "epochs": f"{max(epochs, default=0.0):g} of {recipe.epochs}"}
        if knn := found.curves.get("health/knn"):
            facts["kNN accuracy"] = knn[max(knn)]
        unfinished = f"not finished; go on with: augaware resume {self.path}"
        facts["weights"] = str(self.weights) if self.weights else unfinished
        parts: list[Part] = [Text(said), KeyValues(facts)]
        if loss := found.curves.get("loss"):
            parts.append(Lines("loss", {"loss": (list(loss), list(loss.values()))}, "step", "loss"))
        if found.results:
            rows: list[list[Cell]] = [[r.task, r.metric, r.value] for r in found.results]
            parts.append(Table("results", ["task", "metric", "value"], rows))
        return parts
