"""The command line, `sparnet COMMAND`: one file a command."""

from sparnet.cli.app import main

__all__ = ["main"]
