"""Lists of files, tar shards and Hugging Face sets: what the folder of the same images gives, and what is refused."""

from __future__ import annotations

import gc
import io
import os
import shutil
import sys
import tarfile
import warnings
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from PIL import Image

from augaware.cli import main
from augaware.data.archive import open_archive
from augaware.data.file_list import FileList
from augaware.data.folder import Folder
from augaware.data.loader import is_spec, open_source
from augaware.data.mapped import Mapped
from augaware.data.root import open_dataset
from augaware.data.shards import braced, expanded
from augaware.errors import RequestError
from augaware.pretrain import resume, start
from augaware.recipe import Recipe
from small_runs import assert_same_run, start_and_kill
from small_sources import FORMS, SETS, caffe, objects, pack, parquet, samples, saved, shards, table

EACH = pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)


def png(level: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (6, 4), (level, level, level)).save(buffer, "PNG")
    return buffer.getvalue()


def write(root: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


@pytest.fixture
def images(image_folder: Path, tmp_path: Path) -> Path:
    """A folder of 24 images, of discs and squares, to be changed."""
    shutil.copytree(image_folder, tmp_path / "images")
    return tmp_path / "images"


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What datasets makes of parquet files is gone with the test."""
    if find_spec("datasets") is not None:
        import datasets

        monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def refused(src: str) -> str:
    with pytest.raises(RequestError) as error:
        open_source(src, memory=0)
    assert "\n" not in str(error.value)
    return str(error.value)


# --- the laws: what every form of the same images gives ---


@EACH
@pytest.mark.parametrize("memory", [1 << 20, 0], ids=["kept", "on demand"])
def test_pixels_order_and_labels_are_those_of_the_folder(form, images: Path, out: Path, memory: int) -> None:
    folder, source = Folder(str(images), 20), open_source(form(images, out), 20, memory=memory)
    assert len(source) == len(folder) == len(set(source.names))
    assert source.labels.tolist() == folder.labels.tolist()
    assert source.classes in (folder.classes, ("0", "1"))
    assert source.skipped == ()
    index = torch.tensor([3, 0, 22, 3])
    batch = source.batch(index)
    for i, (image, at) in enumerate(zip(batch.cut(), index.tolist(), strict=True)):
        assert torch.equal(image, folder.load(at)), i
        assert torch.equal(image, source.load(at)), i
    for i in range(len(source)):
        assert torch.equal(source.load(i), folder.load(i))


@EACH
def test_the_fingerprint_follows_images_labels_and_order(form, images: Path, tmp_path: Path) -> None:
    def of(place: str) -> str:
        (tmp_path / place).mkdir()
        return open_source(form(images, tmp_path / place), memory=0).fingerprint

    first = of("a")
    if form is not table:  # which has absolute paths
        shutil.copytree(images, tmp_path / "moved")
        (tmp_path / "b").mkdir()
        assert open_source(form(tmp_path / "moved", tmp_path / "b"), memory=0).fingerprint == first
    one, two = images / "disc" / "00.png", images / "square" / "01.png"
    (images / "between").write_bytes(one.read_bytes())
    one.write_bytes(two.read_bytes())
    two.write_bytes((images / "between").read_bytes())
    swapped = of("c")
    one.rename(images / "square" / "00.png")
    relabelled = of("d")
    (images / "square" / "00.png").unlink()
    assert len({first, swapped, relabelled, of("e")}) == 4


@EACH
def test_a_broken_image_is_left_out_and_named(form, images: Path, out: Path) -> None:
    (images / "disc" / "02.png").write_bytes((images / "disc" / "02.png").read_bytes()[:60])
    source = open_source(form(images, out))
    assert len(source) == 23
    assert source.labels.tolist() == Folder(str(images)).labels[torch.arange(24) != 1].tolist()
    (lost,) = source.skipped
    assert lost.reason
    assert "\n" not in lost.reason


@EACH
def test_a_store_is_built_from_it_and_found_again(form, images: Path, out: Path, tmp_path: Path) -> None:
    src, folder = form(images, out), open_source(str(images), 20)
    for _ in range(2):
        stored = open_source(src, 20, store=str(tmp_path / "store"))
        assert isinstance(stored, Mapped)
        assert torch.equal(stored.images.data, folder.images.data)
    assert len(list((tmp_path / "store").iterdir())) == 1


@pytest.mark.parametrize("form", [samples, saved], ids=lambda form: form.__name__)
def test_a_run_that_was_killed_goes_on_exactly(form, images: Path, out: Path, tmp_path: Path) -> None:
    recipe = Recipe(data=form(images, out), encoder="tiny(widths=(4, 8))", size=16, epochs=2, batch_size=8)
    whole = start(recipe, tmp_path / "whole")
    start_and_kill(recipe, tmp_path / "cut", 4)
    assert_same_run(resume(tmp_path / "cut").path, whole.path, 6)


def test_a_recipe_of_a_stranger_names_files_that_are_never_imported() -> None:
    files = ["images.csv", "images.CSV", "nowhere.txt", "a.tsv", "a.jsonl", "b.tar", "{a,b}.tgz"]
    assert not any(is_spec(src) for src in files)
    assert is_spec("my_lab.images(root='x.csv')")
    for src in files:
        assert "no such" in refused(src) or "missing" in refused(src)


# --- folders ---


def test_folders_of_any_depth_with_any_names(tmp_path: Path) -> None:
    names = ["a/b/c/d/e/f/g/1.png", "A b/ü ö.PNG", "ゆき/雪.JpG", "x/with space .jpeg", "x/two.dots.Png", "y,z/c,d.png"]
    write(tmp_path / "images", {name: png(i) for i, name in enumerate(names)})
    (tmp_path / "elsewhere").mkdir()
    write(tmp_path / "elsewhere", {"l.png": png(9)})
    (tmp_path / "images" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "images" / "x" / "file.png").symlink_to(tmp_path / "elsewhere" / "l.png")
    source = open_source(str(tmp_path / "images"))
    assert list(source.names) == sorted([*names, "link/l.png", "x/file.png"])
    levels = {name: int(source.load(i).max()) for i, name in enumerate(source.names)}
    assert levels == {**{name: i for i, name in enumerate(names)}, "link/l.png": 9, "x/file.png": 9}
    listed = tmp_path / "images" / "all.txt"
    listed.write_text("".join(f"{name}\n" for name in source.names), encoding="utf-8")
    assert list(open_source(str(listed)).names) == list(source.names)
    assert torch.equal(open_source(str(listed)).labels, source.labels)


# --- lists ---


def test_the_rule_of_a_line(tmp_path: Path) -> None:
    lines = {
        "a.png": ("a.png", ""),
        "a b.png": ("a b.png", ""),
        "a.png 3": ("a.png", "3"),
        "b.npy, 3": ("b.npy", "3"),
        "a b.JPG maine coon": ("a b.JPG", "maine coon"),
        "a.png,cat": ("a.png", "cat"),
        "a,b.png, cat": ("a,b.png", "cat"),
        "a.jpg copy.png dog": ("a.jpg copy.png", "dog"),
        "a.jpg copy.png": ("a.jpg copy.png", ""),
        "a.png 1\tcat": ("a.png 1", "cat"),
        "noending\tcat dog": ("noending", "cat dog"),
        "noending 3": ("noending 3", ""),
        "  ./a.png \r": ("a.png", ""),
    }
    for i, (line, (name, label)) in enumerate(lines.items()):
        write(tmp_path / str(i), {name: png(i), "list.txt": f"\ufeff\n{line}\n".encode()})
        source = FileList(str(tmp_path / str(i) / "list.txt"))
        assert (list(source.names), source.labels is not None) == ([name], label != ""), line
        assert label in (*source.classes, "")
        assert int(source.load(0).max()) == i


def test_a_list_keeps_order_and_repeats_and_counts_classes_from_0(tmp_path: Path) -> None:
    write(tmp_path, {f"{i}.png": png(i) for i in range(3)})
    (tmp_path / "l.txt").write_text("2.png 7\n0.png 3\n2.png 7\n")
    source = open_source(str(tmp_path / "l.txt"))
    assert [int(source.load(i).max()) for i in range(3)] == [2, 0, 2]
    assert source.labels.tolist() == [7, 3, 7]
    assert source.classes == tuple("01234567")


def test_files_of_a_list_that_are_not_there_are_skipped_however_many(tmp_path: Path) -> None:
    write(tmp_path, {"0.png": png(0), "folder/x": b""})
    names = ["0.png 1", "folder 0", *(f"gone{i}.png 5" for i in range(99))]
    (tmp_path / "l.txt").write_text("\n".join(names).replace("folder ", "folder\t"))
    for memory in (1 << 20, 0):
        source = open_source(str(tmp_path / "l.txt"), memory=memory)
        assert list(source.names) == ["0.png"]
        assert len(source.classes) == 6  # of all lines
        reasons = {s.name: s.reason for s in source.skipped}
        assert len(reasons) == 100
        assert (reasons["gone7.png"], reasons["folder"]) == ("No such file or directory", "not a file")
    (tmp_path / "0.png").unlink()
    assert "none of its 101 images is there, the first, in line 1, is" in refused(str(tmp_path / "l.txt"))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("l.txt", "", "the list is empty"),
        ("l.csv", "path\n", "the list is empty"),
        ("l.txt", "a.png 1\n\nb.png\n", "line 3: it has no label, and line 1 has one"),
        ("l.txt", "a.png\nb.png 2\n", "line 1: it has no label, and line 2 has one"),
        ("l.txt", "a.png -1\n", "line 1: label -1 is no class"),
        ("l.txt", "a.png 3\na.png 99999999999999999999999\n", "line 2: label 9+ is no class: .* 0 to 65535"),
        ("l.txt", "\tcat\n".encode("utf-16"), "no text in UTF-8"),
        ("l.csv", "", "line 1: the header must have one of the columns path"),
        ("l.csv", "a.png,3\nb.png,4\n", "line 1: the header .* it has a.png, 3"),
        ("l.csv", "path,image\na.png,a.png\n", "line 1: the header must have one of"),
        ("l.csv", "path,label\na.png,1\nb.png\n", "line 3: 1 cells where the header has 2"),
        ("l.csv", "path,label\n,1\n", "line 2: the path is missing"),
        ("l.tsv", "path,label\na.png,1\n", "line 1: the header"),
        ("l.jsonl", '{"path": "a.png"}\n{"path": 3}\n', "line 2: it must be an object"),
        ("l.jsonl", "a.png\n", "line 1: it must be an object"),
        ("l.jsonl", "[" * 100_000, "line 1: it must be an object"),
        ("l.jsonl", '{"path": "a.png", "label": "\\ud800"}', "line 1: it must be an object"),
        ("l.jsonl", '{"path": "a.png", "label": 0.5}', "line 1: label 0.5 must be"),
    ],
)
def test_a_wrong_list_is_one_line_with_its_place(name: str, content: str | bytes, words: str, tmp_path: Path) -> None:
    write(tmp_path, {"a.png": png(1), "b.png": png(2)})
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(RequestError, match=words) as error:
        open_source(str(tmp_path / name))
    assert "\n" not in str(error.value)


# --- shards ---


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("a.tar", ["a.tar"]),
        ("{0..2}.tar", ["0.tar", "1.tar", "2.tar"]),
        ("x{08..11}y", ["x08y", "x09y", "x10y", "x11y"]),
        ("{9..11}", ["9", "10", "11"]),
        ("{2..0}", ["2", "1", "0"]),
        ("{a,b}/{1,}", ["a/1", "a/", "b/1", "b/"]),
        ("{a}{}", ["{a}{}"]),
    ],
)
def test_braces_as_in_a_shell(pattern: str, names: list[str]) -> None:
    assert expanded(pattern, pattern) == names


def test_names_are_put_together_as_they_are_taken_apart() -> None:
    for names in (["a.tar"], ["t-000.tar", "t-001.tar"], ["t8.tar", "t9.tar", "t10.tar"], ["1.tgz", "3.tgz"]):
        (pattern,) = braced(sorted(names))
        assert expanded(pattern, pattern) == names
    assert braced(["a1.tar", "b.tar", "a2.tar"]) == ["a{1..2}.tar", "b.tar"]


def test_shards_that_are_missing_or_damaged_are_named(images: Path, out: Path) -> None:
    src = shards(images, out)
    assert refused(src.replace("002", "004")).endswith(
        f"2 of its 5 shards are missing, the first is {out}/train-003.tar"
    )
    assert "there is no such file" in refused(f"{out}/gone-{{7..7}}.tar")
    assert "must be two numbers" in refused(f"{out}/{{a..c}}.tar")
    assert "means 1000000000 tars" in refused(f"{out}/{{0..999999999}}.tar")
    assert "means 1000000 tars" in refused(f"{out}/{{0..999}}{{0..999}}.tar")
    assert "means 10000000000 tars or more" in refused(f"{out}/{{0..99999}}{{0..99999}}.tar"), "and is not made"
    (out / "train-001.tar").write_bytes((out / "train-001.tar").read_bytes()[:3000])
    assert "train-001.tar' is not a whole tar" in refused(src)


def test_a_folder_of_tars_is_one_set_unless_they_are_splits(images: Path, out: Path) -> None:
    src = shards(images, out)
    (out / "sizes.json").write_text("{}")
    (out / ".hidden.tar").write_text("")
    assert open_source(str(out)).fingerprint == open_source(src).fingerprint
    shutil.copy(out / "train-000.tar", out / "val-000.tar")
    assert "it holds train-{000..002}.tar, val-000.tar: name the one you want, such as" in refused(str(out))


def test_a_set_may_have_more_shards_than_a_process_files(images: Path, out: Path) -> None:
    content = png(3)
    for i in range(100):
        pack(out / f"{i}.tar", [("a.png", content), ("b.png", content)])
    before = set(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").is_dir() else set()
    source = open_source(f"{out}/{{0..99}}.tar", memory=0)
    assert len(source.batch(torch.arange(200))) == 200
    if before:
        assert len(os.listdir("/proc/self/fd")) <= len(before) + 2


def test_hostile_members_of_shards_are_refused(out: Path) -> None:
    for i in range(2):
        pack(out / f"{i}.tar", [("../up.png", png(1)), ("/abs.png", png(1)), ("a.png", png(2)), ("../a.cls", b"7")])
    with tarfile.open(out / "1.tar", "a") as archive:
        link = tarfile.TarInfo("b.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    source = open_source(str(out))
    assert list(source.names) == ["0.tar/a.png", "1.tar/a.png"]
    assert len(source.skipped) == 3  # those of one name and one reason are said once
    assert source.labels is None
    assert sorted(os.listdir(out)) == ["0.tar", "1.tar"]


@pytest.mark.parametrize(
    ("sidecars", "classes", "labels"),
    [
        ({"a.cls": "4", "b.cls": "0"}, tuple("01234"), [4, 0]),
        ({"a.cls": "4"}, (), None),
        ({"a.cls": "4", "a.json": '{"label": "x"}', "b.json": '{"label": "w"}'}, ("w", "x"), [1, 0]),
        ({"a.json": '{"label": 1}', "b.json": '{"caption": "w"}'}, (), None),
        ({"a.json": "[1]", "b.json": "true"}, (), None),
        ({"a.txt": "cat\n", "b.txt": "cat"}, ("cat",), [0, 0]),
        ({"a.txt": "a cat on a mat", "b.txt": "a dog"}, (), None),
    ],
)
def test_sidecars(sidecars: dict[str, str], classes: tuple[str, ...], labels: list[int] | None, out: Path) -> None:
    files = {"a.png": png(1), "b.seg.png": png(2), **{name: text.encode() for name, text in sidecars.items()}}
    source = open_source(str(pack(out / "x.tar", files.items())))
    assert list(source.names) == ["a.png", "b.seg.png"]
    assert source.classes == classes
    assert (None if source.labels is None else source.labels.tolist()) == labels


@pytest.mark.parametrize(("name", "content"), [("a.json", b"{"), ("a.cls", b"\xff"), ("a.json", b"[" * 99999)])
def test_a_damaged_sidecar_is_named(name: str, content: bytes, out: Path) -> None:
    path = pack(out / "x.tar", [("a.png", png(1)), (name, content)])
    assert f"x.tar': {name} cannot be read" in refused(str(path))


def test_a_tar_with_a_negative_size_ends(out: Path) -> None:
    path = pack(out / "x.tar", [("a.png", png(1)), ("b.png", png(1))])
    content = bytearray(path.read_bytes())
    content[124:136] = b"-0000002000\0"
    path.write_bytes(content)
    with pytest.raises(RequestError, match="is not a whole tar"):
        open_archive(path)


def test_shards_of_webdataset_and_for_it(images: Path, out: Path) -> None:
    wds = pytest.importorskip("webdataset", reason="no webdataset: pip install webdataset")
    folder = Folder(str(images))
    with wds.ShardWriter(str(out / "s-%06d.tar"), maxcount=10, verbose=0) as writer:
        for i in range(len(folder)):
            writer.write({"__key__": f"sample{i:04d}", "png": folder.read(i), "cls": int(folder.labels[i])})
    source = open_source(f"{out}/s-{{000000..000002}}.tar", memory=0)
    assert source.labels.tolist() == folder.labels.tolist()
    for i in range(len(folder)):
        assert torch.equal(source.load(i), folder.load(i))
    (out / "ours").mkdir()
    ours = open_source(samples(images, out / "ours"), memory=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # it leaves its files to the garbage collector
        read = list(wds.WebDataset(f"{out}/ours/{{0..2}}.tar", shardshuffle=False))
        gc.collect()
    names = [f"{Path(s['__url__']).name}/{s['__key__']}.png" for s in read]
    assert names == list(ours.names)
    assert [s["png"] for s in read] == [ours.read(i) for i in range(len(ours))]
    assert [int(s["cls"]) for s in read] == ours.labels.tolist()


# --- Hugging Face ---


@pytest.mark.parametrize("form", SETS, ids=lambda form: form.__name__)
def test_nothing_of_a_set_is_decoded_to_open_it(form, images: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    src = form(images, out)

    def opened(*_: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(Image, "open", opened)
    assert len(open_source(src, memory=0)) == 24


def test_a_set_asks_for_what_is_left_open(images: Path, out: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="no datasets: pip install datasets")
    src = saved(images, out)
    one = datasets.load_from_disk(src.removeprefix("hf:"))
    two = one.rename_column("image", "left").add_column("number", list(range(24)))
    two = two.add_column("right", one.with_format("arrow")[:]["image"], feature=one.features["image"])
    datasets.DatasetDict({"train": two, "test": two.select(range(5))}).save_to_disk(str(out / "dict"))
    both = f"hf:{out}/dict"
    assert "has the splits train, test: name one, such as (split='train')" in refused(both)
    assert "has no split 'tset'; accepted: train, test; did you mean 'test'?" in refused(f"{both}(split='tset')")
    assert "several columns hold images; it has left, right; name one" in refused(f"{both}(split='test')")
    assert "image='number' is no column of images; accepted: left, right" in refused(f"{both}('test', image='number')")
    assert "did you mean 'number'?" in refused(f"{both}('test', image='left', label='nmber')")
    assert "label='right' is of Image(" in refused(f"{both}('test', image='left', label='right')")
    assert "unknown argument 'splt'" in refused(f"{both}(splt='test')")
    assert "split=3 must be a text" in refused(f"{both}(split=3)")
    assert "no config and no revision" in refused(f"{both}('test', revision='main')")
    source = open_source(f"{both}('test', image='right', label='number')", memory=0)
    assert (len(source), source.labels.tolist(), source.classes) == (5, list(range(5)), tuple("01234"))
    assert open_source(f"{both}('test', image='left')", memory=0).classes == ("disc", "square")
    assert "no column holds images; it has kind" in refused(f"hf:{_without(one, out)}")


def _without(one, out: Path) -> Path:
    one.remove_columns("image").save_to_disk(str(out / "without"))
    return out / "without"


def test_rows_of_plain_parquet_without_labels_names_or_bytes(images: Path, out: Path) -> None:
    pytest.importorskip("datasets", reason="no datasets: pip install datasets")
    pyarrow = pytest.importorskip("pyarrow", reason="no pyarrow: pip install datasets")
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = [{"path": str(images / "disc" / "00.png"), "bytes": None}, {"path": None, "bytes": png(7)}, None]
    rows += [{"path": "https://nowhere.invalid/x.png", "bytes": None}]
    for name, labels, classes in (("a", ["x", None, "x", "x"], ()), ("b", ["x", "y", "x", "x"], ("x", "y"))):
        (out / name).mkdir()
        parquet.write_table(pyarrow.table({"image": rows, "label": labels}), out / name / "all.parquet")
        source = open_source(f"hf:{out / name}")
        assert list(source.names) == ["train/0", "train/1"]
        assert source.classes == classes
        assert (source.labels is None) == (classes == ())
        assert torch.equal(source.load(0), Folder(str(images)).load(0))
        assert int(source.load(1).max()) == 7
        assert [s.reason for s in source.skipped] == ["the row holds no image", "No such file or directory"]


def test_a_set_out_of_reach_is_one_line_with_the_way_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="no datasets: pip install datasets")

    def unreachable(*_: object, **__: object) -> None:
        raise ConnectionError("Couldn't reach the Hub\n(offline)")

    for name in ("load_dataset", "get_dataset_split_names"):
        monkeypatch.setattr(datasets, name, unreachable)
    for src in ("hf:user/name", "hf:user/name(split='train', config='c', revision='1234abc')"):
        line = refused(src)
        assert "'hf:user/name' cannot be loaded from Hugging Face: Couldn't reach the Hub (offline)" in line
        assert "hf:FOLDER reads what load_dataset('user/name').save_to_disk(FOLDER)" in line
    assert "there is no such folder" in refused(f"hf:{tmp_path}/gone")
    assert "there is no such folder (File name too long)" in refused(f"hf:{'x' * 300}")
    monkeypatch.setattr(datasets, "__version__", "3.6.0")
    assert "datasets 3.6.0 is too old" in refused("hf:user/name")
    monkeypatch.setitem(sys.modules, "datasets", None)
    assert "pip install 'datasets>=4'" in refused("hf:user/name")


def test_code_in_a_folder_is_not_run(tmp_path: Path) -> None:
    pytest.importorskip("datasets", reason="no datasets: pip install datasets")
    place = tmp_path / "evil"
    place.mkdir()
    (place / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    assert "cannot be loaded" in refused(f"hf:{place}(split='train')")
    assert not (tmp_path / "ran").exists()


# --- where a SRC is asked for ---


@pytest.mark.parametrize("form", [objects, samples, parquet], ids=lambda form: form.__name__)
def test_commands_take_it(form, images: Path, out: Path, tmp_path: Path) -> None:
    src = form(images, out)
    assert main(["views", "--data", src, "--size", "16", "--count", "2", "--out", str(tmp_path / "v.png")]) == 0
    assert main(["store", str(tmp_path / "store"), "--data", src, "--size", "16"]) == 0
    run = str(tmp_path / "run")
    given = ["--encoder", "tiny(widths=(4, 8))", "--size", "16", "--epochs", "1", "--batch-size", "8", "--out", run]
    assert main(["pretrain", "--data", src, *given]) == 0
    assert main(["analyse", run, "--data", src, "--out", str(tmp_path / "a"), "--analysis", "spectrum"]) == 0


def test_splits_of_a_data_set_may_be_shards_or_lists(image_folder: Path, tmp_path: Path) -> None:
    home = tmp_path / "root" / "mine"
    for split, form in (("train", caffe), ("val", shards), ("test", samples)):
        shutil.copytree(image_folder, home / "files" / split)
        (tmp_path / split).mkdir()
        src = form(home / "files" / split, home / "test" if form is samples else tmp_path / split)
        if form is caffe:
            lines = Path(src).read_text().splitlines()
            (home / "train.txt").write_text("".join(f"files/train/{line}\n" for line in lines))
        if form is shards:
            for file in (tmp_path / split).iterdir():
                rows = [(f"{'01'['square' in n]}/{n[-6:]}", body) for n, body in _members(file)]
                pack(home / file.name.replace("train", "val"), rows)
    (home / "classes.txt").write_text("disc\nsquare\n")
    found = open_dataset(tmp_path / "root", "mine")
    assert {split: len(source) for split, source in found.items()} == {"train": 24, "val": 24, "test": 24}
    assert all(source.classes == ("disc", "square") for source in found.values())
    for source in found.values():
        assert torch.equal(source.labels, Folder(str(image_folder)).labels)


def _members(tar: Path) -> list[tuple[str, bytes]]:
    found = open_archive(tar)
    return [(name, found.read(*span)) for name, span in found.spans.items()]
