"""Read and write photos, and find them on disk.

A picture is `uint8`, H x W x RGB, everywhere in this half. What else a photo is (transparency,
gray, 16 bits, colour profile, EXIF) is kept beside the pixels in a `Photo`, and goes back into
the file that is written. Pixels stay in the file's own colour space and its ICC profile travels
on; CMYK and Lab alone are turned into sRGB.
"""

import dataclasses
import fnmatch
import glob
import importlib
import io
import itertools
import os
import re
import stat
import struct
import threading
import unicodedata
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TypeAlias

import numpy as np
import PIL.Image
from jaxtyping import UInt8, UInt16

from sparnet.errors import ImageError
from sparnet.files import replacing

Image: TypeAlias = UInt8[np.ndarray, "h w 3"]
"""A picture: 8 bits, rows x columns x (red, green, blue)."""
AnyImage: TypeAlias = UInt8[np.ndarray, "_ _ 3"]
"""A picture whose size has nothing to do with that of the others in a signature."""

ByteFile: TypeAlias = IO[bytes] | io.BytesIO
"""A file, on a disk or in memory."""

MAX_PIXELS = 256_000_000
"""Largest picture that is decoded unless the caller says otherwise: 0.8 GB as an array."""

WRITABLE_SUFFIXES = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".jpe": "JPEG",
    ".jfif": "JPEG",
    ".png": "PNG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
    ".gif": "GIF",
    ".avif": "AVIF",
    ".heic": "HEIF",
    ".heif": "HEIF",
}
"""Format written for each suffix."""

PICTURE_SUFFIXES = frozenset({*WRITABLE_SUFFIXES, ".apng", ".hif"})
"""Suffixes by which a folder's pictures are known."""

_READABLE = "JPEG, PNG, WebP, TIFF, BMP, GIF, AVIF, HEIC"
_SIGNATURES = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"BM", "BMP"),
)
_AVIF_BRANDS = (b"avif", b"avis")
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1")
_READERS = {
    "JPEG": ("PIL.JpegImagePlugin", "JpegImageFile"),
    "PNG": ("PIL.PngImagePlugin", "PngImageFile"),
    "WEBP": ("PIL.WebPImagePlugin", "WebPImageFile"),
    "TIFF": ("PIL.TiffImagePlugin", "TiffImageFile"),
    "BMP": ("PIL.BmpImagePlugin", "BmpImageFile"),
    "GIF": ("PIL.GifImagePlugin", "GifImageFile"),
    "AVIF": ("PIL.AvifImagePlugin", "AvifImageFile"),
    "HEIF": ("pillow_heif", "HeifImageFile"),
}
_REMEDIES = {
    "AVIF": "pip install --upgrade pillow",
    "HEIF": "pip install 'sparnet[heic]'",
}

_FIRST_ONLY = {
    "TIFF": "several pages: only the first is used",
    "HEIF": "several pictures: only the main one is used",
}

_NO_ALPHA = frozenset({"JPEG", "BMP"})
_NO_PROFILE = frozenset({"BMP", "GIF"})
_NO_GRAY = frozenset({"WEBP", "HEIF"})
# Limits of the formats themselves: 16-bit sizes; 14 bits in WebP; 65,500 is libjpeg's own.
_LONGEST_SIDE = {"JPEG": 65_500, "WEBP": 16_383, "GIF": 65_535, "AVIF": 65_535, "HEIF": 65_535}

_EXIF_PREFIX = b"Exif\x00\x00"
_LONGEST_JPEG_EXIF = 65_533
_LONGEST_JPEG_XMP = 65_504
_ORIENTATION = 274
# Image description, make, model, software, date, artist, copyright: what one TIFF may take over
# from another. The rest of the first directory says how the pixels of that file are stored.
_DESCRIPTIVE_TAGS = (270, 271, 272, 305, 306, 315, 33432)
_EXIF_DIRECTORIES = (34665, 34853)  # EXIF proper, and GPS
_EXIF_OFFSETS = frozenset({37500, 40965})  # makers' notes and Interop: they point into the old file
_PNG_XMP = "XML:com.adobe.xmp"
# XMP of other parts of the file (a gain map, a video, a depth map), which are not kept.
_XMP_OF_PARTS = (
    b"hdrgm:", b"Container:", b"MotionPhoto", b"MicroVideo", b"GImage:", b"GDepth:", b"HasExtendedXMP",
)  # fmt: skip

# What Pillow's readers raise on damaged files. Warning: for programs that turn warnings into errors.
_CODEC_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    PIL.Image.DecompressionBombError,
    RuntimeError,
    SyntaxError,
    SystemError,
    TypeError,
    ValueError,
    Warning,
    struct.error,
    zlib.error,
)

_PILLOWS_LIMIT = 1024 * 1024 * 1024 // 4 // 3
_WARNINGS_LOCK = threading.Lock()


@dataclasses.dataclass(frozen=True, eq=False)
class Photo:
    """A picture and what must survive to the file that is written."""

    pixels: Image
    """The picture, upright."""
    alpha: UInt8[np.ndarray, "h w"] | None = None
    """Opacity, or None for a format or picture without."""
    is_gray: bool = False
    """Whether the picture has no colour, by its format or because its channels are all equal."""
    deep: UInt16[np.ndarray, "h w 3"] | None = None
    """The 16-bit samples of which `pixels` are the rounded 8-bit ones."""
    deep_alpha: UInt16[np.ndarray, "h w"] | None = None
    """The 16-bit samples of `alpha`; only where `deep` is."""
    icc_profile: bytes | None = None
    """What the numbers in `pixels` mean as colours; None for sRGB or unknown."""
    exif: bytes | None = None
    """EXIF, with its `Exif` prefix, orientation 1, and no thumbnail."""
    xmp: bytes | None = None
    """XMP packet."""
    dpi: tuple[float, float] | None = None
    """Printing resolution across and down, in dots per inch."""
    format: str = ""
    """Format read, by Pillow's name (`"JPEG"`), or empty."""
    notes: tuple[str, ...] = ()
    """What of the file was not kept, for the user to read."""

    def with_pixels(self, pixels: Image) -> "Photo":
        """Return this photo with other content, perhaps of another size.

        Gray stays gray: the luma of `pixels` is taken. At the same size, 16 bits stay 16 bits: a
        pixel that equals the old one keeps its 16-bit samples, any other becomes `257 * new`. At
        another size, transparency is resized and 16 bits become 8.
        """
        if self.is_gray:
            pixels = _widen(np.array(PIL.Image.fromarray(pixels).convert("L")))
        if pixels.shape == self.pixels.shape:
            deep = None if self.deep is None else self._merged(pixels, self.deep)
            return dataclasses.replace(self, pixels=pixels, deep=deep)
        alpha = self.alpha
        if alpha is not None:
            height, width = pixels.shape[:2]
            alpha = np.array(PIL.Image.fromarray(alpha).resize((width, height), PIL.Image.Resampling.BICUBIC))
        notes = self.notes
        if self.deep is not None:
            notes = (*notes, "16 bits a channel became 8, because the size changed")
        return dataclasses.replace(self, pixels=pixels, alpha=alpha, deep=None, deep_alpha=None, notes=notes)

    def _merged(self, pixels: Image, deep: UInt16[np.ndarray, "h w 3"]) -> UInt16[np.ndarray, "h w 3"]:
        channels = slice(1) if self.is_gray else slice(3)
        merged = np.empty_like(deep[..., channels], subok=False, order="C")
        for rows in _bands(pixels):
            new, old = pixels[rows, :, channels], self.pixels[rows, :, channels]
            unchanged = (new == old).all(axis=2, keepdims=True)
            merged[rows] = np.where(unchanged, deep[rows, :, channels], new.astype(np.uint16) * 257)
        return np.broadcast_to(merged, pixels.shape)


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
    with _naming(path), _open_file(path) as file:
        return _read(file, max_pixels, lambda: np.fromfile(path, np.uint8))


def decode_photo(data: bytes, *, max_pixels: int = MAX_PIXELS) -> Photo:
    """Read a photo from memory; see `read_photo`.

    Args:
        data: The whole content of a file.
        max_pixels: Larger pictures are refused before they are decoded.

    Raises:
        ImageError: If it is no picture, damaged, or too large.
    """
    with _nameless():
        return _read(_opened(data), max_pixels, lambda: np.frombuffer(data, np.uint8))


def picture_size(data: bytes) -> tuple[int, int]:
    """Return width and height that a picture's header states, before it is turned upright.

    Nothing is decoded, so that a caller can refuse what is too large for it.

    Args:
        data: The whole content of a file.

    Raises:
        ImageError: If it is no picture, or its header is damaged.
    """
    with _nameless():
        file = _opened(data)
        kind = _kind(file.read(64))
        with _coding(f"the {kind} file cannot be decoded"), _quiet():
            return _open(kind, file).size


def write_image(path: str | Path, image: Image, *, quality: int = 95) -> None:
    """Write a picture; see `write_photo`.

    Raises:
        ImageError: If the suffix is unknown or the file cannot be written.
        ValueError: If `quality` is not from 1 to 100.
    """
    write_photo(path, Photo(pixels=image), quality=quality)


def write_photo(path: str | Path, photo: Photo, *, quality: int = 95) -> None:
    """Write a photo in the format that the suffix of `path` names.

    Profile, EXIF, XMP and resolution go along where the format has room for them (a JPEG holds
    64 kB of EXIF, BMP and GIF hold none). Where it has none for a profile, pixels are turned into
    sRGB; where it has none for transparency (JPEG, BMP), the photo is laid on white; 16 bits are
    kept in PNG and TIFF. JPEG and AVIF are written without chroma subsampling.

    The folder is made if need be. The file appears whole or not at all: it is written beside
    its place under another name, then renamed.

    Args:
        path: Where to; one of `WRITABLE_SUFFIXES`.
        photo: The photo.
        quality: From 1 to 100, for JPEG, WebP, AVIF and HEIC.

    Raises:
        ImageError: If the suffix is unknown, the photo too large for the format, or the file
            cannot be written.
        ValueError: If `quality` is not from 1 to 100.
    """
    _check_quality(quality)
    path = Path(path)
    with _naming(path), _coding("cannot be written"):
        kind = _writable(path.suffix, photo)
        if path.is_dir():
            raise ImageError("a folder, not a file to write to")
        with replacing(path) as file:
            _encode(file, kind, photo, quality)


def encode_photo(photo: Photo, suffix: str, *, quality: int = 95) -> bytes:
    """Return the bytes that `write_photo` would write to a file with this suffix.

    Args:
        photo: The photo.
        suffix: One of `WRITABLE_SUFFIXES`, with its dot.
        quality: From 1 to 100, for JPEG, WebP, AVIF and HEIC.

    Raises:
        ImageError: If the suffix is unknown, or the photo too large for the format.
        ValueError: If `quality` is not from 1 to 100.
    """
    _check_quality(quality)
    file = io.BytesIO()
    with _nameless(), _coding("cannot be written"):
        _encode(file, _writable(suffix, photo), photo, quality)
    return file.getvalue()


def resize_bicubic(image: Image, height: int, width: int) -> UInt8[np.ndarray, "{height} {width} 3"]:
    """Resize by Pillow's bicubic filter, in 8 bits, as the paper's numbers need.

    When it makes a picture smaller, the filter widens, so that nothing is skipped.
    """
    resized = PIL.Image.fromarray(image).resize((width, height), PIL.Image.Resampling.BICUBIC)
    return np.array(resized)


def show_path(path: str | Path) -> str:
    """Return a path as one printable line: control characters and broken Unicode are escaped."""
    joiners = "\u200c\u200d"  # parts of words and emoji, unlike the other invisible characters
    return "".join(
        char.encode("unicode_escape").decode("ascii")
        if char not in joiners and unicodedata.category(char) in {"Cc", "Cf", "Cs", "Zl", "Zp"}
        else char
        for char in str(path)
    )


@dataclasses.dataclass(frozen=True)
class FoundPicture:
    """A picture found on disk."""

    path: Path
    """Where it is."""
    folder: Path
    """Where its output belongs, relative to the folder of all outputs: keeps equal names apart."""


def find_pictures(
    inputs: Sequence[str | Path], *, recursive: bool = False
) -> tuple[list[FoundPicture], list[ImageError]]:
    """Find the pictures that the words of a command line stand for.

    Each word is a file, a folder (whose pictures are known by their suffix), or a pattern such as
    `photos/**/*.jpg`, for shells that do not expand them. What exists by that very name is never
    taken as a pattern. In folders and patterns, names are sorted as people count (2 before 10)
    and hidden ones are left out. A file named twice is found once, and so is a folder that links
    lead to again.

    Args:
        inputs: Files, folders and patterns.
        recursive: Whether to look into folders inside folders.

    Returns:
        The pictures, and an error for each input without any, so that a batch can go on.
    """
    found: dict[Path, FoundPicture] = {}
    errors: list[ImageError] = []
    for item in inputs:
        try:
            with _naming(str(item) or "''"):
                pictures = _find(str(item), errors, recursive=recursive)
        except ImageError as error:
            errors.append(error)
            continue
        for picture in pictures:
            # Links of folders are resolved, those of files not: a link is a name of its own.
            key = Path(os.path.realpath(picture.path.parent)) / picture.path.name
            found.setdefault(key, picture)
    return _kept_apart(list(found.values())), errors


# Errors


@contextmanager
def _naming(path: str | Path) -> Iterator[None]:
    """Put the path before every message, and give the system's errors one."""
    try:
        yield
    except ImageError as error:
        raise ImageError(f"{show_path(path)}: {error}") from None
    except FileNotFoundError:
        raise ImageError(f"{show_path(path)}: no such file") from None
    except OSError as error:
        raise ImageError(f"{show_path(path)}: cannot be read ({_reason(error)})") from None
    except MemoryError:
        raise ImageError(f"{show_path(path)}: not enough memory") from None


@contextmanager
def _nameless() -> Iterator[None]:
    """Turn the system's errors into an `ImageError` where there is no path to name."""
    try:
        yield
    except OSError as error:
        raise ImageError(f"cannot be read ({_reason(error)})") from None
    except MemoryError:
        raise ImageError("not enough memory") from None


@contextmanager
def _coding(failure: str) -> Iterator[None]:
    """Turn what Pillow raises into an `ImageError`."""
    try:
        yield
    except ImageError:
        raise
    except _CODEC_ERRORS as error:
        reason = f"unknown value {_reason(error)}" if isinstance(error, KeyError) else _reason(error)
        # Pillow turns the end of the data, met while it reads a header, into a SyntaxError.
        ended = isinstance(error.__cause__ or error, EOFError | IndexError | struct.error)
        if ended or "truncated" in reason.lower():
            raise ImageError("the file is truncated") from None
        if reason == "not identified by this driver":  # Pillow's word for a header with something wrong
            reason = "its header is damaged"
        raise ImageError(f"{failure} ({reason})") from None


def _reason(error: BaseException) -> str:
    text = str(getattr(error, "strerror", None) or str(error) or type(error).__name__)
    return show_path(" ".join(text.split()))[:200].rstrip(".")


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence Pillow's warnings about odd metadata; one thread at a time, for filters are global."""
    with _WARNINGS_LOCK, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


# Reading


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
    kind = _kind(header)
    notes: list[str] = []
    with _coding(f"the {kind} file cannot be decoded"):
        _check_length(kind, header, file.seek(0, io.SEEK_END))
        with _quiet():
            picture = _open(kind, file)
            if kind == "TIFF":  # so that loading finds its directories read, and warns of nothing
                _exif(picture, [])
            if getattr(picture, "is_animated", False):
                notes.append(_FIRST_ONLY.get(kind, "animated: only the first frame is used"))
        if picture.width * picture.height > max_pixels:
            size = f"{picture.width:,} x {picture.height:,} = {picture.width * picture.height:,}"
            raise ImageError(f"has {size} pixels; more than {max_pixels:,} are not decoded")
        is_deep = _has_deep_colour(kind, header, picture)
        tiff_orientation = _tiff_tag(picture, _ORIENTATION)
        picture.load()
        photo = _samples(picture, notes)
        with _quiet():
            orientation = _orientation(picture)
            photo = dataclasses.replace(
                photo,
                exif=_exif(picture, notes),
                xmp=_xmp(picture),
                dpi=_dpi(picture),
                format=kind,
            )
        mode, profile = picture.mode, picture.info.get("icc_profile")
        del picture  # a quarter of a large photo's memory
    if is_deep:
        photo = _deepened(photo, read_anew, tiff_orientation, notes)
    if not photo.is_gray:
        photo = dataclasses.replace(photo, is_gray=_without_colour(photo))
    profile = _fitting_profile(profile, mode, notes, is_gray=photo.is_gray)
    return dataclasses.replace(_turned(photo, orientation), icc_profile=profile, notes=tuple(notes))


def _kind(header: bytes) -> str:
    """Name the format by its first bytes; a file's suffix is not asked."""
    for signature, kind in _SIGNATURES:
        if header.startswith(signature):
            return kind
    if header[:4] == b"RIFF" and header[8:12] == b"WEBP":
        return "WEBP"
    if header[4:8] == b"ftyp":
        brands = header[8 : struct.unpack(">I", header[:4])[0]]
        for kind, known in (("AVIF", _AVIF_BRANDS), ("HEIF", _HEIF_BRANDS)):
            if any(brand in brands for brand in known):
                return kind
    raise ImageError(f"not a picture that can be read; expected one of {_READABLE}")


def _check_length(kind: str, header: bytes, length: int) -> None:
    """Refuse files that are cut where Pillow would give another reason."""
    needed = 0
    if kind == "WEBP":
        needed = 8 + int(struct.unpack_from("<I", header, 4)[0])
    elif kind == "TIFF" and header[2:4] in {b"*\0", b"\0*"}:  # where its first directory begins
        needed = int(struct.unpack_from("<I" if header.startswith(b"II") else ">I", header, 4)[0])
    if needed > length:
        raise ImageError("the file is truncated")


def _open(kind: str, file: ByteFile) -> PIL.Image.Image:
    """Open by the reader of one format: `PIL.Image.open` tries others and hides why each failed."""
    if PIL.Image.MAX_IMAGE_PIXELS == _PILLOWS_LIMIT:  # a limit that the program has set stays
        PIL.Image.MAX_IMAGE_PIXELS = MAX_PIXELS
    file.seek(0)
    module, name = _READERS[kind]
    try:
        reader = getattr(importlib.import_module(module), name)
    except ImportError:
        raise ImageError(f"{kind} is not read by what is installed; {_REMEDIES[kind]}") from None
    try:
        picture: PIL.Image.Image = reader(file)
    except SyntaxError as error:
        if kind == "TIFF" and "unknown pixel mode" in str(error):
            raise ImageError("this kind of TIFF is not read; save it with 8 or 16 bits a channel") from None
        raise
    if kind == "TIFF" and _is_camera_raw(picture):
        raise ImageError("a camera's raw file, or a preview in one; develop it to JPEG, PNG or TIFF first")
    return picture


def _tiff_tag(picture: PIL.Image.Image, tag: int) -> Any:
    return getattr(picture, "tag_v2", {}).get(tag)


def _is_camera_raw(picture: PIL.Image.Image) -> bool:
    """Tell raw files, which are TIFFs whose first page is a thumbnail."""
    is_dng = _tiff_tag(picture, 50706) is not None
    is_thumbnail = _tiff_tag(picture, 254) == 1
    return is_dng or is_thumbnail


def _has_deep_colour(kind: str, header: bytes, picture: PIL.Image.Image) -> bool:
    """Tell whether the file has 16 bits of several channels, of which Pillow gives 8."""
    if picture.mode not in {"RGB", "RGBA"}:
        return False
    bits = header[24] if kind == "PNG" else _tiff_tag(picture, 258)
    return bits == 16 or (isinstance(bits, tuple) and set(bits) == {16})


def _samples(picture: PIL.Image.Image, notes: list[str]) -> Photo:
    """Take the pixels out of Pillow, as they lie in the file."""
    if picture.mode in {"I", "F"} or picture.mode.startswith("I;16"):
        return _gray_samples(picture, notes)
    if picture.mode in {"CMYK", "LAB"}:
        return Photo(pixels=np.array(_converted_to_rgb(picture, notes)))
    is_gray = picture.mode in {"1", "L", "LA", "La"}
    if not picture.has_transparency_data:
        pixels = _widen(np.array(picture.convert("L"))) if is_gray else np.array(picture.convert("RGB"))
        return Photo(pixels=pixels, is_gray=is_gray)
    straight = picture.convert("LA") if picture.mode == "La" else picture
    rgba = np.array(straight.convert("RGBA"))
    return Photo(pixels=np.ascontiguousarray(rgba[..., :3]), alpha=rgba[..., 3].copy(), is_gray=is_gray)


def _gray_samples(picture: PIL.Image.Image, notes: list[str]) -> Photo:
    """Read gray of more than 8 bits: 16, or integers and floats that mean the same."""
    samples = np.array(picture)
    lowest, highest = samples.min(), samples.max()
    if picture.mode == "F":
        if not (lowest >= 0 and highest <= 1):  # written so that NaN is refused too
            raise ImageError(f"float samples go from {lowest:g} to {highest:g}; expected 0 to 1")
        samples *= 65535
        samples = np.rint(samples, out=samples)
        notes.append("float samples became 16 bits")
    elif not (lowest >= 0 and highest <= 65535):
        raise ImageError(f"samples go from {lowest} to {highest}; expected 16 bits, 0 to 65535")
    gray = samples.astype(np.uint16)
    if _tiff_tag(picture, 262) == 0:  # white is zero: Pillow turns 8 bits, not 16 nor floats
        gray = ~gray
    key = picture.info.get("transparency")
    alpha = np.where(gray == key, 0, 255).astype(np.uint8) if isinstance(key, int) else None
    deep_alpha = None if alpha is None else alpha.astype(np.uint16) * 257
    return Photo(
        pixels=_widen(_narrowed(gray[..., None])[..., 0]),
        alpha=alpha,
        is_gray=True,
        deep=np.broadcast_to(gray[..., None], (*gray.shape, 3)),
        deep_alpha=deep_alpha,
    )


def _deepened(
    photo: Photo, read_anew: Callable[[], UInt8[np.ndarray, "n"]], tiff_orientation: Any, notes: list[str]
) -> Photo:
    """Add the 16-bit samples, by OpenCV, if their high bytes are those that Pillow has read."""
    import cv2

    try:  # the file is read anew: libtiff has moved about in the one that is open
        samples = cv2.imdecode(read_anew(), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        samples = None
    if samples is not None and samples.dtype == np.uint16 and samples.ndim == 3:
        # Pillow turns a TIFF by its tag; OpenCV does or does not, by version.
        for turned in (samples, _turn(samples, tiff_orientation)):
            colour = turned[..., 2::-1]
            opacity = turned[..., 3].copy() if turned.shape[2] == 4 else None
            fits = colour.shape == photo.pixels.shape and (photo.alpha is None or opacity is not None)
            if fits and _agree(colour, photo.pixels):
                return dataclasses.replace(
                    photo,
                    pixels=_narrowed(colour),
                    alpha=None if opacity is None else _narrowed(opacity[..., None])[..., 0],
                    deep=np.ascontiguousarray(colour),
                    deep_alpha=opacity,
                )
    notes.append("16 bits a channel became 8: this kind of file is not read in full")
    return photo


def _agree(colour: UInt16[np.ndarray, "h w 3"], pixels: Image) -> bool:
    return all(np.array_equal(colour[rows] >> 8, pixels[rows]) for rows in _bands(pixels))


def _without_colour(photo: Photo) -> bool:
    samples = photo.pixels if photo.deep is None else photo.deep
    return all(
        np.array_equal(samples[rows, :, 0], samples[rows, :, channel])
        for rows in _bands(samples)
        for channel in (1, 2)
    )


def _converted_to_rgb(picture: PIL.Image.Image, notes: list[str]) -> PIL.Image.Image:
    """Turn CMYK or Lab into sRGB, through the file's profile if it has a good one."""
    profile = picture.info.get("icc_profile") if picture.mode == "CMYK" else "LAB"
    converted = _to_srgb(picture, profile)
    if converted is not None:
        return converted
    notes.append(f"{picture.mode} without a usable colour profile: colours are approximate")
    return picture.convert("RGB")


def _to_srgb(picture: PIL.Image.Image, profile: Any) -> PIL.Image.Image | None:
    """Convert from the profile given (bytes, or `"LAB"`); None if there is none that fits."""
    from PIL import ImageCms

    if not profile:
        return None
    try:
        source = (
            ImageCms.createProfile("LAB")
            if profile == "LAB"
            else ImageCms.ImageCmsProfile(io.BytesIO(profile))
        )
        return ImageCms.profileToProfile(
            picture,
            source,
            ImageCms.createProfile("sRGB"),
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            outputMode="RGB",
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
        return None


# Metadata


def _orientation(picture: PIL.Image.Image) -> int:
    try:
        orientation = picture.getexif().get(_ORIENTATION, 1)
    except _CODEC_ERRORS:
        return 1
    return orientation if orientation in range(1, 9) else 1


def _exif(picture: PIL.Image.Image, notes: list[str]) -> bytes | None:
    try:
        raw = picture.info.get("exif")
        if raw is None:
            exif = picture.getexif()
            raw = _descriptive(exif) if picture.format == "TIFF" else exif.tobytes() if len(exif) else None
        if not raw:
            return None
        return _upright_exif(raw)
    except _CODEC_ERRORS:
        notes.append("its EXIF is damaged and left out")
        return None


def _upright_exif(exif: bytes) -> bytes:
    """Set the orientation to 1 and unlink the thumbnail, in place.

    Writing EXIF anew would lose the makers' notes, whose offsets count from the start of it.

    Raises:
        struct.error: If it is no EXIF.
    """
    body = bytearray(exif.removeprefix(_EXIF_PREFIX).removeprefix(_EXIF_PREFIX))
    order = ">" if body.startswith(b"MM") else "<"
    magic, start = struct.unpack_from(f"{order}HI", body, 2)
    if magic != 42:
        raise struct.error("not EXIF")
    (entries,) = struct.unpack_from(f"{order}H", body, start)
    end = start + 2 + 12 * entries
    for entry in range(start + 2, end, 12):
        if struct.unpack_from(f"{order}H", body, entry) == (_ORIENTATION,):
            struct.pack_into(f"{order}HHIHH", body, entry, _ORIENTATION, 3, 1, 1, 0)
    if end + 4 <= len(body):
        struct.pack_into(f"{order}I", body, end, 0)
    return _EXIF_PREFIX + bytes(body)


def _descriptive(exif: PIL.Image.Exif) -> bytes | None:
    """Keep of EXIF what is true of a copy of the picture in another file."""
    kept = PIL.Image.Exif()
    for tag in _DESCRIPTIVE_TAGS:
        if tag in exif:
            kept[tag] = exif[tag]
    for directory in _EXIF_DIRECTORIES:
        tags = {tag: value for tag, value in exif.get_ifd(directory).items() if tag not in _EXIF_OFFSETS}
        if tags:
            kept[directory] = tags
    return kept.tobytes() if len(kept) else None


def _renewed_exif(exif: bytes | None) -> bytes | None:
    """Write EXIF anew for writers that read it first; None if it is too damaged for that."""
    tags = PIL.Image.Exif()
    try:
        tags.load(exif or b"")
        return _descriptive(tags)
    except _CODEC_ERRORS:
        return None


def _xmp(picture: PIL.Image.Image) -> bytes | None:
    xmp = picture.info.get("xmp") or picture.info.get("XML:com.adobe.xmp")
    if isinstance(xmp, str):
        xmp = xmp.encode("utf-8", "replace")
    if not isinstance(xmp, bytes) or any(part in xmp for part in _XMP_OF_PARTS):
        return None
    return re.sub(rb"(tiff:Orientation(?:=[\"']|>))[2-8]", rb"\g<1>1", xmp)


def _dpi(picture: PIL.Image.Image) -> tuple[float, float] | None:
    try:
        across, down = (float(value) for value in picture.info["dpi"])
    except (ArithmeticError, KeyError, TypeError, ValueError):
        return None
    # 1 is what Pillow says of a TIFF without; a JPEG has 16 bits for it.
    return (across, down) if min(across, down) > 1 and max(across, down) <= 65535 else None


def _colour_space(profile: bytes | None) -> bytes | None:
    """Read the colour space that an ICC profile is for (`b"RGB "`), if it is one."""
    return profile[16:20] if profile is not None and profile[36:40] == b"acsp" else None


def _fitting_profile(profile: Any, mode: str, notes: list[str], *, is_gray: bool) -> bytes | None:
    if not isinstance(profile, bytes) or not profile or mode in {"CMYK", "LAB"}:
        return None
    fitting = {None, b"RGB ", b"GRAY"} if is_gray else {None, b"RGB "}
    if _colour_space(profile) in fitting:
        return profile
    notes.append("its colour profile does not fit its pixels and is left out")
    return None


# Arrays


def _bands(samples: np.ndarray) -> Iterator[slice]:
    """Cut a large picture into rows, so that what is computed of them stays small."""
    rows = max(1, 2**20 // max(1, samples.shape[1]))
    for top in range(0, samples.shape[0], rows):
        yield slice(top, top + rows)


def _widen(gray: UInt8[np.ndarray, "h w"]) -> Image:
    return np.repeat(gray[..., None], 3, axis=2)


def _narrowed(deep: UInt16[np.ndarray, "h w c"]) -> UInt8[np.ndarray, "h w c"]:
    """Round 16 bits to 8: the nearest, so that `257 * value` comes back as `value`."""
    narrow = np.empty(deep.shape, np.uint8)
    for rows in _bands(deep):
        narrow[rows] = deep[rows] // 257 + (deep[rows] % 257 > 128)
    return narrow


def _turned(photo: Photo, orientation: int) -> Photo:
    if orientation == 1:
        return photo
    deep = photo.deep
    if deep is not None:
        channels = slice(1) if photo.is_gray else slice(3)
        upright = _turn(deep[..., channels], orientation)
        deep = np.broadcast_to(upright, (*upright.shape[:2], 3))
    return dataclasses.replace(
        photo,
        pixels=_turn(photo.pixels, orientation),
        alpha=None if photo.alpha is None else _turn(photo.alpha, orientation),
        deep=deep,
        deep_alpha=None if photo.deep_alpha is None else _turn(photo.deep_alpha, orientation),
    )


def _turn(samples: np.ndarray, orientation: Any) -> np.ndarray:
    """Bring stored rows and columns upright, by EXIF's orientation; unknown ones do nothing."""
    if orientation in (5, 6, 7, 8):
        samples = samples.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        samples = samples[::-1]
    if orientation in (2, 3, 6, 7):
        samples = samples[:, ::-1]
    return np.ascontiguousarray(samples)


# Writing


def _check_quality(quality: int) -> None:
    if not 1 <= quality <= 100:
        raise ValueError(f"quality must be from 1 to 100, got {quality}")


def _writable(suffix: str, photo: Photo) -> str:
    kind = WRITABLE_SUFFIXES.get(suffix.lower())
    if kind is None:
        raise ImageError(
            f"cannot write the format '{show_path(suffix)}'; supported: {', '.join(WRITABLE_SUFFIXES)}"
        )
    height, width = photo.pixels.shape[:2]
    longest = _LONGEST_SIDE.get(kind, 2**31 - 1)
    if not (1 <= height <= longest and 1 <= width <= longest):
        raise ImageError(
            f"a {kind} has from 1 to {longest:,} pixels a side, the picture has {width:,} x {height:,}"
        )
    return kind


def _encode(file: ByteFile, kind: str, photo: Photo, quality: int) -> None:
    picture, profile = _picture(kind, photo)
    photo = dataclasses.replace(photo, icc_profile=profile)
    samples = _deep_samples(picture.mode, photo) if kind in {"PNG", "TIFF"} else None
    if kind == "TIFF":
        shallow = np.asarray(picture).reshape(picture.height, picture.width, -1)
        _write_tiff(file, shallow if samples is None else samples, photo)
    elif samples is not None:
        _write_deep_png(file, samples, photo)
    else:
        with _quiet():
            options = _options(kind, picture.mode, photo, quality)
        picture.save(file, format=kind, **options)


def _picture(kind: str, photo: Photo) -> tuple[PIL.Image.Image, bytes | None]:
    """Make the 8-bit picture that a format can hold, and the profile that goes with it."""
    picture = PIL.Image.fromarray(photo.pixels)
    profile = photo.icc_profile
    space = _colour_space(profile)
    if kind in _NO_PROFILE or (kind in _NO_GRAY and space == b"GRAY"):
        source = picture.convert("L") if space == b"GRAY" else picture
        picture, profile = _to_srgb(source, profile) or picture, None
    if photo.is_gray and kind not in _NO_GRAY and space != b"RGB ":
        picture = picture.convert("L")
    if photo.alpha is None:
        return picture, profile
    opacity = PIL.Image.fromarray(photo.alpha)
    if kind in _NO_ALPHA:
        paper = PIL.Image.new(picture.mode, picture.size, "white")
        paper.paste(picture, mask=opacity)
        return paper, profile
    picture.putalpha(opacity)
    return picture, profile


def _options(kind: str, mode: str, photo: Photo, quality: int) -> dict[str, Any]:
    """Collect what Pillow's writer of a format is told."""
    metadata = {"icc_profile": photo.icc_profile, "exif": photo.exif, "xmp": photo.xmp, "dpi": photo.dpi}
    options: dict[str, Any] = {name: value for name, value in metadata.items() if value is not None}
    match kind:
        case "JPEG":
            options |= {"quality": quality, "subsampling": "4:4:4"}
            if len(options.get("exif", b"")) > _LONGEST_JPEG_EXIF:
                del options["exif"]
            if len(options.get("xmp", b"")) > _LONGEST_JPEG_XMP:
                del options["xmp"]
        case "PNG":
            from PIL.PngImagePlugin import PngInfo

            if "xmp" in options:
                text = options.pop("xmp").decode("utf-8", "replace")
                options["pnginfo"] = PngInfo()
                options["pnginfo"].add_itxt(_PNG_XMP, text)
        case "WEBP":
            options |= {"quality": quality, "exact": True}
        case "AVIF":
            options |= {"quality": quality, "exif": _renewed_exif(photo.exif)}
            if mode != "L":
                options |= {"subsampling": "4:4:4"}
        case "HEIF":
            try:
                from pillow_heif import register_heif_opener
            except ImportError:
                raise ImageError(f"HEIC is not written by what is installed; {_REMEDIES['HEIF']}") from None
            register_heif_opener()
            options |= {"quality": quality, "chroma": 444}
    return options


def _deep_samples(mode: str, photo: Photo) -> UInt16[np.ndarray, "h w c"] | None:
    """Lay out 16 bits as a PNG or TIFF holds them; None where 8 have to do."""
    if photo.deep is None:
        return None
    if photo.alpha is None:
        return photo.deep[..., :1] if mode == "L" else photo.deep
    # 16-bit gray with alpha is not written by OpenCV nor read by Pillow: it becomes RGB with alpha,
    # which a profile for gray does not allow.
    if _colour_space(photo.icc_profile) == b"GRAY":
        return None
    alpha = photo.alpha.astype(np.uint16) * 257 if photo.deep_alpha is None else photo.deep_alpha
    return np.dstack([photo.deep, alpha])


def _write_deep_png(file: ByteFile, samples: UInt16[np.ndarray, "h w c"], photo: Photo) -> None:
    """Write 16 bits by OpenCV, which Pillow cannot, and put the metadata after the header."""
    import cv2

    if samples.shape[2] > 1:
        samples = cv2.cvtColor(samples, cv2.COLOR_RGB2BGR if samples.shape[2] == 3 else cv2.COLOR_RGBA2BGRA)
    try:
        encoded = cv2.imencode(".png", samples)[1].tobytes()
    except cv2.error as error:
        raise ImageError(f"cannot be written ({_reason(error)})") from None
    header = 8 + 25  # the signature and IHDR
    file.write(encoded[:header])
    if photo.icc_profile is not None:
        file.write(_png_chunk(b"iCCP", b"ICC Profile\0\0" + zlib.compress(photo.icc_profile)))
    if photo.dpi is not None:
        across, down = (round(value / 0.0254) for value in photo.dpi)
        file.write(_png_chunk(b"pHYs", struct.pack(">IIB", across, down, 1)))
    if photo.exif is not None:
        file.write(_png_chunk(b"eXIf", photo.exif.removeprefix(_EXIF_PREFIX)))
    if photo.xmp is not None:
        file.write(_png_chunk(b"iTXt", _PNG_XMP.encode() + b"\0\0\0\0\0" + photo.xmp))
    file.write(encoded[header:])


def _png_chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _write_tiff(file: ByteFile, samples: np.ndarray, photo: Photo) -> None:
    """Write a deflated TIFF; Pillow keeps its directory but cannot write 16-bit colour."""
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    height, width, channels = samples.shape
    has_alpha = channels in (2, 4)
    rows = max(1, 2**20 // (width * channels * samples.itemsize))
    strips = [_tiff_strip(samples[top : top + rows]) for top in range(0, height, rows)]
    sizes = [len(strip) for strip in strips]
    directory = ImageFileDirectory_v2()
    with _quiet():
        exif = PIL.Image.Exif()
        exif.load(_renewed_exif(photo.exif) or b"")
        for tag in exif:
            directory[tag] = exif.get_ifd(tag) if tag in _EXIF_DIRECTORIES else exif[tag]
        directory[256], directory[257] = width, height
        directory[258] = (8 * samples.itemsize,) * channels
        directory[259] = 8  # deflate
        directory[262] = 2 if channels > 2 else 1  # RGB, or gray with black 0
        directory.tagtype[273] = directory.tagtype[279] = 4  # 32 bits
        # Offsets count from the end of the directory, which moves them itself.
        directory[273] = tuple(itertools.accumulate(sizes[:-1], initial=0))
        directory[277] = channels
        directory[278] = rows
        directory[279] = tuple(sizes)
        directory[317] = 2  # differences along rows
        if has_alpha:
            directory[338] = 2  # not multiplied into the colours
        if photo.dpi is not None:
            directory[282], directory[283] = photo.dpi
            directory[296] = 2  # inches
        if photo.xmp is not None:
            directory.tagtype[700] = 1
            directory[700] = photo.xmp
        if photo.icc_profile is not None:
            directory[34675] = photo.icc_profile
        directory.save(file)
    file.writelines(strips)


def _tiff_strip(samples: np.ndarray) -> bytes:
    differences = samples.astype(samples.dtype.newbyteorder("<"))
    differences[:, 1:] -= samples[:, :-1]
    return zlib.compress(differences.tobytes(), level=1)  # 6 takes eight times as long to save 6 %


# Finding


def _find(item: str, errors: list[ImageError], *, recursive: bool) -> list[FoundPicture]:
    """Find what one input stands for; folders below it that cannot be read go to `errors`."""
    path = Path(item)
    try:
        mode = path.stat().st_mode if item else None
    except (FileNotFoundError, NotADirectoryError, ValueError):
        mode = None
    if mode is not None and not stat.S_ISDIR(mode):
        return [FoundPicture(path=path, folder=Path())]
    if mode is None and not glob.has_magic(item):
        raise ImageError("no such file")
    errors_before = len(errors)
    if mode is None:
        root, parts = _split_pattern(path)
    else:
        root, parts = path, ("**", "*") if recursive else ("*",)
    pictures = [
        FoundPicture(path=p, folder=p.parent.relative_to(root)) for p in _matches(root, parts, errors)
    ]
    if not pictures and len(errors) == errors_before:
        raise ImageError("no pictures match this pattern" if mode is None else "no pictures in this folder")
    return pictures


def _split_pattern(pattern: Path) -> tuple[Path, tuple[str, ...]]:
    """Split a pattern into the folder before its first wildcard, and its parts from there."""
    parts = pattern.parts
    fixed = next(index for index, part in enumerate(parts) if glob.has_magic(part))
    last = ("*",) if parts[-1] == "**" else ()
    return Path(*parts[:fixed]), (*parts[fixed:], *last)


def _matches(folder: Path, parts: Sequence[str], errors: list[ImageError]) -> Iterator[Path]:
    """List the pictures that a pattern means. Unlike `glob`, `**` ends where links form a loop."""
    first, *rest = parts
    if first == "**":
        for below in _folders(folder, errors):
            yield from _matches(below, rest, errors)
        return
    folders, files = _children(folder, errors)
    if not rest:
        for file in files:
            if file.suffix.lower() in PICTURE_SUFFIXES and fnmatch.fnmatch(file.name, first):
                yield file
        return
    for below in folders:
        if fnmatch.fnmatch(below.name, first):
            yield from _matches(below, rest, errors)


def _folders(top: Path, errors: list[ImageError]) -> Iterator[Path]:
    """Walk a folder and those below it, each once."""
    seen: set[str] = set()
    waiting = [top]
    while waiting:
        folder = waiting.pop()
        real = os.path.realpath(folder)
        if real not in seen:
            seen.add(real)
            yield folder
            waiting += reversed(_children(folder, errors)[0])


def _children(folder: Path, errors: list[ImageError]) -> tuple[list[Path], list[Path]]:
    """List the folders and the files in a folder, hidden ones aside, in natural order."""
    folders: list[Path] = []
    files: list[Path] = []
    try:
        for child in sorted(folder.iterdir(), key=_natural):
            if not child.name.startswith("."):
                (folders if child.is_dir() else files).append(child)
    except OSError as error:
        message = f"{show_path(folder)}: cannot be read ({_reason(error)})"
        if all(str(earlier) != message for earlier in errors):
            errors.append(ImageError(message))
    return folders, files


def _natural(path: Path) -> tuple[list[str | int], str]:
    """Order names as people count: 2 before 10."""
    pieces = re.split("([0-9]+)", path.name.casefold())  # every second piece is a number
    return [int(piece) if index % 2 else piece for index, piece in enumerate(pieces)], path.name


def _kept_apart(found: list[FoundPicture]) -> list[FoundPicture]:
    """Give pictures of one name, and of one folder in the output, folders of their own."""
    for start_from_root in (False, True):
        names: dict[Path, list[FoundPicture]] = {}
        for picture in found:
            names.setdefault(picture.folder / picture.path.name, []).append(picture)
        for index, picture in enumerate(found):
            clashing = [other.path.parent.absolute() for other in names[picture.folder / picture.path.name]]
            if len(clashing) > 1:
                parts = picture.path.parent.absolute().parts
                shared = 1 if start_from_root else _shared_parts(clashing)
                found[index] = dataclasses.replace(picture, folder=Path(*parts[shared:]))
    return found


def _shared_parts(folders: list[Path]) -> int:
    """Count the parts with which all paths begin."""
    levels = zip(*(folder.parts for folder in folders), strict=False)
    return sum(1 for _ in itertools.takewhile(lambda level: len(set(level)) == 1, levels))
