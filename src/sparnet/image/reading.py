"""From files, on a disk or in memory, to photos."""

import dataclasses
import io
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
from jaxtyping import UInt8

from sparnet.errors import ImageError
from sparnet.image.failures import coding, nameless, naming, quiet_pillow
from sparnet.image.formats import (
    MAX_PIXELS,
    ByteFile,
    check_length,
    check_scans,
    decoded_size,
    format_of,
    is_lossless_webp,
    open_picture,
    tiff_tag,
)
from sparnet.image.metadata import ORIENTATION, read_dpi, read_exif, read_orientation, read_xmp
from sparnet.image.photo import Photo
from sparnet.image.pixels import Image, turn
from sparnet.image.profiles import fitting_profile
from sparnet.image.samples import deepened, has_deep_colour, read_samples, scale_key, without_colour

_FIRST_ONLY = {
    "TIFF": "several pages: only the first is used",
    "HEIF": "several pictures: only the main one is used",
}


def read_image(path: str | Path, *, max_pixels: int = MAX_PIXELS) -> Image:
    """Read a picture, upright, whatever its format.

    Transparency is left out, not blended. See `read_photo`, which keeps it.

    Args:
        path: A JPEG, PNG, WebP, TIFF, BMP, GIF (its first frame), AVIF or HEIC file.
        max_pixels: Larger pictures are refused before they are decoded.

    Raises:
        ImageError: If there is no such file, or it is no picture, damaged, or too large.
    """
    return read_photo(path, max_pixels=max_pixels).pixels


def read_photo(path: str | Path, *, max_pixels: int = MAX_PIXELS) -> Photo:
    """Read a photo with all that must survive to the output.

    Pixels stay in the colour space of the file; its profile is in `Photo.icc_profile`. CMYK and
    Lab become sRGB.

    Args:
        path: A JPEG, PNG, WebP, TIFF, BMP, GIF (its first frame), AVIF or HEIC file.
        max_pixels: Larger pictures are refused before they are decoded. Above 512 million,
            Pillow's own limit (`PIL.Image.MAX_IMAGE_PIXELS`) must be raised as well.

    Raises:
        ImageError: If there is no such file, or it is no picture, damaged, or too large.
    """
    path = Path(path)
    with naming(path), _open_file(path) as file:
        return _read(file, max_pixels, lambda: np.fromfile(path, np.uint8))


def decode_photo(data: bytes, *, max_pixels: int = MAX_PIXELS) -> Photo:
    """Read a photo from memory; see `read_photo`.

    Args:
        data: The whole content of a file.
        max_pixels: Larger pictures are refused before they are decoded.

    Raises:
        ImageError: If it is no picture, damaged, or too large.
    """
    with nameless():
        return _read(_opened(data), max_pixels, lambda: np.frombuffer(data, np.uint8))


def picture_size(data: bytes) -> tuple[int, int]:
    """Return width and height that a picture's header states, before it is turned upright.

    Nothing is decoded, so that a caller can refuse what is too large for it. A TIFF of one tile that
    is larger than the picture has the tile's.

    Args:
        data: The whole content of a file.

    Raises:
        ImageError: If it is no picture, or its header is damaged.
    """
    with nameless():
        file = _opened(data)
        kind = format_of(file.read(64))
        with coding(f"the {kind} file cannot be decoded"), quiet_pillow():
            return decoded_size(open_picture(kind, file))


@contextmanager
def _open_file(path: Path) -> Iterator[IO[bytes]]:
    try:
        status = path.stat()
    except ValueError:  # a null character
        raise ImageError("no such file") from None
    if stat.S_ISDIR(status.st_mode):
        raise ImageError("a folder, not a picture")
    if not stat.S_ISREG(status.st_mode):
        raise ImageError("not a regular file")
    if status.st_size == 0:
        raise ImageError("the file is empty")
    with path.open("rb") as file:
        yield file


def _opened(data: bytes) -> ByteFile:
    if not data:
        raise ImageError("the file is empty")
    return io.BytesIO(data)


def _read(file: ByteFile, max_pixels: int, read_anew: Callable[[], UInt8[np.ndarray, "n"]]) -> Photo:
    header = file.read(64)
    kind = format_of(header)
    notes: list[str] = []
    with coding(f"the {kind} file cannot be decoded"):
        check_length(kind, header, file.seek(0, io.SEEK_END))
        if kind == "JPEG":
            check_scans(file)
        is_lossless = kind == "WEBP" and is_lossless_webp(file)
        with quiet_pillow():
            picture = open_picture(kind, file)
            if kind == "TIFF":  # so that loading finds its directories read, and warns of nothing
                read_exif(picture, [])
            if getattr(picture, "is_animated", False):
                notes.append(_FIRST_ONLY.get(kind, "animated: only the first frame is used"))
        width, height = decoded_size(picture)
        if width * height > max_pixels:
            size = f"{width:,} x {height:,} = {width * height:,}"
            raise ImageError(f"has {size} pixels; more than {max_pixels:,} are not decoded")
        is_deep = has_deep_colour(kind, header, picture)
        tiff_orientation = tiff_tag(picture, ORIENTATION)
        scale_key(kind, header, picture)
        picture.load()
        photo = read_samples(picture, notes)
        with quiet_pillow():
            orientation = read_orientation(picture)
            photo = dataclasses.replace(
                photo,
                exif=read_exif(picture, notes),
                xmp=read_xmp(picture),
                dpi=read_dpi(picture),
                format=kind,
                is_lossless=is_lossless,
            )
        mode, profile = picture.mode, picture.info.get("icc_profile")
        del picture  # a quarter of a large photo's memory
    if is_deep:
        photo = deepened(photo, read_anew, tiff_orientation, notes)
    if not photo.is_gray:
        photo = dataclasses.replace(photo, is_gray=without_colour(photo))
    profile = fitting_profile(profile, mode, notes, is_gray=photo.is_gray)
    return dataclasses.replace(_turned(photo, orientation), icc_profile=profile, notes=tuple(notes))


def _turned(photo: Photo, orientation: int) -> Photo:
    if orientation == 1:
        return photo
    deep = photo.deep
    if deep is not None:
        channels = slice(1) if photo.is_gray else slice(3)
        upright = turn(deep[..., channels], orientation)
        deep = np.broadcast_to(upright, (*upright.shape[:2], 3))
    return dataclasses.replace(
        photo,
        pixels=turn(photo.pixels, orientation),
        alpha=None if photo.alpha is None else turn(photo.alpha, orientation),
        deep=deep,
        deep_alpha=None if photo.deep_alpha is None else turn(photo.deep_alpha, orientation),
    )
