"""A run folder: recipe, environment, checkpoints, exported encoder. Written atomically, safe to load.

    DIR/recipe.json env.json metrics.jsonl log.txt tensorboard/
        checkpoints/last.pt           everything a resume needs: weights, optimiser, step; older ones beside (saves.py)
        snapshots/step-000100.safetensors
        export/encoder.safetensors    the plain weights of f, with export/config.json
        eval/<task>.json

Every random draw is a function of (seed, epoch, index, view), so a checkpoint needs no random state.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shlex
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import Tensor

from augaware import lookup
from augaware.augment.plan import recorded
from augaware.disk import held, write_file
from augaware.errors import RequestError
from augaware.nets.base import Encoder, build_encoder
from augaware.objective import encoder_spec
from augaware.recipe import DEVICES, Recipe
from augaware.saves import read_newest

EXPORT = "export/encoder.safetensors"
LONGEST = 1 << 20  # bytes of a recipe
FREE = (  # of a recipe: what never reaches the weights, and where they are computed
    *("device", "data", "store", "memory_gib", "log_steps", "checkpoint_seconds", "checkpoints"),
    *("snapshots", "health_images", "stuck_seconds", "loggers"),
)


@dataclass(frozen=True)
class Run:
    """An existing run folder."""

    path: Path
    recipe: Recipe

    @classmethod
    def create(cls, out: Path | str, recipe: Recipe, environment: Mapping[str, Any]) -> Run:
        """Make a new run folder, complete with its recipe, or nothing. An existing ``out`` is never touched."""
        out = Path(out)
        refuse_existing(out, resuming(out))
        try:
            out.absolute().parent.mkdir(parents=True, exist_ok=True)
            draft = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.absolute().parent))
        except OSError as error:
            raise RequestError(f"--out {str(out)!r} cannot be made: {error.strerror}") from None
        (draft / "recipe.json").write_text(recipe.to_json())
        (draft / "env.json").write_text(json.dumps(dict(environment), indent=2) + "\n")
        for folder in ("checkpoints", "export", "eval"):
            (draft / folder).mkdir()
        draft.chmod(0o755)
        draft.rename(out)
        return cls(out, recipe)

    @classmethod
    def open(cls, path: Path | str) -> Run:
        """Read an existing run folder; nothing in it is executed (:func:`augaware.lookup.check_trusted`).

        Raises :class:`RequestError` when it is not one.
        """
        path = Path(path)
        file = path / "recipe.json"
        if not file.is_file():
            raise RequestError(f"{str(path)!r} is not a run folder: it has no recipe.json")
        try:
            if file.stat().st_size > LONGEST:
                raise TypeError
            recipe = Recipe.from_json(file.read_text())
        except (json.JSONDecodeError, TypeError, AttributeError, UnicodeDecodeError, RecursionError):
            raise RequestError(f"{str(file)!r} is damaged: not a recipe in JSON") from None
        except RequestError as error:
            raise RequestError(f"{file}: {error}{_written_by(path)}") from None
        specs = (recipe.host, recipe.encoder, *recipe.aware, *recipe.augment, *recipe.views, *recipe.loggers)
        lookup.check_trusted(specs, str(file))
        return cls(path, recipe)

    @property
    def encoder(self) -> str:
        """The spec of f: the recipe's encoder, or what an awareness makes of it."""
        return encoder_spec(self.recipe.encoder, self.recipe.aware, recorded(self.recipe))

    @property
    def exported(self) -> Path:
        """The file of the finished encoder; where it stands, the run is complete."""
        return self.path / EXPORT

    @property
    def last(self) -> Path:
        """The newest checkpoint's file."""
        return self.path / "checkpoints" / "last.pt"

    @property
    def begun(self) -> bool:
        """Whether there is a checkpoint, whole or not."""
        return any(self.last.parent.glob("*.pt"))

    def check_unchanged(self, started: Any) -> None:
        """Raise :class:`RequestError` where recipe.json is not what the checkpoint was ``started`` with, by field.

        What is ``FREE`` may change; ``data`` has a fingerprint of its own. A checkpoint of version 1 does not know.
        """
        if not isinstance(started, str):
            return
        before, now = asdict(Recipe.from_json(started)), asdict(self.recipe)
        changed = [f"{k}: {before[k]!r} -> {now[k]!r}" for k in now if before[k] != now[k] and k not in FREE]
        if changed:
            raise RequestError(
                f"recipe.json of {str(self.path)!r} was changed since its checkpoint: {'; '.join(changed)}; put it "
                "back, or start a new run with it: augaware pretrain --init-from, from an encoder of this one"
            )

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the folder for this process. Raises :class:`RequestError` where another one trains in it."""
        folder = os.open(self.path, os.O_RDONLY)
        try:
            if not held(folder):
                raise RequestError(f"{str(self.path)!r} is in training in another process; wait for it, or stop it")
            yield
        finally:
            os.close(folder)

    def load_state(self) -> dict[str, Any] | None:
        """The newest checkpoint that is whole, or None before the first; says which are damaged."""
        found = read_newest(self.last)
        return None if found is None else found[0]

    def export(self, encoder: Encoder, name: str = EXPORT) -> Path:
        """Write f's weights, and beside them what is needed to use them (``config.json``)."""
        file = self.path / name
        file.parent.mkdir(exist_ok=True)
        config: dict[str, Any] = {
            "encoder": self.encoder,
            "dim": encoder.dim,
            "size": self.recipe.size,
            "mean": list(self.recipe.mean),
            "std": list(self.recipe.std),
            "channels": len(self.recipe.mean),
        }
        if self.recipe.channels:  # files read as they are, and how
            config["pixel_range"] = list(self.recipe.pixel_range)
        write_file(file.with_name("config.json"), (json.dumps(config, indent=2) + "\n").encode())
        write_file(file, save(plain_weights(encoder)))  # last: where it stands, the export is complete
        return file


def _written_by(run: Path) -> str:
    """What to add to a complaint about a run's recipe: the version that wrote it, where another one did."""
    try:
        writer = json.loads((run / "env.json").read_text(encoding="utf-8"))["augaware"]
        here = version("augaware")
    except (OSError, ValueError, KeyError, TypeError, PackageNotFoundError):
        return ""
    if writer == here or not re.fullmatch(r"[\w.+-]{1,20}", str(writer)):
        return ""
    return f"; it was written by augaware {writer}, and this is {here}"


def check_device(device: str) -> None:
    """Raise :class:`RequestError` for a device that is unknown or not there."""
    if device not in DEVICES:
        raise RequestError(f"device={device!r} is unknown; accepted: {', '.join(DEVICES)}")
    if device == "cuda" and not torch.cuda.is_available():
        raise RequestError("device='cuda': torch finds no CUDA device here; use --device cpu or auto")


def refuse_existing(out: Path | str, remedy: str = "remove it", option: str = "--out") -> None:
    """Raise :class:`RequestError` when ``out`` exists; ``remedy`` is what to do if not choosing another."""
    if Path(out).exists() or Path(out).is_symlink():
        raise RequestError(f"{option} {str(out)!r} exists already and is not overwritten; choose another, or {remedy}")


def resuming(out: Path | str) -> str:
    """The remedy for an existing ``out`` that is to be a run."""
    return f"continue a stopped run with: augaware resume {out}"


def plain_weights(encoder: Encoder) -> dict[str, Tensor]:
    """The backbone's own state dict: the names that its library (torchvision, timm) knows."""
    return {k: v.detach().cpu().contiguous() for k, v in encoder.backbone.state_dict().items()}


def load_weights(encoder: Encoder, file: Path, repeated: bool = False) -> None:
    """Load a safetensors file of :meth:`Run.export` or of the encoder's library; a classifier's weights are ignored.

    ``repeated``: a first layer that was trained on RGB is repeated for an encoder of other channels (initial.py).
    """
    try:
        weights = load_file(file)
    except Exception as error:  # safetensors has no public error of its own for every way a file can be damaged
        raise RequestError(f"{str(file)!r} is not a readable safetensors file: {error}") from None
    expected = encoder.backbone.state_dict()
    if repeated:
        weights |= {k: _repeated(w, expected[k]) for k, w in weights.items() if k in expected}
    missing = sorted(set(expected) - set(weights))
    wrong = sorted(k for k in expected if k in weights and not _fits(weights[k], expected[k]))
    if missing or wrong:
        named = f"{len(missing)} tensors are missing" if missing else f"{len(wrong)} tensors have another shape or kind"
        raise RequestError(f"{str(file)!r} does not fit the encoder: {named}, such as {(missing or wrong)[0]!r}")
    encoder.backbone.load_state_dict({k: weights[k] for k in expected})


def _repeated(found: Tensor, expected: Tensor) -> Tensor:
    """(c, 3, h, w) as (c, n, h, w): R, G, B, R, ... scaled by 3 / n; whatever else as it is."""
    outer, inner = found.shape[:1] + found.shape[2:], expected.shape[:1] + expected.shape[2:]
    if found.ndim != 4 or found.shape[1] != 3 or outer != inner or expected.shape[1] == 3:
        return found
    n = expected.shape[1]
    turn = found.sum(1, keepdim=True) if n == 1 else found[:, torch.arange(n) % 3] * (3 / n)  # one: all of gray
    return turn.to(found.dtype)


def _fits(found: Tensor, expected: Tensor) -> bool:
    """Whether one can stand for the other: half precision for full, but no whole numbers for real ones."""
    return found.shape == expected.shape and found.is_floating_point() == expected.is_floating_point()


def seeded_encoder(spec: str, seed: int) -> Encoder:
    """The encoder of ``spec`` with weights that depend on ``seed`` only; torch's own random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build_encoder(spec)


def _command() -> str:
    """What was typed, as a shell takes it again; of a script or a notebook, what started Python."""
    program = Path(sys.argv[0])
    if program.stem == "augaware" or program.parent.name == "augaware":  # python -m augaware.cli
        return shlex.join(["augaware", *sys.argv[1:]])
    return shlex.join(["python", *sys.orig_argv[1:]])


def environment() -> dict[str, Any]:
    """Command, versions and machine kind: what a number needs to be made again."""
    found: dict[str, Any] = {
        "command": _command(),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }
    for package in ("augaware", "torch", "torchvision", "timm", "lightning-fabric", "numpy"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found
