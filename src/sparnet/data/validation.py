"""Pictures to judge a training by: made by Pillow in 8 bits, as the paper's numbers are."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8
from PIL import Image as PillowImage

from sparnet.data.faces import FaceSet
from sparnet.degradation import DegradationConfig, degrade_pair
from sparnet.image import AnyImage, resize_bicubic

BICUBIC = PillowImage.Resampling.BICUBIC


def central_square(picture: AnyImage, framing: float) -> AnyImage:
    """Cut the middle out of a square picture of side s: `c = round(framing * s)` px from `(s - c) // 2`."""
    side = len(picture)
    cut = round(framing * side)
    start = (side - cut) // 2
    return np.ascontiguousarray(picture[start : start + cut, start : start + cut])


@dataclass(frozen=True)
class Validation:
    """Faces to judge by, in three forms."""

    hr: UInt8[np.ndarray, "n s s 3"]
    """Originals."""
    lr: UInt8[np.ndarray, "n t t 3"]
    """Low-resolution faces; where Equation 14 makes them, at the size that the network reads."""
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
    input_size: int | None = None,
    upscale_factor: int = 8,
    degradation: DegradationConfig | None = None,
    framing: float,
) -> Validation:
    """Cut out the central `framing` of each face and make it bad.

    With a framing of 0.85 this makes the test pictures of a pack. Faces that were reduced when they
    were read, as a recipe's largest are, come out a little softer than those of `sparnet evaluate`.

    Args:
        faces: The faces to judge by.
        image_size: Side of the pictures, px.
        input_size: Side of what the network reads, px; None is that of the low-resolution faces.
        upscale_factor: They are reduced and enlarged bicubically by this,
        degradation: unless this is given: then by Equation 14, picture i with seed i, and brought to
            `input_size`, as in training.
        framing: Share of the side that is kept. A face of `image_size` is kept whole: it has no margin,
            and would have to be enlarged.
    """
    hr, lr, lr_up = [], [], []
    small = image_size // upscale_factor
    for index in range(len(faces)):
        picture = faces.picture(index)
        kept = central_square(picture, 1.0 if len(picture) == image_size else framing)
        original = PillowImage.fromarray(kept).resize((image_size, image_size), BICUBIC)
        if degradation is not None:
            chance = np.random.default_rng(index)
            whole, bad = degrade_pair(np.asarray(original), chance, degradation, size=input_size or small)
            hr.append(whole)
            lr.append(bad)
            lr_up.append(resize_bicubic(bad, image_size, image_size))
            continue
        reduced = original.resize((small, small), BICUBIC)
        hr.append(np.asarray(original))
        lr.append(np.asarray(reduced))
        lr_up.append(np.asarray(reduced.resize((image_size, image_size), BICUBIC)))
    return Validation(np.stack(hr), np.stack(lr), np.stack(lr_up))
