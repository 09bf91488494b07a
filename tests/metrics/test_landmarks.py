import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparnet.metrics import LandmarkNme, landmark_auc, landmark_curve, landmark_nme


@pytest.fixture(scope="session")
def landmarks(auxiliary_weights) -> LandmarkNme:
    return LandmarkNme()


def test_the_area_by_hand():
    """Errors 0, .035 and .07 leave 100 %, half and nothing; .5 is off the scale."""
    assert landmark_auc([0.0]) == 100
    assert landmark_auc([0.035]) == pytest.approx(50)
    assert landmark_auc([0.07]) == 0
    assert landmark_auc([0.0, 0.035, 0.07, 0.5]) == pytest.approx(37.5)
    assert landmark_auc([0.05], threshold=0.1) == pytest.approx(50)


def test_the_curve_by_hand():
    errors, percent = landmark_curve([0.5, 0.02, 0.02, 0.05])
    assert errors.tolist() == [0, 0.02, 0.02, 0.05, 0.07]
    assert percent.tolist() == [0, 50, 50, 75, 75]


@given(st.lists(st.floats(min_value=0, max_value=0.2), min_size=1))
def test_the_area_is_that_under_the_curve(nmes):
    errors, percent = landmark_curve(nmes)
    area = np.sum(np.diff(errors) * percent[:-1])
    assert landmark_auc(nmes) == pytest.approx(area / 0.07, abs=1e-9)
    assert 0 <= landmark_auc(nmes) <= 100
    assert np.all(np.diff(percent) >= 0)


@pytest.mark.parametrize("nmes", [[], [0.1, -0.1], [0.1, math.nan]])
def test_what_is_no_list_of_errors_is_refused(nmes):
    with pytest.raises(ValueError, match="error"):
        landmark_auc(nmes)


def test_a_threshold_of_0_is_refused():
    with pytest.raises(ValueError, match="threshold"):
        landmark_curve([0.1], threshold=0.0)


def test_the_error_is_the_mean_distance_over_the_size_of_the_box():
    """Half of the points 5 px off, in a box of 40 x 90 px."""
    hr = np.zeros((4, 2))
    sr = np.array([(3.0, 4), (0, 0), (-3, 4), (0, 0)])
    assert landmark_nme(sr, hr, (7.0, 7.0, 47.0, 97.0)) == pytest.approx(2.5 / 60)


def test_equal_pictures_have_error_0(landmarks, face, hr_face):
    assert landmarks(face, face, hr_face) == 0


def test_the_points_lie_where_the_detector_puts_eyes_and_nose(landmarks, astronaut, face_finder):
    """Two networks that know nothing of each other agree within a twentieth of the face."""
    place = face_finder(astronaut)
    points = landmarks.points(astronaut, place.box)
    seen = np.stack([points[36:42].mean(axis=0), points[42:48].mean(axis=0), points[30]])
    left, top, right, bottom = place.box
    size = math.sqrt((right - left) * (bottom - top))
    assert np.linalg.norm(seen - (place.points[:3] + 0.5), axis=1).max() < 0.05 * size


def test_a_moved_picture_moves_the_points(landmarks, astronaut, face_finder):
    place = face_finder(astronaut)
    left, top, right, bottom = place.box
    moved = np.roll(astronaut, (8, -6), axis=(0, 1))
    expected = np.add(landmarks.points(astronaut, place.box), (-6, 8))
    assert landmarks.points(moved, (left - 6, top + 8, right - 6, bottom + 8)) == pytest.approx(
        expected, abs=0.05
    )


def test_less_detail_is_more_error(landmarks, face, face_sr, hr_face):
    assert 0 < landmarks(face_sr, face, hr_face) < 0.5


def test_different_sizes_are_refused(landmarks, face, hr_face):
    with pytest.raises(ValueError, match="one size"):
        landmarks(face[1:], face, hr_face)
