"""What commands over many pictures share: finding them, naming outputs, going on after a bad one."""

import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from sparnet.image import FoundPicture


@dataclass(frozen=True)
class Job:
    """One picture and where its result goes."""

    source: Path
    """The picture."""
    target: Path
    """Where its result goes."""
    comparison: Path | None = None
    """Where a picture of both goes, if one is wanted."""


@dataclass
class Batch:
    """Pictures to work on, what was done, and what failed."""

    output: Path
    """The folder of results."""
    jobs: list[Job] = field(default_factory=list)
    """What is to be done."""
    done: list[dict[str, Any]] = field(default_factory=list)
    """What was done: for each picture its `source`, perhaps `notes` for a person to read, and more."""
    failures: list[str] = field(default_factory=list)
    """One line for each thing that could not be done."""

    def fail(self, message: str) -> None:
        """Tell of a picture that could not be done; the others go on."""
        self.failures.append(message)
        typer.echo(f"sparnet: {message}", err=True)

    def tell_notes(self) -> None:
        """Tell what a person should know of the results; what holds for many pictures is said once."""
        from sparnet.image import show_path

        sources: dict[str, list[str]] = {}
        for entry in self.done:
            for note in entry.get("notes", ()):
                sources.setdefault(note, []).append(show_path(entry["source"]))
        for note, (first, *others) in sources.items():
            more = f" and {len(others)} more" if others else ""
            typer.echo(f"sparnet: {first}{more}: {note}", err=True)

    def finish(self, noun: str, verb: str, *, as_json: bool, **facts: object) -> None:
        """Report what was done, in the end.

        Args:
            noun: What one of the pictures is called.
            verb: What was done to it.
            as_json: Whether to report in JSON.
            facts: More for the report in JSON.

        Raises:
            typer.Exit: With 1 if anything failed.
        """
        from sparnet.image import show_path

        if as_json:
            print_json({**facts, "done": self.done, "failed": self.failures})
        else:
            failed = f", {len(self.failures)} failed" if self.failures else ""
            where = f" to {show_path(self.output)}" if self.done else ""
            plural = "" if len(self.done) == 1 else "s"
            typer.echo(f"{len(self.done)} {noun}{plural} {verb}{where}{failed}")
        if self.failures:
            raise typer.Exit(1)


def find_jobs(
    inputs: Sequence[Path],
    output: Path,
    *,
    suffix: str = "",
    extension: str | None = ".png",
    compare: bool = False,
    beside: str = "_compare",
    recursive: bool = False,
    keeps_existing: bool = False,
    aside: Sequence[Path] | None = None,
) -> Batch:
    """Find the pictures a command was given and name their results.

    A result is named after its picture; where two pictures of a folder differ in their extension
    alone, both results keep it in their names. A picture fails whose result would overwrite one
    of the pictures, or another's result: also where only letter case tells their names apart, unless
    it does so in the pictures' own place, on the same disk.

    Args:
        inputs: Pictures, folders, patterns.
        output: The folder of results.
        suffix: Added to the names of results.
        extension: Of the results, with its dot; None keeps each picture's own, but `.png` takes the
            place of one that cannot be written, or holds 256 colours.
        compare: Whether to name a second result for each picture.
        beside: Added to the names of second results.
        recursive: Whether to look into folders inside folders.
        keeps_existing: Whether results that are there stay; then a picture found in a folder that is named
            as the result of another, the first or the second, is taken for it.
        aside: Folders of results, which are not looked into; None is `output` alone.
    """
    from sparnet.image import find_pictures, folded, show_path

    batch = Batch(output)
    second = beside if compare else None
    found, errors = find_pictures(inputs, recursive=recursive, aside=[output] if aside is None else aside)
    if keeps_existing:
        results = [_results(output / name, second) for name in _names(found, suffix, extension)]
        found = _without_results(found, inputs, results)
    for error in errors:
        batch.fail(str(error))
    originals = {file_identity(picture.path) for picture in found} - {None}
    taken: dict[str, tuple[Path, Path]] = {}
    for picture, name in zip(found, _names(found, suffix, extension), strict=True):
        files = _results(output / name, second)
        lost = next((file for file in files if file_identity(file) in originals), None)
        clash = _first_clash(files, picture.path, taken, output)
        shown = show_path(picture.path)
        if lost is not None and file_identity(lost) == file_identity(picture.path):
            batch.fail(f"{shown}: would be overwritten; name another folder by -o")
        elif lost is not None:
            batch.fail(f"{shown}: {show_path(lost)} would be overwritten; name another folder by -o")
        elif clash is not None:
            other = show_path(taken[folded(clash)][1])
            batch.fail(f"{shown}: a result of {other} is named {show_path(clash)} too; do it alone")
        else:
            taken |= {folded(file): (file, picture.path) for file in files}
            batch.jobs.append(Job(picture.path, *files))
    return batch


def _results(target: Path, beside: str | None) -> list[Path]:
    """Name all results of a picture: the first, and the second if `beside` says how its name differs."""
    if beside is None:
        return [target]
    return [target, target.with_name(f"{target.stem}{beside}{target.suffix}")]


def _first_clash(
    files: Sequence[Path], source: Path, taken: dict[str, tuple[Path, Path]], output: Path
) -> Path | None:
    """Find the first result that would overwrite another picture's; `taken` has names, folded, and whose."""
    from sparnet.image import folded

    for file in files:
        if folded(file) in taken:
            before, of = taken[folded(file)]
            if file == before or not _tells_apart(source, of, output):
                return file
    return None


def make_output_folder(folder: Path, targets: Iterable[Path] = ()) -> None:
    """Make the folder of results, before any work is done for it, and clear what killed runs left.

    Args:
        folder: The folder.
        targets: Where results go; only the folders they are in are cleared.

    Raises:
        ImageError: If it cannot be made, or nothing can be written to it.
    """
    from sparnet.errors import ImageError
    from sparnet.files import remove_leftovers
    from sparnet.image import show_path

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise ImageError(f"{show_path(folder)}: a file is in the way; name another folder by -o") from None
    except OSError as error:
        raise ImageError(f"{show_path(folder)}: cannot be made ({error.strerror})") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ImageError(f"{show_path(folder)}: nothing may be written there; name another folder by -o")
    remove_leftovers(target.parent for target in targets)


def file_identity(path: Path) -> tuple[int, int] | None:
    """Tell files apart by what no link or letter case changes; None if there is no file."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino


def _without_results(
    found: "list[FoundPicture]", inputs: Sequence[Path], results: Sequence[Sequence[Path]]
) -> "list[FoundPicture]":
    """Leave out the results of an earlier call that lie among the pictures and were not named themselves."""
    from sparnet.image import resolved_place

    named = {resolved_place(path) for path in inputs}
    places = [resolved_place(picture.path) for picture in found]
    of_others = {
        target
        for place, files in zip(places, results, strict=True)
        for target in map(resolved_place, files)
        if target != place
    }
    return [
        picture
        for picture, place in zip(found, places, strict=True)
        if place not in of_others or place in named
    ]


def _tells_apart(first: Path, second: Path, output: Path) -> bool:
    """Tell whether the disk of `output` has two pictures whose names letter case alone tells apart."""
    from sparnet.image import folded

    if folded(first.absolute().with_suffix("")) != folded(second.absolute().with_suffix("")):
        return False
    one, other = file_identity(first), file_identity(second)
    folder = next(filter(None, map(file_identity, [output, *output.absolute().parents])), None)
    if one is None or folder is None:
        return False
    return one != other and one[0] == folder[0]


def _names(found: "Sequence[FoundPicture]", suffix: str, extension: str | None) -> list[Path]:
    from sparnet.image import folded

    extensions = [extension or _own_extension(picture.path) for picture in found]
    names = [
        picture.folder / f"{picture.path.stem}{suffix}{ending}"
        for picture, ending in zip(found, extensions, strict=True)
    ]
    for _ in names:  # a name with its extension kept may be another's without; each turn settles one more
        keys = [(name.parent, folded(name.name)) for name in names]
        counts = Counter(keys)
        before, names = (
            names,
            [
                name if counts[key] == 1 else picture.folder / f"{picture.path.name}{suffix}{ending}"
                for name, key, picture, ending in zip(names, keys, found, extensions, strict=True)
            ],
        )
        if names == before:
            break
    return names


def _own_extension(path: Path) -> str:
    from sparnet.image import WRITABLE_SUFFIXES

    own = path.suffix
    return own if WRITABLE_SUFFIXES.get(own.lower(), "GIF") != "GIF" else ".png"


def print_json(value: object) -> None:
    """Write a report to standard output."""
    typer.echo(json.dumps(value, indent=2))


@contextmanager
def progress_bar(description: str, total: int) -> Iterator[Callable[[], None]]:
    """Show progress on a terminal and nothing in a pipe; yields a function to call after each picture."""
    with _progress(description, total, disable=total < 2) as (progress, task):
        yield lambda: progress.advance(task)


@contextmanager
def progress_to(description: str) -> Iterator[Callable[[int, int | None], None]]:
    """Show progress as `progress_bar`; yields a function to call with what is done, and of how many."""
    with _progress(description, None, disable=False) as (progress, task):
        yield lambda done, total: progress.update(task, completed=done, total=total)


@contextmanager
def _progress(description: str, total: int | None, *, disable: bool) -> "Iterator[tuple[Progress, TaskID]]":
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    # Not the console's own opinion: FORCE_COLOR, which CI services set, makes a terminal of a pipe.
    disable = disable or not sys.stderr.isatty()
    with Progress(*columns, console=Console(stderr=True), disable=disable) as progress:
        yield progress, progress.add_task(description, total=total)
