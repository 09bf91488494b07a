import cv2
import numpy as np
import pytest
import skimage.data
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import TypeCheckError

from sparnet.faces.align import (
    TEMPLATE_512,
    AlignedFace,
    AlignmentError,
    align,
    fit_similarity,
    invert,
    resampled,
    scale_of,
    square_in_photo,
    template,
)
from sparnet.faces.detect import Face


def face_at(points):
    points = np.asarray(points, dtype=np.float64)
    low, high = points.min(axis=0), points.max(axis=0)
    return Face((low[0], low[1], high[0], high[1]), 1.0, points)


def similarity(scale, degrees, shift):
    turn = np.radians(degrees)
    cos, sin = scale * np.cos(turn), scale * np.sin(turn)
    return np.array([[cos, -sin, shift[0]], [sin, cos, shift[1]]])


def apply(transform, points):
    return points @ transform[:, :2].T + transform[:, 2]


def placed(transform, size=512):
    """A face whose aligned square is reached from the photo by `transform`."""
    return face_at(apply(invert(transform), template(size)))


def ramp(height, width):
    """A photo whose red is half its column and whose green is half its row."""
    y, x = np.mgrid[:height, :width]
    return np.rint(np.stack([x / 2, y / 2, np.full_like(x, 77)], axis=2)).astype(np.uint8)


@settings(deadline=None)  # a busy machine is no mistake
@given(
    scale=st.floats(0.01, 100),
    degrees=st.floats(-180, 180),
    x=st.floats(-1e4, 1e4),
    y=st.floats(-1e4, 1e4),
)
def test_a_similarity_is_recovered_exactly(scale, degrees, x, y):
    known = similarity(scale, degrees, (x, y))
    source = np.array(TEMPLATE_512)
    # relative to the size of the numbers: float64 has 16 digits
    np.testing.assert_allclose(
        fit_similarity(source, apply(known, source)), known, atol=1e-9 * (1e4 + 512 * scale)
    )


def test_the_fit_is_the_least_squares_one():
    rng = np.random.default_rng(1)
    source = np.array(TEMPLATE_512)
    target = apply(similarity(0.3, 20, (5, 9)), source) + rng.normal(0, 3, (5, 2))
    zero, one = np.zeros(5), np.ones(5)
    x, y = source.T
    rows = np.concatenate([np.stack([x, -y, one, zero], 1), np.stack([y, x, zero, one], 1)])
    a, b, tx, ty = np.linalg.lstsq(rows, target.T.ravel(), rcond=None)[0]
    np.testing.assert_allclose(fit_similarity(source, target), [[a, -b, tx], [b, a, ty]], atol=1e-9)


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (np.full((5, 2), 40.0), "coincide"),
        (np.full((5, 2), np.nan), "not finite"),
        (np.array(TEMPLATE_512)[[1, 0, 2, 4, 3]], "do not look like those of a face"),
        (np.array(TEMPLATE_512) + 10_000, "outside the photo"),
    ],
)
def test_points_that_give_no_position_are_refused(points, message):
    with pytest.raises(AlignmentError, match=message):
        align(np.zeros((600, 600, 3), np.uint8), face_at(points))


def test_a_face_in_profile_is_taken():
    points = np.array([[100, 100], [112, 100], [125, 125], [104, 150], [113, 150]], dtype=float)
    assert align(np.zeros((300, 300, 3), np.uint8), face_at(points)).size == 512


def test_a_face_on_the_template_is_cut_out_unchanged():
    photo = np.random.default_rng(0).integers(0, 256, (540, 530, 3), dtype=np.uint8)
    aligned = align(photo, face_at(np.add(TEMPLATE_512, [7, 11])))
    np.testing.assert_array_equal(aligned.image, photo[11:523, 7:519])
    np.testing.assert_allclose(aligned.transform, [[1, 0, -7], [0, 1, -11]], atol=1e-9)


@pytest.mark.parametrize("scale", [0.3, 0.7, 1.0, 1.9, 6.0])
@pytest.mark.parametrize("degrees", [0, 15, -40])
def test_every_px_shows_the_place_it_stands_for(scale, degrees):
    """A ramp stays a ramp under any linear filter, so its values tell positions."""
    photo = ramp(460, 500)
    size = 128
    middle = similarity(scale, degrees, (0, 0))
    middle[:, 2] = (size - 1) / 2 - middle[:, :2] @ [250, 230]
    aligned = align(photo, placed(middle, size), size)
    np.testing.assert_allclose(aligned.transform, middle, atol=1e-9)
    y, x = np.mgrid[:size, :size]
    place = apply(invert(middle), np.stack([x, y], axis=2))
    inside = ((place > 4 / scale + 4) & (place < np.array([500, 460]) - 4 / scale - 5)).all(axis=2)
    shown = aligned.image[inside]
    # half a grey level of rounding in the photo, in its reduced copy and in the result
    assert np.abs(shown[:, :2] - place[inside] / 2).max() <= (1.5 if scale < 1 else 1.05)
    # ... which have no side: a shift of 1/10 px would show here
    assert np.abs((shown[:, :2] - place[inside] / 2).mean(axis=0)).max() <= 0.05
    assert (shown[:, 2] == 77).all()
    assert inside.sum() > 2000


def test_the_sizes_agree():
    photo = cv2.GaussianBlur(skimage.data.astronaut(), (0, 0), 2)
    face = face_at([[204, 101], [246, 103], [224, 127], [201, 139], [245, 141]])
    large, small = align(photo, face, 512), align(photo, face, 128)
    reduced = cv2.resize(large.image, (128, 128), interpolation=cv2.INTER_AREA)
    # the kernels differ, by 0.4 levels in the mean; a template scaled by index, 3/8 px off, by 2.8
    assert np.abs(reduced.astype(int) - small.image).mean() < 0.6
    assert np.abs(template(128) - ((np.array(TEMPLATE_512) + 0.5) / 4 - 0.5)).max() < 1e-12


def test_a_fine_pattern_is_reduced_to_its_mean():
    """Stripes of 3 px in a face of 2,000 px would alias to broad bands when only points are read."""
    stripes = np.where(np.arange(3000) % 3 < 1, 240, 0).astype(np.uint8)
    photo = np.repeat(np.repeat(stripes[None, :, None], 2400, axis=0), 3, axis=2)
    turned = similarity(1 / 8, 10, (0, 0))
    turned[:, 2] = 127.5 - turned[:, :2] @ [1500, 1200]
    aligned = align(photo, placed(turned, 256), 256).image.astype(int)
    assert abs(aligned.mean() - 80) < 1
    assert np.abs(aligned - 80).max() < 30


def test_beyond_the_border_the_photo_is_mirrored():
    photo = ramp(200, 200)
    shifted = np.array([[1.0, 0, 40], [0, 1.0, 0]])
    aligned = align(photo, placed(shifted, 128), 128)
    np.testing.assert_array_equal(aligned.image[:, 40], photo[:128, 0])
    np.testing.assert_array_equal(aligned.image[:, 30], photo[:128, 9])


def test_a_one_px_photo_is_taken():
    photo = np.full((1, 1, 3), 9, np.uint8)
    assert (align(photo, placed(np.array([[1.0, 0, 60], [0, 1.0, 60]]), 128), 128).image == 9).all()


def test_only_the_surroundings_of_the_face_are_read():
    photo = np.zeros((1000, 1000, 3), np.uint8)
    left, top, right, bottom = square_in_photo(
        np.array([[1.0, 0, -300], [0, 1.0, -400]]), 128, photo.shape, margin=4
    )
    assert (left, top, right, bottom) == (296, 396, 432, 532)
    photo[top:bottom, left:right] = 50
    aligned = align(photo, placed(np.array([[1.0, 0, -300], [0, 1.0, -400]]), 128), 128)
    assert (aligned.image == 50).all()


def test_the_square_of_a_face_off_the_photo_is_empty():
    left, top, right, bottom = square_in_photo(
        np.array([[1.0, 0, 900], [0, 1.0, 0]]), 128, (200, 200), margin=4
    )
    assert right <= left or bottom <= top


@settings(deadline=None)  # a busy machine is no mistake
@given(scale=st.floats(0.1, 10), degrees=st.floats(-180, 180))
def test_a_transform_times_its_inverse_is_the_identity(scale, degrees):
    transform = similarity(scale, degrees, (3, -8))
    points = np.array(TEMPLATE_512)
    np.testing.assert_allclose(apply(invert(transform), apply(transform, points)), points, atol=1e-7)
    assert scale_of(transform) == pytest.approx(scale)


def test_a_resampled_transform_maps_the_same_place():
    transform = similarity(0.7, 25, (3, -8))
    points = np.array(TEMPLATE_512)
    enlarged = (points + 0.5) * [2, 3] - 0.5
    np.testing.assert_allclose(apply(resampled(transform, (2.0, 3.0)), enlarged), apply(transform, points))


def test_a_detected_face_lies_on_the_template(mtcnn):
    photo = skimage.data.astronaut()
    (face,) = mtcnn.detect(photo)
    aligned = align(photo, face)
    assert isinstance(aligned, AlignedFace)
    (again,) = mtcnn.detect(aligned.image)
    assert np.abs(again.points - TEMPLATE_512).mean() < 12


def test_a_size_of_nothing_is_refused():
    with pytest.raises(ValueError, match="size must be positive, got 0"):
        align(np.zeros((9, 9, 3), np.uint8), face_at(TEMPLATE_512), 0)


def test_a_gray_picture_is_refused():
    with pytest.raises(TypeCheckError):
        align(np.zeros((600, 600), np.uint8), face_at(TEMPLATE_512))
