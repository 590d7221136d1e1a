"""What people install: versions that agree, extras that exist, recipes of older versions, and the wheel by itself.

The slow half builds wheel and sdist, installs the wheel in an empty environment, trains, exports and loads there.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import augaware
from augaware.checkpoint import Run
from augaware.cli import main
from augaware.doctor import OPTIONAL
from augaware.errors import RequestError
from augaware.recipe import Recipe

ROOT = Path(__file__).parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SOURCES = sorted((ROOT / "src").rglob("*.py"))


def test_all_say_the_same_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert augaware.__version__ == PROJECT["version"]
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"augaware {PROJECT['version']}\n"
    assert f"\nversion: {PROJECT['version']}\n" in (ROOT / "CITATION.cff").read_text()
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest is not None
    assert newest[1] == PROJECT["version"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", PROJECT["version"])


def test_the_package_says_that_it_is_typed() -> None:
    assert (ROOT / "src" / "augaware" / "py.typed").exists()


def test_every_extra_that_a_message_names_exists_and_doctor_knows_what_is_optional() -> None:
    named = {extra for file in SOURCES for extra in re.findall(r"augaware\[(\w+)\]", file.read_text())}
    assert {"datasets", "detection", "wandb", "mlflow"} <= named
    assert named <= set(PROJECT["optional-dependencies"])
    for extra, packages in PROJECT["optional-dependencies"].items():
        if extra not in ("dev", "docs"):
            assert {re.split(r"[><=\[]", package)[0] for package in packages} <= set(OPTIONAL), extra


def test_the_table_of_versions_is_that_of_the_package() -> None:
    table = (ROOT / "docs" / "versions.md").read_text()
    rows = dict(re.findall(r"^\| ([\w.-]+) \| ([\d.]+) \|", table, re.MULTILINE))
    bounds = dict(re.split(r">=", package) for package in PROJECT["dependencies"])
    assert rows == bounds | {"python": PROJECT["requires-python"].removeprefix(">=")}


# --- run folders of other versions ---


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    run = Run.create(tmp_path / "run", Recipe(data="shapes"), {"augaware": "0.9.1"})
    return run.path


def test_a_recipe_without_the_newest_fields_has_their_defaults(folder: Path) -> None:
    file = folder / "recipe.json"
    old = {key: value for key, value in json.loads(file.read_text()).items() if key in ("data", "host", "epochs")}
    file.write_text(json.dumps(old))
    assert Run.open(folder).recipe == Recipe(data="shapes")


def test_a_recipe_of_a_newer_version_is_refused_by_its_name(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = folder / "recipe.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"warp": 9}))
    assert main(["resume", str(folder)]) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert "unknown recipe field 'warp'" in line
    assert f"written by augaware 0.9.1, and this is {augaware.__version__}" in line
    (folder / "env.json").unlink()
    with pytest.raises(RequestError, match="unknown recipe field 'warp'") as refused:
        Run.open(folder)
    assert "written by" not in str(refused.value)


# --- the wheel by itself ---

TARGETS = {"timm": "", "torchvision": ".safetensors", "hf": "", "onnx": ".onnx"}  # and the endings of their outputs
NEEDS = {"hf": "hf", "onnx": "onnx"}  # extras

REFERENCE = """
import sys, numpy, torch
from augaware.frozen import load_encoder
encoder = load_encoder(sys.argv[1])
x, mean, std = torch.from_numpy(numpy.load(sys.argv[2])), torch.tensor(encoder.mean), torch.tensor(encoder.std)
numpy.save(sys.argv[3], encoder((x - mean.view(3, 1, 1)) / std.view(3, 1, 1)).numpy())
"""
# From the written files alone, by the library's own means.
PLAIN = {
    "timm": """
import timm, torch
model = timm.create_model("local-dir:" + place, pretrained=True).eval()
config = timm.data.resolve_model_data_config(model)
y = model(normalised(config["mean"], config["std"]))
""",
    "torchvision": """
import json, torch, torchvision
from safetensors import safe_open
from safetensors.torch import load_file
said = safe_open(place, "pt").metadata()
model = torchvision.models.get_model(said["network"])
model.set_submodule(said["classifier"], torch.nn.Identity())
model.load_state_dict(load_file(place))
y = model.eval()(normalised(json.loads(said["mean"]), json.loads(said["std"])))
""",
    "hf": """
from transformers import AutoImageProcessor, AutoModel
config = AutoImageProcessor.from_pretrained(place).data_config
y = AutoModel.from_pretrained(place).eval()(normalised(config["mean"], config["std"])).pooler_output.flatten(1)
""",
    "onnx": """
import onnxruntime
session = onnxruntime.InferenceSession(place, providers=["CPUExecutionProvider"])
y = torch.from_numpy(session.run(None, {session.get_inputs()[0].name: x.numpy()})[0])
""",
}
AROUND = """
import sys, numpy, torch
place, x = sys.argv[1], torch.from_numpy(numpy.load(sys.argv[2]))
def normalised(mean, std):
    return (x - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
with torch.no_grad():
    {lines}
numpy.save(sys.argv[3], y.numpy())
assert not any(name.partition(".")[0] == "augaware" for name in sys.modules)
"""
USER = '''
"""A user's file."""

import augaware


def train(folder: str, out: str) -> dict[str, object]:
    """Train and judge."""
    run = augaware.pretrain(folder, out=out, host="simclr(temperature=0.1)", epochs=1, set={"log_steps": 1})
    recipe: augaware.Recipe = augaware.Recipe(data=folder).changed({"seed": 1})
    try:
        found = augaware.evaluate(str(run), "knn('flowers102')", data=folder)
    except augaware.RequestError as error:
        print(error, recipe.seed)
        return {}
    return {"count": len(list(found))}
'''
WRONG = '''
"""A user's file with two mistakes."""

import augaware

augaware.pretrain("photos", out="run", epochs="many")
augaware.pretrian("photos", out="run")
'''


def uv(*arguments: object, cwd: Path = ROOT) -> None:
    """uv, from beside this Python or from the path."""
    beside = Path(sys.executable).with_name("uv")
    program = str(beside) if beside.exists() else shutil.which("uv")
    if program is None:
        pytest.skip("uv is not installed: pip install uv")
    run(program, *arguments, cwd=cwd)


def run(*command: object, cwd: Path, environment: dict[str, str] | None = None) -> str:
    """Run it; its standard output."""
    clean = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=clean | (environment or {}),
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )
    assert done.returncode == 0, f"{command}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the sdist."""
    folder = tmp_path_factory.mktemp("dist")
    uv("build", "--quiet", "--out-dir", folder)  # the sdist, and the wheel out of it
    return folder


@pytest.fixture(scope="module")
def place(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an environment, ``env``, that holds the wheel, what it depends on, and nothing else."""
    place = tmp_path_factory.mktemp("elsewhere")
    uv("venv", "--quiet", "--python", sys.executable, place / "env")
    uv("pip", "install", "--quiet", "--compile-bytecode", "--python", place / "env/bin/python", *built.glob("*.whl"))
    return place


@pytest.fixture(scope="module")
def trained(place: Path, real_data: Path) -> Path:
    """A run on 400 photographs, trained by the installed command, and ``images.npy``: 8 of them as pixels."""
    with tarfile.open(real_data / "dtd10" / "train.tar") as tar:
        tar.extractall(place / "photos", filter="data")
    files = sorted((place / "photos").rglob("*.jpg"))
    assert len(files) > 300
    pictures = [np.asarray(Image.open(file).convert("RGB").resize((64, 64))) for file in files[:: len(files) // 8][:8]]
    np.save(place / "images.npy", np.stack(pictures).transpose(0, 3, 1, 2).astype(np.float32) / 255)
    given = ("--aware", "augself()", "--size", 64, "--epochs", 2, "--batch-size", 64, "--device", "cpu", "--out", "run")
    run(place / "env/bin/augaware", "pretrain", "--data", "photos", *given, cwd=place)
    (place / "reference.py").write_text(REFERENCE)
    run(place / "env/bin/python", "reference.py", "run", "images.npy", "reference.npy", cwd=place)
    return place / "run"


@pytest.mark.slow
def test_the_wheel_holds_the_package_alone_and_the_sdist_what_tests_it(built: Path) -> None:
    (wheel,), (sdist,) = built.glob("*.whl"), built.glob("*.tar.gz")
    assert wheel.name == f"augaware-{PROJECT['version']}-py3-none-any.whl"  # no compiler anywhere
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if not name.endswith("/")}
    assert {name.partition("/")[0] for name in inside} == {"augaware", f"augaware-{PROJECT['version']}.dist-info"}
    assert f"augaware-{PROJECT['version']}.dist-info/licenses/LICENSE" in inside
    files = [file.relative_to(ROOT / "src") for file in (ROOT / "src" / "augaware").rglob("*") if file.is_file()]
    kept = {str(file) for file in files if "__pycache__" not in file.parts}
    assert {name for name in inside if ".dist-info/" not in name} == kept
    assert "augaware/py.typed" in inside
    with tarfile.open(sdist) as tar:
        parts = {Path(name).parts[1] for name in tar.getnames() if len(Path(name).parts) > 1}
    assert {"src", "tests", "docs", "LICENSE", "README.md", "CHANGELOG.md", "CITATION.cff", "pyproject.toml"} <= parts
    assert not parts & {".venv", "runs", "dist", "shared"}
    assert wheel.stat().st_size < 2e6
    assert sdist.stat().st_size < 4e6


@pytest.mark.slow
def test_the_metadata_name_licence_and_extras(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    metadata = zipfile.ZipFile(wheel).read(f"augaware-{PROJECT['version']}.dist-info/METADATA").decode()
    assert "License-Expression: Apache-2.0" in metadata
    assert set(re.findall(r"^Provides-Extra: (\S+)", metadata, re.MULTILINE)) == set(PROJECT["optional-dependencies"])


@pytest.mark.slow
def test_the_command_runs_in_an_empty_environment(place: Path) -> None:
    assert "pretrain" in run(place / "env/bin/augaware", "--help", cwd=place)
    found = json.loads(run(place / "env/bin/augaware", "list", "--json", cwd=place))
    assert all(found.values())
    assert json.loads(run(place / "env/bin/augaware", "doctor", "--json", cwd=place))["augaware"] == PROJECT["version"]


@pytest.mark.slow
@pytest.mark.realdata
@pytest.mark.parametrize("target", TARGETS)
def test_an_encoder_trained_there_is_loaded_without_augaware(
    target: str, built: Path, place: Path, trained: Path
) -> None:
    python = place / "env/bin/python"
    if target in NEEDS:
        (wheel,) = built.glob("*.whl")
        uv("pip", "install", "--quiet", "--python", python, f"augaware[{NEEDS[target]}] @ {wheel.as_uri()}")
    out = f"mine-{target}{TARGETS[target]}"
    run(place / "env/bin/augaware", "export", trained, "--to", target, "--out", out, cwd=place)
    (place / f"{target}_plain.py").write_text(AROUND.format(lines="\n    ".join(PLAIN[target].strip().splitlines())))
    offline = {"HF_HUB_OFFLINE": "1"}
    run(python, f"{target}_plain.py", out, "images.npy", f"{target}.npy", cwd=place, environment=offline)
    expected, found = np.load(place / "reference.npy"), np.load(place / f"{target}.npy")
    assert expected.shape == found.shape == (8, 512)
    assert expected.std() > 1e-3
    assert np.abs(expected - found).max() < 1e-5 * max(1.0, np.abs(expected).max())


@pytest.mark.slow
def test_a_users_file_type_checks_against_what_is_installed(place: Path) -> None:
    pytest.importorskip("mypy")
    (place / "user.py").write_text(USER)
    (place / "wrong.py").write_text(WRONG)
    # What public names say takes none of the libraries that do the work.
    ours_alone = "[mypy-torch.*,torchvision.*,timm.*,numpy.*,lightning_fabric.*,matplotlib.*]\nfollow_imports = skip\n"
    (place / "mypy.ini").write_text(f"[mypy]\nstrict = true\n{ours_alone}")
    mypy = (sys.executable, "-m", "mypy", "--python-executable", place / "env/bin/python")
    run(*mypy, "user.py", cwd=place)
    done = subprocess.run([*map(str, mypy), "wrong.py"], cwd=place, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert 'Argument "epochs" to "pretrain" has incompatible type "str"' in done.stdout
    assert 'Module has no attribute "pretrian"' in done.stdout
