"""The documentation: its Python and its commands run, its links resolve, and its tables are the code's.

A fence ``python`` runs as it stands, in one namespace a page, in a folder that holds FOLDER, a folder of images, and
ROOT, a folder of data sets; ``console`` commands run too; ``sh`` is read by the real command line and not run (too
long, several processes, a download); ``py`` shows another library, and stands in the tests of what it shows.
Trainings are made small on the way.
"""

from __future__ import annotations

import ast
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
from torchvision.transforms.functional import to_pil_image

import augaware
from augaware import lookup
from augaware.cli import app, main
from augaware.data.shapes import Shapes
from augaware.errors import RequestError
from augaware.recipe import parse_settings
from from_file import from_file
from small_hosts import NARROW

ROOT = Path(__file__).parents[1]
PAGES = {str(path.relative_to(ROOT)): path for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]}
FENCE = re.compile(r"^```(\w*)([^\n]*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
TITLE = re.compile(r'title="([^"]+)"')
TINY: dict[str, Any] = {"encoder": "timm/test_resnet", "size": 32, "epochs": 1, "batch_size": 8, "device": "cpu"}
TINY |= {"precision": "fp32", "health_images": 8, "checkpoint_seconds": 1e6}


def blocks(page: str) -> list[tuple[str, str, str]]:
    """(language, title, text) of each fence."""
    found = FENCE.findall(PAGES[page].read_text(encoding="utf-8"))
    return [(kind, (TITLE.search(rest) or ["", ""])[1], text) for kind, rest, text in found]


def commands(page: str, kinds: tuple[str, ...]) -> list[str]:
    """The lines of a page that call augaware: of fences of ``kinds``; README's indented blocks are "sh"."""
    lines = [line for kind, _, text in blocks(page) if kind in kinds for line in text.splitlines()]
    if page == "README.md" and "sh" in kinds:
        lines += [line.strip() for line in PAGES[page].read_text().splitlines() if line.startswith("    augaware ")]
    return [line for line in lines if line.startswith("augaware ")]


def arguments(line: str) -> list[str]:
    return [word for word in shlex.split(line, comments=True) if word != "..."][1:]


EVERY = [(page, line) for page in PAGES for line in dict.fromkeys(commands(page, ("console", "sh")))]
WITH_PYTHON = [page for page in PAGES if any(kind == "python" and not title for kind, title, _ in blocks(page))]
OUTSIDE = [f"docs/add/{name}.md" for name in ("augmentation", "host", "awareness", "task")]  # test_outside.py
WITH_COMMANDS = [page for page in PAGES if commands(page, ("console",)) and page not in OUTSIDE]
TITLED = [page for page in PAGES if any(title for _, title, _ in blocks(page))]


# --- what a page finds where it runs


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """FOLDER, ROOT and a run: drawn, once for all pages; trainings and analyses are small."""
    place = tmp_path_factory.mktemp("workshop")
    for folder, n, seed in (("FOLDER", 24, 0), ("ROOT/flowers102/train", 36, 1), ("ROOT/flowers102/test", 24, 2)):
        source = Shapes(n, size=32, seed=seed)
        assert source.labels is not None
        for index in range(n):
            home = place / folder / f"class{int(source.labels[index]) % 2}"
            home.mkdir(parents=True, exist_ok=True)
            to_pil_image(source.load(index)).save(home / f"{index}.png")
    shutil.copytree(place / "ROOT/flowers102/test", place / "ROOT/flowers102/val")
    with pytest.MonkeyPatch.context() as patch:
        pretrain, analyse = augaware.pretrain, augaware.analyse

        def small_pretrain(*args: Any, **given: Any) -> Any:
            host = given.get("host")
            narrow = {"host": NARROW[host]} if host in NARROW else {}
            return pretrain(*args, **{**given, "set": {**(given.get("set") or {}), **TINY, **narrow}})

        def small_analyse(encoder: Any, analysis: Any = "all", **given: Any) -> Any:
            asked = "spectrum" if analysis in ("all", ["all"]) else analysis
            return analyse(encoder, asked, **{**given, "images": 16})

        patch.setattr(augaware, "pretrain", small_pretrain)
        patch.setattr(augaware, "analyse", small_analyse)
        patch.setenv("TERM", "dumb")
        augaware.pretrain(str(place / "FOLDER"), out=place / "runs" / "mine")
        yield place


@pytest.fixture
def room(workshop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with FOLDER and ROOT, to be in; a module that is written there can be imported, until the end."""
    for name in ("FOLDER", "ROOT"):
        shutil.copytree(workshop / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] == "my_lab"]:
        del sys.modules[name]


def furnish(page: str, room: Path, workshop: Path) -> None:
    """The files that a page names by a title, and the run of before, where the page does not train it itself."""
    text = PAGES[page].read_text()
    for _, title, code in blocks(page):
        if title:
            (room / title).parent.mkdir(parents=True, exist_ok=True)
            (room / title).write_text(code)
    if not re.search(r"out=?\s?\"?runs/mine\b", text):
        shutil.copytree(workshop / "runs" / "mine", room / "runs" / "mine")


# --- what runs


@pytest.mark.filterwarnings(
    "ignore:.*(num_workers|logging interval|tensorboard|isinstance.treespec|GPU).*"
)  # Lightning's
@pytest.mark.parametrize("page", WITH_PYTHON)
def test_the_python_of_a_page_runs(page: str, room: Path, workshop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = "\n".join(text for kind, title, text in blocks(page) if kind == "python" and not title)
    code = "\n".join(line for line in code.splitlines() if "--8<--" not in line)
    furnish(page, room, workshop)
    torch.manual_seed(0)
    exec(compile(code, page, "exec"), {"__name__": "page"})


@pytest.mark.parametrize("page", WITH_COMMANDS)
def test_the_commands_of_a_page_run(page: str, room: Path, workshop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    furnish(page, room, workshop)
    for line in commands(page, ("console",)):
        assert main(arguments(line)) == 0, f"{line}\n{capsys.readouterr().err}"


@pytest.mark.parametrize(("page", "line"), EVERY, ids=lambda value: str(value)[:60])
def test_a_command_is_one_that_the_command_line_understands(page: str, line: str) -> None:
    name, *rest = arguments(line)
    group = typer.main.get_command(app)
    command = group.get_command(None, name)  # type: ignore[attr-defined]
    assert command is not None, f"there is no command {name!r}"
    given = command.make_context(name, rest).params
    parse_settings(given.get("set") or [])
    for option, kind in (("host", "hosts"), ("aware", "awareness"), ("task", "tasks"), ("recipe", "recipes")):
        specs = given.get(option) or []
        for spec in [specs] if isinstance(specs, str) else specs:
            parsed = lookup.parse(spec)
            if parsed.name not in ("RECIPE", "...") and "." not in parsed.name:
                lookup.load(kind, parsed.name)


def test_a_command_that_is_none_would_be_found() -> None:
    command = typer.main.get_command(app).get_command(None, "pretrain")  # type: ignore[attr-defined]
    with pytest.raises(Exception, match=r"[Nn]o such option"):
        command.make_context("pretrain", ["--out", "x", "--epoch", "3"])
    with pytest.raises(RequestError, match="unknown recipe field"):
        parse_settings(["base_rate=3"])


def test_commands_and_functions_that_the_text_names_exist() -> None:
    group = typer.main.get_command(app)
    for page, path in PAGES.items():
        text = path.read_text()
        for name in re.findall(r"`augaware ([a-z][a-z-]*)", text):
            assert group.get_command(None, name) is not None, f"{page}: augaware {name}"  # type: ignore[attr-defined]
        for name in re.findall(r"`augaware\.(\w+)\(", text):
            assert hasattr(augaware, name), f"{page}: augaware.{name}"


def test_every_page_of_a_plug_in_shows_a_file_and_commands_for_it() -> None:
    assert {Path(page).stem for page in TITLED} == {
        *("augmentation", "host", "awareness", "task", "analysis", "data", "recipe", "logger")
    }
    for page in TITLED:
        for _, title, _ in blocks(page):
            spec = title.removesuffix(".py").replace("/", ".")
            assert not title or any(spec in line for line in commands(page, ("console",))), f"{page}: {title}"


# --- links, tables, the site


def anchors(text: str) -> set[str]:
    """The anchors that headings get."""
    titles = re.findall(r"^#+ (.+)$", FENCE.sub("", text), flags=re.MULTILINE)
    return {re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", title.lower())).strip("-") for title in titles}


def broken_links(page: Path) -> list[str]:
    """The links of a page to files that are not there, or to headings that they do not have."""
    found = []
    for target in re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", page.read_text(encoding="utf-8"))):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        file, _, anchor = target.partition("#")
        place = page.parent / file if file else page
        if not place.exists() or (anchor and anchor not in anchors(place.read_text(encoding="utf-8"))):
            found.append(target)
    return found


@pytest.mark.parametrize("page", [*PAGES, "CONTRIBUTING.md", "ARCHITECTURE.md", "CHANGELOG.md"])
def test_every_link_leads_somewhere(page: str) -> None:
    assert broken_links(ROOT / page) == []


def test_a_broken_link_would_be_found(tmp_path: Path) -> None:
    (tmp_path / "there.md").write_text("# A heading: here\n")
    page = tmp_path / "page.md"
    page.write_text("[a](there.md#a-heading-here) [b](gone.md) [c](there.md#gone)\n```\n[d](gone)\n```\n")
    assert broken_links(page) == ["gone.md", "there.md#gone"]


@pytest.fixture(scope="module")
def hooks() -> Any:
    return from_file(ROOT / "docs" / "hooks.py")


def test_every_mark_of_a_page_is_made_and_none_is_left(hooks: Any) -> None:
    marks = {mark for path in PAGES.values() for mark in re.findall(r"<!-- made: (\S+) -->", path.read_text())}
    assert marks <= set(hooks.TABLES)
    assert {"spaces", "deviations", "recipes", "datasets", "hosts", "awareness"} <= marks
    for path in PAGES.values():
        assert "<!-- made:" not in hooks.made(path.read_text(encoding="utf-8"))


def test_the_table_of_spaces_has_a_row_for_all_that_is_recorded(hooks: Any) -> None:
    rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in hooks.spaces().splitlines()[2:]]
    cells = {row[0].strip(" `"): [cell.strip(" `") for cell in row[1:]] for row in rows}
    measured = {name for a in lookup.names("augment") for name in lookup.load("augment", a).measures}
    assert set(cells) == set(lookup.names("augment")) | measured
    assert all(all(row) for row in cells.values())
    assert cells["crop"][1:] == ["0.5, 0.5, 1, 1", *cells["crop"][2:3], "Interval(4)", "w1 - w2", *cells["crop"][5:]]
    assert cells["rotate90"][3:] == ["Cyclic(4)", "(w1 - w2) mod 4", "cross-entropy", "4 / 4"]
    assert cells["flip"][-1] == "1 / 1"
    assert "sigma in pixels" in cells["gaussian_blur"][0]


def test_deviations_are_the_sentences_that_compare(hooks: Any) -> None:
    found = list(hooks.deviating())
    assert ("hosts/moco_v2.py", "BN over all processes") in [
        (file, text.rpartition("here: ")[2]) for file, text in found
    ]
    assert len(found) > 30
    doc = "It does x. Paper: 3, authors' code: 4, here: 3. See the paper. Rates are .5 in the paper; here .6."
    assert [s for s in hooks.sentences(doc) if hooks.deviates(s)] == [
        *("Paper: 3, authors' code: 4, here: 3", "Rates are .5 in the paper; here .6.")
    ]


def nav(entries: list[Any]) -> Iterator[str]:
    for entry in entries:
        for value in entry.values():
            yield from nav(value) if isinstance(value, list) else [value]


def test_the_navigation_has_every_page_once() -> None:
    yaml = pytest.importorskip("yaml", reason="PyYAML comes with mkdocs")
    listed = list(nav(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]))
    assert sorted(f"docs/{name}" for name in listed) == sorted(page for page in PAGES if page != "README.md")


@pytest.mark.long
def test_the_site_is_built_strictly_and_asks_no_other_server(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="the site is built by mkdocs-material and mkdocstrings")
    pytest.importorskip("material", reason="the site is built by mkdocs-material and mkdocstrings")
    pytest.importorskip("mkdocstrings", reason="the site is built by mkdocs-material and mkdocstrings")
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-q", "-d", str(tmp_path / "site")],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) > len(PAGES) - 2
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert re.findall(r"<(?:script|link|img|iframe)[^>]+(?:src|href)=\"?https?://", text) == [], page.name
        assert not re.search(r":(?:class|func|meth|mod):<code>", text), page.name
        assert "src/augaware/augment/stain.py" not in text, "the file stands there in the place of its name"


# --- complaints


def names_in(file: Path) -> set[str]:
    return {node.name for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.FunctionDef)}


def test_each_test_that_the_tables_name_exists() -> None:
    for page in ("docs/complaints.md", "docs/faults.md"):
        named = re.findall(r"`(?:tests/)?(test_\w+\.py)::(\w+)`", PAGES[page].read_text())
        assert len(named) > 20
        for file, name in named:
            path = ROOT / "tests" / file
            assert path.exists(), f"{page}: {file}"
            assert name in names_in(path), f"{page}: {file}::{name}"


def test_each_complaint_has_a_test_or_says_that_nothing_is_done() -> None:
    rows = [line for line in PAGES["docs/complaints.md"].read_text().splitlines() if re.match(r"\| \d+ ", line)]
    assert [int(row.split("|")[1]) for row in rows] == list(range(1, 33))
    for row in rows:
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert len(cells) == 5
        assert all(cells)
        assert "::test_" in cells[4] or cells[4].startswith("none: "), row


def test_the_readme_says_the_licence_early() -> None:
    beginning = "\n".join(PAGES["README.md"].read_text().splitlines()[:25])
    assert "Apache-2.0" in beginning
    assert "Trained weights are yours" in beginning
    assert "Apache License" in (ROOT / "LICENSE").read_text()[:200]
