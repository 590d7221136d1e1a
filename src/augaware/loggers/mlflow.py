"""MLflow. Where it writes is for MLFLOW_TRACKING_URI to say (without: a file where the command runs), so that no recipe
from elsewhere can have numbers sent to a place of its choice.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from augaware.loggers.base import Logger, remember, remembered

__all__ = ["MLflow"]

UNKNOWN = re.compile(r"[^\w\-. /]")  # characters that the name of a metric may not have
LONGEST = 500  # characters of a parameter


class MLflow(Logger):
    """A run of MLflow, with the recipe as its parameters."""

    package: ClassVar[str] = "mlflow"
    install: ClassVar[str] = "pip install 'augaware[mlflow]'"

    def __init__(self, experiment: str = "augaware", name: str = "") -> None:
        self.experiment, self.name = experiment, name
        self._client: Any = None
        self._id = ""

    def begin(self, run: Path, recipe: Mapping[str, Any], step: int) -> str:
        """The run that DIR/loggers/mlflow.json names where this store has it, or a new one by the folder's name."""
        import mlflow
        from mlflow.entities import Param
        from mlflow.exceptions import MlflowException

        self._client = client = mlflow.MlflowClient()
        known = remembered(run, "mlflow")
        if known is not None:
            try:
                client.update_run(known, status="RUNNING")
                self._id = known
            except MlflowException:  # another store, or it was deleted there
                known = None
        if known is None:
            experiment = client.get_experiment_by_name(self.experiment)
            place = client.create_experiment(self.experiment) if experiment is None else experiment.experiment_id
            self._id = client.create_run(place, run_name=self.name or run.absolute().name).info.run_id
            remember(run, "mlflow", self._id)
            client.log_batch(self._id, params=[Param(key, str(value)[:LONGEST]) for key, value in recipe.items()])
        return f"run {self._id} in {mlflow.get_tracking_uri()}"

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        """A metric for each."""
        for name, value in numbers.items():
            self._client.log_metric(self._id, UNKNOWN.sub("_", name), value, step=step)

    def close(self, complete: bool) -> None:
        """Finished, or killed."""
        self._client.set_terminated(self._id, status="FINISHED" if complete else "KILLED")
