"""Pictures and weights that the tests of metrics share, decoded and loaded once."""

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image

from sparnet.metrics.faces import FaceFinder, HrFace
from tests.shared_data import find_shared, read_test_faces


def shrink_and_enlarge(image: np.ndarray, size_px: int) -> np.ndarray:
    """Reduce a picture and enlarge it again, bicubically in 8 bits."""
    picture = Image.fromarray(image)
    small = picture.resize((size_px, size_px), Image.Resampling.BICUBIC)
    return np.asarray(small.resize(picture.size, Image.Resampling.BICUBIC))


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Two test processes on two cores would otherwise wait for each other's threads."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def astronaut() -> np.ndarray:
    return np.asarray(skimage.data.astronaut())


@pytest.fixture(scope="session")
def astronaut_sr(astronaut: np.ndarray) -> np.ndarray:
    return shrink_and_enlarge(astronaut, 64)


@pytest.fixture(scope="session")
def face(astronaut: np.ndarray) -> np.ndarray:
    return astronaut[10:138, 160:288]


@pytest.fixture(scope="session")
def face_sr(face: np.ndarray) -> np.ndarray:
    return shrink_and_enlarge(face, 16)


@pytest.fixture(scope="session")
def pack_faces() -> list[np.ndarray]:
    """The 440 pictures of the test pack: the central 85 % of each, at 128 px."""
    return list(read_test_faces())


@pytest.fixture(scope="session")
def pack_identities() -> list[str]:
    """Whom each of the 440 pictures shows, as a hash."""
    with (find_shared("faces/faces128-test") / "index.csv").open(encoding="utf-8") as file:
        return [row["identity"] for row in sorted(csv.DictReader(file), key=lambda row: row["file"])]


@pytest.fixture(scope="session")
def pack_faces_sr(pack_faces: list[np.ndarray]) -> list[np.ndarray]:
    return [shrink_and_enlarge(face, 16) for face in pack_faces]


@pytest.fixture(scope="session")
def auxiliary_weights() -> Iterator[Path]:
    """Let the auxiliary files be found in the shared folder."""
    folder = find_shared("models")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPARNET_WEIGHTS", str(folder))
        yield folder


@pytest.fixture(scope="session")
def face_finder() -> FaceFinder:
    return FaceFinder()


@pytest.fixture(scope="session")
def hr_face(face_finder: FaceFinder, face: np.ndarray) -> HrFace:
    return face_finder(face)
