"""Whether the parts of the face are where they were: error of 68 points, and its curve."""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, UInt8

from sparnet.metrics.faces import Box, HrFace, OnnxFile, crop_by
from sparnet.metrics.pairs import check_pair

NME_THRESHOLD = 0.07
"""Error up to which the curve is read. The paper does not print it; 7 % is inferred."""

_SIDE_PX = 112
# The network was trained on squares of 1.2 times the face box; its longer side, so that the chin is in.
_BOX_FACTOR = 1.2


class LandmarkNme:
    """Measure how far 68 points of the face moved, with a network that marks them in both pictures.

    Both are cropped by the original's box. Loaded once, used often.

    Raises:
        WeightsError: If the file is missing, damaged or another one.

    Source:
        Paper: FAN, with the curve of Bulat and Tzimiropoulos 2017. Here: a MobileFaceNet; docs/metrics.md.
    """

    def __init__(self) -> None:
        self.network = OnnxFile("landmarks68")

    def __call__(
        self, sr: UInt8[np.ndarray, "h w 3"], hr: UInt8[np.ndarray, "h2 w2 3"], face: HrFace
    ) -> float:
        """Return the normalised mean error of the points, see `landmark_nme`.

        Args:
            sr: A picture.
            hr: Its original.
            face: Where the face is in the original.

        Raises:
            ValueError: If the sizes differ.
        """
        check_pair(sr, hr)
        return landmark_nme(self.points(sr, face.box), self.points(hr, face.box), face.box)

    def points(self, image: UInt8[np.ndarray, "h w 3"], box: Box) -> Float[np.ndarray, "68 2"]:
        """Return the 68 points of the face, x and y in px from the picture's corner.

        Args:
            image: A picture.
            box: Where the face is in it.
        """
        left, top, right, bottom = box
        side = _BOX_FACTOR * max(right - left, bottom - top)
        corner = np.array([left + right - side, top + bottom - side]) / 2
        scale = _SIDE_PX / side
        # From index to index: half a pixel lies between an index and the distance from the corner.
        shift = (0.5 - corner) * scale - 0.5
        crop = crop_by(image, np.column_stack([np.eye(2) * scale, shift]), size_px=_SIDE_PX)
        return self.network(crop / 255)[0] * side + corner


def landmark_nme(
    sr_points: Float[np.ndarray, "k 2"],
    hr_points: Float[np.ndarray, "k 2"],
    box: Box,
) -> float:
    """Return `mean |sr_points - hr_points| / sqrt(width height)` of the original's box.

    Args:
        sr_points: Points found in a picture, in px.
        hr_points: The same found in its original.
        box: Where the face is in the original.

    Returns:
        At least 0, lower is better; 0.01 is a hundredth of the face.
    """
    distances = np.linalg.norm(sr_points - hr_points, axis=1)
    left, top, right, bottom = box
    return float(distances.mean() / math.sqrt((right - left) * (bottom - top)))


def landmark_auc(nmes: Sequence[float], *, threshold: float = NME_THRESHOLD) -> float:
    """Return the area under the curve of `landmark_curve`, as a part of the whole, exactly.

    The share of pictures with an error up to e is a staircase, so its area from 0 to `threshold`
    is `mean(max(0, threshold - nme))`.

    Args:
        nmes: Error of each picture.
        threshold: Error up to which the curve is read.

    Returns:
        Percent, higher is better; 100 if no point moved.

    Raises:
        ValueError: If there is no error, one is negative or not a number, or `threshold` is not above 0.
    """
    errors = _checked(nmes, threshold)
    return float(100 * np.clip(threshold - errors, 0, None).mean() / threshold)


def landmark_curve(
    nmes: Sequence[float], *, threshold: float = NME_THRESHOLD
) -> tuple[Float[np.ndarray, "k"], Float[np.ndarray, "k"]]:
    """Return the cumulative error curve as a staircase, to be plotted with steps to the right.

    Args:
        nmes: Error of each picture.
        threshold: Error up to which the curve is read.

    Returns:
        Errors from 0 to `threshold`, rising, and the percent of pictures with at most that error.

    Raises:
        ValueError: As `landmark_auc`.
    """
    errors = np.sort(_checked(nmes, threshold))
    steps = np.concatenate([[0.0], errors[errors < threshold], [threshold]])
    return steps, 100 * np.searchsorted(errors, steps, side="right") / len(errors)


def _checked(nmes: Sequence[float], threshold: float) -> Float[np.ndarray, "n"]:
    errors = np.asarray(nmes, dtype=np.float64)
    if len(errors) == 0:
        raise ValueError("there is no error to make a curve of")
    if not np.all(errors >= 0):
        raise ValueError(f"an error must be a number and at least 0, got {errors[~(errors >= 0)][0]}")
    if not threshold > 0:
        raise ValueError(f"threshold must be above 0, got {threshold}")
    return errors
