"""Where in the face a method errs, and where a network looks: maps over aligned faces, numbers by region."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from jaxtyping import Bool, Float

from sparnet.errors import DataError
from sparnet.evaluation.testset import TestFace
from sparnet.faces.align import AlignmentError, fit_similarity, template
from sparnet.image import AnyImage
from sparnet.metrics.faces import FaceFinder, HrFace
from sparnet.metrics.landmarks import LandmarkNme
from sparnet.metrics.y_sparnet import squared_error_y_map, ssim_y_map

MAP_PX = 128
"""Side of aligned maps."""


@dataclass(frozen=True, eq=False)
class ErrorMaps:
    """What a method gets wrong, averaged over aligned faces."""

    squared_error: Float[np.ndarray, "s s"]
    """Mean squared error of Y; its mean is what `psnr_y` is made of."""
    ssim_error: Float[np.ndarray, "s s"]
    """Mean of 1 - SSIM. Both maps are not a number where fewer than half of the faces reach."""
    faces: int
    """Faces that count: those found in the original."""


def find_faces(faces: Sequence[TestFace]) -> list[HrFace]:
    """Find the face of each original, as `identity_cosine` and `landmark_auc` do."""
    finder = FaceFinder()
    return [finder(face.hr) for face in faces]


def align_map(
    values: Float[np.ndarray, "h w"], points: Float[np.ndarray, "5 2"], *, size: int = MAP_PX
) -> Float[np.ndarray, "s s"]:
    """Turn, scale and move a map as the face's five points go to the template; bilinear.

    What lies outside the picture is not a number.

    Raises:
        AlignmentError: If the points do not look like those of a face.
    """
    transform = fit_similarity(points, template(size))
    return cv2.warpAffine(
        values.astype(np.float64),
        transform,
        (size, size),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=float("nan"),
    )


def mean_aligned(
    maps: Sequence[Float[np.ndarray, "..."]], places: Sequence[HrFace], *, size: int = MAP_PX
) -> tuple[Float[np.ndarray, "s s"], int]:
    """Average maps over the faces, each brought to the template by its original's points.

    A pixel is averaged over the pictures that reach so far; where fewer than half of them do, it is
    not a number. Faces that were not found are left out.

    Returns:
        The mean map, and how many faces it is of.

    Raises:
        DataError: If no face was found.
    """
    total, count = np.zeros((size, size)), np.zeros((size, size))
    used = 0
    for values, place in zip(maps, places, strict=True):
        if not place.found:
            continue
        try:
            aligned = align_map(np.asarray(values), place.points, size=size)
        except AlignmentError:
            continue
        seen = np.isfinite(aligned)
        total[seen] += aligned[seen]
        count += seen
        used += 1
    if used == 0:
        raise DataError("no face was found in any original: there is nothing to average")
    enough = (count > 0) & (2 * count >= used)
    return np.divide(total, count, out=np.full_like(total, np.nan), where=enough), used


def error_maps(faces: Sequence[TestFace], results: Sequence[AnyImage], places: Sequence[HrFace]) -> ErrorMaps:
    """Average the squared error and 1 - SSIM of results over the aligned faces.

    Source:
        Section IV-A2, Figure 5(c): five points, mean square error, one minus the SSIM score.
    """
    squared = [squared_error_y_map(sr, face.hr) for face, sr in zip(faces, results, strict=True)]
    unlike = [1 - ssim_y_map(sr, face.hr) for face, sr in zip(faces, results, strict=True)]
    squared_error, used = mean_aligned(squared, places)
    ssim_error, _ = mean_aligned(unlike, places)
    return ErrorMaps(squared_error, ssim_error, used)


REGIONS = ("eyes", "nose", "mouth", "cheeks", "rest")
"""Parts of a picture: each pixel is in exactly one; `rest` is hair, neck and background."""

# Of the 68 points: jaw 0-16, brows 17-26, nose 27-35, eyes 36-47, mouth 48-67.
_PARTS = {
    "eyes": ((17, 18, 19, 20, 21, 36, 37, 38, 39, 40, 41), (22, 23, 24, 25, 26, 42, 43, 44, 45, 46, 47)),
    "nose": (tuple(range(27, 36)),),
    "mouth": (tuple(range(48, 68)),),
}


def region_masks(
    points: Float[np.ndarray, "68 2"], *, height: int, width: int
) -> dict[str, Bool[np.ndarray, "h w"]]:
    """Cut a picture into the regions of its face.

    Eyes (with brows), nose and mouth are the hulls of their points, widened by a twentieth of the
    distance between the eyes; cheeks (with chin) are what remains inside jaw and brows; the rest is
    what remains of the picture. Where two overlap, the pixel is the first one's.

    Args:
        points: 68 points, x and y in px from the picture's corner.
        height: The picture's, in px.
        width: The picture's, in px.
    """
    apart = float(np.linalg.norm(points[36:42].mean(axis=0) - points[42:48].mean(axis=0)))
    margin = max(1, round(apart / 20))
    # Ellipses of odd side: the widening is the same all round.
    brush = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * margin + 1, 2 * margin + 1))
    free = np.ones((height, width), dtype=bool)
    masks = {}
    for name, hulls in _PARTS.items():
        drawn = np.zeros((height, width), dtype=np.uint8)
        for hull in hulls:
            drawn |= _hull(points[list(hull)], height, width)
        masks[name] = cv2.dilate(drawn, brush).astype(bool) & free
        free &= ~masks[name]
    masks["cheeks"] = _hull(points[:27], height, width).astype(bool) & free
    masks["rest"] = free & ~masks["cheeks"]
    return masks


def _hull(points: Float[np.ndarray, "k 2"], height: int, width: int) -> np.ndarray:
    drawn = np.zeros((height, width), dtype=np.uint8)
    # From the picture's corner to indices of pixels.
    hull = cv2.convexHull((points - 0.5).astype(np.float32))
    cv2.fillConvexPoly(drawn, np.round(hull).astype(np.int32), 1)
    return drawn


class RegionPsnr:
    """Measure the PSNR of each region of the face, by the squared error of Y over all its pixels.

    Regions come from the originals' landmarks, so that they are the same for every method. Loaded
    once, used for several methods.

    Args:
        faces: The test set.
        places: Where the faces are in the originals.

    Raises:
        WeightsError: If the file of the landmarks' network is missing.
    """

    def __init__(self, faces: Sequence[TestFace], places: Sequence[HrFace]) -> None:
        marker = LandmarkNme()
        self.faces = faces
        self.masks = [
            region_masks(marker.points(face.hr, place.box), height=face.hr.shape[0], width=face.hr.shape[1])
            for face, place in zip(faces, places, strict=True)
        ]

    def __call__(self, results: Sequence[AnyImage]) -> dict[str, float]:
        """Return by region `10 log10(255^2 / mean (Y_sr - Y_hr)^2)`, the mean over all faces' pixels.

        Unlike `psnr_y` over a set this is no mean of the pictures' PSNR: a region may be some few pixels.
        """
        sums = dict.fromkeys(REGIONS, 0.0)
        pixels = dict.fromkeys(REGIONS, 0)
        for face, sr, masks in zip(self.faces, results, self.masks, strict=True):
            errors = squared_error_y_map(sr, face.hr)
            for name, mask in masks.items():
                sums[name] += float(errors[mask].sum())
                pixels[name] += int(mask.sum())
        return {name: _psnr(sums[name], pixels[name]) for name in REGIONS}

    def mean_of(self, maps: Sequence[Float[np.ndarray, "..."]]) -> dict[str, float]:
        """Return by region the mean of maps of any kind, such as attention, at the pictures' size."""
        sums, pixels = dict.fromkeys(REGIONS, 0.0), dict.fromkeys(REGIONS, 0)
        for values, masks in zip(maps, self.masks, strict=True):
            for name, mask in masks.items():
                sums[name] += float(values[mask].sum())
                pixels[name] += int(mask.sum())
        return {name: sums[name] / max(1, pixels[name]) for name in REGIONS}


def _psnr(squared: float, pixels: int) -> float:
    if pixels == 0:
        return float("nan")
    return float("inf") if squared == 0 else float(10 * np.log10(255**2 * pixels / squared))


def gain_by_region(ours: Mapping[str, float], others: Mapping[str, float]) -> dict[str, float]:
    """Return by region how many dB one method is above another."""
    return {name: ours[name] - others[name] for name in REGIONS}


def evenly_spread(count: int, of: int) -> list[int]:
    """Choose `count` of `of` items, first and last among them, evenly spread."""
    chosen = np.linspace(0, of - 1, min(count, of)).round().astype(int).tolist()
    return [index for index, after in pairwise([*chosen, -1]) if index != after]
