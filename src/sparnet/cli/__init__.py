"""The command line, `sparnet COMMAND`: one file a command."""

import sys
from collections.abc import Sequence

INTERRUPTED = 130
"""Exit code after Ctrl-C: 128 and the number of the signal."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program; see `sparnet.cli.app.main`. It may be interrupted while it is loaded.

    Args:
        arguments: The words after the program's name; None takes those of the command line.

    Raises:
        SystemExit: Always, with the exit code.
    """
    try:
        from sparnet.cli import app
    except KeyboardInterrupt:
        sys.stderr.write("sparnet: interrupted\n")
        sys.exit(INTERRUPTED)
    app.main(arguments)
