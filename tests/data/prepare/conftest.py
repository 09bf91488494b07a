"""A folder of photos to prepare."""

from pathlib import Path

import pytest

from sparnet.image import write_image
from tests.data.prepare.preparing import noise


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Five square pictures of 32 px, one of them in a folder of its own."""
    folder = tmp_path / "photos"
    for number, name in enumerate(("1.png", "2.png", "10.png", "more/1.png", "more/zoë.webp")):
        write_image(folder / name, noise(32, 32, seed=number))
    return folder
