"""The three preparations as one: from a photo to faces."""

import functools
from collections.abc import Callable
from typing import TypeAlias

from sparnet.data.prepare.celeba import CelebaConfig, cut_celeba
from sparnet.data.prepare.ffhq import FfhqConfig, cut_ffhq
from sparnet.data.prepare.natural import NaturalConfig, cut_natural
from sparnet.data.prepare.records import Cut
from sparnet.faces.detect import open_detector
from sparnet.image import Image

PrepareConfig: TypeAlias = CelebaConfig | FfhqConfig | NaturalConfig
"""How photos become faces; one class a kind."""
Cutter: TypeAlias = Callable[[Image], list[Cut]]
"""What takes a photo to its faces."""


def open_cutter(config: PrepareConfig) -> Cutter:
    """Make what takes a photo to its faces; opens the detector, once.

    Raises:
        WeightsError: If the detector's files are missing or damaged.
    """
    if isinstance(config, FfhqConfig):
        return functools.partial(cut_ffhq, config=config)
    detector = open_detector(config.detector, min_face_px=config.min_face_px)
    if isinstance(config, CelebaConfig):
        return functools.partial(cut_celeba, config=config, detector=detector)
    return functools.partial(cut_natural, config=config, detector=detector)
