"""Which room may import which, read from the files: the rule of ARCHITECTURE.md, kept true."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import augaware
from augaware import lookup

ROOT = Path(augaware.__file__).parent
FILES = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in sorted(ROOT.rglob("*.py"))}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in FILES.items()}

LEAVES = {"checks", "errors", "spaces", "views", "ragged", "losses", "random", "metrics", "lookup", "progress"}
LEAVES |= {"auto", "distributed", "launched", "quiet", "reading", "threads", "disk", "stop", "memory", "watch"}
ANYTHING = {""}
MAY_IMPORT = {
    **dict.fromkeys(LEAVES, LEAVES),
    "augment": LEAVES,
    "nets": LEAVES,
    "hosts": LEAVES | {"nets"},
    "awareness": LEAVES | {"nets"},
    "objective": LEAVES | {"nets", "hosts.base", "awareness.base"},
    "optim": LEAVES | {"hosts.base", "objective", "recipe"},
    "data": LEAVES,
    "tasks": LEAVES | {"nets", "data", "augment.pipeline"},
    "recipe": LEAVES,
    "recipes": {"recipe", "errors"},
    "saves": LEAVES,
    "faults": LEAVES,
    "checkpoint": LEAVES | {"augment", "nets", "objective", "recipe", "saves"},
    "exports": LEAVES | {"checkpoint", "frozen", "nets", "report"},
    "export": LEAVES | {"checkpoint", "exports", "frozen"},
    "official": LEAVES | {"checkpoint", "nets"},
    "loggers": LEAVES,
    "laws": LEAVES
    | {"augment", "checkpoint", "data", "frozen", "hosts.base", "nets", "objective", "recipe", "tasks.base"},
    "parts": LEAVES | {"augment", "awareness", "data.given", "hosts.base", "nets", "objective", "recipe"},
    "adapters": LEAVES | {"awareness.base", "hosts.base", "initial", "nets", "objective", "optim", "parts", "recipe"},
    "log": LEAVES | {"loggers"},
    "health": LEAVES | {"augment", "data", "nets", "objective"},
    "picture": LEAVES | {"augment", "data"},
    "report": {"errors", "disk"},
    "analysis": LEAVES | {"nets", "data", "tasks", "augment", "awareness.base", "objective"},
    "bench": LEAVES | {"augment", "data", "evaluate", "frozen", "gpu", "nets", "pretrain", "recipe", "supply", "tasks"},
    # where it all comes together
    "frozen": LEAVES | {"augment.plan", "checkpoint", "nets", "objective", "recipe", "tasks.kept"},
    "evaluate": LEAVES | {"checkpoint", "data", "frozen", "tasks"},
    "analyse": LEAVES | {"analysis", "checkpoint", "data", "evaluate", "frozen", "recipe", "tasks.features"},
    "suites": LEAVES,
    "suite": LEAVES | {"data", "doctor", "evaluate", "frozen", "report", "suites", "tasks"},
    "grid": LEAVES | {"recipe"},
    "study": LEAVES
    | {"analyse", "checkpoint", "data.loader", "evaluate", "frozen", "grid", "initial", "pretrain", "recipe", "report"},
    "doctor": LEAVES | {"augment", "checkpoint", "data"},
    "dry_run": LEAVES | {"augment", "data.loader", "nets", "objective", "optim", "recipe"},
    "sharded": LEAVES | {"nets", "objective", "recipe"},
    "processes": LEAVES | {"recipe"},
    "pretrain": LEAVES
    | {"augment", "checkpoint", "data", "health", "log", "nets", "objective", "recipe"}
    | {
        "hosts.base",
        "optim",
        "faults",
        "gpu",
        "images",
        "initial",
        "processes",
        "sharded",
        "state",
        "supply",
        "telling",
    },
    "gpu": LEAVES | {"objective"},
    "supply": LEAVES | {"augment", "data", "gpu", "objective"},
    "state": LEAVES | {"checkpoint", "objective", "processes", "recipe", "saves", "sharded"},
    "images": LEAVES | {"checkpoint", "data", "recipe"},
    "initial": LEAVES | {"checkpoint", "nets", "recipe"},
    "replay": LEAVES | {"checkpoint", "data", "faults", "images", "pretrain"},
    "telling": LEAVES | {"augment", "data", "gpu", "picture", "processes", "recipe"},
    **dict.fromkeys(("__init__", "api", "cli", "commands", "demo", "demo_page"), ANYTHING),
}


def room(module: str) -> str:
    return module.split(".")[0]


def imported(module: str) -> set[str]:
    """The modules that a file imports, wherever in the file; those of augaware without the package's name in front."""
    found = set()
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                found.add(whole if whole.removeprefix("augaware.") in FILES else str(node.module))
    return found


def ours(module: str) -> set[str]:
    return {name.removeprefix("augaware.") for name in imported(module) if room(name) == "augaware"}


def third_party(module: str) -> set[str]:
    return {room(name) for name in imported(module)} - {"augaware"} - set(sys.stdlib_module_names)


def plug_ins() -> list[str]:
    return [f"{place}.{name}" for place in lookup.SINGULAR for name in lookup.names(place)]


EACH = pytest.mark.parametrize("module", FILES)


def test_the_files_were_found_and_their_imports_read() -> None:
    assert len(FILES) > 50
    assert {"augment.base", "random", "spaces"} <= ours("augment.crop")
    assert "lookup" in ours("objective")  # "from augaware import lookup"
    assert third_party("augment.crop") == {"torch"}


@EACH
def test_a_file_imports_only_what_its_room_may(module: str) -> None:
    assert room(module) in MAY_IMPORT, f"{module}: give the new file a place in MAY_IMPORT"
    allowed = MAY_IMPORT[room(module)]
    if allowed != ANYTHING:
        wrong = {
            name
            for name in ours(module)
            if room(name) != room(module) and not any(name == a or name.startswith(f"{a}.") for a in allowed)
        }
        assert not wrong


@pytest.mark.parametrize("module", sorted(LEAVES - {"progress"}))
def test_a_leaf_needs_torch_and_numpy_at_most(module: str) -> None:
    assert third_party(module) <= {"torch", "numpy"}


def test_hosts_and_awareness_do_not_know_each_other() -> None:
    for module in FILES:
        if room(module) == "hosts":
            assert "awareness" not in {room(name) for name in ours(module)}, module
        if room(module) == "awareness":
            assert "hosts" not in {room(name) for name in ours(module)}, module


def test_augmentations_know_no_learning_and_reports_no_torch() -> None:
    for module in FILES:
        if room(module) == "augment":
            engine = {"numpy", "numba", "llvmlite"} if module.startswith("augment.engine.") else set()
            assert third_party(module) <= {"torch"} | engine, module
        if room(module) == "report":
            assert not third_party(module) & {"torch", "torchvision", "timm"}, module


@pytest.mark.parametrize("module", plug_ins())
def test_a_plug_in_imports_its_rooms_helpers_and_no_other_plug_in(module: str) -> None:
    others = {name for name in plug_ins() if room(name) == room(module)} - {module}
    assert not ours(module) & others


@pytest.mark.parametrize("place", sorted(p.name for p in ROOT.iterdir() if (p / "__init__.py").exists()))
def test_a_rooms_own_file_is_only_its_docstring(place: str) -> None:
    body = TREES[f"{place}.__init__"].body
    assert all(isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) for node in body)


@EACH
def test_a_file_can_be_read_in_one_go(module: str) -> None:
    lines = FILES[module].read_text(encoding="utf-8").splitlines()
    assert len(lines) < 320
    if lines:
        assert ast.get_docstring(TREES[module])
    assert FILES[module].stem not in {"utils", "helpers", "common", "misc"}


@EACH
def test_nothing_executes_data(module: str) -> None:
    calls = [node for node in ast.walk(TREES[module]) if isinstance(node, ast.Call)]
    assert not {ast.unparse(call.func) for call in calls} & {"eval", "exec", "compile", "__import__"}
    assert not {room(name) for name in imported(module)} & {"pickle", "dill", "cloudpickle", "joblib", "marshal"}
    for call in calls:
        if ast.unparse(call.func) == "torch.load":
            assert {k.arg: ast.unparse(k.value) for k in call.keywords}["weights_only"] == "True"


@pytest.mark.parametrize("module", plug_ins())
def test_a_plug_in_passes_no_arguments_through(module: str) -> None:
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.FunctionDef):
            assert node.args.kwarg is None, f"{module}.{node.name}: **{node.args.kwarg.arg}"


def test_torch_is_not_loaded_before_it_is_needed() -> None:
    reports = [f"augaware.{name}" for name in FILES if room(name) == "report" and not name.endswith("__init__")]
    script = f"import sys, augaware, {', '.join(reports)}; print({{'torch', 'numpy', 'matplotlib'}} & set(sys.modules))"
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert shown.stdout.strip() == "set()"
