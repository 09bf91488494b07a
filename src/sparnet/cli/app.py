"""The program: its commands, and how it fails. Heavy imports happen inside the commands."""

import os
import sys
from typing import Annotated

import typer

import sparnet
from sparnet.cli.attention import attention
from sparnet.cli.degrade import degrade
from sparnet.cli.models import models
from sparnet.cli.train import train
from sparnet.cli.upscale import upscale
from sparnet.errors import SparnetError

app = typer.Typer(
    name="sparnet",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(upscale)
app.command()(attention)
app.add_typer(models, name="models")
app.command()(degrade)
app.command()(train)


def _print_version(*, value: bool) -> None:
    if value:
        typer.echo(f"sparnet {sparnet.__version__}")
        raise typer.Exit


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


def main() -> None:
    """Run the program: exit code 0 done, 1 failed, 2 wrong use; a failure is one line on stderr."""
    try:
        app()
    except SparnetError as error:
        sys.stderr.write(f"sparnet: {error}\n")
        sys.exit(1)
    except BrokenPipeError:
        # The reader of our output went away, as `head` does: no failure of ours.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except KeyboardInterrupt:
        sys.stderr.write("sparnet: interrupted\n")
        sys.exit(130)
