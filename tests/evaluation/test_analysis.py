"""Analysis: maps go where the face goes, regions share a picture out, numbers are closed forms."""

import math
from pathlib import Path

import numpy as np
import pytest

from sparnet.errors import DataError
from sparnet.evaluation.analysis import (
    REGIONS,
    RegionPsnr,
    align_map,
    error_maps,
    evenly_spread,
    mean_aligned,
    region_masks,
)
from sparnet.evaluation.testset import TestFace
from sparnet.faces.align import template
from sparnet.metrics.faces import HrFace, template_face


def round_face(*, centre: float = 64, radius: float = 50) -> np.ndarray:
    """68 points of a drawing: jaw below, brows, nose, eyes and mouth where they belong."""

    def arc(count, x, y, rx, ry, begin, end):
        angle = np.linspace(begin, end, count)
        return np.column_stack([x + rx * np.cos(angle), y + ry * np.sin(angle)])

    c, r = centre, radius
    whole = 2 * math.pi
    return np.concatenate(
        [
            arc(17, c, c - 0.2 * r, r, 1.1 * r, math.pi, 0),
            arc(5, c - 0.4 * r, c - 0.4 * r, 0.2 * r, 0.1 * r, math.pi, whole),
            arc(5, c + 0.4 * r, c - 0.4 * r, 0.2 * r, 0.1 * r, math.pi, whole),
            np.column_stack([np.full(4, c), np.linspace(c - 0.3 * r, c + 0.1 * r, 4)]),
            np.column_stack([np.linspace(c - 0.15 * r, c + 0.15 * r, 5), np.full(5, c + 0.2 * r)]),
            arc(6, c - 0.4 * r, c - 0.2 * r, 0.15 * r, 0.08 * r, 0, 5 / 6 * whole),
            arc(6, c + 0.4 * r, c - 0.2 * r, 0.15 * r, 0.08 * r, 0, 5 / 6 * whole),
            arc(20, c, c + 0.5 * r, 0.3 * r, 0.12 * r, 0, 0.95 * whole),
        ]
    )


def flat(value: int, px: int = 64) -> np.ndarray:
    return np.full((px, px, 3), value, dtype=np.uint8)


def test_every_pixel_is_in_exactly_one_region():
    masks = region_masks(round_face(), height=128, width=128)
    assert tuple(masks) == REGIONS
    assert np.array_equal(sum(mask.astype(int) for mask in masks.values()), np.ones((128, 128)))


def test_regions_lie_where_the_points_are():
    points = round_face()
    masks = region_masks(points, height=128, width=128)

    def at(x: float, y: float) -> str:
        return next(name for name, mask in masks.items() if mask[round(y - 0.5), round(x - 0.5)])

    left, right = points[36:42].mean(axis=0), points[42:48].mean(axis=0)
    assert at(*left) == at(*right) == "eyes"
    assert at(*points[30]) == "nose"
    assert at(*points[48:].mean(axis=0)) == "mouth"
    assert at(64 - 30, 64 + 15) == at(64, 64 + 42) == "cheeks"
    assert at(3, 3) == at(64, 3) == at(64, 126) == "rest"
    # The bridge of the nose is no eye: each eye is a hull of its own.
    assert at(64, 64 - 0.32 * 50 - 4) != "eyes"


def test_a_map_is_turned_with_the_face():
    """A bright spot on the left eye of a turned face comes to lie on the template's left eye."""
    points = template(128)
    angle = math.radians(25)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    turned = (points - 64) @ turn.T * 0.7 + [60, 66]
    y, x = np.mgrid[:128, :128]
    spot = np.exp(-((x - turned[0, 0]) ** 2 + (y - turned[0, 1]) ** 2) / 8)
    aligned = np.nan_to_num(align_map(spot, turned))
    row, column = np.unravel_index(aligned.argmax(), aligned.shape)
    assert math.hypot(column - points[0, 0], row - points[0, 1]) < 1.5


def found(points: np.ndarray) -> HrFace:
    return HrFace(box=(10.0, 10.0, 50.0, 50.0), points=points, found=True)


def test_the_mean_of_one_constant_is_that_constant_where_enough_faces_reach():
    places = [found(template(64)), found(template(64) + np.array([20, 0]))]
    mean, used = mean_aligned([np.full((64, 64), 3.0), np.full((64, 64), 3.0)], places)
    assert used == 2
    seen = mean[np.isfinite(mean)]
    assert seen == pytest.approx(np.full(seen.shape, 3.0))
    assert len(seen) > 10_000


def test_faces_not_found_are_left_out_of_the_mean():
    places = [found(template(64)), template_face(height=64, width=64)]
    mean, used = mean_aligned([np.full((64, 64), 1.0), np.full((64, 64), 9.0)], places)
    assert used == 1
    assert np.nanmax(mean) == pytest.approx(1.0)
    with pytest.raises(DataError, match="no face was found"):
        mean_aligned([np.zeros((64, 64))], [template_face(height=64, width=64)])


def test_error_maps_of_a_grey_step_are_its_square():
    """Y of grey g is 16 + 219 g / 255, truncated: 100 and 110 make 101 and 110."""
    faces = [TestFace("a", "a", flat(100), flat(110), flat(110))]
    maps = error_maps(faces, [flat(110)], [found(template(64))])
    assert maps.faces == 1
    assert np.nanmean(maps.squared_error) == pytest.approx(81.0)
    assert np.nanmax(maps.ssim_error) < 0.01
    same = error_maps(faces, [flat(100)], [found(template(64))])
    assert np.nanmax(same.squared_error) == 0


def test_psnr_by_region_is_the_closed_form_of_the_region_alone(shared: Path, monkeypatch):
    monkeypatch.setenv("SPARNET_WEIGHTS", str(shared / "models"))
    original = flat(100, 128)
    faces = [TestFace("a", "a", original, original, original)]
    by_region = RegionPsnr(faces, [template_face(height=128, width=128)])
    worse = original.copy()
    worse[by_region.masks[0]["mouth"]] = 110
    scores = by_region([worse])
    assert scores["mouth"] == pytest.approx(10 * math.log10(255**2 / 81))
    assert all(math.isinf(scores[name]) for name in REGIONS if name != "mouth")
    means = by_region.mean_of([by_region.masks[0]["nose"].astype(float)])
    assert means == {name: float(name == "nose") for name in REGIONS}


def test_evenly_spread_takes_the_ends_and_no_item_twice():
    assert evenly_spread(3, 9) == [0, 4, 8]
    assert evenly_spread(6, 2) == [0, 1]
    assert evenly_spread(1, 5) == [0]
