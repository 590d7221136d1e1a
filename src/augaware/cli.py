"""The command line: the functions of ``commands/``, thin over :mod:`augaware.api`.

Exit codes: 0 done, 2 the request is wrong, 1 anything else, 130 stopped by the user.
"""

from __future__ import annotations

import itertools
import sys
from typing import Annotated, Any

import typer

from augaware import __version__
from augaware.commands import checking, exporting, judging, listing, looking, rehearsing, studying, training
from augaware.errors import RequestError, RunError
from augaware.launched import first

NAME = "augaware"  # a shell that completes asks by _AUGAWARE_COMPLETE
app = typer.Typer(
    help="Augmentation-aware self-supervised learning: any host x any way of using omega.",
    pretty_exceptions_enable=False,
)
_UsageError: Any = typer.BadParameter.__mro__[2]  # ClickException: click's, or that of the copy inside newer typer
app.command()(training.pretrain)
app.command()(training.resume)
app.command("eval")(judging.evaluate)
app.command()(judging.analyse)
app.command()(judging.report)
app.command()(studying.study)
app.command()(exporting.export)
app.command()(exporting.import_official)
app.command()(listing.list)
app.command()(listing.recipes)
app.command()(rehearsing.dry_run)
app.command()(looking.doctor)
app.command()(looking.views)
app.command()(looking.store)
app.command()(looking.bench)
app.command()(checking.check)
app.command()(training.demo)


def _tell_version(asked: bool) -> None:
    if asked:
        typer.echo(f"{NAME} {__version__}")
        raise typer.Exit


@app.callback()
def _program(
    version: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="say which version this is")
    ] = False,
) -> None:
    """What all commands have in common."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    try:
        result = app(given or ["--help"], prog_name=NAME, standalone_mode=False)
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
    if code == 130 and first():  # newer typer turns the interrupt into a result
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
