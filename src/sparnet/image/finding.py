"""Find the pictures that the words of a command line stand for."""

import dataclasses
import fnmatch
import glob
import itertools
import os
import re
import stat
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path

from sparnet.errors import ImageError
from sparnet.image.failures import naming, reason_of, show_path
from sparnet.image.formats import PICTURE_SUFFIXES


@dataclasses.dataclass(frozen=True)
class FoundPicture:
    """A picture found on disk."""

    path: Path
    """Where it is."""
    folder: Path
    """Where its output belongs, relative to the folder of all outputs: keeps equal names apart."""


def find_pictures(
    inputs: Sequence[str | Path], *, recursive: bool = False, aside: Sequence[Path] = ()
) -> tuple[list[FoundPicture], list[ImageError]]:
    """Find the pictures that the words of a command line stand for.

    Each word is a file, a folder (whose pictures are known by their suffix), or a pattern such as
    `photos/**/*.jpg`, for shells that do not expand them. What exists by that very name is never
    taken as a pattern. In folders and patterns, names are sorted as people count (2 before 10)
    and hidden ones are left out. A file named twice is found once, and so is a folder that links
    lead to again.

    Args:
        inputs: Files, folders and patterns.
        recursive: Whether to look into folders inside folders.
        aside: Folders that are not looked into where another one that holds them is, as that of results
            inside the one of photos. Named themselves they are.

    Returns:
        The pictures, and an error for each input without any, so that a batch can go on.
    """
    found: dict[Path, FoundPicture] = {}
    errors: list[ImageError] = []
    for item in inputs:
        try:
            with naming(str(item) or "''"):
                pictures = _find(str(item), errors, recursive=recursive, aside=aside)
        except ImageError as error:
            errors.append(error)
            continue
        for picture in pictures:
            found.setdefault(resolved_place(picture.path), picture)
    return _kept_apart(list(found.values())), errors


def resolved_place(path: Path) -> Path:
    """Return a file's absolute path, links of folders resolved; that of the file itself is not."""
    return Path(os.path.realpath(path.parent), path.name)


def _find(
    item: str, errors: list[ImageError], *, recursive: bool, aside: Sequence[Path]
) -> list[FoundPicture]:
    """Find what one input stands for; folders below it that cannot be read go to `errors`."""
    path = Path(item)
    try:
        mode = path.stat().st_mode if item else None
    except (FileNotFoundError, NotADirectoryError, ValueError):
        mode = None
    if mode is not None and not stat.S_ISDIR(mode):
        return [FoundPicture(path=path, folder=Path())]
    if mode is None and not glob.has_magic(item):
        raise ImageError("no such file")
    errors_before = len(errors)
    if mode is None:
        root, parts = _split_pattern(path)
    else:
        root, parts = path, ("**", "*") if recursive else ("*",)
    folders = {Path(os.path.realpath(folder)) for folder in aside}
    left_out = {folder for folder in folders if Path(os.path.realpath(root)) in folder.parents}
    pictures = [
        FoundPicture(path=p, folder=p.parent.relative_to(root))
        for p in _matches(root, parts, errors)
        if left_out.isdisjoint(resolved_place(p).parents)
    ]
    if not pictures and len(errors) == errors_before:
        raise ImageError("no pictures match this pattern" if mode is None else "no pictures in this folder")
    return pictures


def _split_pattern(pattern: Path) -> tuple[Path, tuple[str, ...]]:
    """Split a pattern into the folder before its first wildcard, and its parts from there."""
    parts = pattern.parts
    fixed = next(index for index, part in enumerate(parts) if glob.has_magic(part))
    last = ("*",) if parts[-1] == "**" else ()
    return Path(*parts[:fixed]), (*parts[fixed:], *last)


def _matches(folder: Path, parts: Sequence[str], errors: list[ImageError]) -> Iterator[Path]:
    """List the pictures that a pattern means. Unlike `glob`, `**` ends where links form a loop."""
    first, *rest = parts
    if first == "**":
        for below in _folders(folder, errors):
            yield from _matches(below, rest, errors)
        return
    folders, files = _children(folder, errors)
    if not rest:
        for file in files:
            if file.suffix.lower() in PICTURE_SUFFIXES and fnmatch.fnmatch(file.name, first):
                yield file
        return
    for below in folders:
        if fnmatch.fnmatch(below.name, first):
            yield from _matches(below, rest, errors)


def _folders(top: Path, errors: list[ImageError]) -> Iterator[Path]:
    """Walk a folder and those below it, each once."""
    seen: set[str] = set()
    waiting = [top]
    while waiting:
        folder = waiting.pop()
        real = os.path.realpath(folder)
        if real not in seen:
            seen.add(real)
            yield folder
            waiting += reversed(_children(folder, errors)[0])


def _children(folder: Path, errors: list[ImageError]) -> tuple[list[Path], list[Path]]:
    """List the folders and the files in a folder, hidden ones aside, in natural order."""
    folders: list[Path] = []
    files: list[Path] = []
    try:
        for child in sorted(folder.iterdir(), key=_natural):
            if not child.name.startswith("."):
                (folders if child.is_dir() else files).append(child)
    except OSError as error:
        message = f"{show_path(folder)}: cannot be read ({reason_of(error)})"
        if all(str(earlier) != message for earlier in errors):
            errors.append(ImageError(message))
    return folders, files


def _natural(path: Path) -> tuple[list[str | int], str]:
    """Order names as people count: 2 before 10."""
    pieces = re.split("([0-9]+)", path.name.casefold())  # every second piece is a number
    return [int(piece) if index % 2 else piece for index, piece in enumerate(pieces)], path.name


def folded(name: str | Path) -> str:
    """Return a name as systems have it that keep no two that differ in letter case or composition alone."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", str(name)).casefold())


def _kept_apart(found: list[FoundPicture]) -> list[FoundPicture]:
    """Give pictures of one name, letter case aside, and of one folder in the output, folders of their own."""
    for start_from_root in (False, True):
        names: dict[tuple[Path, str], list[FoundPicture]] = {}
        keys = [(picture.folder, folded(picture.path.name)) for picture in found]
        for key, picture in zip(keys, found, strict=True):
            names.setdefault(key, []).append(picture)
        for index, (key, picture) in enumerate(zip(keys, list(found), strict=True)):
            clashing = [other.path.parent.absolute() for other in names[key]]
            if len(set(clashing)) > 1:
                parts = picture.path.parent.absolute().parts
                shared = 1 if start_from_root else _shared_parts(clashing)
                found[index] = dataclasses.replace(picture, folder=Path(*parts[shared:]))
    return found


def _shared_parts(folders: list[Path]) -> int:
    """Count the parts with which all paths begin."""
    levels = zip(*(folder.parts for folder in folders), strict=False)
    return sum(1 for _ in itertools.takewhile(lambda level: len(set(level)) == 1, levels))
