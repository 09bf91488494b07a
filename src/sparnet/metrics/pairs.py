"""What the protocols that compare two pictures share: brightness, squared error, SSIM.

Functions that compare two pictures name their sizes differently (`h w` and `h2 w2`): pictures of
two sizes are a mistake a user can make, and are answered with a message by the code itself,
not by the shape checker that only tests switch on.
"""

import math
from collections.abc import Callable

import numpy as np
from jaxtyping import Float, UInt8

from sparnet.errors import SparnetError

# BT.601 luma, 16-235, as MATLAB's rgb2ycbcr.
_LUMA_WEIGHTS = np.array([65481.0, 128553.0, 24966.0])  # in thousandths, so that sums are exact
_LUMA_OFFSET = 16.0
_PEAK = 255.0
# Wang et al. 2004; skimage's window then reaches 3.5 sigma: 11 x 11.
_SSIM_SIGMA = 1.5
_SSIM_WINDOW_PX = 11


def check_pair(sr: UInt8[np.ndarray, "h w 3"], hr: UInt8[np.ndarray, "h2 w2 3"]) -> None:
    """Refuse two pictures of different sizes.

    Raises:
        ValueError: If the sizes differ.
    """
    if sr.shape != hr.shape:
        (sr_height, sr_width), (hr_height, hr_width) = sr.shape[:2], hr.shape[:2]
        raise ValueError(
            f"sr and hr must have one size, got {sr_width} x {sr_height} and {hr_width} x {hr_height} px"
        )


def mean_over_pairs(
    metric: Callable[[np.ndarray, np.ndarray], float],
    sr: UInt8[np.ndarray, "n h w 3"],
    hr: UInt8[np.ndarray, "n h w 3"],
) -> float:
    """Average what a metric such as `psnr_y` says of each picture and its original.

    Args:
        metric: A metric of two pictures.
        sr: Pictures.
        hr: Their originals.

    Returns:
        The mean, in the metric's unit.

    Raises:
        ValueError: If there are not as many pictures as originals, or their sizes differ.
    """
    return float(np.mean([metric(a, b) for a, b in zip(sr, hr, strict=True)]))


def luma(image: UInt8[np.ndarray, "h w 3"]) -> Float[np.ndarray, "h w"]:
    """Return `16 + (65.481 R + 128.553 G + 24.966 B) / 255`, not quantised."""
    return _LUMA_OFFSET + image @ _LUMA_WEIGHTS / (1000 * _PEAK)


def psnr_db(first: UInt8[np.ndarray, "*size"], second: UInt8[np.ndarray, "*size"]) -> float:
    """Return `10 log10(255^2 / mean (first - second)^2)`; infinity for equal arrays."""
    mean_squared_error = float(np.mean((first.astype(np.float64) - second) ** 2))
    if mean_squared_error == 0:
        return math.inf
    return 10 * math.log10(_PEAK**2 / mean_squared_error)


def ssim_map(first: UInt8[np.ndarray, "h w"], second: UInt8[np.ndarray, "h w"]) -> Float[np.ndarray, "h w"]:
    """Return the SSIM of the window around each pixel.

    Windows on the outer 5 px reach over the edge and see the picture mirrored.

    Raises:
        ValueError: If the pictures are smaller than the window, 11 px.
    """
    # Here, so that PSNR needs NumPy alone.
    try:
        from skimage.metrics import structural_similarity
    except ModuleNotFoundError as error:
        raise SparnetError(f"SSIM needs the package {error.name}: pip install 'sparnet[train]'") from error

    height, width = first.shape
    if min(height, width) < _SSIM_WINDOW_PX:
        raise ValueError(f"SSIM's window needs {_SSIM_WINDOW_PX} px, got {width} x {height} px")
    _, values = structural_similarity(  # type: ignore[no-untyped-call]
        first,
        second,
        gaussian_weights=True,
        sigma=_SSIM_SIGMA,
        use_sample_covariance=False,
        data_range=_PEAK,
        full=True,
    )
    return values


def ssim(first: UInt8[np.ndarray, "h w"], second: UInt8[np.ndarray, "h w"]) -> float:
    """Return the mean of `ssim_map` over the windows that lie inside the picture.

    Raises:
        ValueError: If the pictures are smaller than the window, 11 px.
    """
    margin = _SSIM_WINDOW_PX // 2
    return float(ssim_map(first, second)[margin:-margin, margin:-margin].mean())
