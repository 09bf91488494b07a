"""Faces so small that the network for tiny faces sees them first.

A network that restores was trained on bad faces of some size; of a face of 16 px it is given a
picture of 512 px in which every pixel is 24 wide. A network that enlarges was trained on just such
faces. Where a face is small, its aligned square is therefore first filled with what the latter makes
of it, and the restoring network reads that. What is put back into the photo is still the difference
to the photo as it was.
"""

from collections.abc import Sequence
from contextlib import suppress

import cv2
import numpy as np
from jaxtyping import Float, Float32, UInt8

from sparnet.engine import Engine
from sparnet.errors import WeightsError
from sparnet.faces.align import AlignedFace, AlignmentError, cut_out, fit_similarity, scale_of, template
from sparnet.image import AnyImage
from sparnet.upscaling import as_known, keep_detail, known_px

SMALL_FACE_PX = 20
"""Faces whose box has a longer side of at most so many px are enlarged first. Up to here restored faces
are more like the person when `sparnet-x4`, trained on bad faces of 14 px and more, has seen them first; at
24 px that is not certain, at 28 px they are less so. See docs/photos.md and benchmarks/small_faces.py."""
SHARE_OF_SQUARE = 0.74
"""Longer side of a face's box over the side of its aligned square, by the 149 faces of `_POINTS_128`."""

# Mean places of MTCNN's five points in 149 crops as `sparnet-x8` was trained on, 128 px (the first 150
# faces of faces128-test, their central 85 %), each averaged with its mirror image.
_POINTS_128 = np.array([(45.4, 59.4), (81.6, 59.4), (63.5, 82.7), (47.4, 98.2), (79.6, 98.2)])
# How much larger than what the network knows a crop is that keeps its own detail: below, there is little
# but noise and blocks to keep.
_SHARPER = 1.25
# Share of the crop's side over which it fades into what is around it.
_FADE = 0.08


class SmallFaceEnlarger:
    """Fills aligned squares with what a network for tiny faces makes of them.

    Args:
        engine: A model that enlarges.

    Raises:
        WeightsError: If the model is not one that enlarges.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.info = engine.info
        if self.info.task != "upscale":
            raise WeightsError(
                f"{self.info.name} restores faces; small ones are enlarged first by one such as sparnet-x4"
            )

    def run(self, faces: Sequence[tuple[AnyImage, AlignedFace]]) -> list[AnyImage | None]:
        """Return the aligned squares of small faces, enlarged by the network.

        Args:
            faces: For each face its photo and how it was cut out of it.

        Returns:
            For each face a picture of the size of its `AlignedFace.image`; None for one that lies
            almost whole outside its photo.
        """
        makes = self.info.image_size
        known = known_px(self.info)
        crops: dict[int, AnyImage] = {}
        for index, (photo, aligned) in enumerate(faces):
            to_made = _compose(_to_crop(aligned.size, makes), aligned.transform)
            side = round(np.clip(makes / scale_of(to_made), known, makes))
            to_crop = _compose(_to_crop(aligned.size, side), aligned.transform)
            with suppress(AlignmentError):
                crops[index] = cut_out(photo, to_crop, side)
        results: list[AnyImage | None] = [None for _ in faces]
        if crops:
            made = self.engine.run(np.stack([as_known(crop, self.info) for crop in crops.values()]))
            for (index, crop), sr in zip(crops.items(), made, strict=True):
                aligned = faces[index][1]
                if len(crop) > _SHARPER * known:
                    sr = keep_detail(sr, crop, known_px=known, blind=self.info.blind)
                results[index] = _laid_into(aligned.image, sr, _to_crop(aligned.size, makes))
        return results


def _to_crop(aligned_size: int, crop_size: int) -> Float[np.ndarray, "2 3"]:
    """Return the transform from an aligned square to the crop that the network for tiny faces knows."""
    target = (_POINTS_128 + 0.5) * (crop_size / 128) - 0.5
    return fit_similarity(template(aligned_size), target)


def _compose(second: Float[np.ndarray, "2 3"], first: Float[np.ndarray, "2 3"]) -> Float[np.ndarray, "2 3"]:
    """Return the transform that does `first`, then `second`."""
    return np.concatenate(
        [second[:, :2] @ first[:, :2], second[:, :2] @ first[:, 2:] + second[:, 2:]], axis=1
    )


def _laid_into(
    aligned: UInt8[np.ndarray, "a a 3"], sr: UInt8[np.ndarray, "r r 3"], to_crop: Float[np.ndarray, "2 3"]
) -> UInt8[np.ndarray, "a a 3"]:
    """Lay what the network made over an aligned square, without an edge."""
    size = (len(aligned), len(aligned))
    flags = cv2.WARP_INVERSE_MAP
    laid = cv2.warpAffine(
        sr.astype(np.float32), to_crop, size, flags=cv2.INTER_CUBIC | flags, borderMode=cv2.BORDER_REPLICATE
    )
    weight = cv2.warpAffine(_fade(len(sr)), to_crop, size, flags=cv2.INTER_LINEAR | flags)[:, :, None]
    mixed = weight * laid + (1 - weight) * aligned
    return np.rint(np.clip(mixed, 0, 255)).astype(np.uint8)


def _fade(size: int) -> Float32[np.ndarray, "s s"]:
    """Draw a square that is 1 inside and falls to 0 at its edges."""
    to_edge = np.minimum(np.arange(size), np.arange(size)[::-1]) / (_FADE * size)
    rise = np.clip(to_edge, 0, 1)
    rise = rise * rise * (3 - 2 * rise)
    return np.minimum.outer(rise, rise).astype(np.float32)
