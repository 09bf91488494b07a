"""Colour profiles, and pictures that are not RGB."""

import numpy as np
import PIL.Image
import pytest
from PIL import ImageCms

from sparnet.image import Photo, read_image, read_photo, write_photo
from tests.image.pictures import (
    RED_IS_BLUE,
    SRGB,
    cmyk_profile,
    distance,
    encoded,
    gray_profile,
    gray_ramp,
    ramp,
)


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "LAB"])
def test_other_colour_spaces_become_rgb(tmp_path, mode):
    red = PIL.Image.new("RGB", (9, 8), (250, 20, 20))
    stored = (
        ImageCms.profileToProfile(
            red, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
        )
        if mode == "LAB"
        else red.convert(mode)
    )
    assert stored is not None
    (tmp_path / "a.tif").write_bytes(encoded(stored, "TIFF"))
    photo = read_photo(tmp_path / "a.tif")
    assert distance(photo.pixels, np.asarray(red)) < 3
    assert not photo.is_gray


def test_cmyk_without_a_profile_is_told_to_be_approximate(tmp_path):
    stored = PIL.Image.fromarray(ramp()).convert("CMYK")
    (tmp_path / "a.jpg").write_bytes(encoded(stored, "JPEG", quality=100))
    photo = read_photo(tmp_path / "a.jpg")
    assert distance(photo.pixels, ramp()) < 3
    assert photo.notes == ("CMYK without a usable colour profile: colours are approximate",)


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_goes_through_its_profile_which_ends_there(tmp_path, kind):
    stored = PIL.Image.fromarray(ramp()).convert("CMYK")
    (tmp_path / "a").write_bytes(encoded(stored, kind, icc_profile=cmyk_profile()))
    photo = read_photo(tmp_path / "a")
    assert photo.icc_profile is None
    assert photo.notes == ()
    # L* = 50 is 119 in sRGB; the profile's 128 of 255 is a little more, and its a and b are 0.
    np.testing.assert_allclose(photo.pixels, 119, atol=3)


def test_cmyk_with_a_profile_of_another_kind_does_without(tmp_path):
    stored = PIL.Image.fromarray(ramp()).convert("CMYK")
    (tmp_path / "a.jpg").write_bytes(encoded(stored, "JPEG", icc_profile=SRGB))
    photo = read_photo(tmp_path / "a.jpg")
    assert "approximate" in photo.notes[0]
    assert photo.icc_profile is None


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif", ".avif"])
def test_the_colour_profile_is_kept_to_the_byte_and_the_numbers_are_not_touched(tmp_path, suffix):
    write_photo(tmp_path / f"a{suffix}", Photo(pixels=ramp(), icc_profile=RED_IS_BLUE))
    photo = read_photo(tmp_path / f"a{suffix}")
    assert photo.icc_profile == RED_IS_BLUE
    assert distance(photo.pixels, ramp()) < 1.5


@pytest.mark.parametrize("suffix", [".bmp", ".gif"])
def test_formats_without_profiles_are_written_in_srgb(tmp_path, suffix):
    red = np.tile(np.array([250, 0, 0], dtype=np.uint8), (8, 8, 1))
    write_photo(tmp_path / f"a{suffix}", Photo(pixels=red, icc_profile=RED_IS_BLUE))
    written = read_image(tmp_path / f"a{suffix}")
    np.testing.assert_allclose(written, red[..., ::-1], atol=6)  # two roundings through XYZ


def test_a_gray_profile_stays_with_gray_and_is_converted_where_gray_cannot_be_written(tmp_path):
    photo = Photo(pixels=np.dstack([gray_ramp()] * 3), is_gray=True, icc_profile=gray_profile())
    for suffix in (".png", ".jpg", ".tif"):
        write_photo(tmp_path / f"a{suffix}", photo)
        assert read_photo(tmp_path / f"a{suffix}").icc_profile == gray_profile()
    write_photo(tmp_path / "a.webp", photo)
    written = read_photo(tmp_path / "a.webp")
    assert written.icc_profile is None
    linear = gray_ramp() / 255
    expected = 255 * np.where(linear < 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    assert distance(written.pixels[..., 0], np.round(expected)) < 3


def test_a_profile_that_cannot_belong_to_the_pixels_is_left_out_and_that_is_said(tmp_path):
    stored = encoded(PIL.Image.fromarray(ramp()), "JPEG", icc_profile=cmyk_profile())
    (tmp_path / "a.jpg").write_bytes(stored)
    photo = read_photo(tmp_path / "a.jpg")
    assert photo.icc_profile is None
    assert "profile" in photo.notes[0]


def test_gray_with_a_profile_for_colours_is_written_as_colours(tmp_path):
    photo = Photo(pixels=np.dstack([gray_ramp()] * 3), is_gray=True, icc_profile=SRGB)
    write_photo(tmp_path / "a.png", photo)
    with PIL.Image.open(tmp_path / "a.png") as written:
        assert (written.mode, written.info["icc_profile"]) == ("RGB", SRGB)
