"""Files of the output folder, which appear whole or not at all."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sparnet.errors import DataError
from sparnet.files import replacing
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
    with writing(path), replacing(path, by_way_of=output) as file:
        file.write(content)
