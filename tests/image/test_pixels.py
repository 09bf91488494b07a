"""Resizing."""

import numpy as np
import pytest
from jaxtyping import TypeCheckError

from sparnet.image import resize_bicubic
from tests.image.pictures import ramp


def test_a_float_picture_is_refused():
    """Only the checker refuses this; without it the call writes nonsense."""
    with pytest.raises(TypeCheckError):
        resize_bicubic(np.zeros((4, 4, 3), dtype=np.float32), 8, 8)


def test_resizing_to_the_same_size_changes_nothing():
    np.testing.assert_array_equal(resize_bicubic(ramp(), 40, 56), ramp())


def test_a_plain_picture_stays_plain_at_any_size():
    plain = np.full((5, 7, 3), 93, dtype=np.uint8)
    for height, width in ((40, 56), (3, 2), (1, 1)):
        np.testing.assert_array_equal(resize_bicubic(plain, height, width), np.full((height, width, 3), 93))


def test_height_comes_before_width():
    assert resize_bicubic(ramp(), 8, 16).shape == (8, 16, 3)
