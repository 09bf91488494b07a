"""The paper's crops, and CelebA's lists."""

import numpy as np
import pytest
from beartype.roar import BeartypeCallHintParamViolation
from jaxtyping import TypeCheckError
from PIL import Image as PillowImage

from sparnet.data.prepare import (
    CelebaConfig,
    FfhqConfig,
    NaturalConfig,
    choose_face,
    cut_celeba,
    cut_ffhq,
    cut_natural,
    read_identities,
    read_partition,
    square_around,
)
from sparnet.errors import DataError
from sparnet.faces.align import align
from sparnet.faces.detect import Face
from tests.data.prepare.preparing import SMALL, Sees, face, noise


def test_the_face_a_photo_is_about_is_large_and_near_the_middle():
    middle, large_at_the_edge, small_in_the_middle = (
        face(40, 40, 60, 60),
        face(0, 0, 30, 30),
        face(48, 48, 52, 52),
    )
    faces = [large_at_the_edge, middle, small_in_the_middle]
    assert choose_face(faces, height=100, width=100) is middle
    # 900 - 2 * 0 against 400 - 0: of two in the middle, the larger
    assert choose_face([face(35, 35, 65, 65), middle], height=100, width=100) is not middle
    # 30 * 30 - 2 * (35^2 + 35^2) = -4000 against 4 * 4 = 16
    assert choose_face([large_at_the_edge, small_in_the_middle], height=100, width=100) is small_in_the_middle


def test_the_square_lies_about_the_middle_of_the_box():
    assert square_around(face(100, 100, 140, 180), margin=1.5, height=400, width=400) == (60, 80, 180, 200)


def test_a_square_that_reaches_beyond_the_photo_is_moved_inside():
    assert square_around(face(0, 350, 40, 400), margin=2.0, height=400, width=400) == (0, 300, 100, 400)


def test_a_square_larger_than_the_photo_is_reduced_to_it():
    assert square_around(face(20, 100, 80, 180), margin=2.0, height=300, width=100) == (0, 90, 100, 190)


def test_a_photo_too_narrow_for_its_face_gives_no_square():
    tall = face(0, 100, 60, 180)
    assert square_around(tall, margin=1.2, height=300, width=60) is None
    assert cut_celeba(noise(300, 60), CelebaConfig(), Sees(tall))[0].reason == "cut off"


def test_a_square_holds_the_whole_face_and_lies_in_the_photo():
    rng = np.random.default_rng(0)
    for _ in range(300):
        height, width = (int(side) for side in rng.integers(40, 300, 2))
        left, right = sorted(rng.uniform(0, width, 2).tolist())
        top, bottom = sorted(rng.uniform(0, height, 2).tolist())
        found = face(left, top, right, bottom)
        square = square_around(found, margin=float(rng.uniform(1, 3)), height=height, width=width)
        if square is None:
            assert found.size_px > min(height, width) - 1
            continue
        x0, y0, x1, y1 = square
        assert x1 - x0 == y1 - y0
        assert 0 <= x0 <= left + 1
        assert 0 <= y0 <= top + 1
        assert right - 1 <= x1 <= width
        assert bottom - 1 <= y1 <= height


def test_a_crop_is_pillows_bicubic_of_its_square():
    photo = noise(400, 500)
    (cut,) = cut_celeba(photo, CelebaConfig(margin=1.5), Sees(face(200, 100, 300, 220)))
    assert cut.square == (160, 70, 340, 250)
    crop = PillowImage.fromarray(photo).crop(cut.square)
    expected = crop.resize((128, 128), PillowImage.Resampling.BICUBIC)
    np.testing.assert_array_equal(cut.image, np.asarray(expected))


@pytest.mark.parametrize(("side", "reason"), [(127, "too small"), (128, "too small"), (129, None)])
def test_the_crop_not_the_face_must_be_larger_than_128_px(side, reason):
    found = face(100, 100, 100 + side / 2, 100 + side / 2)
    (cut,) = cut_celeba(noise(400, 400), CelebaConfig(margin=2), Sees(found))
    assert cut.reason == reason


@pytest.mark.parametrize("name", ["bilinear", "bicubic"])
def test_faces_of_ffhq_are_made_smaller_by_pillows_antialiased_filter(name):
    original = noise(64, 64)
    (cut,) = cut_ffhq(original, FfhqConfig.model_validate({"size_px": 32, "filter": name}))
    expected = PillowImage.fromarray(original).resize((32, 32), PillowImage.Resampling[name.upper()])
    np.testing.assert_array_equal(cut.image, np.asarray(expected))
    # antialiased: it reads every pixel, where a plain bilinear filter at half the size reads 2 x 2
    assert cut.image is not None
    assert cut.image.std() < 0.6 * original.std()


def test_what_is_no_face_of_ffhq_is_dropped_and_one_of_the_right_size_left_alone():
    original = noise(16, 16)
    assert cut_ffhq(original, SMALL)[0].image is original
    assert cut_ffhq(noise(15, 15), SMALL)[0].reason == "too small"
    assert cut_ffhq(noise(64, 63), SMALL)[0].reason == "not square"


def test_natural_faces_are_those_under_48_px_aligned():
    photo = noise(300, 300)
    small, at_the_limit, large = face(10, 10, 40, 57.9), face(100, 100, 140, 148), face(150, 150, 290, 290)
    cuts = cut_natural(photo, NaturalConfig(), Sees(large, at_the_limit, small))
    assert [cut.reason for cut in cuts] == ["too large", "too large", None]
    np.testing.assert_array_equal(cuts[2].image, align(photo, small, 512).image)


def test_a_face_whose_points_are_nonsense_is_dropped_alone():
    broken = Face(box=(10.0, 10.0, 40.0, 40.0), score=0.9, points=np.zeros((5, 2)))
    cuts = cut_natural(noise(100, 100), NaturalConfig(), Sees(face(50, 50, 80, 80), broken))
    assert [cut.reason for cut in cuts] == [None, "cannot be aligned"]


@pytest.mark.parametrize("cut", [cut_celeba, cut_natural])
def test_a_photo_without_a_face_is_an_answer(cut):
    config = CelebaConfig() if cut is cut_celeba else NaturalConfig()
    assert [made.reason for made in cut(noise(60, 60), config, Sees())] == ["no face"]


def test_a_float_picture_is_refused():
    """Only the checker refuses this; without it the call returns nonsense."""
    with pytest.raises((TypeCheckError, BeartypeCallHintParamViolation)):
        cut_ffhq(np.zeros((64, 64, 3), dtype=np.float32), SMALL)


def test_natural_faces_must_not_be_looked_for_above_the_size_that_is_kept():
    with pytest.raises(ValueError, match="min_face_px must be below smaller_than_px"):
        NaturalConfig(min_face_px=48)


def test_celebas_lists_are_read_as_published_and_as_on_kaggle(tmp_path):
    (tmp_path / "official.txt").write_text("000001.jpg 0\n000002.jpg 1\n000003.jpg 2\n")
    (tmp_path / "kaggle.csv").write_text("image_id,partition\n000001.jpg,0\n000002.jpg,1\n000003.jpg,2\n")
    expected = {"000001": "train", "000002": "val", "000003": "test"}
    assert read_partition(tmp_path / "official.txt") == expected
    assert read_partition(tmp_path / "kaggle.csv") == expected
    (tmp_path / "people.txt").write_text("000001.jpg 2880\n")
    assert read_identities(tmp_path / "people.txt") == {"000001": "celeba-2880"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"000001.jpg 0\n000002.jpg\n", "line 2 is '000002.jpg', expected a picture's name and 0, 1 or 2"),
        (b"000001.jpg 3\n", "000001 has part '3', expected 0, 1 or 2"),
        (b"", "is empty"),
        (b"\xff\xfe\x00", "not a text file"),
    ],
)
def test_a_list_of_another_kind_is_told_in_one_line(tmp_path, content, message):
    path = tmp_path / "list.txt"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as error:
        read_partition(path)
    assert str(error.value).startswith(str(path))
    with pytest.raises(DataError, match="no such file"):
        read_partition(tmp_path / "nothing.txt")
