"""The command line: what it prints, its exit codes, and one clear line for every wrong request."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from augaware import lookup
from augaware.api.listing import ROOMS
from augaware.cli import main
from augaware.pretrain import Trainer

SMALL = [
    *("--encoder", "tiny(widths=(4, 8))", "--size", "16", "--epochs", "1", "--batch-size", "8"),
    *("--device", "cpu", "--precision", "fp32", "--set", "health_images=0"),
]
DRAWN = ["--data", "shapes(n=16)", *SMALL]
ASK = ["random/pixels", "--size", "16", "--data"]
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command line in an empty folder: exit code, stdout, stderr."""
    place = tmp_path / "here"
    place.mkdir()
    monkeypatch.chdir(place)

    def run(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([str(a) for a in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("cli") / "run"
    assert main(["pretrain", *DRAWN, "--out", str(out)]) == 0
    return out


WRONG: dict[str, tuple[list[str], list[str]]] = {
    "an unknown host": ([*DRAWN, "--host", "simklr"], ["host 'simklr'", "did you mean 'simclr'"]),
    "a misspelt argument of a spec": (
        [*DRAWN, "--host", "simclr(temprature=0.1)"],
        ["'temprature'", "did you mean 'temperature'"],
    ),
    "a spec that is code": ([*DRAWN, "--host", "simclr(open('x'))"], ["simclr(open('x'))", "literals"]),
    "a value out of range in a spec": ([*DRAWN, "--host", "simclr(temperature=0)"], ["temperature=0", "above 0"]),
    "an unknown awareness": ([*DRAWN, "--aware", "casle"], ["awareness 'casle'", "did you mean 'cassle'"]),
    "an awareness of an augmentation that is not in the pipeline": (
        [*DRAWN, "--aware", "augself(['rotate90'])"],
        ["'rotate90'", "not in the pipeline", "crop"],
    ),
    "an awareness argument of a wrong type": ([*DRAWN, "--aware", "cassle(scale='a')"], ["scale='a'"]),
    "an awareness twice": ([*DRAWN, "--aware", "cassle", "--aware", "cassle()"], ["'cassle' stands twice"]),
    "an unknown encoder": ([*DRAWN, "--encoder", "tinny"], ["encoder 'tinny'", "did you mean 'tiny'"]),
    "an encoder without weights": ([*DRAWN, "--encoder", "pixels"], ["'pixels'", "nothing to train"]),
    "a missing folder": (["--data", "no/such/folder", *SMALL], ["'no/such/folder'", "no such folder"]),
    "an unknown data name": (["--data", "shappes", *SMALL], ["'shappes'", "did you mean 'shapes'"]),
    "an unknown argument of the data": (["--data", "shapes(m=3)", *SMALL], ["'m'", "accepted: n, size, seed"]),
    "an empty folder": (["--data", "EMPTY", *SMALL], ["empty", "holds no image"]),
    "a folder of broken images": (["--data", "BROKEN", *SMALL], ["broken", "none of its 2 images can be read"]),
    "a batch larger than the data": (
        ["--data", "SPOILED", *SMALL, "--batch-size", "50"],
        ["batch_size=50", "larger than the data", "24 images", "--batch-size 24"],
    ),
    "size 0": ([*DRAWN, "--size", "0"], ["size=0", "at least 1"]),
    "a size that is no number": ([*DRAWN, "--size", "big"], ["--size", "'big'"]),
    "a negative seed": ([*DRAWN, "--seed", "-1"], ["seed=-1"]),
    "a batch of one": ([*DRAWN, "--batch-size", "1"], ["batch_size=1", "at least 2"]),
    "an unknown precision": ([*DRAWN, "--precision", "fp8"], ["precision='fp8'", "auto, fp32, bf16"]),
    "an unknown device": ([*DRAWN, "--device", "tpu"], ["device='tpu'", "auto, cpu, cuda"]),
    "an unknown setting": ([*DRAWN, "--set", "bach_size=3"], ["'bach_size'", "did you mean 'batch_size'"]),
    "a setting without a value": ([*DRAWN, "--set", "seed"], ["--set 'seed'", "key=value"]),
    "a setting of a wrong type": ([*DRAWN, "--set", "epochs=many"], ["epochs='many'", "int"]),
    "an unknown augmentation": ([*DRAWN, "--set", "augment=crap()"], ["augmentation 'crap'", "did you mean 'crop'"]),
    "a warm-up longer than the run": ([*DRAWN, "--set", "warmup_epochs=2"], ["warmup_epochs=2", "epochs=1"]),
    "an unknown recipe": ([*DRAWN, "--recipe", "dimo"], ["recipe 'dimo'", "did you mean 'demo'"]),
    "no data": (SMALL, ["--data is missing"]),
    "no data for a preset": (
        ["--recipe", "flowers"],
        ["--data is missing: recipe 'flowers' is for images of your own"],
    ),
    "a path too long for a name": ([*SMALL, "--data", "x" * 300], ["xxx': there is no such folder or file"]),
    "an unknown option": ([*DRAWN, "--hots", "simclr"], ["--hots"]),
    "an option without its value": ([*DRAWN, "--host"], ["--host"]),
}


@pytest.fixture
def folders(image_folder: Path, tmp_path: Path) -> dict[str, str]:
    """Folders of data that are wrong in some way."""
    for name in ("empty", "broken"):
        (tmp_path / name).mkdir()
    for name in ("a.png", "b.jpg"):
        (tmp_path / "broken" / name).write_bytes(b"no image")
    shutil.copytree(image_folder, tmp_path / "spoiled")
    (tmp_path / "spoiled" / "disc" / "torn.png").write_bytes(b"\x89PNG")
    return {name.upper(): str(tmp_path / name) for name in ("empty", "broken", "spoiled")}


def assert_refused(code: int, out: str, err: str, words: list[str]) -> None:
    assert code == 2, (code, out, err)
    assert out == ""
    assert err.count("\n") == 1, err
    assert err.startswith("augaware: ")
    assert all(word in err for word in words), err
    assert "Traceback" not in err


@pytest.mark.parametrize("wrong", WRONG)
def test_pretrain_refuses_in_one_line_and_leaves_nothing_behind(wrong: str, cli: Run, folders: dict[str, str]) -> None:
    arguments, words = WRONG[wrong]
    arguments = [folders.get(argument, argument) for argument in arguments]
    # --out comes first, so that an option at the end can lack its value
    assert_refused(*cli("pretrain", "--out", "deep/run", *arguments), words)
    assert not list(Path().iterdir())


def test_pretrain_refuses_an_existing_out_before_it_reads_images(cli: Run, folders: dict[str, str]) -> None:
    Path("run").mkdir()
    Path("run/mine.txt").write_text("mine")
    found = cli("pretrain", "--data", folders["SPOILED"], *SMALL, "--out", "run")
    assert_refused(*found, ["--out 'run' exists already", "augaware resume run"])
    assert [str(file) for file in Path().rglob("*")] == ["run", "run/mine.txt"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["bogus"], ["'bogus'"]),
        (["pretrain", *DRAWN], ["--out"]),
        (["resume"], ["DIR"]),
        (["resume", "nowhere"], ["'nowhere'", "not a run folder"]),
        (["eval", "random/pixels"], ["--task"]),
        (["eval", "nowhere", "--task", "knn('shapes')"], ["encoder 'nowhere'", "a run folder"]),
        (["eval", "random/pixels", "--task", "knm('shapes')"], ["task 'knm'", "did you mean 'knn'"]),
        (["eval", "random/pixels", "--task", "knn"], ["knn", "dataset"]),
        (["eval", "random/pixels", "--task", "knn('shapes')", "--device", "tpu"], ["device='tpu'"]),
        (["eval", "random/pixels", "--task", "knn('shapes')", "--size", "0"], ["size=0"]),
        (["eval", "random/pixels", "--task", "knn('nothing')", "--data", "."], ["'nothing'"]),
        (["list", "hots"], ["'hots'", "did you mean 'hosts'"]),
        (["list", "--yaml"], ["--yaml"]),
        (["views", "--data", "shapes(n=4)", "--out", "v.png", "--count", "0"], ["count=0"]),
        (["views", "--data", "shapes(n=4)", "--out", "v.png", "--size", "0"], ["size=0"]),
        (["views", "--data", "nowhere/x", "--out", "v.png"], ["'nowhere/x'"]),
        (["analyse", *ASK, "shapes(n=1)", "--out", "o"], ["no analysis can be put to", "spectrum: 1 images"]),
        (["analyse", *ASK, "shapes(n=8)", "--analysis", "spectra"], ["analysis 'spectra'", "did you mean 'spectrum'"]),
        (["analyse", *ASK, "shapes(n=8)", "--analysis", "parameter_probe", "--out", "o"], ["too few", "give 100"]),
        (["analyse", *ASK, "shapes(n=8)", "--images", "0"], ["images=0"]),
        (["analyse", *ASK, "nowhere/x"], ["'nowhere/x'"]),
        (["report", "nowhere", "--out", "r.html"], ["nowhere"]),
    ],
    ids=lambda value: " ".join(value[:3]) if value and isinstance(value, list) else None,
)
def test_every_command_refuses_in_one_line_and_leaves_nothing_behind(
    arguments: list[str], words: list[str], cli: Run
) -> None:
    assert_refused(*cli(*arguments), words)
    assert not list(Path().iterdir())


def test_analyse_says_what_it_leaves_out_and_where_its_page_is(cli: Run) -> None:
    asked = ["analyse", *ASK, "shapes(n=9)", "--analysis", "alignment", "--device", "cpu"]
    code, out, err = cli(*asked)
    assert (code, err) == (0, "1/1 alignment: random/pixels\n")
    assert "nothing was written; for all numbers, pictures and a page give --out DIR" in out
    code, out, err = cli(*asked, "--out", "o")
    assert code == 0
    assert "wrote o/analysis.html and o/analysis" in out
    assert sorted(str(path) for path in Path("o").rglob("*.*")) == ["o/analysis.html", "o/analysis/alignment.json"]
    assert_refused(
        *cli(*asked, "--seed", "1", "--out", "o"), ["o/analysis/alignment.json", "seed '0'", "another --out"]
    )


def test_views_refuses_a_place_where_it_cannot_write(cli: Run) -> None:
    Path("file").write_text("mine")
    assert_refused(*cli("views", "--data", "shapes(n=4)", "--size", "16", "--out", "file/v.png"), ["file/v.png"])
    assert Path("file").read_text() == "mine"


def test_pretrain_resume_eval_and_report_go_through(finished: Path, cli: Run) -> None:
    shutil.copytree(finished, "run")
    code, out, _ = cli("resume", "run")
    assert (code, out) == (0, "run run is complete\n")
    task = "knn('shapes(train=60, val=20, test=20, size=16)', k=3)"
    code, out, err = cli("eval", "run", "--task", task, "--device", "cpu")
    assert code == 0, err
    assert out.startswith(task)
    assert len(list(Path("run/eval").glob("*.json"))) == 1
    code, out, err = cli("report", "run", "--out", "report.html")
    assert code == 0, err
    assert "report.html" in out
    html = Path("report.html").read_text()
    assert html.lower().startswith("<!doctype html>")
    assert "simclr" in html


def test_pretrain_says_where_the_run_is_and_what_comes_next(cli: Run) -> None:
    code, out, err = cli("pretrain", *DRAWN, "--aware", "augself(hidden=8)", "--aware", "cassle", "--out", "deep/run")
    assert code == 0, err
    assert out.startswith("run deep/run; next: augaware eval deep/run --task")
    recipe = json.loads(Path("deep/run/recipe.json").read_text())
    assert recipe["aware"] == ["augself(hidden=8)", "cassle"]
    assert (recipe["size"], recipe["batch_size"], recipe["health_images"]) == (16, 8, 0)


def test_list_json_is_what_scripts_read(cli: Run) -> None:
    code, out, err = cli("list", "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert set(found) == set(ROOMS)
    for room, entries in found.items():
        assert [entry["name"] for entry in entries] == lookup.names(ROOMS[room])
        for entry in entries:
            assert {"name", "spec", "summary"} <= entry.keys()
            assert entry["spec"].startswith(entry["name"])
            assert entry["summary"].strip(), f"{room} {entry['name']} has no summary"
            assert "\n" not in entry["summary"]
    assert {"simclr"} <= {entry["name"] for entry in found["hosts"]}


def test_list_awareness_shows_specs_that_can_be_used_as_they_stand(cli: Run) -> None:
    code, out, _ = cli("list", "awareness")
    assert code == 0
    lines = out.splitlines()
    assert lines[0] == "awareness:"
    specs = [line.strip() for line in lines[1:] if not line.startswith("   ")]
    assert out.count("Hosts: moco_v2, moco_v3, simclr\n") == 3
    assert [lookup.parse(spec).name for spec in specs] == lookup.names("awareness")
    assert "cassle(condition=None, depth=6, width=64, scale=1.0, how='concat')" in specs


def test_list_awareness_as_json_says_what_goes_together_and_why_not(cli: Run) -> None:
    code, out, _ = cli("list", "awareness", "--json")
    assert code == 0
    found = {entry["name"]: entry for entry in json.loads(out)["awareness"]}
    for name, entry in found.items():
        assert list(entry["hosts"]) == lookup.names("hosts")
        assert {*entry["beside"], name} == set(lookup.names("awareness"))
        assert all((found[other]["beside"][name] is None) == (why is None) for other, why in entry["beside"].items())
    assert not any(found["augself"]["hosts"].values())
    assert not any(found["augself"]["beside"].values())
    refused = {name for name, why in found["looc"]["hosts"].items() if why}
    assert refused == set(lookup.names("hosts")) - {"simclr", "moco_v2", "moco_v3"}
    assert found["looc"]["hosts"]["byol"].startswith("'looc' needs negatives, and host 'byol' has none; use")
    assert found["sie"]["beside"]["cassle"] == "'sie' and 'cassle' both make their own projector; keep one of them"


def test_views_writes_a_picture(cli: Run) -> None:
    code, _, err = cli("views", "--data", "shapes(n=4)", "--size", "16", "--count", "2", "--out", "deep/views.png")
    assert code == 0, err
    assert Path("deep/views.png").read_bytes().startswith(b"\x89PNG\r\n")
    assert [file.name for file in Path("deep").iterdir()] == ["views.png"]


def test_help_is_shown_when_nothing_is_asked(cli: Run) -> None:
    code, out, err = cli()
    assert (code, err) == (0, "")
    for command in ("pretrain", "resume", "eval", "list", "views", "report", "demo"):
        assert command in out
    code, out, _ = cli("pretrain", "--help")
    assert code == 0
    assert "--aware" in out


def test_ctrl_c_is_exit_code_130_and_the_run_can_be_resumed(cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    original, calls = Trainer._step, [0]

    def interrupted(self: Trainer, *arguments: object) -> object:
        calls[0] += 1
        if calls[0] == 2:
            raise KeyboardInterrupt
        return original(self, *arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_step", interrupted)
        code, _, err = cli("pretrain", *DRAWN, "--set", "checkpoint_seconds=0", "--out", "run")
    assert code == 130
    assert err.splitlines()[-1] == "stopped; continue a run with: augaware resume DIR"
    assert "Traceback" not in err
    code, out, err = cli("resume", "run")
    assert (code, out) == (0, "run run is complete\n")
    assert "resuming at step 1" in err


def test_damaged_runs_are_refused(finished: Path, cli: Run) -> None:
    shutil.copytree(finished, "run")
    Path("run/export/encoder.safetensors").unlink()
    Path("run/checkpoints/last.pt").write_bytes(b"PK damaged")
    assert_refused(*cli("resume", "run"), ["last.pt", "cannot be read"])
    Path("run/recipe.json").write_text("{")
    assert_refused(*cli("resume", "run"), ["recipe.json", "damaged"])
