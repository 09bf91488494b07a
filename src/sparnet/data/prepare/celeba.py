"""Rough crops of faces in the wild, for SPARNet; and the lists that CelebA comes with."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field

from sparnet.config import Config
from sparnet.data.prepare.records import Cut, Square
from sparnet.errors import DataError
from sparnet.faces.detect import Detector, Face
from sparnet.image import Image, resize_bicubic, show_path

_SPLITS = {"0": "train", "1": "val", "2": "test"}


class CelebaConfig(Config):
    """How a photo in the wild becomes a rough crop, for SPARNet.

    Source: "Training Data" in section IV-A1.
    """

    kind: Literal["celeba"] = "celeba"
    """Which preparation this is."""
    size_px: int = Field(default=128, ge=16)
    """Side of the pictures made."""
    margin: float = Field(default=1.35, ge=1, le=4)
    """Side of the crop, in longer sides of the face's box."""
    larger_than_px: int = Field(default=128, ge=0)
    """Crops must be larger than this before they are resized: the crop's side, not the face's."""
    min_face_px: int = Field(default=40, ge=12)
    """Smallest face looked for. By the other defaults, one of 95 px is the smallest kept."""
    detector: str = "mtcnn"
    """What finds faces: mtcnn, or the path of a YuNet file in ONNX."""


def cut_celeba(image: Image, config: CelebaConfig, detector: Detector) -> list[Cut]:
    """Cut one face out of a photo, roughly and without alignment, and resize it by Pillow's bicubic.

    Source: "Training Data" in section IV-A1. That the crop, not the face's box, must be larger than
    128 px is what the authors say in issues 5 and 21 of the release; their margin is lost.
    """
    height, width = image.shape[:2]
    faces = detector.detect(image)
    if not faces:
        return [Cut(reason="no face")]
    face = choose_face(faces, height=height, width=width)
    square = square_around(face, margin=config.margin, height=height, width=width)
    if square is None:
        return [Cut(reason="cut off", face=face)]
    left, top, right, bottom = square
    if right - left <= config.larger_than_px:
        return [Cut(reason="too small", face=face, square=square)]
    made = resize_bicubic(image[top:bottom, left:right], config.size_px, config.size_px)
    return [Cut(image=made, face=face, square=square)]


def choose_face(faces: Sequence[Face], *, height: int, width: int) -> Face:
    """Choose the face that a photo is about: large and near the middle.

    The one with the largest `area - 2 * distance^2`, distance being that of the box's centre from
    the photo's.

    Source: the rule of facenet's `align_dataset_mtcnn.py`, with which MTCNN has been used since 2016.
    The paper says nothing.
    """

    def prominence(face: Face) -> float:
        left, top, right, bottom = face.box
        across, down = (left + right - width) / 2, (top + bottom - height) / 2
        return face.width * face.height - 2 * (across**2 + down**2)

    return max(faces, key=prominence)


def square_around(face: Face, *, margin: float, height: int, width: int) -> Square | None:
    """Return the square about a face's box, `margin` times its longer side.

    A square that reaches beyond the photo is moved inside, and is reduced to the photo's shorter side
    where it is larger than that.

    Returns:
        The square, or None if the photo is too narrow for the face.
    """
    side = min(round(margin * face.size_px), height, width)
    if side < int(face.size_px):
        return None
    left = round((face.box[0] + face.box[2] - side) / 2)
    top = round((face.box[1] + face.box[3] - side) / 2)
    left, top = min(max(left, 0), width - side), min(max(top, 0), height - side)
    return left, top, left + side, top + side


def read_partition(path: Path) -> dict[str, str]:
    """Read CelebA's `list_eval_partition.txt` (or Kaggle's `.csv`).

    Returns:
        `train`, `val` or `test` for each picture's name without suffix.

    Raises:
        DataError: If the file cannot be read or has a line of another kind.
    """
    numbers = _read_pairs(path, "a picture's name and 0, 1 or 2")
    for stem, number in numbers.items():
        if number not in _SPLITS:
            raise DataError(f"{show_path(path)}: {stem} has part {number!r}, expected 0, 1 or 2")
    return {stem: _SPLITS[number] for stem, number in numbers.items()}


def read_identities(path: Path) -> dict[str, str]:
    """Read CelebA's `identity_CelebA.txt`.

    Returns:
        `celeba-2880` or the like, for each picture's name without suffix.

    Raises:
        DataError: If the file cannot be read or has a line of another kind.
    """
    people = _read_pairs(path, "a picture's name and a person's number")
    return {stem: f"celeba-{person}" for stem, person in people.items()}


def _read_pairs(path: Path, expected: str) -> dict[str, str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise DataError(f"{show_path(path)}: no such file") from None
    except OSError as error:
        raise DataError(f"{show_path(path)}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise DataError(f"{show_path(path)}: not a text file in UTF-8") from None
    pairs: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        words = line.replace(",", " ").split()
        if not words or words[0] == "image_id":  # the head of Kaggle's copies
            continue
        if len(words) != 2:
            raise DataError(f"{show_path(path)}: line {number} is {line[:60]!r}, expected {expected}")
        pairs[Path(words[0]).stem] = words[1]
    if not pairs:
        raise DataError(f"{show_path(path)}: is empty, expected {expected} on each line")
    return pairs
