import math
from collections.abc import Callable

import numpy as np
import pytest
from jaxtyping import TypeCheckError

from sparnet.metrics import psnr_rgb, psnr_y, psnr_y_dic, squared_error_y_map, ssim_y, ssim_y_dic, ssim_y_map
from sparnet.metrics.pairs import mean_over_pairs
from sparnet.metrics.y_sparnet import luma_truncated

PSNR: list[Callable] = [psnr_y, psnr_y_dic, psnr_rgb]
SSIM: list[Callable] = [ssim_y, ssim_y_dic]
MAPS: list[Callable] = [squared_error_y_map, ssim_y_map]


def gray(level: int, *, size: tuple[int, int] = (40, 32)) -> np.ndarray:
    return np.full((*size, 3), level, dtype=np.uint8)


@pytest.mark.parametrize("metric", PSNR)
def test_psnr_of_equal_pictures_is_infinite(metric, face):
    assert metric(face, face) == math.inf


@pytest.mark.parametrize("metric", SSIM)
def test_ssim_of_equal_pictures_is_1(metric, face):
    assert metric(face, face) == pytest.approx(1, abs=1e-12)


def test_psnr_of_a_gray_step_over_rgb():
    """Every pixel is off by 10."""
    assert psnr_rgb(gray(100), gray(110)) == pytest.approx(20 * math.log10(255 / 10))


def test_the_mean_over_pairs_is_that_of_each_picture_and_its_own_original():
    sr, hr = np.stack([gray(100), gray(7)]), np.stack([gray(110), gray(10)])
    expected = (20 * math.log10(255 / 10) + 20 * math.log10(255 / 3)) / 2
    assert mean_over_pairs(psnr_rgb, sr, hr) == pytest.approx(expected)


def test_brightness_is_truncated_by_sparnet_and_rounded_by_dic():
    """Y(100) = 16 + 219 * 100 / 255 = 101.88 and Y(110) = 110.47: 9 apart truncated, 8 rounded."""
    assert psnr_y(gray(100), gray(110)) == pytest.approx(20 * math.log10(255 / 9))
    assert psnr_y_dic(gray(100), gray(110)) == pytest.approx(20 * math.log10(255 / 8))


def test_brightness_of_the_primary_colours():
    """65.481, 128.553 and 24.966 above 16, truncated; white is 235."""
    colours = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255], [0, 0, 0]]], dtype=np.uint8)
    assert luma_truncated(colours).tolist() == [[81, 144, 40, 235, 16]]


def test_a_brightness_that_is_whole_is_not_cut_to_the_one_below():
    """`65481 R + 128553 G + 24966 B` is a multiple of 255000 for these; in floats some fell short of it."""
    chance = np.random.default_rng(0)
    red, green = chance.integers(0, 256, (2, 200_000))
    colours = np.stack([np.append(red, 6), np.append(green, 140), np.append(red[::-1], 9)], axis=1)
    exact = colours.astype(np.int64) @ np.array([65481, 128553, 24966])
    assert exact[-1] % 255_000 == 0
    found = luma_truncated(colours[None].astype(np.uint8))[0]
    assert np.array_equal(found, 16 + exact // 255_000)


def test_ssim_of_a_gray_step_is_its_luminance_term():
    """No contrast on either side: only (2 a b + c) / (a^2 + b^2 + c) is left, c = (0.01 * 255)^2."""
    a, b, c = 101, 110, 2.55**2
    assert ssim_y(gray(100), gray(110)) == pytest.approx((2 * a * b + c) / (a * a + b * b + c))


def test_the_window_of_ssim_is_11_px_wide():
    """One pixel changes the windows within 5 px of it, and no others."""
    picture = np.array(gray(100))
    picture[20, 16] = 200
    rows, columns = np.nonzero(np.abs(ssim_y_map(picture, gray(100)) - 1) > 1e-9)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (15, 25, 11, 21)


@pytest.mark.parametrize("metric", PSNR + SSIM)
def test_the_two_pictures_may_be_exchanged(metric, face, face_sr):
    assert metric(face, face_sr) == pytest.approx(metric(face_sr, face), abs=1e-12)


def test_the_border_counts_for_sparnet_and_not_for_dic(face):
    framed = np.array(face)
    framed[:8] = framed[-8:] = 0
    framed[:, :8] = framed[:, -8:] = 255
    assert psnr_y_dic(framed, face) == math.inf
    assert ssim_y_dic(framed, face) == pytest.approx(1, abs=1e-12)
    assert psnr_y(framed, face) < 20


def test_scores_are_means_of_their_maps(face, face_sr):
    mean_error = squared_error_y_map(face_sr, face).mean()
    assert psnr_y(face_sr, face) == pytest.approx(10 * math.log10(255**2 / mean_error))
    assert ssim_y(face_sr, face) == pytest.approx(ssim_y_map(face_sr, face)[5:-5, 5:-5].mean())
    assert ssim_y_map(face_sr, face).shape == squared_error_y_map(face_sr, face).shape == (128, 128)


@pytest.mark.parametrize("metric", PSNR + SSIM + MAPS)
def test_different_sizes_are_refused(metric):
    with pytest.raises(ValueError, match=r"one size, got 32 x 40 and 40 x 40 px"):
        metric(gray(1), gray(1, size=(40, 40)))


@pytest.mark.parametrize("metric", [ssim_y, ssim_y_map])
def test_a_picture_smaller_than_the_window_is_refused(metric):
    with pytest.raises(ValueError, match="11 px, got 32 x 10 px"):
        metric(gray(1, size=(10, 32)), gray(1, size=(10, 32)))


def test_a_picture_that_is_all_border_is_refused():
    with pytest.raises(ValueError, match="8 px off each side, got 40 x 16 px"):
        psnr_y_dic(gray(1, size=(16, 40)), gray(1, size=(16, 40)))


@pytest.mark.parametrize("metric", PSNR + SSIM + MAPS)
def test_a_float_picture_is_refused(metric, face):
    """Only the checker refuses this; without it the call returns nonsense."""
    with pytest.raises(TypeCheckError):
        metric(face / 255, face)


def test_the_astronaut_scores_as_known(astronaut, astronaut_sr, face, face_sr):
    """Numbers computed elsewhere, before this code was written."""
    assert psnr_y(astronaut_sr, astronaut) == pytest.approx(23.0836, abs=5e-5)
    assert ssim_y(astronaut_sr, astronaut) == pytest.approx(0.70951, abs=5e-6)
    assert psnr_y(face_sr, face) == pytest.approx(23.6832, abs=5e-5)
    assert ssim_y(face_sr, face) == pytest.approx(0.55779, abs=5e-6)


def test_the_bicubic_row_of_the_test_pack_comes_out_right(pack_faces, pack_faces_sr):
    """The fingerprint of the protocol: no other score is believed before this one."""
    pairs = list(zip(pack_faces_sr, pack_faces, strict=True))
    assert len(pairs) == 440
    assert np.mean([psnr_y(sr, hr) for sr, hr in pairs]) == pytest.approx(23.685, abs=5e-4)
    assert np.mean([ssim_y(sr, hr) for sr, hr in pairs]) == pytest.approx(0.6551, abs=5e-5)
