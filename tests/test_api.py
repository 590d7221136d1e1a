"""The functions: named as the commands are, taking any kind of encoder, returning what shows itself."""

from __future__ import annotations

import html.parser
import inspect
import json
import os
import pickle
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import augaware
from augaware import auto, cli, lookup
from augaware.api.listing import KINDS
from augaware.augment.plan import Camera
from augaware.cli import main
from augaware.data.loader import open_source
from augaware.errors import RequestError
from augaware.frozen import Frozen, freeze, load_encoder
from augaware.progress import Display, amount
from augaware.recipe import Recipe
from augaware.report.parts import KeyValues, Lines, Part, Picture, Table, Text, Value
from augaware.report.terminal import text
from augaware.report.values import Record, Results

KNN = "knn('shapes(train=60, val=20, test=20, size=16)', k=3)"
SMALL: dict[str, Any] = {"encoder": "tiny(widths=(4, 8))", "size": 16, "epochs": 2, "batch_size": 8, "device": "cpu"}
HOSTILE = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> augaware.Run:
    out = tmp_path_factory.mktemp("api") / "run"
    settings = {"health_images": 60, "log_steps": 1, "precision": "fp32"}
    return augaware.pretrain("shapes(n=64)", out=out, set=settings, **SMALL)


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines as long as where no terminal says how long, whatever this runs in."""
    monkeypatch.setenv("COLUMNS", "200")


# --- one set of names ---

FUNCTIONS = {"eval": "evaluate"}  # a command whose function has another name: Python's own eval is another thing
ONLY_FUNCTIONS = {
    "evaluate_suite": "eval --suite, with its table returned and a told of its own",
    "check_store": "store --check",
}
ONLY_IN_COMMAND = {  # how it is printed, and what is a function of its own
    **{command: {"json"} for command in ("list", "recipes", "doctor", "dry_run")},
    "store": {"check"},
}
ONLY_IN_FUNCTION = {"analyse": {"told"}, "study": {"told"}}  # hears, in lines, what the command prints beside


def commands() -> dict[str, Any]:
    """Command -> the function that the command line calls."""
    return {c.name or c.callback.__name__: c.callback for c in cli.app.registered_commands if c.callback}


def called(command: str) -> Any:
    return getattr(augaware, FUNCTIONS.get(command, command.replace("-", "_")))


@pytest.mark.parametrize("command", commands())
def test_a_command_and_its_function_take_the_same_names(command: str) -> None:
    asked, given = (inspect.signature(f).parameters for f in (commands()[command], called(command)))
    assert set(asked) - ONLY_IN_COMMAND.get(command, set()) == set(given) - ONLY_IN_FUNCTION.get(command, set())
    for name in set(asked) & set(given):
        default, other = asked[name].default, given[name].default
        left_out = default is None  # the command then leaves it to the function
        assert left_out or default == other or str(default) == str(other), f"{command} {name}: {default} or {other}?"


def test_every_function_is_a_command() -> None:
    public = {name for name in (*augaware.__all__, "list") if inspect.isfunction(getattr(augaware, name))}
    assert public - {called(command).__name__ for command in commands()} == set(ONLY_FUNCTIONS)


def test_every_public_name_is_there_and_typed() -> None:
    assert set(augaware.__all__) == set(augaware._PUBLIC) - {"list"}
    source = Path(augaware.__file__).read_text()
    typed = source[source.index("if TYPE_CHECKING") : source.index("__version__")]
    assert all(f" {name}" in typed for name in augaware._PUBLIC)
    with pytest.raises(AttributeError, match="no attribute 'pretrian'"):
        augaware.pretrian  # noqa: B018


def test_modules_do_not_hide_the_functions_of_their_names() -> None:
    import augaware.demo
    import augaware.recipes.base
    import augaware.views

    assert all(inspect.isfunction(getattr(augaware, name)) for name in ("demo", "recipes", "views", "list"))
    scope: dict[str, Any] = {}
    exec("from augaware import *", scope)
    assert "list" not in scope


# --- a run ---


def test_a_run_is_a_path_with_its_recipe_and_its_numbers(run: augaware.Run) -> None:
    assert os.fspath(run) == str(run) == str(run.path) == f"{Path(run)}"
    assert isinstance(run.recipe, Recipe)
    assert (run.recipe.size, run.recipe.batch_size) == (16, 8)
    steps = [line["step"] for line in run.metrics if "loss" in line]
    assert steps == list(range(1, 17))
    assert run.weights == run.path / "export" / "encoder.safetensors"
    assert pickle.loads(pickle.dumps(run)).path == run.path


def test_runs_of_one_folder_are_equal_and_go_to_other_processes(run: augaware.Run) -> None:
    again = augaware.Run(str(run))
    assert again == run
    assert len({run, again, pickle.loads(pickle.dumps(run))}) == 1
    assert run != run.path  # a path says nothing of what is there


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"is not a run folder: it has no recipe\.json"):
        augaware.Run(tmp_path)


def test_resume_takes_a_run_and_returns_it(run: augaware.Run) -> None:
    assert augaware.resume(run).path == run.path


def test_a_run_is_an_encoder_ready_for_features(run: augaware.Run) -> None:
    f = run.encoder(device="cpu")
    assert f(torch.zeros(2, 3, 16, 16)).shape == (2, f.dim)
    assert not f.training
    assert repr(f) == "frozen encoder run: tiny(widths=(4, 8)), 8 features of images at 16 px, fp32 on cpu"
    assert run.encoder(size=24, device="cpu", precision="bf16").size == 24


def test_a_run_shows_what_it_was_how_it_went_and_where_its_weights_are(run: augaware.Run) -> None:
    seen = repr(run)
    assert "tiny(widths=(4, 8)) with simclr(), aware vanilla; 'shapes(n=64)' at 16 px; 2 epochs in batches of 8" in seen
    knn = [line["health/knn"] for line in run.metrics if "health/knn" in line][-1]
    assert f"kNN accuracy  {knn:.3f}" in seen
    assert "epochs        2 of 2" in seen
    assert f"weights       {run.weights}" in seen
    losses = [line["loss"] for line in run.metrics if "loss" in line]
    assert f"loss  {losses[0]:.2f} → {losses[-1]:.2f}  " in seen
    page = run._repr_html_()
    assert page.count("<svg") == 1
    assert str(run.weights) in page
    assert "\x1b" not in seen


def test_a_run_that_is_not_finished_says_how_to_go_on(run: augaware.Run, tmp_path: Path) -> None:
    (tmp_path / "recipe.json").write_text((run.path / "recipe.json").read_text())
    begun = augaware.Run(tmp_path)
    assert begun.weights is None
    assert begun.metrics == []
    assert f"not finished; go on with: augaware resume {tmp_path}" in repr(begun)
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "epoch": 0.5, "loss": 3.0}\n{"step": 2, "lo')
    assert begun.metrics == [{"step": 1, "epoch": 0.5, "loss": 3.0}]
    assert "0.5 of 2" in repr(begun)


# --- ENCODER ---


class Mean(nn.Module):
    """Three features: the mean of each channel."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * x.mean((2, 3))


def test_a_run_is_the_same_encoder_however_it_is_given(run: augaware.Run) -> None:
    given = (run, run.path, str(run), run.encoder(device="cpu"))
    found = [augaware.evaluate(one, KNN, device="auto")[0]["metrics"] for one in given]
    assert found == [found[0]] * 4
    assert len(list((run.path / "eval").glob("knn*.json"))) == 1  # a frozen one knows its run, too
    assert "knn" in repr(run)  # which now shows its result


def test_a_network_is_judged_as_it_is_and_left_as_it_was() -> None:
    mine = Mean().train()
    (found,) = augaware.evaluate(mine, KNN, size=16, device="cpu")
    assert (found["encoder"], found["size"]) == ("encoder", 16)
    assert found["metrics"] == augaware.evaluate(freeze(Mean(), size=16), KNN)[0]["metrics"]
    assert mine.training
    assert mine.scale.requires_grad
    assert load_encoder(mine, size=8, precision="bf16").precision == "bf16"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"architecture": "resnet18"}, "architecture='resnet18' is for a .safetensors file"),
        ({"size": 0}, "size=0 must be at least 1"),
        ({"precision": "fp8"}, "precision 'fp8' is unknown"),
        ({"device": "tpu"}, "device='tpu' is unknown"),
    ],
)
def test_what_a_network_cannot_be_given_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        load_encoder(Mean(), **given)


def test_what_is_frozen_has_its_own_size_and_device() -> None:
    frozen = freeze(Mean(), "mine", size=8)
    assert load_encoder(frozen) is frozen
    with pytest.raises(RequestError, match="of an encoder that is frozen are its own"):
        load_encoder(frozen, size=16)


def test_a_model_of_timm_brings_its_input_and_loses_its_classifier() -> None:
    import timm

    model = timm.create_model("test_vit", pretrained=False)
    frozen = load_encoder(model, device="cpu")
    config = model.pretrained_cfg
    assert (frozen.size, frozen.mean, frozen.std) == (config["input_size"][1], config["mean"], config["std"])
    assert frozen.mean != Recipe(data="").mean
    assert frozen.name == "test_vit"
    assert frozen.dim == model.num_features != model.num_classes
    assert model(torch.zeros(1, *config["input_size"])).shape == (1, 1000)  # yours keeps it
    assert freeze(timm.create_model("test_vit", pretrained=False), mean=(0.1, 0.2, 0.3)).mean == (0.1, 0.2, 0.3)


def test_references_may_be_networks_too(run: augaware.Run) -> None:
    given = {"data": "shapes(n=12)", "images": 12}
    found = augaware.analyse(freeze(Mean(), "mine", size=16), "spectrum", against=[run, Mean()], **given)
    assert list(found[0]["encoders"]) == ["mine", "pixels", "run", "encoder"]
    with pytest.raises(RequestError, match="'encoder' has the name of the encoder that is asked about, or of another"):
        augaware.analyse(freeze(Mean(), size=16), "spectrum", against=Mean(), **given)


# --- what is returned shows itself ---


class Balanced(html.parser.HTMLParser):
    """Fails where a tag is closed that is not open; keeps which there were."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.seen.add(tag)
        if tag not in ("img", "path", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag != "path":
            assert self.open.pop() == tag


def every_part(name: str) -> list[Part]:
    curve = ([0, 1, 2], [3.0, 2.0, 1.0])
    table = Table(name, ["task", name], [[name, Value(0.5, low=0.4, high=0.6)], ["flat", None]], note=name)
    return [Text(name), KeyValues({name: name}, name), table, Lines(name, {name: curve, "b": curve}, name, name)]


def test_names_of_strangers_are_shown_and_never_run() -> None:
    page = Results([{}], lambda found: every_part(HOSTILE))._repr_html_()
    assert "script" not in Balanced(page).seen
    assert {"table", "svg", "style", "p"} <= Balanced(page).seen
    assert page.count("&lt;script&gt;") > 5
    seen = text(every_part("\x1b[31m[bold]red[/]\u202e"))
    assert "\x1b" not in seen
    assert "\u202e" not in seen
    assert "[bold]red[/]" in seen


def test_the_style_of_a_notebook_is_left_alone() -> None:
    page = Record({}, lambda found: every_part("a"))._repr_html_()
    rules = page[page.index("<style>") + 7 : page.index("</style>")]
    selectors = [s.strip() for rule in rules.split("}") if "{" in rule for s in rule.partition("{")[0].split(",")]
    assert selectors
    assert all(selector.startswith(".augaware") for selector in selectors)


def test_numbers_stand_below_one_another_and_curves_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    rows = [["a", 1.5, "12 [1, 2]"], ["longer", 12.25, "3"]]
    lines = text([Table("found", ["name", "value", "x"], rows), Lines("loss", {"l": ([0, 1], [4.0, 1.0])}, "s", "y")])
    found, heads, rule, first, second, _, caption = lines.splitlines()
    assert (found, heads.split(), set(rule.strip())) == ("found", ["name", "value", "x"], {"─"})
    assert first.index("1.5") + 3 == second.index("12.2") + 4
    assert first.endswith("12 [1, 2]")
    assert second.endswith(" 3")
    assert caption == "l  4.00 → 1.00  █▁"
    assert max(map(len, lines.splitlines())) <= 60


@pytest.mark.parametrize("found", [Results([{"a": 1}], lambda r: []), Record({"a": 1}, lambda r: [])])
def test_what_is_returned_is_plain_data_for_scripts(found: Any) -> None:
    plain = [{"a": 1}] if isinstance(found, list) else {"a": 1}
    assert found == plain
    assert json.loads(json.dumps(found)) == plain
    assert type(found).__mro__[1].__name__ == "Shown"  # so that IPython asks it before its own printer of lists


def test_results_show_as_a_table_with_their_intervals(run: augaware.Run) -> None:
    results = augaware.evaluate(run, [KNN, "factors('shapes(train=60, val=20, test=20, size=16)')"], device="cpu")
    metrics = results[0]["metrics"]
    seen = repr(results)
    assert f"{metrics['test']:.3f} [" in seen
    assert "object_hue" in seen
    assert "<table" in results._repr_html_()


def test_an_analysis_shows_its_answer_and_in_a_notebook_its_pictures(tmp_path: Path) -> None:
    asked = {"data": "shapes(n=24)", "size": 16, "device": "cpu"}
    found = augaware.analyse("random/tiny(widths=(4, 8))", "retrieval_grid", out=tmp_path, **asked)
    assert repr(found).startswith("Which augmentations random/tiny(widths=(4, 8)) keeps was not asked")
    assert "<img" in found._repr_html_()
    pictures = [part for part in found.parts()[-1].parts if isinstance(part, Picture)]  # type: ignore[union-attr]
    assert len(pictures) == len(found[0]["pictures"]) > 0


def test_a_suite_shows_its_table(run: augaware.Run) -> None:
    from augaware.report.transfer import Head, Row
    from augaware.report.transfer import Table as Compared
    from augaware.suite import Done

    table = Compared({"x": Head("flowers")}, [Row("theirs", {"x": 80.0}, published=True), Row("mine", {"x": 82.5})])
    done = Done(Path("o"), [], table, {"knn('x')": "damaged"})
    assert all(word in repr(done) for word in ("flowers", "82.50", "80.00", "theirs", "damaged", "written to o"))
    assert "82.50" in done._repr_html_()


def test_a_machine_and_its_data_sets_show_themselves(tmp_path: Path) -> None:
    machine = augaware.doctor()
    assert f"torch             {machine['torch']}\n" in repr(machine)
    (tmp_path / "mine" / "train" / "a").mkdir(parents=True)
    survey = augaware.doctor(tmp_path)
    assert {row["name"] for row in survey["datasets"]} >= {"flowers102"}
    assert "flowers102" in repr(survey)
    assert "flowers102" in survey._repr_html_()


def test_a_bench_shows_its_medians() -> None:
    from augaware.api.showing import benched

    row = {"side": "augaware", "size": 96, "threads": 1, "per_core": 900.0, "wall": 880.0, "spread": [890.0, 910.0]}
    record = {"bench": "augment", "unit": "images", "measure": "px", "rows": [{**row, "note": "own", "version": "1"}]}
    assert "900 [890, 910]" in text(benched(record))


# --- what there is ---


def test_list_is_what_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    found = augaware.list("hosts")
    assert [entry["name"] for entry in found["hosts"]] == lookup.names("hosts")
    assert main(["list", "hosts"]) == 0
    assert capsys.readouterr().out == f"{found}\n"
    with pytest.raises(RequestError, match="did you mean 'hosts'"):
        augaware.list("hots")


def test_recipes_come_by_kind_presets_first_and_each_is_whole() -> None:
    found = augaware.recipes()
    assert sorted(entry["name"] for entry in found) == lookup.names("recipes")
    kinds = [entry["kind"] for entry in found]
    assert [kind for kind in KINDS if kind in kinds] == list(dict.fromkeys(kinds))  # each together, in this order
    assert all((e["kind"] == KINDS[2]) == e["name"].startswith(("paper_", "augself_")) for e in found)
    assert all((e["kind"] == KINDS[0]) == (e["recipe"]["data"] == "images") for e in found)
    for entry in found:
        assert Recipe.from_fields(entry["recipe"]) == lookup.build("recipes", entry["name"])
        assert entry["expected"]
        assert entry["command"].startswith(("augaware ", "make "))
        assert not any(p.startswith(("Expected", "augaware ")) for p in entry["reasons"])
        assert entry["name"] in repr(found)


def test_one_recipe_is_shown_field_by_field_with_its_reasons(capsys: pytest.CaptureFixture[str]) -> None:
    spec = "augself_stl10(host='byol', aware='cassle')"
    found = augaware.recipes(spec)
    assert isinstance(found, Record)
    assert found["recipe"]["host"].startswith("byol(")
    assert found["command"] == f'augaware pretrain --recipe "{spec}" --out runs/augself_stl10'
    assert main(["recipes", spec]) == 0
    shown = capsys.readouterr().out
    assert shown == f"{found}\n"
    for field, value in found["recipe"].items():
        assert any(line.split()[:1] == [field] for line in shown.splitlines()), field
        assert not isinstance(value, int) or str(value) in shown
    assert "Expected: " in shown
    assert all(reason.split()[0] in shown for reason in found["reasons"])
    assert main(["recipes", spec, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["recipe"] == json.loads(json.dumps(found["recipe"]))


def test_a_recipe_that_is_unknown_is_refused_in_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipes", "dimo"]) == 2
    assert capsys.readouterr().err.startswith("augaware: unknown recipe 'dimo'; accepted: ")


# --- why auto chose ---


def test_auto_says_what_it_chose_and_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert auto.device().line.startswith(f"device auto -> cpu (no CUDA device is visible to torch {torch.__version__}")
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True}, raising=False)
    assert auto.precision("cpu").line == "precision auto -> bf16 (this CPU multiplies it natively: avx512_bf16)"
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict, raising=False)
    assert auto.precision("cpu").line == (
        "precision auto -> fp32 (this CPU does not multiply bf16 natively: no amx_bf16 and no avx512_bf16)"
    )
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "H100")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: False)
    assert auto.device().line == f"device auto -> cuda (torch {torch.__version__} sees H100)"
    assert auto.precision("cuda").line == "precision auto -> fp32 (H100 does not multiply bf16 natively)"


def begun(tmp_path: Path, capsys: pytest.CaptureFixture[str], **settings: Any) -> str:
    given = {"encoder": "tiny(widths=(4,))", "size": 16, "epochs": 1, "batch_size": 8}
    augaware.pretrain("shapes(n=8)", out=tmp_path / "run", set={"health_images": 0, **settings}, **given)
    return capsys.readouterr().err


def test_a_run_says_why_it_is_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = begun(tmp_path, capsys, recompute=True)
    assert f"{auto.device().line}\n{auto.precision(auto.device().value).line}\nengine auto -> " in said
    pixels = open_source("shapes(n=8)", Recipe(data="", size=16).decoded_side).batch(torch.arange(8)).pixels
    assert f"images are kept in memory: {amount(pixels.numel())}, decoded once, within memory_gib=4\n" in said
    assert "; recompute=True\n" in said
    assert "strategy=" not in said.splitlines()[0]
    assert "chunk=" not in said


def test_what_is_not_left_to_us_needs_no_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = begun(tmp_path, capsys, device="cpu", precision="fp32", engine="plain", memory_gib=0.0, chunk=4)
    assert " auto -> " not in said
    assert "images are decoded anew for each batch: memory_gib=0; to decode them once: --set store=DIR" in said
    assert "; chunk=4\n" in said


def test_images_from_a_store_or_too_many_for_the_memory_say_so(
    image_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = {"encoder": "tiny(widths=(4,))", "size": 16, "epochs": 1, "batch_size": 8, "device": "cpu"}
    fixed = {"health_images": 0, "precision": "fp32", "engine": "plain"}
    augaware.pretrain(image_folder, out=tmp_path / "a", set={**fixed, "store": str(tmp_path / "store")}, **given)
    assert f"images are read from the store {tmp_path / 'store'}" in capsys.readouterr().err
    augaware.pretrain(image_folder, out=tmp_path / "b", set={**fixed, "memory_gib": 1e-5}, **given)
    assert " do not fit in memory_gib=1e-05; to decode them once: --set store=DIR" in capsys.readouterr().err


def test_eval_says_it_beside_the_results_and_never_before_a_refusal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    asked = ["eval", "random/pixels(side=2)", "--size", "16", "--task"]
    assert main([*asked, KNN]) == 0
    assert capsys.readouterr().err == f"{auto.device().line}\n"
    assert main([*asked, KNN, "--device", "cpu"]) == 0
    assert capsys.readouterr().err == ""
    assert main([*asked, "knn('nothing')"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


# --- what the wait for the compiler may not say ---


def test_a_refusal_does_not_wait_for_the_compiler_nor_speak_of_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(Camera, "warm", lambda camera: Future())  # a machine under load: it is never done
    with pytest.raises(RequestError, match="batch_size=50 is larger than the data"):
        augaware.pretrain("shapes(n=24)", out=tmp_path / "run", **{**SMALL, "batch_size": 50})
    assert capsys.readouterr().err == ""


def test_what_is_compiled_already_is_not_said_to_be_compiled(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import threading

    from augaware.pretrain import Trainer

    read: Future[str | None] = Future()
    threading.Timer(0.3, read.set_result, [None]).start()
    monkeypatch.setattr(Camera, "warm", lambda camera: read)
    with Display("reading", 1) as display:
        Trainer(Recipe(data="shapes(n=24)", health_images=0, **SMALL), display)
    assert "compiling" not in capsys.readouterr().err


# --- one line of many processes ---


@pytest.mark.parametrize(
    ("environ", "speaks"),
    [
        ({}, True),
        ({"RANK": "0", "WORLD_SIZE": "2"}, True),
        ({"RANK": "1", "WORLD_SIZE": "2"}, False),
        ({"SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "2"}, False),
        ({"SLURM_PROCID": "1"}, True),  # a job's shell, which srun did not start in a step of several
    ],
)
def test_only_process_0_says_that_it_was_stopped(
    environ: dict[str, str], speaks: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("RANK", "WORLD_SIZE", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)

    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "app", stopped)
    assert main(["list"]) == 130
    assert bool(capsys.readouterr().err) is speaks


def test_a_frozen_encoder_is_a_module_and_says_little() -> None:
    frozen = load_encoder("random/pixels(side=2)", device="cpu")
    assert isinstance(frozen, Frozen)
    assert (
        repr(frozen)
        == "frozen encoder random/pixels(side=2): pixels(side=2), 12 features of images at 96 px, fp32 on cpu"
    )
