"""Put restored faces back where they came from, without a seam.

What is added to the photo is a difference: the restored face minus the aligned face that the network
read, warped back and weighted by a soft mask. So a network that changes nothing changes no pixel; the
blur of cutting out and putting back never enters the photo; and a face larger than the network's
square keeps the detail that only the photo has. Warping the restored face itself loses all three.
"""

import functools
from collections.abc import Iterator, Sequence

import cv2
import numpy as np
from jaxtyping import Float, Float32, UInt8

from sparnet.faces.align import AlignedFace, resampled, scale_of, square_in_photo

# The mask in the template of 512 px: a superellipse, 1 up to a share of its radii, 0 from the radii
# on. In 150 aligned portraits the chin lies at y = 472 (95 %: 488) and the ears between x = 69 and 441.
_MASK_CENTRE = (256.0, 272.0)
_MASK_RADIUS = 236.0
_MASK_POWER = 3.0
_MASK_FULL = 0.78
# Rows are done so many px at a time, which bounds the memory for a face of any size.
_STRIP_PIXELS = 1_000_000
# Tones are compared in pictures of this side, which show cheek and brow but no features.
_TONE_SIDE = 32


def paste(
    photo: UInt8[np.ndarray, "h w 3"],
    restored: UInt8[np.ndarray, "r r 3"],
    aligned: AlignedFace,
    *,
    upscale_factor: int | float = 1,
    color_match: int | float = 0.7,
) -> UInt8[np.ndarray, "h w 3"]:
    """Return a copy of the photo with one face restored, as `paste_all` does for several."""
    return paste_all(photo, [(restored, aligned)], upscale_factor=upscale_factor, color_match=color_match)


def paste_all(
    photo: UInt8[np.ndarray, "h w 3"],
    faces: Sequence[tuple[UInt8[np.ndarray, "_ _ 3"], AlignedFace]],
    *,
    upscale_factor: int | float = 1,
    color_match: int | float = 0.7,
) -> UInt8[np.ndarray, "h w 3"]:
    """Return a copy of the photo with faces restored; outside their masks no value changes.

    Where masks overlap, a face's share is `mask ** 2 / sum(masks)`: the face whose middle is nearer
    prevails, nothing is restored twice, and the order of the faces does not matter, but for
    rounding by one grey level.

    Args:
        photo: The photo that the faces were cut from, or an enlarged copy of it.
        faces: Restored face and the aligned face it was made from, a pair each. The restored one
            may be of another size.
        upscale_factor: How many times larger `photo` is than the photo that the faces were cut from.
        color_match: How much of the difference in tone between restored and aligned face is undone,
            0 (none) to 1. Where the aligned face is gray, any match keeps the result gray.

    Raises:
        ValueError: If `upscale_factor` is not positive, `color_match` is not in 0..1, or a restored
            face is not square.
    """
    if upscale_factor <= 0:
        raise ValueError(f"upscale_factor must be positive, got {upscale_factor}")
    if not 0 <= color_match <= 1:
        raise ValueError(f"color_match must lie in 0..1, got {color_match}")
    result = photo.copy()
    masks = [_Mask(aligned, upscale_factor, photo.shape) for _, aligned in faces]
    for mask, (restored, aligned) in zip(masks, faces, strict=True):
        if restored.shape[0] != restored.shape[1]:
            raise ValueError(f"a restored face must be square, got {restored.shape[1]} x {restored.shape[0]}")
        difference = _Difference(restored, aligned, upscale_factor, color_match)
        rivals = [other for other in masks if other is not mask and other.meets(mask)]
        for strip in mask.strips():
            own = mask.over(strip)
            everyone = sum((rival.over(strip) for rival in rivals), own)
            share = own * np.divide(own, everyone, out=np.zeros_like(own), where=own > 0)
            left, top, right, bottom = strip
            part = result[top:bottom, left:right]
            changed = part + share[:, :, None] * difference.over(strip)
            part[:] = np.rint(np.clip(changed, 0, 255)).astype(np.uint8)
    return result


Rectangle = tuple[int, int, int, int]


def face_mask(to_template: Float[np.ndarray, "2 3"], rectangle: Rectangle) -> Float32[np.ndarray, "h w"]:
    """Return how much of a face pasted goes into the px of a rectangle, 0 to 1.

    Args:
        to_template: From px of the photo to px of the aligned square of 512 px.
        rectangle: Left, top, right and bottom of the photo's px.
    """
    return _look_up(_mask_picture(512), to_template, rectangle, cv2.INTER_LINEAR, cv2.BORDER_CONSTANT)


class _Mask:
    """How much of one face goes into the photo, pixel by pixel."""

    def __init__(self, aligned: AlignedFace, upscale_factor: int | float, shape: tuple[int, ...]) -> None:
        self.to_template = _to_square(aligned, upscale_factor, size=512)
        self.rectangle = square_in_photo(self.to_template, 512, shape, margin=1)

    def meets(self, other: "_Mask") -> bool:
        left, top, right, bottom = self.rectangle
        other_left, other_top, other_right, other_bottom = other.rectangle
        return left < other_right and other_left < right and top < other_bottom and other_top < bottom

    def strips(self) -> Iterator[Rectangle]:
        left, top, right, bottom = self.rectangle
        step = max(1, _STRIP_PIXELS // max(1, right - left))
        if right > left:
            for start in range(top, bottom, step):
                yield left, start, right, min(start + step, bottom)

    def over(self, strip: Rectangle) -> Float32[np.ndarray, "h w"]:
        """Return weights 0..1 for the photo's px in a rectangle."""
        return face_mask(self.to_template, strip)


class _Difference:
    """What one restored face adds to the photo."""

    def __init__(
        self,
        restored: UInt8[np.ndarray, "r r 3"],
        aligned: AlignedFace,
        upscale_factor: int | float,
        color_match: int | float,
    ) -> None:
        size = len(restored)
        read = _resize(aligned.image, size)
        self.picture = restored.astype(np.float32) - read
        if color_match > 0:
            self.picture += np.float32(color_match) * _tone_shift(restored, read)
            self.picture -= np.float32(color_match) * _coarse_color(self.picture)
            if _is_gray(read):
                self.picture[:] = _to_ycc(self.picture)[:, :, :1]
        # A picture finer than its place in the photo is reduced first, lest it alias.
        place_px = size / scale_of(_to_square(aligned, upscale_factor, size=size))
        if place_px < size:
            self.picture = _resize(self.picture, max(1, round(place_px)))
        self.to_picture = _to_square(aligned, upscale_factor, size=len(self.picture))

    def over(self, strip: Rectangle) -> Float32[np.ndarray, "h w 3"]:
        """Return grey levels to add to the photo's px in a rectangle."""
        return _look_up(self.picture, self.to_picture, strip, cv2.INTER_CUBIC, cv2.BORDER_REPLICATE)


def _to_square(aligned: AlignedFace, upscale_factor: int | float, *, size: int) -> Float[np.ndarray, "2 3"]:
    """Return the transform from px of the (enlarged) photo to px of the aligned square at `size`."""
    factor = size / aligned.size
    transform = resampled(aligned.transform, (float(upscale_factor),) * 2) * factor
    transform[:, 2] += 0.5 * factor - 0.5
    return transform


def _look_up(
    picture: Float32[np.ndarray, "..."],
    to_picture: Float[np.ndarray, "2 3"],
    strip: Rectangle,
    method: int,
    border: int,
) -> Float32[np.ndarray, "..."]:
    """Read a picture where the photo's px of a rectangle lie in it."""
    left, top, right, bottom = strip
    from_strip = to_picture.copy()
    from_strip[:, 2] += to_picture[:, :2] @ [left, top]
    size = (right - left, bottom - top)
    return cv2.warpAffine(picture, from_strip, size, flags=method | cv2.WARP_INVERSE_MAP, borderMode=border)


def _resize(
    picture: UInt8[np.ndarray, "r r 3"] | Float32[np.ndarray, "r r 3"], size: int
) -> UInt8[np.ndarray, "s s 3"] | Float32[np.ndarray, "s s 3"]:
    """Resize a square: by area where it shrinks, bicubic where it grows."""
    if size == len(picture):
        return picture
    method = cv2.INTER_AREA if size < len(picture) else cv2.INTER_CUBIC
    return cv2.resize(picture, (size, size), interpolation=method)


@functools.cache
def _mask_picture(size: int) -> Float32[np.ndarray, "size size"]:
    """Draw the mask of an aligned square."""
    index = (np.arange(size) + 0.5) * (512 / size) - 0.5
    across = np.abs((index - _MASK_CENTRE[0]) / _MASK_RADIUS) ** _MASK_POWER
    down = np.abs((index - _MASK_CENTRE[1]) / _MASK_RADIUS) ** _MASK_POWER
    radius = (across + down[:, None]) ** (1 / _MASK_POWER)
    rise = np.clip((1 - radius) / (1 - _MASK_FULL), 0, 1)
    mask = (rise * rise * (3 - 2 * rise)).astype(np.float32)  # no edge in the slope either
    mask.setflags(write=False)
    return mask


def _tone_shift(
    restored: UInt8[np.ndarray, "r r 3"], read: UInt8[np.ndarray, "r r 3"]
) -> Float32[np.ndarray, "r r 3"]:
    """Return what gives the restored face the tones of the face that was read.

    Mean and spread of luma and of both chroma channels are matched, under the mask, in pictures of
    32 px. The shift is as coarse as these, so that no detail of the restored face is touched, and is
    0 where both faces are equal.
    """
    weights = _mask_picture(_TONE_SIDE)[:, :, None] / _mask_picture(_TONE_SIDE).sum()
    tones, wanted = (
        _to_ycc(cv2.resize(x, (_TONE_SIDE, _TONE_SIDE), interpolation=cv2.INTER_AREA).astype(np.float32))
        for x in (restored, read)
    )
    mean, wanted_mean = ((x * weights).sum(axis=(0, 1)) for x in (tones, wanted))
    spread = np.sqrt((np.square(tones - mean) * weights).sum(axis=(0, 1)))
    wanted_spread = np.sqrt((np.square(wanted - wanted_mean) * weights).sum(axis=(0, 1)))
    # One grey level is added to both, so that a spread that is only rounding decides nothing.
    gain = np.minimum((wanted_spread + 1) / (spread + 1), _MAX_GAIN)
    shift = (gain - 1) * (tones - mean) + (wanted_mean - mean)
    coarse = (shift @ _YCC_TO_RGB.T).astype(np.float32)
    return cv2.resize(coarse, (len(restored), len(restored)), interpolation=cv2.INTER_LINEAR)


def _coarse_color(difference: Float32[np.ndarray, "r r 3"]) -> Float32[np.ndarray, "r r 3"]:
    """Return what a difference does to colours, luma apart, at the scale of an iris and above.

    However bad a photo is, it tells the colour of an eye better than a network that has seen many
    blue ones.
    """
    luma = difference @ _RGB_TO_YCC[0].astype(np.float32)
    sigma = _COLOR_SIGMA * len(difference) / 512
    coarse: np.ndarray = cv2.GaussianBlur(difference - luma[:, :, None], (0, 0), sigma)
    return coarse


# Spread in px of an aligned square of 512 px. On 40 faces degraded by equation 14 identity_cosine rises by
# 0.005 with it, lpips_alex by 0.004; at 4 px by 0.006 and 0.011, at 16 px by 0.002 and 0.001.
_COLOR_SIGMA = 8.0
# A face may be made flatter or paler to any degree, but only a quarter stronger.
_MAX_GAIN = 1.25
# BT.601, full range, chroma about 0.
_RGB_TO_YCC = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])
_YCC_TO_RGB = np.linalg.inv(_RGB_TO_YCC)


def _to_ycc(picture: Float32[np.ndarray, "h w 3"]) -> Float32[np.ndarray, "h w 3"]:
    return picture @ _RGB_TO_YCC.T.astype(np.float32)


def _is_gray(picture: UInt8[np.ndarray, "h w 3"]) -> bool:
    return bool((picture[:, :, :1] == picture[:, :, 1:]).all())
