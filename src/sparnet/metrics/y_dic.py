"""PSNR and SSIM under protocol `dic`: brightness rounded to 8 bits, 8 px cut off each side.

Source:
    Ma et al. 2020 (DICNet), released code; docs/metrics.md says where it differs.
"""

import numpy as np
from jaxtyping import UInt8

from sparnet.metrics.pairs import check_pair, luma, psnr_db, ssim

_BORDER_PX = 8


def psnr_y_dic(sr: UInt8[np.ndarray, "h w 3"], hr: UInt8[np.ndarray, "h2 w2 3"]) -> float:
    """Return `10 log10(255^2 / mean (Y(sr) - Y(hr))^2)` with Y rounded, without the outer 8 px.

    Args:
        sr: A picture.
        hr: Its original; the two may be exchanged.

    Returns:
        Decibels, higher is better; infinity for equal brightness.

    Raises:
        ValueError: If the sizes differ, or nothing is left within the border.
    """
    return psnr_db(*_inner_luma(sr, hr))


def ssim_y_dic(sr: UInt8[np.ndarray, "h w 3"], hr: UInt8[np.ndarray, "h2 w2 3"]) -> float:
    """Return the SSIM of the two pictures' Y, rounded to 8 bits, without the outer 8 px.

    The window is that of `ssim_y`.

    Args:
        sr: A picture.
        hr: Its original; the two may be exchanged.

    Returns:
        -1 to 1, higher is better; 1 for equal brightness.

    Raises:
        ValueError: If the sizes differ, or are under 27 px.
    """
    return ssim(*_inner_luma(sr, hr))


def _inner_luma(
    sr: UInt8[np.ndarray, "h w 3"], hr: UInt8[np.ndarray, "h2 w2 3"]
) -> tuple[UInt8[np.ndarray, "h3 w3"], UInt8[np.ndarray, "h3 w3"]]:
    check_pair(sr, hr)
    height, width = sr.shape[:2]
    if min(height, width) <= 2 * _BORDER_PX:
        raise ValueError(f"protocol dic cuts {_BORDER_PX} px off each side, got {width} x {height} px")
    inner = slice(_BORDER_PX, -_BORDER_PX)
    first, second = (np.rint(luma(image)[inner, inner]).astype(np.uint8) for image in (sr, hr))
    return first, second
