"""Read training faces: a folder of pictures, or packs (tars of pictures with an index).

A pack is a folder with `index.csv` (columns file, shard, identity, terms, ...) and one or more tars
whose names end in `-NN.tar`, NN being the shard. All faces of a set are kept in memory as uint8.
"""

import csv
import hashlib
import tarfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int, UInt8

from sparnet.errors import DataError, ImageError
from sparnet.image import Image, decode_photo, picture_size, resize_bicubic

SUFFIXES = frozenset({".webp", ".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"})


@dataclass(frozen=True)
class Face:
    """One picture on disk, not yet decoded."""

    name: str
    """File name within its source; unique there."""
    identity: str
    """Who it shows; the file's name where that is unknown."""
    terms: str
    """Terms of use; empty where not stated."""
    encoded: bytes
    """The file's bytes."""


@dataclass(frozen=True)
class FaceSet:
    """Square faces of several sizes, decoded, in one array.

    A picture smaller than the array's side lies in its top left corner; `sizes` says how large it is.
    """

    pixels: UInt8[np.ndarray, "n side side 3"]
    sizes: Int[np.ndarray, " n"]
    names: tuple[str, ...]
    identities: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    def subset(self, indices: Sequence[int]) -> "FaceSet":
        """Keep the faces at `indices`, in that order."""
        rows = np.asarray(indices, dtype=np.int64)
        return self._of(rows, self.pixels[rows])

    def keep(self, indices: Sequence[int]) -> "FaceSet":
        """Keep the faces at `indices`, in their order, in the memory of this set, which is lost.

        Args:
            indices: Rising.
        """
        rows = np.asarray(indices, dtype=np.int64)
        for place, row in enumerate(rows):
            if place != row:
                self.pixels[place] = self.pixels[row]
        return self._of(rows, self.pixels[: len(rows)])

    def _of(self, rows: np.ndarray, pixels: UInt8[np.ndarray, "n h w 3"]) -> "FaceSet":
        """Return the set of the faces at `rows`, whose pixels are `pixels`."""
        return FaceSet(
            pixels,
            self.sizes[rows],
            tuple(self.names[i] for i in rows),
            tuple(self.identities[i] for i in rows),
        )

    def picture(self, index: int) -> UInt8[np.ndarray, "h w 3"]:
        """Return one face at its own size."""
        size = int(self.sizes[index])
        return self.pixels[index, :size, :size]


def read_faces(folder: Path, *, terms: frozenset[str] | None = None) -> list[Face]:
    """Read the encoded faces of a pack or a folder of pictures, in order of their names.

    Args:
        folder: The pack or folder.
        terms: Keep only pictures under these terms of use; None keeps all.

    Raises:
        DataError: If the folder is missing, has no pictures, or a pack lacks a picture of its index.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder of faces")
    faces = list(_read_pack(folder) if (folder / "index.csv").is_file() else _read_folder(folder))
    if terms is not None:
        faces = [face for face in faces if face.terms in terms]
    if not faces:
        which = f" under the terms {', '.join(sorted(terms))}" if terms else ""
        raise DataError(f"{folder}: no pictures{which} ({', '.join(sorted(SUFFIXES))} are looked for)")
    return faces


def _read_folder(folder: Path) -> Iterator[Face]:
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in SUFFIXES and path.is_file():
            name = path.relative_to(folder).as_posix()
            yield Face(name=name, identity=name, terms="", encoded=path.read_bytes())


def _read_pack(folder: Path) -> Iterator[Face]:
    index = folder / "index.csv"
    rows = _read_index(index)
    shards = {
        int(number): path
        for path in folder.glob("*-[0-9]*.tar")
        if (number := path.stem.rsplit("-", 1)[-1]).isdecimal()
    }
    members: dict[int, dict[str, bytes]] = {}
    for line, row in enumerate(rows, start=2):
        if not row["file"] or not (row["shard"] or "").isdecimal():
            raise DataError(f"{index}: entry {line - 1} names no file, or no shard by its number")
        shard = int(row["shard"])
        if shard not in members:
            if shard not in shards:
                raise DataError(f"{folder}: shard {shard} of index.csv has no tar")
            members[shard] = _read_tar(shards[shard])
        if row["file"] not in members[shard]:
            raise DataError(f"{shards[shard]}: {row['file']} of index.csv is missing")
        yield Face(
            name=row["file"],
            identity=row.get("identity") or row["file"],
            terms=row.get("terms") or "",
            encoded=members[shard][row["file"]],
        )


def _read_index(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file, strict=True))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise DataError(f"{path}: not a text file in UTF-8") from None
    except csv.Error as error:
        raise DataError(f"{path}: not a table of comma-separated values ({error})") from None
    if not rows or not {"file", "shard"} <= rows[0].keys():
        raise DataError(f"{path}: expected columns file, shard, identity, terms")
    return rows


def _read_tar(path: Path) -> dict[str, bytes]:
    try:
        with tarfile.open(path, "r:") as tar:
            return {
                member.name.rsplit("/", 1)[-1]: file.read()
                for member in tar
                if member.isfile() and (file := tar.extractfile(member)) is not None
            }
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None
    except (tarfile.TarError, ValueError, EOFError, OverflowError) as error:
        raise DataError(f"{path}: damaged tar ({' '.join(str(error).split())})") from None


def decode_faces(faces: Sequence[Face], *, smallest_px: int, largest_px: int, source: Path) -> FaceSet:
    """Decode faces into one array.

    Args:
        faces: What `read_faces` gave.
        smallest_px: Least side a picture may have.
        largest_px: Side that larger pictures are reduced to (Pillow bicubic), to bound memory.
        source: Named in messages.

    Raises:
        DataError: If a picture cannot be decoded, is not square or is smaller than `smallest_px`.
    """
    return _decode_all([(face, source) for face in faces], smallest_px, largest_px)


def decode_face(face: Face, *, source: Path) -> Image:
    """Decode a face as every photo is: upright, 16 bits reduced to 8, transparency left out.

    Raises:
        DataError: If it is no picture, damaged or too large.
    """
    try:
        return decode_photo(face.encoded).pixels
    except ImageError as error:
        raise DataError(f"{source}: {face.name}: {error}") from None


def _decode_all(faces: Sequence[tuple[Face, Path]], smallest_px: int, largest_px: int) -> FaceSet:
    """Decode faces of several sources, each into its place, so that the set is in memory once."""
    with ThreadPoolExecutor() as pool:
        sizes = np.array(
            list(pool.map(lambda one: _size(one[0], one[1], smallest_px, largest_px), faces)), np.int64
        )
        pixels = np.zeros((len(faces), sizes.max(), sizes.max(), 3), dtype=np.uint8)
        places = [pixels[row, :size, :size] for row, size in enumerate(sizes)]
        for _ in pool.map(_decode_into, places, faces):
            pass
    return FaceSet(
        pixels, sizes, tuple(face.name for face, _ in faces), tuple(face.identity for face, _ in faces)
    )


def _size(face: Face, source: Path, smallest_px: int, largest_px: int) -> int:
    """Return the side a face will have, by its header."""
    try:
        width, height = picture_size(face.encoded)
    except ImageError as error:
        raise DataError(f"{source}: {face.name}: {error}") from None
    if width != height:
        raise DataError(
            f"{source}: {face.name} is {width} x {height} px; training faces must be square "
            "(sparnet prepare makes them so)"
        )
    if width < smallest_px:
        raise DataError(
            f"{source}: {face.name} is {width} px, smaller than the crop of {smallest_px} px; "
            "remove it or lower image_size"
        )
    return min(width, largest_px)


def _decode_into(place: UInt8[np.ndarray, "side side 3"], face: tuple[Face, Path]) -> None:
    one, source = face
    picture = decode_face(one, source=source)
    side = place.shape[0]
    if picture.shape[0] > side:
        picture = resize_bicubic(picture, side, side)
    if picture.shape != place.shape:
        raise DataError(f"{source}: {one.name} has other sizes than its header says")
    place[:] = picture


def load_face_set(
    folders: Sequence[Path], *, smallest_px: int, largest_px: int, terms: frozenset[str] | None = None
) -> FaceSet:
    """Read and decode all faces of several packs or folders into one set."""
    if not folders:
        raise DataError("no folder of faces is named (data.train)")
    faces = [(face, folder) for folder in folders for face in read_faces(folder, terms=terms)]
    return _decode_all(faces, smallest_px, largest_px)


def count_shared(faces: FaceSet, others: FaceSet) -> int:
    """Count the pictures of `others` that are in `faces` as well, pixel for pixel."""
    by_row: dict[bytes, list[int]] = {}
    for index in range(len(faces)):
        by_row.setdefault(_middle_row(faces.picture(index)), []).append(index)
    pictures = [others.picture(index) for index in range(len(others))]
    return sum(
        any(np.array_equal(faces.picture(index), picture) for index in by_row.get(_middle_row(picture), ()))
        for picture in pictures
    )


def _middle_row(picture: UInt8[np.ndarray, "h w 3"]) -> bytes:
    return picture[len(picture) // 2].tobytes()


def choose_faces(faces: FaceSet, count: int) -> FaceSet:
    """Keep `count` faces of a set, chosen by the hash of their names and left in their order.

    Raises:
        DataError: If there are fewer.
    """
    if count > len(faces):
        raise DataError(f"cannot train on {count} faces of {len(faces)}; lower data.images")
    order = sorted(range(len(faces)), key=lambda index: hashlib.sha256(faces.names[index].encode()).digest())
    return faces.subset(sorted(order[:count]))


def hold_out_people(faces: FaceSet, *, people: int, seed: int = 0) -> tuple[list[int], list[int]]:
    """Split a set by identity, so that nobody is on both sides.

    Who is held out depends on the identities' hashes alone, not on order or number of the pictures.

    Returns:
        Indices to train on, and indices of the `people` held out.

    Raises:
        DataError: If there are not more people than are to be held out.
    """
    known = sorted(set(faces.identities), key=lambda name: hashlib.sha256(f"{seed}/{name}".encode()).digest())
    if people >= len(known):
        raise DataError(f"cannot hold out {people} people of {len(known)}; lower data.holdout_people")
    held = set(known[:people])
    train = [i for i, name in enumerate(faces.identities) if name not in held]
    out = [i for i, name in enumerate(faces.identities) if name in held]
    return train, out
