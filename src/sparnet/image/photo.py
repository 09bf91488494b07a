"""A photo: pixels, and what else of its file must survive to the one that is written."""

import dataclasses

import numpy as np
import PIL.Image
from jaxtyping import UInt8, UInt16

from sparnet.image.pixels import Image, bands, widen


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
    is_lossless: bool = False
    """Whether it was read from a WebP without loss, and is to be written as one."""
    notes: tuple[str, ...] = ()
    """What of the file was not kept, for the user to read."""

    def with_pixels(self, pixels: Image) -> "Photo":
        """Return this photo with other content, perhaps of another size.

        Gray stays gray: the luma of `pixels` is taken. At the same size, 16 bits stay 16 bits: a
        pixel that equals the old one keeps its 16-bit samples, any other becomes `257 * new`. At
        another size, transparency is resized and 16 bits become 8.
        """
        if self.is_gray:
            pixels = widen(np.array(PIL.Image.fromarray(pixels).convert("L")))
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
        for rows in bands(pixels):
            new, old = pixels[rows, :, channels], self.pixels[rows, :, channels]
            unchanged = (new == old).all(axis=2, keepdims=True)
            merged[rows] = np.where(unchanged, deep[rows, :, channels], new.astype(np.uint16) * 257)
        return np.broadcast_to(merged, pixels.shape)
