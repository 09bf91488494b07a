"""Attention maps as pictures: where each unit of a network looks."""

from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from sparnet.image import Image


def mean_map(attention_map: Float[np.ndarray, "m h w"]) -> Float[np.ndarray, "h w"]:
    """Average the maps of the channels into one; a single map stays as it is."""
    return attention_map.mean(axis=0, dtype=np.float32)


def draw_map(attention_map: Float[np.ndarray, "h w"], *, size: int) -> UInt8[np.ndarray, "h2 w2 3"]:
    """Draw a map in colour, dark blue for its least weight and dark red for its greatest.

    The contrast is stretched, because what matters is where a map is higher than elsewhere: the
    1st to 99th percentile span the colours. An even map is drawn in one colour.
    """
    low, high = np.percentile(attention_map, (1, 99))
    span = max(float(high - low), 1e-6)
    gray = np.clip((attention_map - low) / span * 255, 0, 255).astype(np.uint8)
    large = cv2.resize(gray, (size, size), interpolation=cv2.INTER_CUBIC)
    return cv2.cvtColor(cv2.applyColorMap(large, cv2.COLORMAP_JET), cv2.COLOR_BGR2RGB)


def draw_sheet(
    pictures: Sequence[tuple[str, Image]], *, columns: int = 6, gap_px: int = 6
) -> UInt8[np.ndarray, "h2 w2 3"]:
    """Lay captioned pictures of one size out in rows, on white."""
    side = pictures[0][1].shape[0]
    caption_px = 18
    rows = -(-len(pictures) // columns)
    width = min(columns, len(pictures)) * (side + gap_px) + gap_px
    sheet = np.full((rows * (side + caption_px + gap_px) + gap_px, width, 3), 255, dtype=np.uint8)
    for index, (caption, picture) in enumerate(pictures):
        row, column = divmod(index, columns)
        top = gap_px + row * (side + caption_px + gap_px)
        left = gap_px + column * (side + gap_px)
        sheet[top : top + side, left : left + side] = picture
        cv2.putText(
            sheet,
            caption,
            (left, top + side + 13),
            cv2.FONT_HERSHEY_SIMPLEX,
            0.38,
            (40, 40, 40),
            1,
            cv2.LINE_AA,
        )
    return sheet
