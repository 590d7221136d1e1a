"""The same images in every form that SRC has: each takes a folder of them and gives the SRC of the other form."""

from __future__ import annotations

import csv
import io
import json
import tarfile
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from augaware.data.folder import Folder

Form = Callable[[Path, Path], str]  # the folder of images and an empty one -> SRC


def pack(path: Path, files: Iterable[tuple[str, bytes]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz" if path.name.endswith("gz") else "w") as archive:
        for name, content in files:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def listed(folder: Path) -> list[tuple[str, bytes, int, str]]:
    """Name, bytes, label and class of each image of an ImageFolder, in its order."""
    source = Folder(str(folder))
    labels = source.labels.tolist() if source.labels is not None else [0] * len(source)
    classes = source.classes or ("none",)
    return [(name, source.read(i), labels[i], classes[labels[i]]) for i, name in enumerate(source.names)]


def _thirds(folder: Path) -> list[list[tuple[str, bytes, int, str]]]:
    rows = listed(folder)
    third = -(-len(rows) // 3)
    return [rows[at : at + third] for at in (0, third, 2 * third)]


def txt(folder: Path, out: Path) -> str:
    file = folder / "list.txt"
    file.write_text("".join(f"{name}\t{kind}\n" for name, _, _, kind in listed(folder)))
    return str(file)


def caffe(folder: Path, out: Path) -> str:
    file = folder / "numbers.txt"
    file.write_text("".join(f"{name} {label}\n" for name, _, label, _ in listed(folder)))
    return str(file)


def table(folder: Path, out: Path) -> str:
    with (out / "list.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "label", "Path"])
        writer.writerows([i, kind, folder / name] for i, (name, _, _, kind) in enumerate(listed(folder)))
    return str(out / "list.csv")


def tabs(folder: Path, out: Path) -> str:
    (folder / "list.tsv").write_text("file\tlabel\n" + "".join(f"{n}\t{kind}\n" for n, _, _, kind in listed(folder)))
    return str(folder / "list.tsv")


def objects(folder: Path, out: Path) -> str:
    rows = [json.dumps({"path": name, "label": label}) for name, _, label, _ in listed(folder)]
    (folder / "list.jsonl").write_text("\n".join(rows))
    return str(folder / "list.jsonl")


def shards(folder: Path, out: Path) -> str:
    for i, rows in enumerate(_thirds(folder)):
        pack(out / f"train-{i:03d}.tar", [(name, content) for name, content, _, _ in rows])
    return str(out / "train-{000..002}.tar")


def samples(folder: Path, out: Path) -> str:
    """Webdataset's layout, in a folder."""
    for i, rows in enumerate(_thirds(folder)):
        files = []
        for k, (name, content, label, _) in enumerate(rows):
            files += [(f"{k:04d}.cls", str(label).encode()), (f"{k:04d}.{name.split('.')[-1]}", content)]
        pack(out / f"{i}.tar", files)
    return str(out)


def jsons(folder: Path, out: Path) -> str:
    """Webdataset's layout with JSON, compressed, one shard apart from the others."""
    for i, rows in enumerate(_thirds(folder)):
        files = [
            (f"{Path(name).with_suffix(ending)}", body)
            for name, content, _, kind in rows
            for ending, body in ((Path(name).suffix, content), (".json", json.dumps({"label": kind}).encode()))
        ]
        pack(out / f"{'ab'[i == 2]}/{i}.tgz", files)
    return f"{out / 'a/{0,1}.tgz'}::{out / 'b/2.tgz'}"


def _dataset(folder: Path):
    datasets = pytest.importorskip("datasets", reason="no datasets: pip install datasets")
    rows = listed(folder)
    kinds = sorted({kind for _, _, _, kind in rows})
    features = datasets.Features({"image": datasets.Image(), "kind": datasets.ClassLabel(names=kinds)})
    content = {
        "image": [{"bytes": content, "path": name} for name, content, _, _ in rows],
        "kind": [label for _, _, label, _ in rows],
    }
    return datasets.Dataset.from_dict(content, features=features)


def saved(folder: Path, out: Path) -> str:
    _dataset(folder).save_to_disk(str(out / "set"))
    return f"hf:{out / 'set'}"


def parquet(folder: Path, out: Path) -> str:
    found = _dataset(folder)
    (out / "data").mkdir()
    half = len(found) // 2
    for i, rows in enumerate((range(half), range(half, len(found)))):
        found.select(rows).to_parquet(str(out / "data" / f"train-{i:05d}-of-00002.parquet"))
    return f"hf:{out}(split='train', image='image', label='kind')"


LISTS: list[Form] = [txt, caffe, table, tabs, objects]
TARS: list[Form] = [shards, samples, jsons]
SETS: list[Form] = [saved, parquet]
FORMS = [*LISTS, *TARS, *SETS]
