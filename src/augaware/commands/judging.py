"""Commands that judge an encoder: eval, analyse, report."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from augaware.commands.asked import SOURCE, Architecture, Device, Encoder, Precision, Root, Size, names
from augaware.errors import RequestError


def evaluate(
    encoder: Encoder,
    task: Annotated[
        list[str] | None,
        typer.Option(help="such as \"linear_probe('flowers102')\"; repeatable", autocompletion=names("tasks")),
    ] = None,
    suite: Annotated[
        str | None,
        typer.Option(help="transfer: every protocol of the papers on what is there", autocompletion=names("suites")),
    ] = None,
    data: Root = Path("."),
    out: Annotated[Path | None, typer.Option(help="where eval/<task>.json goes; for a run folder, itself")] = None,
    against: Annotated[list[Path] | None, typer.Option(help="--out of another encoder: a row; repeatable")] = None,
    architecture: Architecture = None,
    size: Size = None,
    device: Device = "auto",
    precision: Precision = "fp32",
) -> None:
    """Put tasks to a frozen encoder."""
    import augaware
    from augaware.frozen import load_encoder
    from augaware.report.terminal import text

    if (suite is None) != bool(task):  # a wrong request, which the function words
        augaware.evaluate(encoder, task or (), suite=suite)
    frozen = load_encoder(encoder, architecture, size, device, precision)
    tell = _after(_chosen(device), _tell)
    if suite is None:
        for result in augaware.evaluate(frozen, task or (), data=data, out=out, against=against or ()):
            tell(result["task"], result)
        return
    done = augaware.evaluate_suite(frozen, suite, data=data, out=out, against=against or (), told=tell)
    typer.echo(text(done.parts()[:2]))  # what could not be done has been told
    if done.failed:
        raise RequestError(
            f"{len(done.failed)} of {len(done.results) + len(done.failed)} tasks could not be done; see above"
        )


def _chosen(device: str) -> Iterator[str]:
    """What was left to us, and why it is what it is: said when it is sure that the request is right."""
    from augaware import auto

    yield from [auto.device().line] if device == auto.AUTO else []


def _after(lines: Iterator[str], tell: Callable[..., None]) -> Callable[..., None]:
    """``tell``, once the lines that are left have been said."""

    def told(*given: Any) -> None:
        for line in lines:
            _remark(line)
        tell(*given)

    return told


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
    encoder: Encoder,
    data: Annotated[str, typer.Option(help=f"{SOURCE}; no labels needed")],
    analysis: Annotated[
        list[str] | None,
        typer.Option(help="of `augaware list analyses`, or all; repeatable", autocompletion=names("analysis")),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="where results and a page go; for a run folder, itself")] = None,
    against: Annotated[list[str] | None, typer.Option(help="another ENCODER to stand beside; repeatable")] = None,
    images: Annotated[int, typer.Option(help="how many are looked at")] = 1000,
    seed: Annotated[int, typer.Option(help="of the choice of images and of their views")] = 0,
    augment: Annotated[
        list[str] | None,
        typer.Option(help="an augmentation to ask about; else the run's", autocompletion=names("augment")),
    ] = None,
    architecture: Architecture = None,
    size: Size = None,
    device: Device = "auto",
    precision: Precision = "fp32",
) -> None:
    """Ask what an encoder keeps and what it loses."""
    import augaware
    from augaware.frozen import load_encoder
    from augaware.report.terminal import text

    frozen, tell = load_encoder(encoder, architecture, size, device, precision), _after(_chosen(device), _remark)
    given: dict[str, Any] = {"out": out, "against": against or (), "images": images, "seed": seed}
    found = augaware.analyse(frozen, analysis or "all", data=data, augment=augment, told=tell, **given)
    typer.echo(text(found.parts()[:2]))  # the pictures are in the page
    folder = out if out is not None else frozen.run.path if frozen.run else None
    if folder is None:
        typer.echo("nothing was written; for all numbers, pictures and a page give --out DIR")
    else:
        typer.echo(f"wrote {folder / 'analysis.html'} and {folder / 'analysis'}")


def _remark(line: str) -> None:
    """What was chosen, what begins and what is left out, beside the answer."""
    typer.echo(line, err=True)


def report(
    runs: Annotated[list[Path], typer.Argument(metavar="DIR...", help="run folders, or those of eval and analyse")],
    out: Annotated[Path, typer.Option(help="the HTML file")],
    tables: Annotated[Path | None, typer.Option(help="a folder for every table, as CSV, LaTeX and Markdown")] = None,
) -> None:
    """Write one self-contained HTML page about runs."""
    import augaware

    typer.echo(f"wrote {augaware.report(runs, out=out, tables=tables)}")
