"""Files that appear whole or not at all."""

import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Give a file to write to, which takes the name `path` only if all went well.

    Missing folders are made. The bytes are on the disk before the name is, so that a machine that
    loses its power has the old file or the new one. If anything is raised, `path` stays as it was
    and nothing is left beside it.

    Raises:
        OSError: If the folder or the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".sparnet-{secrets.token_hex(8)}.tmp"
    try:
        with temporary.open("x+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
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


def remove_leftovers(folder: Path, *, older_than_seconds: float = 600.0) -> None:
    """Remove what killed programs had begun to write in a folder and below it.

    Args:
        folder: Where `replacing` wrote; need not exist.
        older_than_seconds: Younger ones stay, which another program may be writing now.
    """
    before = time.time() - older_than_seconds
    for path in folder.rglob(".sparnet-*.tmp"):
        try:
            if path.stat().st_mtime < before:
                path.unlink()
        except FileNotFoundError:
            continue
