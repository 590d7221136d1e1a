"""Weights & Biases. Where it sends is for wandb's own environment variables to say (WANDB_API_KEY, WANDB_BASE_URL), so
that no recipe from elsewhere can have numbers sent to a place of its choice.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from augaware.errors import RequestError
from augaware.loggers.base import Logger, remember, remembered

__all__ = ["WandB"]

MODES = ("", "online", "offline")


class WandB(Logger):
    """A run of Weights & Biases; ``mode='offline'`` needs no network and no login, and '' is what WANDB_MODE says."""

    package: ClassVar[str] = "wandb"
    install: ClassVar[str] = "pip install 'augaware[wandb]'"

    def __init__(
        self, project: str = "augaware", name: str = "", entity: str = "", group: str = "", mode: str = ""
    ) -> None:
        if mode not in MODES:
            raise RequestError(f"logger wandb: mode={mode!r} is unknown; accepted: {', '.join(map(repr, MODES))}")
        self.project, self.name, self.entity, self.group, self.mode = project, name, entity, group, mode
        self._run: Any = None

    def begin(self, run: Path, recipe: Mapping[str, Any], step: int) -> str:
        """The run that DIR/loggers/wandb.json names, or a new one by the folder's name; asks for no login."""
        import wandb

        mode = self.mode or wandb.setup().settings.mode
        if mode == "online" and not wandb.login(prompt=False, verify=False):
            raise RuntimeError("not logged in; run: wandb login, or set WANDB_API_KEY, or use mode='offline'")
        identity = remembered(run, "wandb") or uuid.uuid4().hex
        self._run = wandb.init(
            project=self.project,
            name=self.name or run.absolute().name,
            entity=self.entity or None,
            group=self.group or None,
            mode=mode,
            dir=run,
            id=identity,
            resume="allow",
            reinit="create_new",  # a run of the notebook around this one is left alone
            config=dict(recipe),
            settings=wandb.Settings(console="off", silent=True, x_disable_stats=True, save_code=False),
        )
        remember(run, "wandb", identity)
        # Its own count of steps only ever grows, and would drop what is written again after a kill.
        self._run.define_metric("*", step_metric="step")
        return str(self._run.url if mode == "online" else Path(self._run.dir).parent)

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        """A row with the column ``step``, which is the axis of all others."""
        self._run.log({"step": step, **numbers})

    def close(self, complete: bool) -> None:
        """Send what waits; a run that was stopped is marked as failed until it goes on."""
        self._run.finish(exit_code=0 if complete else 1)
