"""Files of the output folder, which appear whole or not at all."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sparnet.errors import DataError
from sparnet.image import show_path


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the system's errors into one line that names the path."""
    try:
        yield
    except OSError as error:
        raise DataError(f"{show_path(path)}: cannot be written ({error.strerror})") from None


def write_file(output: Path, name: str, content: bytes) -> None:
    """Write a file of the output folder that appears whole or not at all."""
    path = output / name
    temporary = output / f".sparnet-{secrets.token_hex(8)}.tmp"
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_bytes(content)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
