import numpy as np
import pytest

from sparnet.faces.detect import Face
from sparnet.metrics import template_face
from sparnet.metrics.faces import crop_by


def test_the_face_of_the_astronaut_is_found(hr_face):
    """Her eyes and nose in the crop, read off the picture by eye."""
    assert hr_face.found
    assert hr_face.points[:3] == pytest.approx(np.array([(46, 92), (88, 95), (67, 121)]), abs=5)
    left, top, right, bottom = hr_face.box
    assert np.all(hr_face.points[:3] > (left, top))
    assert np.all(hr_face.points[:3] < (right, bottom))


def test_the_same_picture_gives_the_same_face(face_finder, hr_face, face):
    again = face_finder(face)
    assert again.box == hr_face.box
    assert np.array_equal(again.points, hr_face.points)


def test_a_picture_without_a_face_gets_the_template_and_says_so(face_finder):
    face = face_finder(np.full((128, 160, 3), 90, dtype=np.uint8))
    assert not face.found
    assert np.array_equal(face.points, template_face(height=128, width=160).points)


def test_the_template_lies_in_the_central_square():
    square = template_face(height=512, width=512)
    wide = template_face(height=128, width=160)
    assert square.points[0] == pytest.approx((192.98, 239.95))
    # Halving the pixels halves distances from the corner, which lies half a pixel before index 0.
    assert wide.points + 0.5 == pytest.approx((square.points + 0.5) / 4 + (16, 0))
    assert wide.box == pytest.approx((np.array(square.box) / 4 + (16, 0, 16, 0)).tolist())


def test_points_that_are_no_face_count_as_none(face_finder, monkeypatch, face):
    detected = [Face(box=(1.0, 2.0, 30.0, 40.0), score=1.0, points=np.full((5, 2), 7.0))]
    monkeypatch.setattr(face_finder.detector, "detect", lambda image: detected)
    assert not face_finder(face).found


def test_a_crop_at_its_place_is_the_picture(face):
    assert np.array_equal(crop_by(face, np.eye(2, 3), size_px=128), face)


def test_what_lies_outside_the_picture_is_black(face):
    crop = crop_by(face, np.array([[1.0, 0, 10], [0, 1, 0]]), size_px=128)
    assert not crop[:, :10].any()
    assert np.array_equal(crop[:, 10:], face[:, :-10])


def test_a_reduced_crop_sees_every_pixel():
    """Lines one pixel wide come out as their mean, where plain sampling would hit or miss them."""
    lines = np.zeros((128, 128, 3), dtype=np.uint8)
    lines[:, ::2] = 200
    crop = crop_by(lines, np.array([[0.5, 0, -0.25], [0, 0.5, -0.25]]), size_px=64)
    assert np.all(crop == 100)


def test_a_reduced_crop_is_not_shifted():
    """A ramp reduced by 4 has at each new centre the value of the old picture there."""
    ramp = np.repeat(np.arange(0, 256, 2, dtype=np.uint8)[None, :, None], 128, axis=0).repeat(3, axis=2)
    crop = crop_by(ramp, np.array([[0.25, 0, -0.375], [0, 0.25, -0.375]]), size_px=32)
    assert crop[16, :, 0] == pytest.approx(2 * (4 * np.arange(32) + 1.5), abs=1)
