"""Choose which of the faces found are restored, and say why the others are not.

Faces are numbered from 1 in the order the detector gives them, the largest first.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sparnet.errors import NoFaceFound
from sparnet.faces.detect import Face


@dataclass(frozen=True)
class Chosen:
    """A face to restore."""

    number: int
    """Its number, from 1."""
    face: Face


@dataclass(frozen=True)
class Skipped:
    """A face to leave as it is."""

    number: int
    """Its number, from 1."""
    face: Face
    reason: str
    """Why, for the user."""


@dataclass(frozen=True)
class Selection:
    """Every face of a photo in one of two groups, each in the order of their numbers."""

    chosen: tuple[Chosen, ...]
    skipped: tuple[Skipped, ...]


def select_faces(
    faces: Sequence[Face],
    photo_size: tuple[int, int],
    *,
    numbers: Sequence[int] | None = None,
    min_face_px: int | float = 0,
    only_center_face: bool = False,
    max_faces: int | None = None,
) -> Selection:
    """Choose faces. Every rule given applies, in the order of the arguments.

    Args:
        faces: The faces of a photo.
        photo_size: Width and height of the photo in px.
        numbers: The faces wanted, from 1; None for all.
        min_face_px: Faces with a smaller `Face.size_px` are skipped.
        only_center_face: Whether only the face nearest to the middle of the photo is chosen.
        max_faces: How many faces at most, the largest; None for all.

    Raises:
        NoFaceFound: If `numbers` names a face that the photo does not have.
        ValueError: If a number or `max_faces` is below 1.
    """
    if max_faces is not None and max_faces < 1:
        raise ValueError(f"max_faces must be 1 or more, got {max_faces}")
    if numbers is not None:
        _check_numbers(numbers, len(faces))
    left = list(enumerate(faces, start=1))
    skipped: list[Skipped] = []

    def keep(wanted: set[int], reason: str) -> None:
        skipped.extend(Skipped(number, face, reason) for number, face in left if number not in wanted)
        left[:] = [(number, face) for number, face in left if number in wanted]

    if numbers is not None:
        keep(set(numbers), f"not among the faces asked for ({','.join(map(str, numbers))})")
    for number, face in tuple(left):
        if face.size_px < min_face_px:
            keep({n for n, _ in left} - {number}, f"{face.size_px:.0f} px, smaller than {min_face_px:g} px")
    if only_center_face and left:
        nearest = min(left, key=lambda item: _distance_from_middle(item[1], photo_size))
        keep({nearest[0]}, "not the face nearest to the middle")
    if max_faces is not None:
        largest = sorted(left, key=lambda item: (-item[1].size_px, item[0]))[:max_faces]
        keep({number for number, _ in largest}, f"not among the {max_faces} largest")
    return Selection(
        chosen=tuple(Chosen(number, face) for number, face in left),
        skipped=tuple(sorted(skipped, key=lambda item: item.number)),
    )


def parse_numbers(text: str) -> tuple[int, ...]:
    """Read numbers of faces as a user writes them: `1,3`.

    Raises:
        ValueError: If it is not a list of whole numbers from 1.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and int(part) >= 1 for part in parts):
        raise ValueError(f"expected numbers of faces from 1, as in 1,3, got '{text}'")
    return tuple(dict.fromkeys(int(part) for part in parts))


def _check_numbers(numbers: Sequence[int], count: int) -> None:
    for number in numbers:
        if number < 1:
            raise ValueError(f"faces are numbered from 1, got {number}")
        if number > count:
            shown = {0: "no face", 1: "1 face"}.get(count, f"{count} faces")
            raise NoFaceFound(f"face {number} was asked for, the photo shows {shown}")


def _distance_from_middle(face: Face, photo_size: tuple[int, int]) -> float:
    left, top, right, bottom = face.box
    return float(((left + right - photo_size[0]) / 2) ** 2 + ((top + bottom - photo_size[1]) / 2) ** 2) ** 0.5
