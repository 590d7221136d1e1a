"""Loggers: what a run says goes to each, and no run fails for one, whatever it does."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from augaware.checkpoint import Run
from augaware.cli import main
from augaware.errors import RequestError
from augaware.log import build_loggers
from augaware.loggers import feed
from augaware.loggers.base import Logger, remember, remembered
from augaware.pretrain import resume, start
from augaware.recipe import Recipe
from small_runs import CLOCK, assert_same_run, numbers, start_and_kill

PACKAGE = "augaware_test_loggers"
BROKEN: dict[str, str] = {}  # which method fails, and how
HEARD: list[tuple[Any, ...]] = []


class Spy(Logger):
    """Writes down what it is told, and fails where ``BROKEN`` says."""

    def begin(self, run: Path, recipe: Mapping[str, Any], step: int) -> str:
        self._fail("begin")
        HEARD.append(("begin", run.name, recipe["host"], step, threading.current_thread().name))
        return "https://example.org/run"

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        self._fail("write")
        HEARD.append(("write", step, {key: value for key, value in numbers.items() if key not in CLOCK}))

    def close(self, complete: bool) -> None:
        self._fail("close")
        HEARD.append(("close", complete))

    def _fail(self, where: str) -> None:
        how = BROKEN.get(where)
        if how == "hang":
            time.sleep(60)
        elif how == "slow":
            time.sleep(0.05)
        elif how == "exit":
            sys.exit("the service is gone")
        elif how:
            raise OSError(how)


@pytest.fixture(autouse=True)
def spy(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The plug-in ``augaware_test_loggers.spy``, a module of the user's own."""
    module = ModuleType(f"{PACKAGE}.spy")
    module.__all__ = ["Spy"]  # type: ignore[attr-defined]
    module.Spy = Spy  # type: ignore[attr-defined]
    package = ModuleType(PACKAGE)
    package.__path__ = []
    monkeypatch.setitem(sys.modules, PACKAGE, package)
    monkeypatch.setitem(sys.modules, f"{PACKAGE}.spy", module)
    BROKEN.clear()
    HEARD.clear()
    yield
    BROKEN.clear()


@pytest.fixture(scope="module")
def whole(small: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run without any logger of its own."""
    return start(small, tmp_path_factory.mktemp("whole") / "run").path


@pytest.fixture
def logged(small: Recipe) -> Recipe:
    return small.changed({"loggers": (f"{PACKAGE}.spy",)})


def warnings_of(run: Path) -> list[str]:
    return [line[21:] for line in (run / "log.txt").read_text().splitlines() if "WARNING" in line]


def assert_trained(run: Path, whole: Path) -> None:
    """A logger changes nothing of a run."""
    for name in ("export/encoder.safetensors", "export/config.json"):
        assert (run / name).read_bytes() == (whole / name).read_bytes(), name
    assert numbers(run) == numbers(whole)


def test_a_logger_hears_all_numbers_from_a_thread_of_its_own(logged: Recipe, whole: Path, tmp_path: Path) -> None:
    run = start(logged, tmp_path / "run").path
    assert_trained(run, whole)
    assert HEARD[0] == ("begin", "run", "simclr()", 0, f"augaware-logger-{PACKAGE}.spy")
    assert HEARD[-1] == ("close", True)
    told = [{"step": step, **found} for kind, step, found in HEARD[1:-1]]
    assert told == [{k: v for k, v in line.items() if k != "epoch"} for line in numbers(run)]
    assert warnings_of(run) == []
    assert "https://example.org/run" in (run / "log.txt").read_text()


@pytest.mark.parametrize("where", ["begin", "write", "close"])
@pytest.mark.parametrize("how", ["No route\nto host", "exit"])
def test_whatever_fails_is_said_once_and_the_run_goes_on(
    where: str, how: str, logged: Recipe, whole: Path, tmp_path: Path
) -> None:
    BROKEN[where] = how
    run = start(logged, tmp_path / "run").path
    assert_trained(run, whole)
    reason = "SystemExit: the service is gone" if how == "exit" else "OSError: No route to host"
    assert warnings_of(run) == [
        f"WARNING: logger {PACKAGE}.spy: {reason}; going on without it; metrics.jsonl has all numbers"
    ]
    assert list((run / "tensorboard").iterdir())  # the other one is not touched


@pytest.mark.parametrize(
    ("where", "words"), [("begin", "3 lines behind"), ("write", "3 lines behind"), ("close", "did not end in time")]
)
def test_one_that_hangs_holds_nothing_up(
    where: str, words: str, logged: Recipe, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "WAITING", 3)
    monkeypatch.setattr(feed, "PATIENCE", 0.5)
    BROKEN[where] = "hang"
    began = time.monotonic()
    run = start(logged, tmp_path / "run").path
    assert time.monotonic() - began < 20
    assert_trained(run, whole)
    (line,) = warnings_of(run)
    assert words in line


def test_one_that_is_slow_is_waited_for_at_the_end_only(logged: Recipe, tmp_path: Path) -> None:
    BROKEN["write"] = "slow"
    run = start(logged, tmp_path / "run").path
    assert warnings_of(run) == []
    assert [line[0] for line in HEARD].count("write") == 12


def test_a_run_that_is_stopped_is_told_as_such_and_goes_on_from_its_step(
    logged: Recipe, whole: Path, tmp_path: Path
) -> None:
    start_and_kill(logged.changed({"checkpoint_seconds": 0}), tmp_path / "run", 6)
    assert HEARD[-1] == ("close", False)
    HEARD.clear()
    resume(tmp_path / "run")
    assert HEARD[0][3] == HEARD[1][1] - 1 > 0
    assert HEARD[-1] == ("close", True)
    assert_trained(tmp_path / "run", whole)


def test_the_loggers_may_change_before_a_resume(logged: Recipe, whole: Path, tmp_path: Path) -> None:
    start_and_kill(logged, tmp_path / "run", 9)
    file = tmp_path / "run" / "recipe.json"
    file.write_text(Recipe.from_json(file.read_text()).changed({"loggers": ()}).to_json())
    HEARD.clear()
    resume(tmp_path / "run")
    assert HEARD == []
    assert_same_run(tmp_path / "run", whole, 12)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("wandbb()", ["unknown logger 'wandbb'", "accepted: mlflow, tensorboard, wandb", "did you mean 'wandb'"]),
        ("wandb(projct='x')", ["unknown argument 'projct'", "did you mean 'project'"]),
        ("wandb(mode='never')", ["mode='never'", "'offline'"]),
        ("mlflow(uri='http://elsewhere')", ["unknown argument 'uri'"]),  # that is for the environment to say
        ("tensorboard()", ["tensorboard is there twice"]),
        ("wandb(", ["not a spec"]),
    ],
)
def test_a_wrong_logger_is_refused_before_anything_is_written(
    spec: str, words: list[str], small: Recipe, tmp_path: Path
) -> None:
    with pytest.raises(RequestError) as refused:
        start(small.changed({"loggers": [spec]}), tmp_path / "run")
    assert all(word in str(refused.value) for word in words), refused.value
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_an_absent_package_is_said_at_the_start_and_forgiven_later(
    name: str, small: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    given = ["pretrain", "--data", "shapes", "--set", f"loggers=['{name}()']", "--out", str(tmp_path / "run")]
    assert main(given) == 2
    line = capsys.readouterr().err
    assert f"logger '{name}': the package '{name}' is not installed; pip install 'augaware[{name}]'" in line
    assert not (tmp_path / "run").exists()

    start_and_kill(small, tmp_path / "run", 9)  # it went on elsewhere, where the package is not
    file = tmp_path / "run" / "recipe.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"loggers": [f"{name}()"]}))
    resume(tmp_path / "run")
    (line,) = warnings_of(tmp_path / "run")
    assert f"WARNING: logger {name}: the package '{name}' is not installed" in line


def test_a_logger_in_a_run_folder_from_elsewhere_is_not_imported(
    small: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start_and_kill(small, tmp_path / "run", 5)
    file = tmp_path / "run" / "recipe.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"loggers": ["evil_lab.logger()"]}))
    with pytest.raises(RequestError, match="AUGAWARE_PLUGINS=evil_lab"):
        Run.open(tmp_path / "run")


def test_list_shows_the_loggers(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "loggers", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["loggers"]
    assert [entry["name"] for entry in found] == ["mlflow", "tensorboard", "wandb"]


def test_building_a_logger_imports_no_package_of_it() -> None:
    script = (
        "import sys; from augaware.log import build_loggers; build_loggers(['wandb()', 'mlflow()']);"
        "print({'wandb', 'mlflow', 'tensorboard'} & set(sys.modules))"
    )
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120)
    assert shown.stdout.strip() == "set()"


# --- stand-ins for the packages: what is called, and what each failure becomes ---


class FakeRun:
    """A run of wandb."""

    def __init__(self, calls: list[tuple[str, Any]], fail: str) -> None:
        self.url, self.dir, self._calls, self._fail = "https://wandb.example/x", "", calls, fail

    def __getattr__(self, name: str) -> Callable[..., None]:
        def call(*args: Any, **kwargs: Any) -> None:
            if name == self._fail:
                raise ConnectionError(f"{name} failed")
            self._calls.append((name, args or kwargs))

        return call


def fake(monkeypatch: pytest.MonkeyPatch, name: str, **members: Any) -> None:
    module = ModuleType(name)
    module.__spec__ = ModuleSpec(name, None)
    module.__dict__.update(members)
    monkeypatch.setitem(sys.modules, name, module)


def fake_wandb(monkeypatch: pytest.MonkeyPatch, fail: str = "", login: bool = True) -> list[tuple[str, Any]]:
    calls: list[tuple[str, Any]] = []

    def init(**given: Any) -> FakeRun:
        calls.append(("init", given))
        if fail == "init":
            raise ConnectionError("init failed")
        return FakeRun(calls, fail)

    class Setup:
        class settings:  # noqa: N801
            mode = "online"

    fake(monkeypatch, "wandb", init=init, setup=Setup, Settings=dict, login=lambda prompt, verify: login)
    return calls


def test_wandb_gets_recipe_numbers_and_a_name_that_stays(
    small: Recipe, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = fake_wandb(monkeypatch)
    recipe = small.changed({"loggers": ["wandb(project='x', entity='lab')"], "checkpoint_seconds": 0})
    start_and_kill(recipe, tmp_path / "run", 6)
    assert calls[-1] == ("finish", {"exit_code": 1})
    resume(tmp_path / "run")
    assert_trained(tmp_path / "run", whole)
    first, second = (given for name, given in calls if name == "init")
    assert first["id"] == second["id"] == json.loads((tmp_path / "run" / "loggers" / "wandb.json").read_text())
    assert (first["project"], first["entity"], first["name"], first["resume"]) == ("x", "lab", "run", "allow")
    assert first["config"]["host"] == "simclr()"
    rows = [given[0] for name, given in calls if name == "log"]
    assert {row["step"] for row in rows} == set(range(1, 13))
    assert all(row["loss"] == line["loss"] for line in numbers(whole) for row in rows if row["step"] == line["step"])
    assert calls[-1] == ("finish", {"exit_code": 0})


@pytest.mark.parametrize("fail", ["login", "init", "define_metric", "log", "finish"])
def test_wandb_may_fail_anywhere(
    fail: str, small: Recipe, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_wandb(monkeypatch, fail, login=fail != "login")
    run = start(small.changed({"loggers": ["wandb()"]}), tmp_path / "run").path
    assert_trained(run, whole)
    (line,) = warnings_of(run)
    assert ("not logged in; run: wandb login" if fail == "login" else f"ConnectionError: {fail} failed") in line


@pytest.mark.parametrize("fail", ["get_experiment_by_name", "create_run", "log_batch", "log_metric", "set_terminated"])
def test_mlflow_may_fail_anywhere(
    fail: str, small: Recipe, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Client:
        def __getattr__(self, name: str) -> Callable[..., Any]:
            def call(*args: Any, **kwargs: Any) -> Any:
                if name == fail:
                    raise ConnectionError(f"{name} failed")
                return type("Answer", (), {"experiment_id": "1", "info": type("Info", (), {"run_id": "abc"})})

            return call

    fake(monkeypatch, "mlflow", MlflowClient=Client, get_tracking_uri=lambda: "sqlite:///x")
    fake(monkeypatch, "mlflow.entities", Param=tuple_of)
    fake(monkeypatch, "mlflow.exceptions", MlflowException=RuntimeError)
    run = start(small.changed({"loggers": ["mlflow()"]}), tmp_path / "run").path
    assert_trained(run, whole)
    (line,) = warnings_of(run)
    assert f"ConnectionError: {fail} failed" in line


def tuple_of(*values: Any) -> tuple[Any, ...]:
    return values


# --- the packages themselves, without a network ---


def written(folder: Path, identity: str) -> list[bytes]:
    return [file.read_bytes() for file in folder.glob(f"offline-run-*/run-{identity}.wandb")]


def installed(name: str) -> None:
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed: pip install 'augaware[{name}]'")


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_wandb_itself_offline(small: Recipe, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    recipe = small.changed({"loggers": ["wandb(project='x')"], "checkpoint_seconds": 0})
    start_and_kill(recipe, tmp_path / "run", 6)
    resume(tmp_path / "run")
    assert_trained(tmp_path / "run", whole)
    assert warnings_of(tmp_path / "run") == []
    identity = json.loads((tmp_path / "run" / "loggers" / "wandb.json").read_text())
    deadline = time.monotonic() + 60  # its own process writes the file
    while not (found := written(tmp_path / "run" / "wandb", identity)) or not all(b"loss" in file for file in found):
        assert time.monotonic() < deadline, found
        time.sleep(0.1)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_wandb_itself_without_a_login(small: Recipe, whole: Path, tmp_path: Path) -> None:
    installed("wandb")
    run = tmp_path / "run"
    given = {"HOME": str(tmp_path), "WANDB_MODE": "online", "NETRC": str(tmp_path / "none"), "WANDB_API_KEY": ""}
    script = (
        "import sys; from pathlib import Path; from augaware.recipe import Recipe; from augaware.pretrain import start;"
        "start(Recipe.from_json(Path(sys.argv[1]).read_text()).changed({'loggers': ['wandb()']}), sys.argv[2])"
    )
    subprocess.run(
        [sys.executable, "-c", script, whole / "recipe.json", run], env=os.environ | given, check=True, timeout=300
    )
    (line,) = warnings_of(run)
    assert "logger wandb: RuntimeError: not logged in" in line
    assert_trained(run, whole)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("uri", ["sqlite:///{}/mlflow.db"])
def test_mlflow_itself_in_a_file(
    uri: str, small: Recipe, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri.format(tmp_path))
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setattr(feed, "PATIENCE", 120.0)
    monkeypatch.chdir(tmp_path)
    recipe = small.changed({"loggers": ["mlflow(experiment='x')"], "checkpoint_seconds": 0})
    start_and_kill(recipe, tmp_path / "run", 6)
    identity = json.loads((tmp_path / "run" / "loggers" / "mlflow.json").read_text())
    import mlflow

    client = mlflow.MlflowClient()
    assert client.get_run(identity).info.status == "KILLED"
    resume(tmp_path / "run")
    assert_trained(tmp_path / "run", whole)
    assert warnings_of(tmp_path / "run") == []
    found = client.get_run(identity)
    assert found.info.status == "FINISHED"
    assert found.data.params["host"] == "simclr()"
    losses = {metric.step: metric.value for metric in client.get_metric_history(identity, "loss")}
    assert losses == {line["step"]: line["loss"] for line in numbers(whole)}


def test_every_logger_says_how_it_is_installed() -> None:
    for name, logger in build_loggers(["wandb()", "mlflow()"]).items():
        assert logger.package == name
        assert "pip install" in logger.install


@pytest.mark.parametrize(
    "left", ['"../../elsewhere"', '"a/b"', '""', '"-x"', "3", "[1]", '"x\\u0000y"', f'"{"x" * 200}"']
)
def test_what_a_stranger_left_as_a_name_is_not_known(left: str, tmp_path: Path) -> None:
    remember(tmp_path, "wandb", "0a1-b_2")
    assert remembered(tmp_path, "wandb") == "0a1-b_2"
    (tmp_path / "loggers" / "wandb.json").write_text(left)
    assert remembered(tmp_path, "wandb") is None
