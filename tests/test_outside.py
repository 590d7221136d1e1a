"""Someone outside the repository follows the pages of docs/add to the letter: files, commands, what they promise.

The files are the fences with a title, the commands those of the page: one page in a shell of its own, with that folder
as working directory, the others by the same command line in this process, where torch is imported already.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from torchvision.transforms.functional import to_pil_image

import augaware
from augaware import lookup
from augaware.cli import main
from augaware.data.shapes import Shapes
from augaware.laws import augmentation, awareness, host, task
from augaware.pretrain import start
from augaware.recipe import Recipe

DOCS = Path(__file__).parents[1] / "docs" / "add"
FILE = re.compile(r'^```python title="([^"]+)"\n(.*?)^```$', re.DOTALL | re.MULTILINE)
COMMANDS = re.compile(r"^```console\n(.*?)^```$", re.DOTALL | re.MULTILINE)
LAWS = {"augmentation": augmentation.LAWS, "host": host.LAWS, "awareness": awareness.LAWS, "task": task.LAWS}
SHELL = "task"  # the page whose commands are processes
# page -> the file of numbers that its last command leaves, and one that must be in it
LEAVES = {
    "augmentation": ("runs/dim/metrics.jsonl", "loss/augself/dim"),
    "host": ("runs/cosine/metrics.jsonl", "loss/augself/crop"),
    "awareness": ("runs/tell/metrics.jsonl", "loss/tell/omega"),
    "task": ("judged/eval/*.json", "nearest_mean/1"),
}


def written(page: str, folder: Path) -> list[str]:
    """Write the files of a page below ``folder``; -> their dotted names."""
    found = FILE.findall((DOCS / f"{page}.md").read_text(encoding="utf-8"))
    for name, code in found:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(code)
    return [name.removesuffix(".py").replace("/", ".") for name, _ in found]


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of someone who has installed augaware: the command is on the path, the tests are not."""
    place = tmp_path_factory.mktemp("bin")
    script = place / "augaware"
    script.write_text(f"#!{sys.executable}\nimport sys\n\nfrom augaware.cli import main\n\nsys.exit(main())\n")
    script.chmod(0o755)
    installed = Path(augaware.__file__).parents[1]
    kept = {key: value for key, value in os.environ.items() if key != "AUGAWARE_PLUGINS"}
    return {**kept, "PATH": f"{place}:{os.environ['PATH']}", "PYTHONPATH": f".:{installed}", "OMP_NUM_THREADS": "1"}


def data_sets(root: Path) -> None:
    """ROOT with one small data set."""
    for split, n, seed in (("train", 24, 1), ("test", 16, 2)):
        source = Shapes(n, size=32, seed=seed)
        assert source.labels is not None
        for index in range(n):
            home = root / "flowers102" / split / f"class{int(source.labels[index]) % 2}"
            home.mkdir(parents=True, exist_ok=True)
            to_pil_image(source.load(index)).save(home / f"{index}.png")


@pytest.fixture
def imported() -> Iterator[None]:
    """What a page's file is imported as is forgotten at the end."""
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "my_lab"]:
        del sys.modules[name]


@pytest.mark.long
@pytest.mark.usefixtures("imported")
@pytest.mark.parametrize("page", LEAVES)
def test_a_plug_in_is_added_from_the_docs_alone(
    page: str, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    (name,) = written(page, tmp_path)
    if page == "task":
        data_sets(tmp_path / "ROOT")
    lines = "\n".join(COMMANDS.findall((DOCS / f"{page}.md").read_text(encoding="utf-8")))
    assert re.search(rf"augaware check \"?{re.escape(name)}", lines)
    if page == SHELL:
        shell = request.getfixturevalue("shell")
        done = subprocess.run(["bash", "-e", "-c", lines], cwd=tmp_path, env=shell, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        printed = done.stdout
    else:
        monkeypatch.chdir(tmp_path)
        monkeypatch.syspath_prepend(tmp_path)
        capsys = request.getfixturevalue("capsys")
        for line in lines.splitlines():
            program, *arguments = shlex.split(line)
            assert program == "augaware"
            assert main(arguments) == 0, f"{line}\n{capsys.readouterr().err}"
        printed = capsys.readouterr().out
    assert printed.count("holds ") == len(LAWS[page])
    assert "BROKEN" not in printed
    files, number = LEAVES[page]
    (left,) = tmp_path.glob(files)
    assert f'"{number}"' in left.read_text()
    if page == "augmentation":
        assert (tmp_path / "views.png").stat().st_size > 1000
    if left.suffix == ".jsonl":
        assert name in (tmp_path / left).with_name("recipe.json").read_text()
        assert any(number in json.loads(line) for line in left.read_text().splitlines())


def test_what_the_pages_show_goes_together_and_is_analysed(
    small: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [name for page in ("augmentation", "host", "awareness", "analysis") for name in written(page, tmp_path)]
    assert names == ["my_lab.dim", "my_lab.cosine", "my_lab.tell", "my_lab.blindness"]
    (tmp_path / "my_lab").rename(tmp_path / "guided_lab")
    monkeypatch.syspath_prepend(tmp_path)
    augment = (*small.augment, "guided_lab.dim(low=0.2)")
    fields = {"host": "guided_lab.cosine(width=8)", "aware": ("guided_lab.tell(['color_jitter', 'dim'])",)}
    run = start(small.changed({**fields, "augment": augment, "epochs": 1}), tmp_path / "run")
    (result,) = augaware.analyse(str(run.path), "guided_lab.blindness", data="shapes(n=12)", device="cpu")
    assert result["augment"][: len(augment)] == list(augment)
    found = {number["of"]: number["value"] for number in result["encoders"]["pixels"]}
    assert set(found) == {*lookup.names("augment"), "dim"}
    assert all(-1 <= value <= 1 for value in found.values())
    assert found["gaussian_blur"] > found["solarize"]
    assert (run.path / "analysis.html").is_file()
