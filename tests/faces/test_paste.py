import cv2
import numpy as np
import pytest
import skimage.data
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import TypeCheckError

from sparnet.faces import paste as paste_module
from sparnet.faces.align import AlignedFace, AlignmentError, align, invert, resampled, template
from sparnet.faces.detect import Face
from sparnet.faces.paste import _coarse_color, paste, paste_all


def face_at(x, y, square_px, *, degrees=0.0):
    """A face whose aligned square has its middle at (x, y) and this side in px of the photo."""
    scale = 512 / square_px
    turn = np.radians(degrees)
    cos, sin = scale * np.cos(turn), scale * np.sin(turn)
    transform = np.array([[cos, -sin, 0], [sin, cos, 0]])
    transform[:, 2] = 255.5 - transform[:, :2] @ [x, y]
    back = invert(transform)
    points = template(512) @ back[:, :2].T + back[:, 2]
    return Face((x - 1.0, y - 1.0, x + 1.0, y + 1.0), 1.0, points)


def noise(height=300, width=400, *, low=0, high=256):
    return np.random.default_rng(0).integers(low, high, (height, width, 3), dtype=np.uint8)


def middle_of(photo, x, y, reach):
    return photo[y - reach : y + reach + 1, x - reach : x + reach + 1].astype(int)


def positions(aligned, size):
    """Return column and row of each px of the aligned square, at another size."""
    y, x = np.mgrid[:size, :size]
    return (np.stack([x, y], axis=2) + 0.5) * (aligned.size / size) - 0.5


@settings(deadline=None, max_examples=25)  # a busy machine is no mistake
@given(
    x=st.floats(-50, 450),
    y=st.floats(-50, 350),
    square_px=st.floats(8, 1500),
    degrees=st.floats(-180, 180),
    color_match=st.floats(0, 1),
)
def test_a_network_that_changes_nothing_changes_no_px(x, y, square_px, degrees, color_match):
    photo = noise()
    face = face_at(x, y, square_px, degrees=degrees)
    try:
        aligned = align(photo, face)
    except AlignmentError:
        return  # it lies outside the photo
    np.testing.assert_array_equal(paste(photo, aligned.image, aligned, color_match=color_match), photo)


@pytest.mark.parametrize("square_px", [20, 100, 290])
def test_no_px_outside_the_square_changes(square_px):
    photo = noise()
    aligned = align(photo, face_at(200, 150, square_px))
    result = paste(photo, 255 - aligned.image, aligned, color_match=0)
    changed = (result != photo).any(axis=2)
    rows, columns = np.nonzero(changed)
    half = square_px / 2
    assert np.abs(columns - 200).max() <= half
    assert np.abs(rows - 150).max() <= half
    # the mask is no square: it has no corners, but reaches well beyond the eyes and the mouth
    assert 0.5 < changed.sum() / square_px**2 < 0.9


def test_the_photo_given_is_not_touched():
    photo = noise()
    before = photo.copy()
    aligned = align(photo, face_at(200, 150, 100))
    paste(photo, 255 - aligned.image, aligned)
    np.testing.assert_array_equal(photo, before)


@pytest.mark.parametrize("square_px", [40, 200, 700])
@pytest.mark.parametrize("upscale_factor", [1, 2, 2.5])
def test_a_face_ten_levels_lighter_makes_its_place_ten_levels_lighter(square_px, upscale_factor):
    photo = noise(low=20, high=200)
    aligned = align(photo, face_at(200, 150, square_px, degrees=12))
    enlarged = cv2.resize(photo, None, fx=upscale_factor, fy=upscale_factor, interpolation=cv2.INTER_CUBIC)
    result = paste(
        enlarged, aligned.image + np.uint8(10), aligned, upscale_factor=upscale_factor, color_match=0
    )
    x, y = round(200 * upscale_factor), round(150 * upscale_factor)
    reach = int(square_px * upscale_factor / 5)
    lighter = middle_of(result, x, y, reach) - middle_of(enlarged, x, y, reach)
    assert (lighter == np.minimum(10, 255 - middle_of(enlarged, x, y, reach))).all()


@pytest.mark.parametrize("square_px", [60, 200, 280])
@pytest.mark.parametrize("upscale_factor", [1, 2])
@pytest.mark.parametrize("restored_px", [128, 512, 1024])
def test_every_px_of_the_restored_face_lands_on_its_place(square_px, upscale_factor, restored_px):
    """A ramp stays a ramp under any linear filter, so its values tell positions."""
    photo = np.full((300, 400, 3), 60, np.uint8)
    aligned = align(photo, face_at(200, 150, square_px, degrees=-20))
    slope = 0.23  # no multiple of it is whole, lest rounding take a side
    ramp = positions(aligned, restored_px) * slope
    restored = np.rint(np.concatenate([ramp, ramp[:, :, :1]], axis=2) + 60).astype(np.uint8)
    enlarged = np.full((300 * upscale_factor, 400 * upscale_factor, 3), 60, np.uint8)
    result = paste(enlarged, restored, aligned, upscale_factor=upscale_factor, color_match=0)

    to_square = resampled(aligned.transform, (float(upscale_factor),) * 2)
    y, x = np.mgrid[: len(result), : result.shape[1]]
    place = np.stack([x, y], axis=2) @ to_square[:, :2].T + to_square[:, 2]
    core = (np.abs(place - 256) < 130).all(axis=2)
    error = result[core][:, :2] - (60 + slope * place[core])
    assert np.abs(error).max() < 1.3  # rounding of the restored face and of the photo, 1/32 px of OpenCV
    # a shift of half a px of the photo would show as this many levels
    half_px = 0.5 * slope * 512 / (square_px * upscale_factor)
    assert np.abs(error.mean(axis=0)).max() < max(0.05, half_px / 8)


def test_the_edge_of_the_mask_is_soft():
    photo = np.full((600, 600, 3), 100, np.uint8)
    aligned = align(photo, face_at(300, 300, 500))
    result = paste(photo, np.full((512, 512, 3), 200, np.uint8), aligned, color_match=0)
    assert result.max() == 200
    steps = np.abs(np.diff(result[:, :, 0].astype(int), axis=1))
    assert steps.max() <= 5  # of 100: the mask takes about 50 px from 0 to 1


def test_a_large_face_keeps_the_detail_that_only_the_photo_has():
    rng = np.random.default_rng(0)
    fine = rng.integers(-30, 31, (1500, 1500, 1))
    photo = (np.full((1500, 1500, 3), 120) + fine).astype(np.uint8)
    aligned = align(photo, face_at(750, 750, 1400))
    result = paste(photo, aligned.image + np.uint8(20), aligned, color_match=0)
    kept = middle_of(result, 750, 750, 300) - 140
    np.testing.assert_array_equal(kept, fine[450:1051, 450:1051].repeat(3, axis=2))


def test_a_restored_face_finer_than_its_place_does_not_alias():
    photo = np.full((200, 200, 3), 120, np.uint8)
    aligned = align(photo, face_at(100, 100, 64))
    stripes = np.where(np.arange(512) % 10 < 5, 60, 180).astype(np.uint8)
    restored = np.repeat(np.repeat(stripes[None, :, None], 512, axis=0), 3, axis=2)
    result = paste(photo, restored, aligned, color_match=0)
    assert np.abs(middle_of(result, 100, 100, 10) - 120).max() <= 25  # of 60


def test_faces_in_strips_are_faces_in_one_piece(monkeypatch):
    photo = noise()
    aligned = align(photo, face_at(200, 150, 280, degrees=30))
    whole = paste(photo, 255 - aligned.image, aligned)
    monkeypatch.setattr(paste_module, "_STRIP_PIXELS", 3000)
    strips = paste(photo, 255 - aligned.image, aligned)
    # OpenCV rounds positions to 1/32 px, from the corner of the strip
    assert np.abs(whole.astype(int) - strips).max() <= 4


def test_a_face_cut_by_the_border_is_restored_where_it_shows():
    photo = np.full((300, 400, 3), 100, np.uint8)
    aligned = align(photo, face_at(5, 290, 200))
    result = paste(photo, aligned.image + np.uint8(50), aligned, color_match=0)
    assert (result[280:, :20] == 150).all()
    assert (result[:150] == 100).all()


def test_overlapping_faces_are_not_restored_twice():
    photo = np.full((300, 400, 3), 100, np.uint8)
    left, right = (align(photo, face_at(x, 150, 200)) for x in (160, 240))
    result = paste_all(photo, [(a.image + np.uint8(40), a) for a in (left, right)], color_match=0)
    assert result.max() == 140
    # each prevails in its own middle; between them nothing is left out
    assert (middle_of(result, 200, 150, 20) == 140).all()


def test_each_of_two_overlapping_faces_prevails_in_its_middle():
    photo = np.full((300, 400, 3), 100, np.uint8)
    left, right = (align(photo, face_at(x, 150, 200)) for x in (130, 270))
    result = paste_all(
        photo, [(left.image + np.uint8(60), left), (right.image - np.uint8(60), right)], color_match=0
    )
    assert (middle_of(result, 130, 150, 30) == 160).all()
    assert (middle_of(result, 270, 150, 30) == 40).all()
    assert np.abs(np.diff(result[150, :, 0].astype(int))).max() <= 12  # from one to the other in steps


def test_the_order_of_faces_does_not_matter():
    photo = noise()
    faces = [(255 - a.image, a) for a in (align(photo, face_at(x, 150, 150)) for x in (150, 200, 260))]
    first, second = paste_all(photo, faces), paste_all(photo, faces[::-1])
    assert np.abs(first.astype(int) - second).max() <= 1  # rounding, once a face


def test_no_faces_give_a_copy():
    photo = noise()
    result = paste_all(photo, [])
    np.testing.assert_array_equal(result, photo)
    assert result is not photo


def test_a_tint_of_the_network_is_undone():
    photo = skimage.data.astronaut()
    aligned = align(photo, face_at(224, 120, 150))
    tinted = np.clip(np.add(aligned.image, [18, -6, -20]), 0, 255).astype(np.uint8)

    def tint(color_match):
        result = paste(photo, tinted, aligned, color_match=color_match)
        return np.abs(
            (middle_of(result, 224, 120, 40) - middle_of(photo, 224, 120, 40)).mean(axis=(0, 1))
        ).max()

    assert tint(0) > 15
    assert tint(0.7) < 0.4 * tint(0)
    assert tint(1) < 2


def test_matching_colours_leaves_detail_alone():
    photo = skimage.data.astronaut()
    aligned = align(photo, face_at(224, 120, 150))
    sharp = cv2.addWeighted(aligned.image, 2.0, cv2.GaussianBlur(aligned.image, (0, 0), 5), -1.0, 0)
    off, on = (middle_of(paste(photo, sharp, aligned, color_match=match), 224, 120, 40) for match in (0, 1))
    # only what varies slowly has changed
    change = (on - off).astype(np.float32)
    assert np.abs(change - cv2.GaussianBlur(change, (0, 0), 2)).mean() < 0.6


@pytest.mark.parametrize("restored_is_gray", [True, False])
def test_gray_stays_gray(restored_is_gray):
    gray = cv2.cvtColor(skimage.data.astronaut(), cv2.COLOR_RGB2GRAY)
    photo = np.repeat(gray[:, :, None], 3, axis=2)
    aligned = align(photo, face_at(224, 120, 150))
    lighter = np.clip(aligned.image.astype(int) * 1.1 + 8, 0, 255)
    restored = lighter if restored_is_gray else np.clip(np.add(lighter, [20, 0, -25]), 0, 255)
    result = paste(photo, restored.astype(np.uint8), aligned)
    assert (result == result[:, :, :1]).all()
    assert (result != photo).any()


def test_an_even_face_has_no_spread_to_match():
    photo = np.full((200, 200, 3), 100, np.uint8)
    aligned = align(photo, face_at(100, 100, 100))
    result = paste(photo, np.full((512, 512, 3), 180, np.uint8), aligned, color_match=1)
    np.testing.assert_array_equal(result, photo)


def test_a_real_face_comes_back_the_same(mtcnn, read_photo):
    photo = read_photo("group-1927.jpg")
    faces = [align(photo, face) for face in mtcnn.detect(photo)]
    np.testing.assert_array_equal(paste_all(photo, [(face.image, face) for face in faces]), photo)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"upscale_factor": 0}, "upscale_factor must be positive, got 0"),
        ({"color_match": 1.5}, r"color_match must lie in 0\.\.1, got 1\.5"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, message):
    photo = noise()
    aligned = align(photo, face_at(200, 150, 100))
    with pytest.raises(ValueError, match=message):
        paste(photo, aligned.image, aligned, **arguments)


def test_a_restored_face_that_is_no_square_is_refused():
    photo = noise()
    aligned = align(photo, face_at(200, 150, 100))
    with pytest.raises(ValueError, match="a restored face must be square, got 100 x 512"):
        paste_all(photo, [(aligned.image[:, :100].copy(), aligned)])


def test_a_restored_face_of_floats_is_refused():
    photo = noise()
    aligned = AlignedFace(noise(64, 64), np.array([[1.0, 0, 0], [0, 1.0, 0]]))
    with pytest.raises(TypeCheckError):
        paste(photo, aligned.image.astype(np.float32), aligned)


def test_a_network_s_own_colours_are_undone_from_the_size_of_an_iris_on_and_nothing_else_is():
    difference = np.zeros((512, 512, 3), np.float32)
    iris, speck, light = np.s_[200:240, 150:190], np.s_[300:302, 240:242], np.s_[330:360, 240:270]
    difference[iris] += np.array([-20, 0, 52], np.float32)  # gone blue, its luma as before
    difference[speck] += np.array([-20, 0, 52], np.float32)
    difference[light] += 40
    undone = _coarse_color(difference)
    kept = difference - undone
    assert np.abs(kept[iris]).mean() < 0.5 * np.abs(difference[iris]).mean()
    assert np.abs(kept[215:225, 165:175]).max() < 0.15 * 52
    np.testing.assert_allclose(kept[speck], difference[speck], atol=2)
    np.testing.assert_allclose(kept[light], difference[light], atol=0.1)
    assert np.abs(undone @ [0.299, 0.587, 0.114]).max() < 1e-2


def test_colours_are_matched_only_as_far_as_asked():
    photo = noise()
    aligned = align(photo, face_at(150, 150, 200))
    bluer = aligned.image.astype(int)
    bluer[220:260, 220:260] += [-20, 0, 52]
    made = np.clip(bluer, 0, 255).astype(np.uint8)
    moved = [
        np.abs(paste(photo, made, aligned, color_match=match).astype(int) - photo).sum()
        for match in (0, 0.5, 1)
    ]
    assert moved[0] > moved[1] > moved[2]
