"""What becomes of a photo: faces cut out, lines of the manifest, and what they come to."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from pydantic import Field

from sparnet.config import Config
from sparnet.faces.detect import Face
from sparnet.image import Image

Reason: TypeAlias = Literal[
    "no face",
    "too small",
    "too large",
    "cut off",
    "not square",
    "cannot be aligned",
    "in no split",
    "cannot be read",
    "name taken",
]
"""Why a photo or a face of it was not kept."""
Square: TypeAlias = tuple[int, int, int, int]
"""Left, top, right, bottom in whole px of the photo."""


@dataclass(frozen=True, eq=False)
class Cut:
    """One face of a photo, cut out, or the reason why not."""

    image: Image | None = None
    reason: Reason | None = None
    face: Face | None = None
    square: Square | None = None


class Record(Config):
    """A line of the manifest: what became of one face, or of a photo without."""

    source: str
    """The photo's path in its folder, with `/`."""
    face: int = Field(default=0, ge=0)
    """Number of this line among those of its photo."""
    faces: int = Field(default=1, ge=1)
    """Lines that its photo has."""
    outcome: Literal["kept", "dropped", "failed"]
    """Whether a picture was made; none could be made of a photo that failed."""
    reason: Reason | None = None
    """Why none was made."""
    detail: str | None = None
    """More on the reason, for the user to read."""
    width_px: int | None = None
    """Width of the photo."""
    height_px: int | None = None
    """Height of the photo."""
    box: tuple[float, float, float, float] | None = None
    """Left, top, right, bottom of the face in px of the photo."""
    score: float | None = None
    """How sure the detector is, 0..1."""
    square: Square | None = None
    """What was cut out, in px of the photo."""
    file: str | None = None
    """The picture's path in the output folder, with `/`; in a pack, the `path` of the index."""
    split: str | None = None
    """Part of the official partition."""
    identity: str | None = None
    """Who it shows."""
    sha256: str | None = None
    """Hash of the picture's file."""
    size_bytes: int | None = None
    """Length of the picture's file."""


@dataclass(frozen=True)
class Summary:
    """What a prepared folder came to."""

    photos: int
    """Photos of which the manifest tells."""
    kept: dict[str, int]
    """Pictures made, by split; the split of a set without a partition is called `all`."""
    dropped: dict[str, int]
    """Photos and faces left out, by reason."""
    failed: list[str]
    """A line for each photo that failed."""


def explain(record: Record) -> str:
    """Say in words why no picture was made."""
    return record.detail or str(record.reason)
