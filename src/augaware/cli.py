"""The command line: thin over :mod:`augaware.api`.

Exit codes: 0 done, 2 the request is wrong, 1 anything else, 130 stopped by the user.
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from augaware.cli_lists import doctor, list_
from augaware.errors import RequestError, RunError

app = typer.Typer(
    help="Augmentation-aware self-supervised learning: any host x any way of using omega.",
    add_completion=False,
    pretty_exceptions_enable=False,
)
_UsageError: Any = typer.BadParameter.__mro__[2]  # ClickException: click's, or that of the copy inside newer typer
app.command("list")(list_)
app.command()(doctor)


@app.command()
def pretrain(
    out: Annotated[Path, typer.Option(help="the new run folder; an existing one is never overwritten")],
    data: Annotated[str | None, typer.Option(help="a folder of images, a tar, torchvision:NAME, shapes")] = None,
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
    from augaware import api
    from augaware.recipe import parse_settings

    settings = parse_settings(set or [])
    arguments: dict[str, Any] = {"host": host, "aware": aware, "encoder": encoder, "size": size, "epochs": epochs}
    arguments |= {"batch_size": batch_size, "seed": seed, "device": device, "precision": precision}
    arguments |= {"init_from": init_from}
    run = api.pretrain(data, out=out, recipe=recipe, set=settings, **arguments)
    _say_once(f"run {run}; next: augaware eval {run} --task \"linear_probe('NAME')\" --data ROOT")


@app.command()
def resume(run: Annotated[Path, typer.Argument(metavar="DIR", help="a run folder")]) -> None:
    """Continue a stopped run; it ends as if it had never stopped."""
    from augaware import api

    _say_once(f"run {api.resume(run)} is complete")


def _say_once(line: str) -> None:
    """A line of process 0, where several train one run."""
    from augaware.processes import Started

    if Started().global_rank() == 0:
        typer.echo(line)


@app.command("eval")
def evaluate(
    encoder: Annotated[str, typer.Argument(help="a run folder, timm/NAME, random/NAME or a .safetensors file")],
    task: Annotated[list[str] | None, typer.Option(help="such as \"linear_probe('flowers102')\"; repeatable")] = None,
    suite: Annotated[str | None, typer.Option(help="transfer: every protocol of the papers on what is there")] = None,
    data: Annotated[Path, typer.Option(help="ROOT, the folder of data sets")] = Path("."),
    out: Annotated[Path | None, typer.Option(help="where eval/<task>.json goes; for a run folder, itself")] = None,
    against: Annotated[list[Path] | None, typer.Option(help="--out of another encoder: a row; repeatable")] = None,
    architecture: Annotated[str | None, typer.Option("--encoder", help="of a bare .safetensors file")] = None,
    size: Annotated[int | None, typer.Option(help="side of the images in pixels")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
    precision: Annotated[str, typer.Option(help="fp32 or bf16")] = "fp32",
) -> None:
    """Put tasks to a frozen encoder."""
    from augaware import api
    from augaware.progress import print_table
    from augaware.report.transfer import NOTE

    given: dict[str, Any] = {"data": data, "out": out, "against": against or (), "architecture": architecture}
    given |= {"size": size, "device": device, "precision": precision}
    if suite is None or task:
        for result in api.evaluate(encoder, task or (), suite=suite, **given):
            _tell(result["task"], result)
        return
    done = api.evaluate_suite(encoder, suite, told=_tell, **given)
    print_table(suite, *done.table.beside())
    typer.echo(f"{NOTE}\nwritten to {done.folder}: .md, .csv, .tex")
    if done.failed:
        raise RequestError(
            f"{len(done.failed)} of {len(done.results) + len(done.failed)} tasks could not be done; see above"
        )


def _tell(task: str, result: dict[str, Any] | RequestError) -> None:
    """A line for each result, and one for its warning."""
    if isinstance(result, RequestError):
        typer.echo(f"{task}  {result}", err=True)
        return
    typer.echo(f"{task}  {_headline(result['metrics'])}  ({result['protocol']}, {result['seconds']:.1f} s)")
    if result["metrics"].get("warning"):
        typer.echo(f"WARNING: {result['metrics']['warning']}", err=True)


def _headline(metrics: dict[str, Any]) -> str:
    test = metrics["test"]
    if isinstance(test, dict):
        return "  ".join(f"{name} {value:.3f}" for name, value in test.items())
    return f"{test:.4f}"


@app.command()
def analyse(
    encoder: Annotated[str, typer.Argument(help="a run folder, timm/NAME, random/NAME or a .safetensors file")],
    data: Annotated[str, typer.Option(help="a folder of images, a tar, torchvision:NAME, shapes; no labels needed")],
    analysis: Annotated[list[str] | None, typer.Option(help="of `augaware list analyses`, or all; repeatable")] = None,
    out: Annotated[Path | None, typer.Option(help="where results and a page go; for a run folder, itself")] = None,
    against: Annotated[list[str] | None, typer.Option(help="another ENCODER to stand beside; repeatable")] = None,
    images: Annotated[int, typer.Option(help="how many are looked at")] = 1000,
    seed: Annotated[int, typer.Option(help="of the choice of images and of their views")] = 0,
    augment: Annotated[list[str] | None, typer.Option(help="an augmentation to ask about; else the run's")] = None,
    architecture: Annotated[str | None, typer.Option("--encoder", help="of a bare .safetensors file")] = None,
    size: Annotated[int | None, typer.Option(help="side of the images in pixels")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
    precision: Annotated[str, typer.Option(help="fp32 or bf16")] = "fp32",
) -> None:
    """Ask what an encoder keeps and what it loses."""
    from augaware import api
    from augaware.progress import print_table
    from augaware.report.answer import answer

    given: dict[str, Any] = {"data": data, "out": out, "against": against or (), "images": images, "seed": seed}
    given |= {"augment": augment or None, "architecture": architecture, "size": size, "device": device}
    results = api.analyse(encoder, analysis or ["all"], precision=precision, told=_remark, **given)
    found = answer(results)
    if found.lines is not None:
        print_table(*found.lines)
    for sentence in found.sentences:
        typer.echo(sentence)
    folder = out if out is not None else Path(encoder).expanduser() if Path(encoder).expanduser().is_dir() else None
    if folder is None:
        typer.echo("nothing was written; for all numbers, pictures and a page give --out DIR")
    else:
        typer.echo(f"wrote {folder / 'analysis.html'} and {folder / 'analysis'}")


def _remark(line: str) -> None:
    """What begins and what is left out, beside the answer."""
    typer.echo(line, err=True)


@app.command()
def export(
    encoder: Annotated[str, typer.Argument(help="a run folder, timm/NAME, random/NAME or a .safetensors file")],
    to: Annotated[str, typer.Option(help="detectron2: a ResNet for Faster R-CNN R50-C4")],
    out: Annotated[Path, typer.Option(help="the new file")],
    architecture: Annotated[str | None, typer.Option("--encoder", help="of a bare .safetensors file")] = None,
) -> None:
    """Write an encoder's weights for another library."""
    from augaware import api

    typer.echo(f"wrote {api.export(encoder, to=to, out=out, architecture=architecture)}")


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(metavar="DIR...", help="run folders, or those of eval and analyse")],
    out: Annotated[Path, typer.Option(help="the HTML file")],
    tables: Annotated[Path | None, typer.Option(help="a folder for every table, as CSV and LaTeX")] = None,
) -> None:
    """Write one self-contained HTML page about runs."""
    from augaware import api

    typer.echo(f"wrote {api.report(list(runs), out=out, tables=tables)}")


@app.command()
def store(
    out: Annotated[Path, typer.Argument(metavar="DIR", help="the store; a run reads it with --set store=DIR")],
    data: Annotated[
        str | None, typer.Option(help="a folder of images, a tar, torchvision:NAME: decode it into DIR")
    ] = None,
    size: Annotated[int | None, typer.Option(help="side of the views in pixels, as the run will have it")] = None,
    check: Annotated[bool, typer.Option("--check", help="read all pixels against their checksums")] = False,
) -> None:
    """Decode images once for many runs, or check such a store."""
    from augaware import api

    if data is None and not check:
        raise RequestError("store: nothing to do; give --data SRC to build it, or --check to verify it")
    if data is not None:
        typer.echo(f"store {api.store(data, out=out, size=size)}; next: augaware pretrain --set store={out} ...")
    if check:
        damaged = api.check_store(out)
        for line in damaged:
            typer.echo(line)
        if damaged:
            raise typer.Exit(1)
        typer.echo(f"store {out}: sound")


@app.command()
def views(
    data: Annotated[str, typer.Option(help="a folder of images, a tar, torchvision:NAME, shapes")],
    out: Annotated[Path, typer.Option(help="the PNG file")],
    count: Annotated[int, typer.Option(help="images shown")] = 6,
    size: Annotated[int | None, typer.Option(help="side of the views in pixels")] = None,
    seed: Annotated[int, typer.Option(help="of the draws")] = 0,
    set: Annotated[list[str] | None, typer.Option(help="any field of the recipe, such as augment=...")] = None,
) -> None:
    """Draw a grid of views with their omega."""
    from augaware import api
    from augaware.recipe import parse_settings

    typer.echo(f"wrote {api.views(data, out=out, count=count, size=size, seed=seed, set=parse_settings(set or []))}")


@app.command()
def bench(
    what: Annotated[str, typer.Argument(metavar="BENCH", help="such as augment or 'augment(sizes=[96], rounds=15)'")],
    peers: Annotated[bool, typer.Option("--peers", help="other libraries too, those that are installed")] = False,
    data: Annotated[str | None, typer.Option(help="a folder of images, a tar, ...; else they are drawn")] = None,
    as_json: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="for scripts; a new file")] = None,
) -> None:
    """Measure how fast the library is on this machine, beside its peers, in turns."""
    from augaware import api
    from augaware.bench.rows import remarks, table
    from augaware.progress import print_table

    record = api.bench(what, peers=peers, data=data, json=as_json)
    print_table(f"{what}: medians [least, most]", *table(record["rows"], record["unit"], record["measure"]))
    for line in remarks(record["rows"]):
        typer.echo(line)


@app.command()
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


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    try:
        result = app(given or ["--help"], standalone_mode=False)
        code = result if isinstance(result, int) else 0
    except RequestError as error:
        return _refuse(str(error))
    except RunError as error:
        return _refuse(str(error), 1)
    except SystemExit as ended:  # a run that a signal stopped has said so
        return ended.code if isinstance(ended.code, int) else 1
    except _UsageError as error:
        return _refuse(error.format_message() + _value_of(error, given))
    except (KeyboardInterrupt, typer.Abort):
        code = 130
    if code == 130:  # newer typer turns the interrupt into a result
        print("stopped; continue a run with: augaware resume DIR", file=sys.stderr)
    return code


def _value_of(error: Any, given: list[str]) -> str:
    """The refused value, which typer's message leaves out."""
    options = getattr(getattr(error, "param", None), "opts", [])
    values = [f"; it was given as {value!r}" for option, value in itertools.pairwise(given) if option in options]
    return values[-1] if values else ""


def _refuse(line: str, code: int = 2) -> int:
    print(f"augaware: {' '.join(line.split())}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
