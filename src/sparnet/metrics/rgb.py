"""PSNR over the three colours."""

import numpy as np
from jaxtyping import UInt8

from sparnet.metrics.pairs import check_pair, psnr_db


def psnr_rgb(sr: UInt8[np.ndarray, "h w 3"], hr: UInt8[np.ndarray, "h2 w2 3"]) -> float:
    """Return `10 log10(255^2 / mean (sr - hr)^2)`, the mean over pixels and colours.

    Args:
        sr: A picture.
        hr: Its original; the two may be exchanged.

    Returns:
        Decibels, higher is better; infinity for equal pictures.

    Raises:
        ValueError: If the sizes differ.
    """
    check_pair(sr, hr)
    return psnr_db(sr, hr)
