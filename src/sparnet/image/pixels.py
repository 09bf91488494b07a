"""Arrays of pixels: their types, and what is done to them whatever their file."""

from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
import PIL.Image
from jaxtyping import UInt8, UInt16

Image: TypeAlias = UInt8[np.ndarray, "h w 3"]
"""A picture: 8 bits, rows x columns x (red, green, blue)."""
AnyImage: TypeAlias = UInt8[np.ndarray, "_ _ 3"]
"""A picture whose size has nothing to do with that of the others in a signature."""


def check_image(image: object, *, name: str = "image") -> None:
    """Refuse what is no picture, before it is taken for one in which there is nothing.

    Raises:
        TypeError: If it is no array of 8 bits.
        ValueError: If it is not H x W x 3.
    """
    if not isinstance(image, np.ndarray):
        raise TypeError(f"{name} must be an array, uint8, H x W x RGB; got {type(image).__name__}")
    if image.dtype != np.uint8:
        raise TypeError(f"{name} must be uint8, H x W x RGB, from 0 to 255; got {image.dtype}")
    if image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"{name} must be H x W x 3; got {' x '.join(map(str, image.shape))}")


def resize_bicubic(image: Image, height: int, width: int) -> UInt8[np.ndarray, "{height} {width} 3"]:
    """Resize by Pillow's bicubic filter, in 8 bits, as the paper's numbers need.

    When it makes a picture smaller, the filter widens, so that nothing is skipped.
    """
    resized = PIL.Image.fromarray(image).resize((width, height), PIL.Image.Resampling.BICUBIC)
    return np.array(resized)


def bands(samples: np.ndarray) -> Iterator[slice]:
    """Cut a large picture into rows, so that what is computed of them stays small."""
    rows = max(1, 2**20 // max(1, samples.shape[1]))
    for top in range(0, samples.shape[0], rows):
        yield slice(top, top + rows)


def widen(gray: UInt8[np.ndarray, "h w"]) -> Image:
    """Make three equal channels of gray."""
    return np.repeat(gray[..., None], 3, axis=2)


def narrowed(deep: UInt16[np.ndarray, "h w c"]) -> UInt8[np.ndarray, "h w c"]:
    """Round 16 bits to 8: the nearest, so that `257 * value` comes back as `value`."""
    narrow = np.empty(deep.shape, np.uint8)
    for rows in bands(deep):
        narrow[rows] = deep[rows] // 257 + (deep[rows] % 257 > 128)
    return narrow


def turn(samples: np.ndarray, orientation: Any) -> np.ndarray:
    """Bring stored rows and columns upright, by EXIF's orientation; unknown ones do nothing."""
    if orientation in (5, 6, 7, 8):
        samples = samples.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        samples = samples[::-1]
    if orientation in (2, 3, 6, 7):
        samples = samples[:, ::-1]
    return np.ascontiguousarray(samples)
