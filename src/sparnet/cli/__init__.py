"""The command line, `sparnet COMMAND`: one file a command."""

import sys
from collections.abc import Sequence

INTERRUPTED = 130
"""Exit code after Ctrl-C: 128 and the number of the signal."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program: exit code 0 done, 1 failed, 2 wrong use; a failure is one line on stderr.

    Args:
        arguments: The words after the program's name; None takes those of the command line.

    Raises:
        SystemExit: Always, with the exit code.
    """
    try:
        from sparnet.cli.app import run  # it may be interrupted while it is loaded

        run(arguments)
    except (KeyboardInterrupt, SystemExit) as ending:
        if isinstance(ending, SystemExit) and ending.code != INTERRUPTED:
            raise
        sys.stderr.write("sparnet: interrupted\n")
        sys.exit(INTERRUPTED)
