"""From a picture that Pillow has opened to the samples of a `Photo`, 16 bits among them."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import PIL.Image
from jaxtyping import UInt8, UInt16

from sparnet.errors import ImageError
from sparnet.image.formats import tiff_tag
from sparnet.image.photo import Photo
from sparnet.image.pixels import Image, bands, narrowed, turn, widen
from sparnet.image.profiles import converted_to_rgb


def has_deep_colour(kind: str, header: bytes, picture: PIL.Image.Image) -> bool:
    """Tell whether the file has 16 bits of several channels, of which Pillow gives 8."""
    if picture.mode not in {"RGB", "RGBA"}:
        return False
    bits = header[24] if kind == "PNG" else tiff_tag(picture, 258)
    return bits == 16 or (isinstance(bits, tuple) and set(bits) == {16})


def scale_key(kind: str, header: bytes, picture: PIL.Image.Image) -> None:
    """Scale the gray that a PNG of 2 or 4 bits calls transparent, as Pillow scales all others to 8 bits."""
    key = picture.info.get("transparency")
    if kind == "PNG" and picture.mode == "L" and isinstance(key, int) and key < 2 ** header[24]:
        picture.info["transparency"] = key * 255 // (2 ** header[24] - 1)


def read_samples(picture: PIL.Image.Image, notes: list[str]) -> Photo:
    """Take the pixels out of Pillow, as they lie in the file.

    Raises:
        ImageError: If what the numbers mean is not known: floats beyond 0..1, integers beyond 16 bits.
    """
    if picture.mode in {"I", "F"} or picture.mode.startswith("I;16"):
        return _gray_samples(picture, notes)
    if picture.mode in {"CMYK", "LAB"}:
        return Photo(pixels=np.array(converted_to_rgb(picture, notes)))
    is_gray = picture.mode in {"1", "L", "LA", "La"}
    if not picture.has_transparency_data:
        pixels = widen(np.array(picture.convert("L"))) if is_gray else np.array(picture.convert("RGB"))
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
    if tiff_tag(picture, 262) == 0:  # white is zero: Pillow turns 8 bits, not 16 nor floats
        gray = ~gray
    key = picture.info.get("transparency")
    alpha = np.where(gray == key, 0, 255).astype(np.uint8) if isinstance(key, int) else None
    deep_alpha = None if alpha is None else alpha.astype(np.uint16) * 257
    return Photo(
        pixels=widen(narrowed(gray[..., None])[..., 0]),
        alpha=alpha,
        is_gray=True,
        deep=np.broadcast_to(gray[..., None], (*gray.shape, 3)),
        deep_alpha=deep_alpha,
    )


def deepened(
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
        for turned in (samples, turn(samples, tiff_orientation)):
            colour = turned[..., 2::-1]
            opacity = turned[..., 3].copy() if turned.shape[2] == 4 else None
            fits = colour.shape == photo.pixels.shape and (photo.alpha is None or opacity is not None)
            if fits and _agree(colour, photo.pixels):
                return dataclasses.replace(
                    photo,
                    pixels=narrowed(colour),
                    alpha=None if opacity is None else narrowed(opacity[..., None])[..., 0],
                    deep=np.ascontiguousarray(colour),
                    deep_alpha=opacity,
                )
    notes.append("16 bits a channel became 8: this kind of file is not read in full")
    return photo


def _agree(colour: UInt16[np.ndarray, "h w 3"], pixels: Image) -> bool:
    return all(np.array_equal(colour[rows] >> 8, pixels[rows]) for rows in bands(pixels))


def without_colour(photo: Photo) -> bool:
    """Tell whether the three channels are equal everywhere."""
    samples = photo.pixels if photo.deep is None else photo.deep
    return all(
        np.array_equal(samples[rows, :, 0], samples[rows, :, channel])
        for rows in bands(samples)
        for channel in (1, 2)
    )
