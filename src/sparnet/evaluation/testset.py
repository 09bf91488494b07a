"""A test set: originals, and the bad faces that a network is given in their place."""

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sparnet.data.faces import Face, decode_face, read_faces
from sparnet.data.validation import central_square
from sparnet.degradation import RELEASE, degrade
from sparnet.errors import DataError
from sparnet.image import PICTURE_SUFFIXES, AnyImage, Image, read_image, resize_bicubic


@dataclass(frozen=True)
class TestFace:
    """One face to be judged by."""

    __test__ = False

    name: str
    """Its file's name without suffix, folders inside the set's before it."""
    identity: str
    """Who it shows; the file's name where that is unknown."""
    hr: Image
    """The original."""
    lr: AnyImage
    """The bad face at its own size; the same as `lr_up` where it was made by equation 14."""
    lr_up: Image
    """The bad face enlarged bicubically to the original's size: what is beside every model."""

    def at(self, side: int) -> Image:
        """Return the bad face as a network reads it that takes faces of `side` px."""
        return self.lr_up if side == self.hr.shape[0] else resize_bicubic(self.lr, side, side)


@dataclass(frozen=True)
class TestSetOptions:
    """How a test set is made of the originals."""

    __test__ = False

    upscale_factor: int | None = 8
    """Bicubic reduction by this factor; None degrades by equation 14 (preset `release`)."""
    framing: float = 1.0
    """Central share of each original's side that is kept; 0.85 for the packs of rough crops."""
    size_px: int | None = None
    """Side that the originals are resized to (Pillow bicubic); None keeps theirs."""
    seed: int = 0
    """Seed of the degradations; each depends on it and on the picture's name."""
    limit: int | None = None
    """Only the first so many faces, by name."""

    @property
    def description(self) -> str:
        """The options in one line, for reports."""
        kind = (
            f"bicubic 1/{self.upscale_factor}"
            if self.upscale_factor
            else f"degraded by equation 14 (release, seed {self.seed})"
        )
        framing = "" if self.framing == 1 else f"central {self.framing:g} of the side, "
        size = "" if self.size_px is None else f"{self.size_px} px, "
        return f"{framing}{size}{kind}"


def read_test_set(hr: Path, options: TestSetOptions, *, lr: Path | None = None) -> list[TestFace]:
    """Read originals from a folder or a pack, and make or read the bad faces that go with them.

    Args:
        hr: Folder of pictures, or a pack (see docs/data.md).
        options: How the bad faces are made.
        lr: Folder of bad faces instead, paired with the originals by name.

    Raises:
        DataError: If a folder is empty, names do not pair, or sizes do not fit.
    """
    faces = {_stem(face): face for face in _by_name(hr)}
    left_out = _after(faces, options.limit)
    originals = {
        name: _frame(decode_face(face, source=hr), options, name)
        for name, face in faces.items()
        if name not in left_out
    }
    given = None
    if lr is not None:
        given = read_named(lr, originals, what="low-resolution face", left_out=left_out)
    return [
        _face(name, faces[name].identity, original, options, given) for name, original in originals.items()
    ]


def left_out_names(hr: Path, limit: int | None) -> frozenset[str]:
    """Name the originals that a limit leaves out."""
    return _after([_stem(face) for face in _by_name(hr)], limit)


def _after(names: Iterable[str], limit: int | None) -> frozenset[str]:
    return frozenset() if limit is None else frozenset(list(names)[limit:])


def read_named(
    folder: Path, wanted: Mapping[str, object], *, what: str, left_out: Collection[str] | None = ()
) -> dict[str, AnyImage]:
    """Read pictures and pair them by name; neither side may have one that the other lacks.

    Args:
        folder: The pictures; in folders inside it where the names have folders.
        wanted: Names that must be there.
        what: What the pictures are, for messages.
        left_out: Names that may be there and are not read; None: any.

    Raises:
        DataError: If the names are not the same.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder")
    paths: dict[str, Path] = {}
    nested = any("/" in name for name in (*wanted, *(left_out or ())))
    for path in sorted(folder.rglob("*") if nested else folder.iterdir()):
        if path.suffix.lower() in PICTURE_SUFFIXES and path.is_file():
            name = path.relative_to(folder).with_suffix("").as_posix()
            if name in paths:
                raise DataError(f"{folder}: two pictures are named {name}; which one is meant?")
            paths[name] = path
    missing = [name for name in wanted if name not in paths]
    extra = [name for name in paths if name not in wanted and left_out is not None and name not in left_out]
    if missing or extra:
        parts = [
            f"{len(names)} {kind} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
            for kind, names in ((f"originals have no {what}", missing), (f"{what}s have no original", extra))
            if names
        ]
        raise DataError(f"{folder}: names do not pair: {'; '.join(parts)}")
    return {name: read_image(paths[name]) for name in wanted}


def _by_name(folder: Path) -> list[Face]:
    """Read originals in order of their names.

    Raises:
        DataError: If two have one name, but for its suffix: results could not be paired with them.
    """
    faces = sorted(read_faces(folder), key=lambda face: face.name)
    seen: set[str] = set()
    for face in faces:
        if _stem(face) in seen:
            raise DataError(f"{folder}: two pictures are named {_stem(face)}; which one is meant?")
        seen.add(_stem(face))
    return faces


def _stem(face: Face) -> str:
    return Path(face.name).with_suffix("").as_posix()


def _frame(picture: AnyImage, options: TestSetOptions, name: str) -> AnyImage:
    rows, columns = picture.shape[:2]
    if rows != columns:
        raise DataError(f"{name} is {columns} x {rows} px; test faces must be square")
    kept = central_square(picture, options.framing)
    size = options.size_px or len(kept)
    return kept if size == len(kept) else resize_bicubic(kept, size, size)


def _face(
    name: str, identity: str, hr: Image, options: TestSetOptions, given: dict[str, AnyImage] | None
) -> TestFace:
    size = hr.shape[0]
    if given is not None:
        lr = given[name]
        if lr.shape[0] != lr.shape[1] or size % lr.shape[0]:
            raise DataError(
                f"{name}: the low-resolution face is {lr.shape[1]} x {lr.shape[0]} px, which does not divide "
                f"the original's {size}"
            )
    elif options.upscale_factor is None:
        digest = hashlib.sha256(name.encode()).digest()[:8]
        chance = np.random.default_rng([options.seed, int.from_bytes(digest, "little")])
        lr = degrade(hr, chance, RELEASE)
    else:
        if size % options.upscale_factor:
            raise DataError(f"{name}: {size} px cannot be reduced by {options.upscale_factor}")
        lr = resize_bicubic(hr, size // options.upscale_factor, size // options.upscale_factor)
    lr_up = lr if lr.shape == hr.shape else resize_bicubic(lr, size, size)
    return TestFace(name, identity, hr, lr, lr_up)
