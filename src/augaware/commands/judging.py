"""Commands that judge an encoder: eval, analyse, report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from augaware.errors import RequestError


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
    import augaware
    from augaware.progress import print_table
    from augaware.report.transfer import NOTE

    given: dict[str, Any] = {"data": data, "out": out, "against": against or (), "architecture": architecture}
    given |= {"size": size, "device": device, "precision": precision}
    if suite is None or task:
        for result in augaware.evaluate(encoder, task or (), suite=suite, **given):
            _tell(result["task"], result)
        return
    done = augaware.evaluate_suite(encoder, suite, told=_tell, **given)
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


def analyse(
    encoder: Annotated[str, typer.Argument(help="a run folder, timm/NAME, random/NAME or a .safetensors file")],
    data: Annotated[
        str,
        typer.Option(help="a folder, tars or a list of images, hf:NAME, torchvision:NAME, shapes; no labels needed"),
    ],
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
    import augaware
    from augaware.progress import print_table
    from augaware.report.answer import answer

    given: dict[str, Any] = {"data": data, "out": out, "against": against or (), "images": images, "seed": seed}
    given |= {"augment": augment or None, "architecture": architecture, "size": size, "device": device}
    results = augaware.analyse(encoder, analysis or ["all"], precision=precision, told=_remark, **given)
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


def report(
    runs: Annotated[list[Path], typer.Argument(metavar="DIR...", help="run folders, or those of eval and analyse")],
    out: Annotated[Path, typer.Option(help="the HTML file")],
    tables: Annotated[Path | None, typer.Option(help="a folder for every table, as CSV and LaTeX")] = None,
) -> None:
    """Write one self-contained HTML page about runs."""
    import augaware

    typer.echo(f"wrote {augaware.report(list(runs), out=out, tables=tables)}")
