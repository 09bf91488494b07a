"""Pictures to judge a training by: made by Pillow in 8 bits, as the paper's numbers are."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8
from PIL import Image as PillowImage

from sparnet.data.faces import FaceSet

BICUBIC = PillowImage.Resampling.BICUBIC


@dataclass(frozen=True)
class Validation:
    """Faces to judge by, in three forms."""

    hr: UInt8[np.ndarray, "n s s 3"]
    lr: UInt8[np.ndarray, "n t t 3"]
    lr_up: UInt8[np.ndarray, "n s s 3"]


def make_validation(faces: FaceSet, *, image_size: int, upscale_factor: int, framing: float) -> Validation:
    """Cut out the central `framing` of each face, and reduce and enlarge it bicubically.

    With a framing of 0.85 this makes the test pictures of a pack: for a side s, the central
    `c = round(0.85 * s)` from `(s - c) // 2`.
    """
    hr, lr, lr_up = [], [], []
    small = image_size // upscale_factor
    for index in range(len(faces)):
        picture = faces.picture(index)
        side = picture.shape[0]
        cut = round(framing * side)
        start = (side - cut) // 2
        crop = PillowImage.fromarray(picture[start : start + cut, start : start + cut])
        original = crop.resize((image_size, image_size), BICUBIC)
        reduced = original.resize((small, small), BICUBIC)
        hr.append(np.asarray(original))
        lr.append(np.asarray(reduced))
        lr_up.append(np.asarray(reduced.resize((image_size, image_size), BICUBIC)))
    return Validation(np.stack(hr), np.stack(lr), np.stack(lr_up))
