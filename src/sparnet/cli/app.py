"""The program: its commands, and how it fails. Heavy imports happen inside the commands."""

import _thread
import io
import re
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated

import typer

import sparnet
from sparnet.cli.attention import attention
from sparnet.cli.benchmark import benchmark
from sparnet.cli.degrade import degrade
from sparnet.cli.evaluate import evaluate
from sparnet.cli.models import models
from sparnet.cli.prepare import prepare
from sparnet.cli.reproduce import reproduce
from sparnet.cli.restore import restore
from sparnet.cli.serve import serve
from sparnet.cli.train import train
from sparnet.cli.upscale import upscale
from sparnet.errors import SparnetError

WRONG_USE = 2
"""Exit code of a command that does not say what to do."""
_SOON_SECONDS = 0.02

app = typer.Typer(
    name="sparnet",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(upscale)
app.command()(restore)
app.command()(attention)
app.add_typer(models, name="models")
app.add_typer(prepare, name="prepare")
app.command()(degrade)
app.command()(train)
app.command()(evaluate)
app.command()(benchmark)
app.command()(serve)
app.command()(reproduce)


def _print_version(*, value: bool) -> bool:
    if value:
        typer.echo(f"sparnet {sparnet.__version__}")
        raise typer.Exit
    return value


@app.callback()
def _about(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Enlarge tiny faces, restore bad ones, and train and judge the networks that do it.

    What the networks add is invented detail: plausible, not evidence of who is shown.
    """
    del version


@contextmanager
def _no_interruption_lost() -> Iterator[None]:
    """Interrupt once more where Ctrl-C came while Python was tidying up.

    There an exception cannot go anywhere: Python prints it, a traceback included, and the program goes on.
    """
    before = sys.unraisablehook

    def look(lost: "sys.UnraisableHookArgs") -> None:
        if lost.exc_type is KeyboardInterrupt:
            threading.Timer(_SOON_SECONDS, _thread.interrupt_main).start()  # when the tidying up is over
        else:
            before(lost)

    sys.unraisablehook = look
    try:
        yield
    finally:
        sys.unraisablehook = before


def _is_empty(word: str, after: str) -> bool:
    """Tell whether a word, or its option's value, is empty and may not be; a path would be this folder."""
    joined = re.fullmatch("(--[^=]+)=", word)
    option = joined[1] if joined else after
    return (joined is not None or not word) and option != "--suffix"


def run(arguments: Sequence[str] | None) -> None:
    """Run the command that is asked for; see `sparnet.cli.main`.

    Args:
        arguments: The words after the program's name; None takes those of the command line.

    Raises:
        SystemExit: Always, with the exit code.
        KeyboardInterrupt: If it was interrupted before the command began.
    """
    try:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):  # a name that the terminal's encoding has no letters for
                stream.reconfigure(errors="backslashreplace")
        words = list(sys.argv[1:] if arguments is None else arguments)
        if any(_is_empty(word, after) for after, word in zip(["", *words], words, strict=False)):
            sys.stderr.write("sparnet: an argument is empty; is a variable of the shell not set?\n")
            sys.exit(WRONG_USE)
        with _no_interruption_lost():
            app(args=words, prog_name="sparnet")
    except SparnetError as error:
        sys.exit(f"sparnet: {error}")
    except OSError as error:  # results cannot be printed: the disk that takes them is full
        sys.exit(f"sparnet: {error.strerror or error}")
