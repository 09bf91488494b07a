"""Pictures to judge a training by."""

import numpy as np
import pytest
from PIL import Image as PillowImage

from sparnet.data.faces import FaceSet
from sparnet.data.validation import make_validation
from sparnet.degradation import RELEASE, DegradationConfig, degrade_pair
from sparnet.image import resize_bicubic


def random_faces(side: int) -> FaceSet:
    pixels = np.random.default_rng(side).integers(0, 256, (3, side, side, 3), dtype=np.uint8)
    return FaceSet(pixels, np.full(3, side, dtype=np.int64), ("0", "1", "2"), ("0", "1", "2"))


def test_the_centre_of_a_rough_crop_is_the_original():
    faces = random_faces(80)
    made = make_validation(faces, image_size=32, upscale_factor=8, framing=0.85)
    original = resize_bicubic(np.ascontiguousarray(faces.pixels[1, 6:74, 6:74]), 32, 32)
    assert np.array_equal(made.hr[1], original)
    assert np.array_equal(made.lr[1], resize_bicubic(original, 4, 4))
    assert np.array_equal(made.lr_up[1], resize_bicubic(made.lr[1], 32, 32))
    assert np.array_equal(made.at(16)[1], resize_bicubic(made.lr[1], 16, 16))


def test_a_face_without_a_margin_is_kept_whole():
    """Enlarged pictures would be called originals, and be easy to make."""
    faces = random_faces(32)
    assert np.array_equal(make_validation(faces, image_size=32, framing=0.85).hr, faces.pixels)


@pytest.mark.parametrize("seed", [0, 1])
def test_degraded_faces_are_the_same_each_time(seed):
    faces = random_faces(64)
    first, second = (
        make_validation(faces, image_size=64, upscale_factor=1, degradation=RELEASE, framing=1.0)
        for _ in range(2)
    )
    assert np.array_equal(first.lr_up[seed], second.lr_up[seed])
    assert np.array_equal(first.lr, first.lr_up)
    assert not np.array_equal(first.lr_up[seed], first.hr[seed])


def test_degraded_faces_of_a_network_that_enlarges_are_as_it_is_trained_on_them():
    faces = random_faces(64)
    config = DegradationConfig(lr_size_px=(64, 128), grayscale_probability=0.0)
    for side in (16, 32, 64):
        made = make_validation(
            faces, image_size=64, input_size=side, upscale_factor=4, degradation=config, framing=1.0
        )
        assert made.lr.shape == (3, side, side, 3)
        for index in range(3):
            wanted = degrade_pair(made.hr[index], np.random.default_rng(index), config, size=side)[1]
            assert np.array_equal(made.at(side)[index], wanted)
            assert np.array_equal(made.lr_up[index], resize_bicubic(wanted, 64, 64))


def test_it_is_made_as_pillow_makes_it():
    faces = random_faces(40)
    made = make_validation(faces, image_size=32, upscale_factor=4, framing=1.0)
    picture = PillowImage.fromarray(faces.pixels[0]).resize((32, 32), PillowImage.Resampling.BICUBIC)
    small = picture.resize((8, 8), PillowImage.Resampling.BICUBIC)
    assert np.array_equal(made.lr_up[0], np.asarray(small.resize((32, 32), PillowImage.Resampling.BICUBIC)))
