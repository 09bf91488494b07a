"""Files that appear whole or not at all, and what killed processes have left of them."""

import json
import math
import os
import secrets
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

_LEFTOVERS = ".sparnet-*.tmp"


@contextmanager
def replacing(path: Path, *, by_way_of: Path | None = None) -> Iterator[IO[bytes]]:
    """Give a file to write to, which takes the name `path` only if all went well.

    Missing folders are made. The bytes are on the disk before the name is, so that a machine that
    loses its power has the old file or the new one. If anything is raised, `path` stays as it was
    and nothing is left beside it. While it is written, the file is locked: a process that is killed
    loses the lock, by which `remove_leftovers` knows what it has left.

    Args:
        path: The name.
        by_way_of: Folder in which it is written, on the same disk; None is that of `path`.

    Raises:
        OSError: If the folder or the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary, file = _begin(by_way_of or path.parent)
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            if sys.platform != "win32":  # before the lock is gone
                temporary.replace(path)
        if sys.platform == "win32":  # where an open file cannot be renamed
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes | str) -> None:
    """Write a file that appears whole or not at all; text is written as UTF-8.

    Raises:
        OSError: If the folder or the file cannot be written.
    """
    with replacing(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def read_json_lines(path: Path) -> list[Any]:
    """Read a file of one JSON value a line; there are none where there is no file.

    Lines that are no JSON, as the last of a program that was killed, are left out.

    Raises:
        OSError: If the file cannot be read.
    """
    values = []
    for line in path.read_bytes().splitlines() if path.exists() else []:
        try:
            values.append(json.loads(line))
        except ValueError:
            continue
    return values


def remove_leftovers(folders: Iterable[Path], *, recursive: bool = False) -> int:
    """Remove what processes that were killed had begun to write; return how many files that were.

    What a living process writes is locked and stays. So does everything where files cannot be locked:
    on Windows, and on some network disks. A file that cannot be removed stays too.

    Args:
        folders: Where to look; those that are not there hold nothing.
        recursive: Whether to look into folders inside them.
    """
    removed = 0
    for folder in set(folders):
        for path in folder.rglob(_LEFTOVERS) if recursive else folder.glob(_LEFTOVERS):
            with suppress(OSError), path.open("r+b") as file:
                if _lock(file, wait=False):
                    path.unlink(missing_ok=True)
                    removed += 1
    return removed


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Keep out other processes that claim the folder too, by a lock on it; nothing is written.

    The system lifts the lock when the process ends, even killed. Where folders cannot be locked, on
    Windows and on some network disks, nobody is kept out.

    Raises:
        BlockingIOError: If another has claimed it.
    """
    if sys.platform == "win32":
        yield
        return
    import fcntl

    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise
        except OSError:  # no locks here
            pass
        yield
    finally:
        os.close(handle)


def _begin(folder: Path) -> tuple[Path, IO[bytes]]:
    """Make a hidden file and lock it."""
    while True:
        path = folder / f".sparnet-{secrets.token_hex(8)}.tmp"
        file = path.open("x+b")
        _lock(file, wait=True)
        if path.exists():
            return path, file
        file.close()  # taken for a leftover between the two calls


def _lock(file: IO[bytes], *, wait: bool) -> bool:
    """Lock a file until it is closed; False if it is another's, or files cannot be locked here."""
    if sys.platform == "win32":
        return False
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def to_json(report: dict[str, Any]) -> str:
    """Return a report as JSON; numbers that are not finite, for which it has no word, become null."""
    return json.dumps(_finite(report), indent=2, allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
