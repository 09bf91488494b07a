"""From photos to files, on a disk or in memory."""

import dataclasses
import io
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
from jaxtyping import UInt16

from sparnet.errors import ImageError
from sparnet.files import replacing
from sparnet.image.encoders import write_deep_png, write_tiff
from sparnet.image.failures import coding, nameless, naming, quiet_pillow, show_path
from sparnet.image.formats import REMEDIES, WRITABLE_SUFFIXES, ByteFile
from sparnet.image.metadata import PNG_XMP, renewed_exif
from sparnet.image.photo import Photo
from sparnet.image.pixels import Image, check_image
from sparnet.image.profiles import colour_space, to_srgb

_NO_ALPHA = frozenset({"JPEG", "BMP"})
_NO_PROFILE = frozenset({"BMP", "GIF"})
_NO_GRAY = frozenset({"WEBP", "HEIF"})
# Limits of the formats themselves: 16-bit sizes; 14 bits in WebP; 65,500 is libjpeg's own.
_LONGEST_SIDE = {"JPEG": 65_500, "WEBP": 16_383, "GIF": 65_535, "AVIF": 65_535, "HEIF": 65_535}
_LOSSLESS_EFFORT = 75
"""What `quality` means in a lossless WebP: how hard it is packed."""
_LONGEST_JPEG_EXIF = 65_533
_LONGEST_JPEG_XMP = 65_504


def write_image(path: str | Path, image: Image, *, quality: int = 95) -> None:
    """Write a picture; see `write_photo`.

    Raises:
        ImageError: If the suffix is unknown or the file cannot be written.
        TypeError: If it is no array of 8 bits.
        ValueError: If it is not H x W x 3, or `quality` is not from 1 to 100.
    """
    check_image(image)
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
        quality: From 1 to 100, for JPEG, WebP, AVIF and HEIC. A WebP that was lossless stays so.

    Raises:
        ImageError: If the suffix is unknown, the photo too large for the format, or the file
            cannot be written.
        ValueError: If `quality` is not from 1 to 100.
    """
    _check_quality(quality)
    path = Path(path)
    with naming(path), coding("cannot be written"):
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
    with nameless(), coding("cannot be written"):
        _encode(file, _writable(suffix, photo), photo, quality)
    return file.getvalue()


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
        write_tiff(file, shallow if samples is None else samples, photo)
    elif samples is not None:
        write_deep_png(file, samples, photo)
    else:
        with quiet_pillow():
            options = _options(kind, picture.mode, photo, quality)
        picture.save(file, format=kind, **options)


def _picture(kind: str, photo: Photo) -> tuple[PIL.Image.Image, bytes | None]:
    """Make the 8-bit picture that a format can hold, and the profile that goes with it."""
    picture = PIL.Image.fromarray(photo.pixels)
    profile = photo.icc_profile
    space = colour_space(profile)
    if kind in _NO_PROFILE or (kind in _NO_GRAY and space == b"GRAY"):
        source = picture.convert("L") if space == b"GRAY" else picture
        picture, profile = to_srgb(source, profile) or picture, None
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
    return picture.convert("RGBA") if kind == "GIF" else picture, profile  # Pillow drops that of a gray GIF


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
                options["pnginfo"].add_itxt(PNG_XMP, text)
        case "WEBP":
            options |= {"quality": quality, "exact": True}
            if photo.is_lossless:
                options |= {"lossless": True, "quality": _LOSSLESS_EFFORT}
        case "AVIF":
            options |= {"quality": quality, "exif": renewed_exif(photo.exif)}
            if mode != "L":
                options |= {"subsampling": "4:4:4"}
        case "HEIF":
            try:
                from pillow_heif import register_heif_opener
            except ImportError:
                raise ImageError(f"HEIC is not written by what is installed; {REMEDIES['HEIF']}") from None
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
    if colour_space(photo.icc_profile) == b"GRAY":
        return None
    alpha = photo.alpha.astype(np.uint16) * 257 if photo.deep_alpha is None else photo.deep_alpha
    return np.dstack([photo.deep, alpha])
