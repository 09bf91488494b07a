"""PSNR and SSIM under protocol `sparnet`: brightness truncated to 8 bits, no border cut.

Source:
    The released code's evaluation, and with it most followers; docs/metrics.md.
"""

import numpy as np
from jaxtyping import Float, UInt8

from sparnet.metrics.pairs import check_pair, luma, psnr_db, ssim, ssim_map


def luma_truncated(image: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w"]:
    """Return the brightness Y of a picture, fractions cut off, in 16 to 235."""
    return luma(image).astype(np.uint8)


def psnr_y(sr: UInt8[np.ndarray, "h w 3"], hr: UInt8[np.ndarray, "h2 w2 3"]) -> float:
    """Return `10 log10(255^2 / mean (Y(sr) - Y(hr))^2)` with Y truncated to 8 bits.

    Args:
        sr: A picture.
        hr: Its original; the two may be exchanged.

    Returns:
        Decibels, higher is better; infinity for equal brightness.

    Raises:
        ValueError: If the sizes differ.
    """
    check_pair(sr, hr)
    return psnr_db(luma_truncated(sr), luma_truncated(hr))


def ssim_y(sr: UInt8[np.ndarray, "h w 3"], hr: UInt8[np.ndarray, "h2 w2 3"]) -> float:
    """Return the SSIM of the two pictures' Y, truncated to 8 bits.

    Gaussian window of 11 x 11 and sigma 1.5, population covariance, data range 255; the mean over
    the windows that lie inside the picture.

    Args:
        sr: A picture.
        hr: Its original; the two may be exchanged.

    Returns:
        -1 to 1, higher is better; 1 for equal brightness.

    Raises:
        ValueError: If the sizes differ, or are under 11 px.
    """
    check_pair(sr, hr)
    return ssim(luma_truncated(sr), luma_truncated(hr))


def squared_error_y_map(
    sr: UInt8[np.ndarray, "h w 3"], hr: UInt8[np.ndarray, "h2 w2 3"]
) -> Float[np.ndarray, "h w"]:
    """Return `(Y(sr) - Y(hr))^2` of each pixel; `psnr_y` comes from its mean.

    Returns:
        0 to 219^2; lower is better.

    Raises:
        ValueError: If the sizes differ.
    """
    check_pair(sr, hr)
    return (luma_truncated(sr).astype(np.float64) - luma_truncated(hr)) ** 2


def ssim_y_map(sr: UInt8[np.ndarray, "h w 3"], hr: UInt8[np.ndarray, "h2 w2 3"]) -> Float[np.ndarray, "h w"]:
    """Return the SSIM of the window around each pixel; `ssim_y` is its mean without the outer 5 px.

    Returns:
        -1 to 1; higher is better.

    Raises:
        ValueError: If the sizes differ, or are under 11 px.
    """
    check_pair(sr, hr)
    return ssim_map(luma_truncated(sr), luma_truncated(hr))
