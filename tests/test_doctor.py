"""What doctor says of data sets that are whole, in part, prepared or absent, and of this machine; and fetching one."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import augaware
from augaware import lookup
from augaware.cli import main
from augaware.data import archive
from augaware.data.archive import open_archive
from augaware.data.base import Source
from augaware.data.datasets.base import plug_in
from augaware.data.decode import decode
from augaware.data.folder import Folder
from augaware.data.loader import open_source
from augaware.data.store import Joined
from augaware.doctor import OPTIONAL, machine, survey, table
from augaware.errors import RequestError
from small_datasets import LISTED, cifar, colour, stl10, text, write

NAMES = lookup.names("data.datasets")


def row(root: Path, name: str) -> dict[str, Any]:
    return next(row for row in survey(root) if row["name"] == name)


def expect(patch: pytest.MonkeyPatch, name: str, **counts: int) -> None:
    patch.setattr(plug_in(name), "counts", counts)


def test_an_empty_root_lacks_every_known_set(tmp_path: Path) -> None:
    rows = survey(tmp_path)
    assert [row["name"] for row in rows] == NAMES
    for row in rows:
        assert (row["state"], row["found"]) == ("absent", {})
        assert row["expected"] == plug_in(row["name"]).counts
        assert "://" in row["note"] or "--download" in row["note"]
    with pytest.raises(RequestError, match="there is no such folder"):
        survey(tmp_path / "gone")


def refusal(call: Callable[..., object], *arguments: Any, **named: Any) -> str:
    with pytest.raises(RequestError) as error:
        call(*arguments, **named)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("name", [*LISTED, "stl10"])
def test_published_files_are_whole_or_not(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (LISTED | {"stl10": stl10})[name](tmp_path)
    known = plug_in(name)(tmp_path)
    whole = known.found()
    assert row(tmp_path, name)["state"] == "incomplete"  # less than the real one has
    expect(monkeypatch, name, **whole)
    assert row(tmp_path, name) | {"title": ""} == {
        **{"name": name, "title": "", "state": "complete", "found": whole, "expected": whole, "note": None}
    }
    images = sorted(path for path in tmp_path.rglob("*") if path.suffix in (".jpg", ".png"))
    if images:
        images[-1].unlink()
        found = row(tmp_path, name)
        assert found["state"] == "incomplete"
        assert found["note"] == "1 of its images are missing: unpack the archive again"
        assert sum(found["found"].values()) == sum(whole.values()) - 1
    for need in [path for path in map(Path, getattr(known, "needs", ())) if path.suffix][:1]:
        (known.home() / need).unlink()
        found = row(tmp_path, name)
        assert (found["state"], found["found"]) == ("incomplete", {})
        assert f"lacks {need}; expected:" in found["note"]


def test_cifar_is_whole_or_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cifar(tmp_path, monkeypatch, "cifar10")
    expect(monkeypatch, "cifar10", train=18, val=2, test=10)
    assert row(tmp_path, "cifar10")["state"] == "complete"
    (tmp_path / "cifar-10-batches-py/test_file").unlink()
    assert row(tmp_path, "cifar10")["state"] == "incomplete"
    assert "or damaged" in row(tmp_path, "cifar10")["note"]


def test_what_is_read_by_layout_is_counted_as_it_lies_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("pets", "mine"):
        for split, count in (("train", 4), ("test", 2)):
            write(tmp_path / name / split, [f"{c}/{i}.png" for c in ("cat", "dog") for i in range(count)])
    found = row(tmp_path, "pets")
    assert (found["state"], found["found"]) == ("subset", {"train": 8, "test": 4})
    assert found["note"].startswith("7337 images fewer than the papers use")
    expect(monkeypatch, "pets", train=6, val=2, test=4)
    assert row(tmp_path, "pets")["state"] == "present"
    expect(monkeypatch, "pets", train=8, test=4)
    assert row(tmp_path, "pets")["state"] == "complete"
    mine = row(tmp_path, "mine")
    assert (mine["state"], mine["found"], mine["expected"]) == ("present", {"train": 8, "test": 4}, {})
    shutil.rmtree(tmp_path / "pets/test")
    found = row(tmp_path, "pets")
    assert (found["state"], found["found"]) == ("incomplete", {})
    assert "has train only" in found["note"]
    (tmp_path / "pets/test.tar").write_bytes(b"junk" * 999)
    assert "is not a whole tar" in row(tmp_path, "pets")["note"]


def test_few_shot_sets_follow_cifar100(tmp_path: Path) -> None:
    members = plug_in("fc100").members
    for split in ("train", "test"):
        write(tmp_path / "cifar100" / split, [f"{c}/{i}.png" for c in members for i in range(2)])
    found = row(tmp_path, "fc100")
    assert (found["state"], found["found"]) == ("subset", {"test": 80})
    assert row(tmp_path, "cifar_fs")["state"] == "incomplete"
    assert "lacks" in row(tmp_path, "cifar_fs")["note"]


def test_nothing_is_decoded_to_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for build in LISTED.values():
        build(tmp_path)
    for split in ("train", "test"):
        write(tmp_path / "cifar10" / split, ["a/1.png", "b/1.png"])
    monkeypatch.setattr("augaware.data.files.decode", lambda *_: pytest.fail("an image was decoded"))
    assert {row["name"] for row in survey(tmp_path) if row["state"] != "absent"} == {*LISTED, "cifar10"}


def pack(path: Path, names: list[str], kind: int = tarfile.PAX_FORMAT, link: bool = False) -> None:
    with tarfile.open(path, "w:gz" if path.name.endswith("gz") else "w", format=kind) as archive:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = len(name)
            archive.addfile(member, io.BytesIO(name.encode()))
        if link:
            member = tarfile.TarInfo("a/link.png")
            member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
            archive.addfile(member)


LONG = f"{60 * 'x'}/{60 * 'y'}.png"
PLAIN = ["a/1.png", "a/2.JPG", "./b/3.png", "b/.hidden.png", "notes.txt", "../c/4.png", "/d/5.png", LONG]


@pytest.mark.parametrize("ending", [".tar", ".tar.gz"])
@pytest.mark.parametrize("kind", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
@pytest.mark.parametrize("names", [PLAIN, PLAIN[:-1], [*PLAIN[:2], "ä/ü.png"]], ids=["long", "short", "accents"])
def test_a_plain_tar_is_read_as_tarfile_reads_it(
    tmp_path: Path, names: list[str], kind: int, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"train{ending}"
    for link in (False, True):
        pack(path, names, kind, link)
        fast = open_archive(path)
        with monkeypatch.context() as patch:
            patch.setattr(archive, "_plain_members", lambda data: None)
            assert open_archive(path) == fast


def test_a_damaged_tar_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "train.tar"
    pack(path, PLAIN[:2])
    content = path.read_bytes()
    second = content[:1024] + b"b" + content[1025:]  # the name in its header, which no longer fits its checksum
    for damaged in (content[:1500], content[:512], b"junk" * 999, b"", second, content[:1024]):
        path.write_bytes(damaged)
        assert "is not a whole tar" in refusal(open_archive, path)


def test_joined_sources_keep_order_names_and_what_was_skipped(tmp_path: Path) -> None:
    write(tmp_path / "a", ["x/1.png", "y/1.png"])
    write(tmp_path / "b", ["x/1.png", "x/2.png", "y/1.png"], (3, 5))
    text(tmp_path / "b/y/0.png", "no image")
    parts: dict[str, Source] = {name: Folder(str(tmp_path / name)) for name in "ab"}
    whole = Joined(parts, "both")
    assert whole.names == ["a/x/1.png", "a/y/1.png", "b/x/1.png", "b/x/2.png", "b/y/0.png", "b/y/1.png"]
    assert whole.labels.tolist() == [0, 1, 0, 0, 1, 1]
    batch = whole.batch(torch.tensor([5, 0, 4, 3]))
    assert batch.index.tolist() == [5, 0, 3]
    colours = [tuple(image[:, 0, 0].tolist()) for image in batch.cut()]
    assert colours == [colour(name) for name in ("y/1.png", "x/1.png", "x/2.png")]
    assert [image.name for image in whole.skipped] == ["b/y/0.png"]
    assert torch.equal(whole.load(3), decode(tmp_path / "b/x/2.png"))
    with pytest.raises(IndexError):
        whole.load(6)


def test_without_memory_a_source_is_left_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, ["x/1.png", "y/1.png"])
    monkeypatch.setattr("augaware.data.files.decode", lambda *_: pytest.fail("an image was decoded"))
    assert isinstance(open_source(str(tmp_path), memory=0), Folder)


# --- fetching ---


@pytest.mark.parametrize("name", [n for n in NAMES if plug_in(n).fetched])
def test_torchvision_fetches_it(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision import datasets

    asked: list[tuple[str, dict[str, object]]] = []
    for dataset, _ in plug_in(name).fetched:
        monkeypatch.setattr(datasets, dataset, lambda root, dataset=dataset, **given: asked.append((dataset, given)))
    archives: list[str] = []

    def download(url: str, root: str, filename: str, md5: str | None) -> None:
        archives.append(url)
        with zipfile.ZipFile(Path(root) / filename, "w") as zipped:
            zipped.writestr("list.txt", "a")

    monkeypatch.setattr("torchvision.datasets.utils.download_url", download)
    plug_in(name)(tmp_path).download()
    assert asked == [(dataset, {"download": True, **given}) for dataset, given in plug_in(name).fetched]
    assert len(archives) == (name == "sun397")


def test_a_host_that_refuses_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.datasets import CIFAR100, Food101

    nobody = "http://127.0.0.1:9/archive.tar.gz"
    monkeypatch.setattr(Food101, "_URL", nobody)
    monkeypatch.setattr(CIFAR100, "url", nobody)
    monkeypatch.setattr("augaware.data.datasets.cub200._ARCHIVE", nobody)
    for name in ("food101", "cifar100", "fc100", "cub200"):
        line = refusal(augaware.doctor, tmp_path, download=name)
        assert "cannot be fetched into" in line
        assert "refused" in line


def test_what_cannot_be_fetched_says_where_it_is(tmp_path: Path) -> None:
    for name in NAMES:
        known = plug_in(name)
        if "--download" not in known(tmp_path).how:
            line = refusal(augaware.doctor, tmp_path, download=name)
            assert line == f"{known.title} cannot be fetched automatically; see {known.url}, then: {known.layout}"
    assert "did you mean 'food101'" in refusal(augaware.doctor, tmp_path, download="food11")
    assert "--data ROOT is missing" in refusal(augaware.doctor, download="food101")


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    text(tmp_path / "file", "mine")
    assert "cannot be fetched into" in refusal(augaware.doctor, tmp_path / "file" / "root", download="dtd")


# --- the command ---


def test_doctor_prints_a_table_and_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    LISTED["pets"](tmp_path)
    assert main(["doctor", "--data", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    line = next(line for line in shown.splitlines() if " pets " in line)
    assert [cell.strip() for cell in line.split("  ") if cell] == [
        "pets",
        "incomplete",
        "8 / 2940",
        "2 / 740",
        "2 / 3669",
    ]
    assert "pets: 7337 of its images are missing: unpack the archive again" in shown
    assert "dtd: augaware doctor --data ROOT --download dtd" in shown
    assert main(["doctor", "--data", str(tmp_path), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["datasets"]
    assert rows == survey(tmp_path)
    assert len(table(rows)) == len(rows)
    assert main(["doctor", "--data", str(tmp_path / "gone")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_doctor_without_data_says_what_the_machine_has(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found == json.loads(json.dumps(machine()))
    assert found["torch"] == torch.__version__.partition("+")[0] or found["torch"] == torch.__version__
    assert found["engine"] == "fused" or found["engine"].startswith("plain: ")
    assert set(OPTIONAL) <= set(found)
    assert main(["doctor"]) == 0
    assert "engine" in capsys.readouterr().out


def test_list_shows_data_sets_and_sources(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "datasets", "--json"]) == 0
    found = {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)["datasets"]}
    assert list(found) == NAMES
    for name, entry in found.items():
        known = plug_in(name)
        assert entry["spec"] == name
        for field in ("title", "classes", "counts", "metric", "layout", "url"):
            assert entry[field] == getattr(known, field)
    assert main(["list", "datasets"]) == 0
    assert "Oxford-IIIT Pets: 37 classes; train 2940, val 740, test 3669; class_average" in capsys.readouterr().out
    assert main(["list", "sources"]) == 0
    assert "imagenet100(path, short_side=None)" in capsys.readouterr().out


@pytest.mark.realdata
def test_the_real_small_sets_are_counted(real_data: Path) -> None:
    """Those under a name of ours are whole; those under a published name have fewer images, a fact and no error."""
    rows = {row["name"]: row for row in survey(real_data)}
    if rows["cifar10"]["state"] == "absent":
        pytest.skip(f"no cifar10 in {real_data}: set AUGAWARE_DATA")
    assert (rows["cifar10"]["state"], rows["cifar10"]["found"]) == ("present", {"train": 50000, "test": 10000})
    for name, found in {
        "cifar100": {"train": 5000, "test": 2000},
        "flowers102": {"train": 1020, "val": 510, "test": 1530},
        "caltech101": {"train": 1515, "val": 505, "test": 997},
        "fc100": {"test": 1400},
        "cifar_fs": {"test": 1400},
    }.items():
        assert (rows[name]["state"], rows[name]["found"]) == ("subset", found)
    for name in ("tinyimagenet100", "tinyimagenet_loc20", "caltech3_loc", "cars50", "dtd10", "medleaf36", "rsscn7"):
        assert rows[name]["state"] == "complete"
