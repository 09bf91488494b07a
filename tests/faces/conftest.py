from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from sparnet.faces.detect import MtcnnDetector
from tests.shared_data import find_shared


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """Two test processes on two cores would otherwise wait for each other's threads."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    yield
    cv2.setNumThreads(threads)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real photographs."""
    return find_shared("photos").parent


@pytest.fixture(scope="session")
def read_photo():
    def read(name: str) -> np.ndarray:
        with Image.open(find_shared(f"photos/{name}")) as picture:
            return np.array(picture.convert("RGB"))

    return read


@pytest.fixture(scope="session")
def mtcnn() -> MtcnnDetector:
    return MtcnnDetector(threads=1)
