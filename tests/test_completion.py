"""Completion in a shell: what bash, zsh and fish are answered, by the names of files and without torch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from augaware import lookup
from augaware.api.listing import ROOMS
from augaware.cli import app

HEAVY = {"torch", "numpy", "matplotlib", "timm", "torchvision", "numba", "jinja2"}


def asked(words: str, shell: str = "bash") -> list[str]:
    """What the shell is answered where the cursor stands behind ``words``."""
    ask = {"_AUGAWARE_COMPLETE": f"complete_{shell}", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    if shell != "bash":
        ask = {"_AUGAWARE_COMPLETE": f"complete_{shell}", "_TYPER_COMPLETE_ARGS": words}
        ask |= {"_TYPER_COMPLETE_FISH_ACTION": "get-args"} if shell == "fish" else {}
    done = CliRunner().invoke(app, [], env=ask, prog_name="augaware")
    assert done.stderr == ""
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("words", "room", "begins"),
    [
        ("augaware pretrain --host ", "hosts", ""),
        ("augaware pretrain --host mo", "hosts", "mo"),
        ("augaware pretrain --aware c", "awareness", "c"),
        ("augaware pretrain --recipe paper_s", "recipes", "paper_s"),
        ("augaware pretrain --out runs/x --encoder res", "nets", "res"),
        ("augaware eval runs/x --task l", "tasks", "l"),
        ("augaware eval runs/x --suite ", "suites", ""),
        ("augaware analyse runs/x --analysis s", "analysis", "s"),
        ("augaware recipes d", "recipes", "d"),
        ("augaware bench ", "bench", ""),
        ("augaware export runs/x --to t", "exports", "t"),
        ("augaware import-official x.pth --encoder res", "nets", "res"),
        ("augaware check fl", "augment", "fl"),
        ("augaware doctor --data . --download c", "data.datasets", "c"),
    ],
)
def test_names_are_completed(words: str, room: str, begins: str) -> None:
    known = [name for name in lookup.names(room) if name.startswith(begins)]
    assert known
    assert asked(words) == known


def test_commands_and_what_can_be_listed_are_completed() -> None:
    assert {(c.name or c.callback.__name__).replace("_", "-") for c in app.registered_commands} == set(
        asked("augaware ")
    )
    assert asked("augaware list ") == list(ROOMS)
    assert asked("augaware pretrain --precision b") == ["bf16"]
    assert "--recipe" in asked("augaware pretrain --re")


def test_other_shells_are_answered_too() -> None:
    assert any("simsiam" in line for line in asked("augaware pretrain --host sim", "zsh"))
    assert [line.split("\t")[0] for line in asked("augaware pretrain --host sim", "fish")] == ["simclr", "simsiam"]


def test_bash_itself_completes(tmp_path: Path) -> None:
    """The script that --show-completion prints, sourced by bash, which calls the program as it would at a tab."""
    (tmp_path / "augaware").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m augaware.cli "$@"\n')
    (tmp_path / "augaware").chmod(0o755)
    environ = os.environ | {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1",
    }
    shown = ["augaware", "--show-completion", "bash"]
    script = subprocess.run(shown, env=environ, capture_output=True, text=True, check=True, timeout=60).stdout
    assert "_AUGAWARE_COMPLETE=complete_bash" in script
    press = (
        "COMP_WORDS=(augaware pretrain --host simc); COMP_CWORD=3; _augaware_completion augaware; echo ${COMPREPLY[*]}"
    )
    done = subprocess.run(["bash", "-c", f"{script}\n{press}"], env=environ, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "simclr"


WITHOUT = """
import sys, time
began = time.process_time()
import typer.rich_utils
theirs = time.process_time() - began
from augaware.cli import main
main({arguments!r})
ours = time.process_time() - began - theirs
print(sorted({heavy!r} & set(sys.modules)), ours / theirs, file=sys.stderr)
"""


@pytest.mark.parametrize(
    ("arguments", "environ"),
    [
        (["--help"], {}),
        (["pretrain", "--help"], {}),
        ([], {"_AUGAWARE_COMPLETE": "complete_bash", "COMP_WORDS": "augaware eval x --task ", "COMP_CWORD": "4"}),
        (["recipes"], {}),
        (["list", "recipes"], {}),
        (["--version"], {}),
    ],
    ids=["help", "help of a command", "completion", "recipes", "list recipes", "version"],
)
def test_nothing_heavy_is_imported_to_say_what_there_is(arguments: list[str], environ: dict[str, str]) -> None:
    command = [sys.executable, "-c", WITHOUT.format(arguments=arguments, heavy=HEAVY)]
    done = subprocess.run(command, env=os.environ | environ, capture_output=True, text=True, check=True, timeout=60)
    loaded, _, times = done.stderr.rpartition(" ")
    assert loaded == "[]"
    assert float(times) < 3  # as long as typer itself takes, about, which is .15 s of a quiet machine; torch takes ten


def test_names_are_read_from_files_as_importing_would_find_them() -> None:
    import importlib
    import pkgutil

    for room in lookup.SINGULAR:
        package = importlib.import_module(f"augaware.{room}")
        files = [m.name for m in pkgutil.iter_modules(package.__path__) if not m.ispkg and m.name != "base"]
        loaded = {name: importlib.import_module(f"augaware.{room}.{name}") for name in files if name[0] != "_"}
        plug_ins = [name for name, module in loaded.items() if len(getattr(module, "__all__", ())) == 1]
        assert lookup.names(room) == sorted(plug_ins)
