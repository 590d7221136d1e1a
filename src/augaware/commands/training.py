"""Commands that train: pretrain, resume, demo."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Annotated, Any

import typer


def pretrain(
    out: Annotated[Path, typer.Option(help="the new run folder; an existing one is never overwritten")],
    data: Annotated[
        str | None, typer.Option(help="a folder, tars or a list of images, hf:NAME, torchvision:NAME, shapes")
    ] = None,
    recipe: Annotated[str | None, typer.Option(help="start from a recipe of `augaware list recipes`")] = None,
    host: Annotated[str | None, typer.Option(help="the method, such as simclr or 'simclr(temperature=0.1)'")] = None,
    aware: Annotated[list[str] | None, typer.Option(help="how omega is used, such as 'cassle()'; repeatable")] = None,
    encoder: Annotated[str | None, typer.Option(help="resnet18, tiny, timm/NAME, torchvision/NAME")] = None,
    init_from: Annotated[
        str | None, typer.Option(help="f starts with these weights: a run folder or a .safetensors file")
    ] = None,
    size: Annotated[int | None, typer.Option(help="side of the views in pixels")] = None,
    epochs: Annotated[int | None, typer.Option(help="passes over the data")] = None,
    batch_size: Annotated[int | None, typer.Option(help="images per step")] = None,
    seed: Annotated[int | None, typer.Option(help="of weights, order and views")] = None,
    set: Annotated[list[str] | None, typer.Option(help="any field of the recipe, key=value; repeatable")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu or cuda")] = None,
    precision: Annotated[str | None, typer.Option(help="auto, fp32 or bf16")] = None,
) -> None:
    """Train an encoder on unlabelled images."""
    import augaware
    from augaware.recipe import parse_settings

    settings = parse_settings(set or [])
    arguments: dict[str, Any] = {"host": host, "aware": aware, "encoder": encoder, "size": size, "epochs": epochs}
    arguments |= {"batch_size": batch_size, "seed": seed, "device": device, "precision": precision}
    arguments |= {"init_from": init_from}
    run = augaware.pretrain(data, out=out, recipe=recipe, set=settings, **arguments)
    _say_once(f"run {run}; next: augaware eval {run} --task \"linear_probe('NAME')\" --data ROOT")


def resume(run: Annotated[Path, typer.Argument(metavar="DIR", help="a run folder")]) -> None:
    """Continue a stopped run; it ends as if it had never stopped."""
    import augaware

    _say_once(f"run {augaware.resume(run)} is complete")


def _say_once(line: str) -> None:
    """A line of process 0, where several train one run."""
    from augaware.processes import Started

    if Started().global_rank() == 0:
        typer.echo(line)


def demo(
    out: Annotated[
        Path | None, typer.Option(help="the new folder of runs and page; else augaware-demo, -2, ...")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="one seed, fewer steps: a look, no evidence")] = False,
) -> None:
    """The main job on images it draws itself: train four variants, see what each kept, write a page."""
    from augaware.demo import demo as run_demo

    endings = itertools.chain([""], (f"-{number}" for number in itertools.count(2)))
    fresh = (folder for folder in (Path(f"augaware-demo{ending}") for ending in endings) if not folder.exists())
    run_demo(out or next(fresh), quick)
