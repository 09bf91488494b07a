"""Bring a face upright into a square, its five points where the networks expect them.

Points and transforms count pixels as OpenCV does: (0, 0) is the centre of the first pixel.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from sparnet.errors import SparnetError
from sparnet.faces.detect import Face

TEMPLATE_512 = (
    (192.98, 239.95),  # left eye, as seen in the picture
    (318.90, 240.19),  # right eye
    (256.63, 314.02),  # nose
    (201.26, 371.41),  # left mouth corner
    (313.09, 371.15),  # right mouth corner
)
"""Where the five points lie in a square of 512 px: the template of FFHQ's crops that face
restoration has agreed on (docs/paper.md)."""


class AlignmentError(SparnetError):
    """The five points of a face give no position, so that this face has to be left as it is."""


@dataclass(frozen=True, eq=False)
class AlignedFace:
    """A face cut out of a photo, upright."""

    image: UInt8[np.ndarray, "size size 3"]
    """The face, as the network reads it."""
    transform: Float[np.ndarray, "2 3"]
    """Similarity from px of the photo to px of `image`."""

    @property
    def size(self) -> int:
        """Side of `image` in px."""
        return self.image.shape[0]


def align(image: UInt8[np.ndarray, "h w 3"], face: Face, size: int = 512) -> AlignedFace:
    """Cut a face out of a photo, turned, scaled and moved so that its points fit the template.

    A face larger than `size` is reduced by area before it is turned, so that fine patterns do not
    alias; a smaller one is enlarged bicubically. Beyond the photo's border its mirror image is
    taken. Only the face's surroundings are read, however large the photo.

    Args:
        image: The photo.
        face: A face of this photo.
        size: Side of the result in px.

    Raises:
        AlignmentError: If the points coincide, are not finite, look nothing like a face, or lie
            outside the photo.
        ValueError: If `size` is not positive.
    """
    if size < 1:
        raise ValueError(f"size must be positive, got {size}")
    transform = fit_similarity(face.points, template(size))
    return AlignedFace(cut_out(image, transform, size), transform)


def template(size: int) -> Float[np.ndarray, "5 2"]:
    """Return where the five points lie in a square of `size` px.

    Pixel areas are scaled, not indices, so that a face aligned to 256 px is the one aligned to
    512 px, halved.
    """
    return (np.array(TEMPLATE_512) + 0.5) * (size / 512) - 0.5


def fit_similarity(
    source: Float[np.ndarray, "n 2"], target: Float[np.ndarray, "n 2"]
) -> Float[np.ndarray, "2 3"]:
    """Return the turn, scale and shift that bring `source` nearest to `target` in least squares.

    With points as complex numbers about their means, `target = a * source`, and
    `a = sum(conj(source) * target) / sum(|source|^2)`. It never mirrors.

    Raises:
        AlignmentError: If the points coincide, are not finite, or fit so badly that less than a
            quarter of the target's spread is explained.

    Source: Umeyama 1991, in two dimensions.
    """
    if not np.isfinite(source).all():
        raise AlignmentError("the face cannot be aligned: its points are not finite")
    z, w = (np.ascontiguousarray(p, dtype=np.float64).view(np.complex128)[:, 0] for p in (source, target))
    z_mean, w_mean = z.mean(), w.mean()
    z, w = z - z_mean, w - w_mean
    z_spread, w_spread = np.vdot(z, z).real, np.vdot(w, w).real
    product = np.vdot(z, w)
    if z_spread < 1e-6 * len(z):
        raise AlignmentError("the face cannot be aligned: its points coincide")
    if abs(product) ** 2 < 0.25 * z_spread * w_spread:
        raise AlignmentError("the face cannot be aligned: its points do not look like those of a face")
    a = product / z_spread
    b = w_mean - a * z_mean
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])


def scale_of(transform: Float[np.ndarray, "2 3"]) -> float:
    """Return how many px of the aligned face one px of the photo makes."""
    return float(np.hypot(transform[0, 0], transform[1, 0]))


def invert(transform: Float[np.ndarray, "2 3"]) -> Float[np.ndarray, "2 3"]:
    """Return the transform from px of the aligned face to px of the photo."""
    inverse = np.linalg.inv(transform[:, :2])
    return np.concatenate([inverse, -inverse @ transform[:, 2:]], axis=1)


def resampled(transform: Float[np.ndarray, "2 3"], factors: tuple[float, float]) -> Float[np.ndarray, "2 3"]:
    """Return the transform for a photo that was resized by (x, y) `factors`.

    A px of index i becomes one of index `(i + 0.5) * factor - 0.5`.
    """
    linear = transform[:, :2] / np.array(factors)
    shift = transform[:, :2] @ (0.5 / np.array(factors) - 0.5) + transform[:, 2]
    return np.concatenate([linear, shift[:, None]], axis=1)


def square_in_photo(
    transform: Float[np.ndarray, "2 3"], size: int, shape: tuple[int, ...], *, margin: int
) -> tuple[int, int, int, int]:
    """Return left, top, right, bottom of the photo's px that an aligned square covers.

    Args:
        transform: From px of the photo to px of the square.
        size: Side of the square.
        shape: Height and width of the photo; more entries are not read.
        margin: Px of the photo to add on each side.

    Returns:
        A rectangle inside the photo, empty (right <= left or bottom <= top) where they do not meet.
    """
    low, high = -0.5, size - 0.5
    corners = np.array([[low, high, low, high], [low, low, high, high], [1, 1, 1, 1]])
    in_photo = invert(transform) @ corners
    limits = np.array([shape[1], shape[0]])
    first = np.floor(in_photo.min(axis=1) + 0.5) - margin
    last = np.ceil(in_photo.max(axis=1) + 0.5) + margin
    left, top = np.clip(first, 0, limits).astype(int).tolist()
    right, bottom = np.clip(last, 0, limits).astype(int).tolist()
    return left, top, right, bottom


def cut_out(
    image: UInt8[np.ndarray, "h w 3"], transform: Float[np.ndarray, "2 3"], size: int
) -> UInt8[np.ndarray, "s s 3"]:
    """Cut a square out of a photo by a transform; see `align`, which finds one for a face.

    Args:
        image: The photo.
        transform: Similarity from px of the photo to px of the square.
        size: Side of the square in px.

    Raises:
        AlignmentError: If the square lies outside the photo.
    """
    factor = scale_of(transform)
    margin = int(np.ceil(4 * max(1.0, 1 / factor)))  # a bicubic kernel reads 2 px on each side
    left, top, right, bottom = square_in_photo(transform, size, image.shape, margin=margin)
    if right <= left or bottom <= top:
        raise AlignmentError("the face cannot be aligned: its points lie outside the photo")
    part = image[top:bottom, left:right]
    transform = transform.copy()
    transform[:, 2] += transform[:, :2] @ [left, top]
    if factor < 1:
        height, width = part.shape[:2]
        reduced = (max(1, round(width * factor)), max(1, round(height * factor)))
        part = cv2.resize(part, reduced, interpolation=cv2.INTER_AREA)
        transform = resampled(transform, (reduced[0] / width, reduced[1] / height))
    # OpenCV mirrors step by step, forever where the photo is 1 px wide; NumPy does it at once.
    missing = [(0, max(0, _MIN_MIRRORED_PX - length)) for length in part.shape[:2]]
    part = np.pad(part, [*missing, (0, 0)], mode="symmetric")
    return cv2.warpAffine(part, transform, (size, size), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)


_MIN_MIRRORED_PX = 64
