import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from sparnet.faces.detect import MtcnnDetector


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """Two test processes on two cores would otherwise wait for each other's threads."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    yield
    cv2.setNumThreads(threads)


@pytest.fixture(scope="session")
def shared() -> Path:
    beside_the_repository = Path(__file__).parents[3] / "shared"
    folder = Path(os.environ.get("SPARNET_SHARED", beside_the_repository))
    if not (folder / "photos").is_dir():
        pytest.skip(f"needs real photos in {folder}/photos; name another folder with SPARNET_SHARED")
    return folder


@pytest.fixture(scope="session")
def read_photo(shared):
    def read(name: str) -> np.ndarray:
        path = shared / "photos" / name
        if not path.is_file():
            pytest.skip(f"needs {path}")
        with Image.open(path) as picture:
            return np.array(picture.convert("RGB"))

    return read


@pytest.fixture(scope="session")
def mtcnn() -> MtcnnDetector:
    return MtcnnDetector(threads=1)
