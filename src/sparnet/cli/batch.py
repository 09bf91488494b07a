"""What commands over many pictures share: finding them, naming outputs, going on after a bad one."""

import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from sparnet.image import FoundPicture

Pictures = Annotated[
    list[Path],
    typer.Argument(metavar="PICTURES...", help="Pictures, folders of them, or patterns.", show_default=False),
]
OutputFolder = Annotated[
    Path, typer.Option("-o", "--output", metavar="DIR", help="Folder to write to.", show_default=False)
]
AsJson = Annotated[bool, typer.Option("--json", help="Report in JSON on standard output.")]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="Say what is done to each picture.")]


@dataclass(frozen=True)
class Job:
    """One picture and where its result goes."""

    source: Path
    target: Path


@dataclass
class Batch:
    """Pictures to work on, what was done, and what failed."""

    output: Path
    jobs: list[Job] = field(default_factory=list)
    done: list[dict[str, Any]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def fail(self, message: str) -> None:
        """Tell of a picture that could not be done; the others go on."""
        self.failures.append(message)
        typer.echo(f"sparnet: {message}", err=True)

    def finish(self, verb: str, *, as_json: bool) -> None:
        """Report, and exit with 1 if anything failed."""
        from sparnet.image import show_path

        if as_json:
            sys.stdout.write(json.dumps({"done": self.done, "failed": self.failures}) + "\n")
        else:
            failed = f", {len(self.failures)} failed" if self.failures else ""
            where = f" to {show_path(self.output)}" if self.done else ""
            typer.echo(f"{len(self.done)} {verb}{where}{failed}")
        if self.failures:
            raise typer.Exit(1)


def find_jobs(
    inputs: Sequence[Path],
    output: Path,
    *,
    suffix: str = "",
    extension: str = ".png",
    recursive: bool = False,
) -> Batch:
    """Find the pictures a command was given and name their results.

    A result is named after its picture; where two pictures of a folder differ in their extension
    alone, both results keep it in their names. Pictures whose result would overwrite them fail.
    """
    from sparnet.image import find_pictures, show_path

    batch = Batch(output)
    found, errors = find_pictures(inputs, recursive=recursive)
    for error in errors:
        batch.fail(str(error))
    for picture, name in zip(found, _names(found, suffix, extension), strict=True):
        target = output / name
        if target.resolve() == picture.path.resolve():
            batch.fail(f"{show_path(picture.path)}: would be overwritten; name another folder by -o")
        else:
            batch.jobs.append(Job(picture.path, target))
    return batch


def _names(found: "Sequence[FoundPicture]", suffix: str, extension: str) -> list[Path]:
    names = [picture.folder / f"{picture.path.stem}{suffix}{extension}" for picture in found]
    while len(set(names)) < len(names):
        counts = Counter(names)
        names = [
            name if counts[name] == 1 else picture.folder / f"{picture.path.name}{suffix}{extension}"
            for name, picture in zip(names, found, strict=True)
        ]
    return names


@contextmanager
def progress_bar(description: str, total: int) -> Iterator[Any]:
    """Show progress on a terminal and nothing in a pipe; yields a function to call after each picture."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal or total < 2) as progress:
        task = progress.add_task(description, total=total)
        yield lambda: progress.advance(task)
