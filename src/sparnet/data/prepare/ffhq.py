"""FFHQ's aligned faces made smaller, for SPARNetHD."""

from typing import Literal

import numpy as np
import PIL.Image
from pydantic import Field

from sparnet.config import Config
from sparnet.data.prepare.records import Cut
from sparnet.image import Image


class FfhqConfig(Config):
    """How a face of FFHQ becomes smaller, for SPARNetHD.

    Source: "Training data" in section IV-B1.
    """

    kind: Literal["ffhq"] = "ffhq"
    """Which preparation this is."""
    size_px: int = Field(default=512, ge=16)
    """Side of the pictures made."""
    filter: Literal["bilinear", "bicubic"] = "bilinear"
    """Pillow's filter, widened so that nothing is skipped. Bilinear is the paper's."""


def cut_ffhq(image: Image, config: FfhqConfig) -> list[Cut]:
    """Make a square face smaller. One that has the size already is left as it is."""
    height, width = image.shape[:2]
    if height != width:
        return [Cut(reason="not square")]
    if width < config.size_px:
        return [Cut(reason="too small")]
    if width == config.size_px:
        return [Cut(image=image)]
    resampling = PIL.Image.Resampling[config.filter.upper()]
    resized = PIL.Image.fromarray(image).resize((config.size_px, config.size_px), resampling)
    return [Cut(image=np.array(resized))]
