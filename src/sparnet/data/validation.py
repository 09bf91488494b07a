"""Pictures to judge a training by: made by Pillow in 8 bits, as the paper's numbers are."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8
from PIL import Image as PillowImage

from sparnet.data.faces import FaceSet
from sparnet.degradation import DegradationConfig, degrade_pair
from sparnet.image import resize_bicubic

BICUBIC = PillowImage.Resampling.BICUBIC


@dataclass(frozen=True)
class Validation:
    """Faces to judge by, in three forms."""

    hr: UInt8[np.ndarray, "n s s 3"]
    """Originals."""
    lr: UInt8[np.ndarray, "n t t 3"]
    """Low-resolution faces; the same as `lr_up` where only Equation 14 says how large they are."""
    lr_up: UInt8[np.ndarray, "n s s 3"]
    """The bad faces at the originals' size."""

    def at(self, side: int) -> UInt8[np.ndarray, "n {side} {side} 3"]:
        """Return the bad faces as a network reads them that takes faces of `side` px."""
        if side == self.lr_up.shape[1]:
            return self.lr_up
        return np.stack([resize_bicubic(face, side, side) for face in self.lr])


def make_validation(
    faces: FaceSet,
    *,
    image_size: int,
    upscale_factor: int = 8,
    degradation: DegradationConfig | None = None,
    framing: float,
) -> Validation:
    """Cut out the central `framing` of each face and make it bad.

    With a framing of 0.85 this makes the test pictures of a pack: for a side s, the central
    `c = round(0.85 * s)` from `(s - c) // 2`.

    Args:
        faces: The faces to judge by.
        image_size: Side of the pictures, px.
        upscale_factor: They are reduced and enlarged bicubically by this,
        degradation: unless this is given: then by Equation 14, picture i with seed i, and brought to the
            size that the former says.
        framing: Share of the side that is kept. A face of `image_size` is kept whole: it has no margin,
            and would have to be enlarged.
    """
    hr, lr, lr_up = [], [], []
    small = image_size // upscale_factor
    for index in range(len(faces)):
        picture = faces.picture(index)
        side = picture.shape[0]
        cut = side if side == image_size else round(framing * side)
        start = (side - cut) // 2
        crop = PillowImage.fromarray(picture[start : start + cut, start : start + cut])
        original = crop.resize((image_size, image_size), BICUBIC)
        if degradation is not None:
            chance = np.random.default_rng(index)
            whole, bad = degrade_pair(np.asarray(original), chance, degradation, size=small)
            hr.append(whole)
            lr.append(bad)
            lr_up.append(resize_bicubic(bad, image_size, image_size))
            continue
        reduced = original.resize((small, small), BICUBIC)
        hr.append(np.asarray(original))
        lr.append(np.asarray(reduced))
        lr_up.append(np.asarray(reduced.resize((image_size, image_size), BICUBIC)))
    return Validation(np.stack(hr), np.stack(lr), np.stack(lr_up))
