"""What `--help` says, of all commands."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from sparnet.cli.app import app


def commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


ALL = list(commands(typer.main.get_command(app)))


def test_there_are_commands_to_look_at():
    assert {("restore",), ("upscale",), ("models", "show")} <= {path for path, _ in ALL}


@pytest.mark.parametrize("command", [command for _, command in ALL], ids=[" ".join(path) for path, _ in ALL])
def test_help_holds_no_brackets_which_would_vanish(command):
    """Rich takes `[default: 8]` for a style of that name, and prints nothing, unless it is escaped."""
    texts = [command.help, *(option.help for option in command.params if hasattr(option, "help"))]
    assert [text for text in texts if re.search(r"(?<!\\)\[", text or "")] == []


def test_a_default_that_is_no_value_is_shown(sparnet_cli):
    shown = " ".join(sparnet_cli("upscale", "--help").out.replace("│", " ").split())
    assert "[default: (8, or 4 below 16 px, from 32 px on and if bad)]" in shown


def test_the_extra_that_a_command_needs_is_named(sparnet_cli):
    assert "pip install 'sparnet[train]'" in sparnet_cli("models", "export", "--help").out


@pytest.mark.parametrize("command", [command for _, command in ALL], ids=[" ".join(path) for path, _ in ALL])
def test_lines_of_help_stay_whole_in_a_terminal_of_80_columns(command):
    """Rich keeps the line breaks of a paragraph, and would break each longer line once more."""
    paragraphs = [paragraph.splitlines() for paragraph in command.help.strip().split("\n\n")]
    assert [line for lines in paragraphs if len(lines) > 1 for line in lines if len(line) > 78] == []
