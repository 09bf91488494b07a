"""Formats and modes of pictures, read and written."""

import numpy as np
import PIL.Image
import pytest

from sparnet.image import WRITABLE_SUFFIXES, read_image, read_photo, write_image
from tests.image.pictures import LOSSLESS, LOSSY, distance, encoded, gray_ramp, ramp, tiff


@pytest.mark.parametrize("suffix", LOSSLESS)
def test_a_picture_comes_back_as_it_was_written(tmp_path, suffix):
    write_image(tmp_path / f"a{suffix}", ramp())
    np.testing.assert_array_equal(read_image(tmp_path / f"a{suffix}"), ramp())


@pytest.mark.parametrize("suffix", LOSSY)
def test_a_picture_comes_back_nearly_as_it_was_written_in_lossy_formats(tmp_path, suffix):
    write_image(tmp_path / f"a{suffix}", ramp())
    assert distance(read_image(tmp_path / f"a{suffix}"), ramp()) < 1.5


@pytest.mark.parametrize("suffix", sorted(set(WRITABLE_SUFFIXES) - {".heic", ".heif"}))
def test_the_suffix_decides_the_format_whatever_its_case(tmp_path, suffix):
    write_image(tmp_path / f"a{suffix.upper()}", ramp())
    assert read_photo(tmp_path / f"a{suffix.upper()}").format == WRITABLE_SUFFIXES[suffix]


def test_the_content_decides_how_a_file_is_read(tmp_path):
    (tmp_path / "a.png").write_bytes(encoded(PIL.Image.fromarray(ramp()), "BMP"))
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), ramp())


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP", "GIF"])
def test_black_and_white_becomes_0_and_255(tmp_path, kind):
    bits = PIL.Image.fromarray(gray_ramp()).convert("1", dither=PIL.Image.Dither.NONE)
    (tmp_path / "a").write_bytes(encoded(bits, kind))
    photo = read_photo(tmp_path / "a")
    np.testing.assert_array_equal(photo.pixels[..., 1], np.where(gray_ramp() > 127, 255, 0))
    assert photo.is_gray


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP", "GIF"])
def test_gray_becomes_three_equal_channels(tmp_path, kind):
    (tmp_path / "a").write_bytes(encoded(PIL.Image.fromarray(gray_ramp()), kind))
    photo = read_photo(tmp_path / "a")
    np.testing.assert_array_equal(photo.pixels, np.dstack([gray_ramp()] * 3))
    assert photo.is_gray


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP", "GIF"])
def test_a_palette_is_looked_up(tmp_path, kind):
    indices = PIL.Image.fromarray(np.array([[0, 1], [2, 1]], dtype=np.uint8), mode=None).convert("P")
    colours = [(10, 20, 30), (200, 100, 0), (0, 0, 255)]
    indices.putpalette([value for colour in colours for value in colour])
    (tmp_path / "a").write_bytes(encoded(indices, kind))
    expected = np.array([[colours[0], colours[1]], [colours[2], colours[1]]], dtype=np.uint8)
    np.testing.assert_array_equal(read_image(tmp_path / "a"), expected)


@pytest.mark.parametrize(("kind", "transparency"), [("GIF", 1), ("PNG", 1), ("PNG", b"\xff\x00\xff")])
def test_a_transparent_colour_of_a_palette_becomes_alpha(tmp_path, kind, transparency):
    indices = PIL.Image.fromarray(np.array([[0, 1], [2, 1]], dtype=np.uint8)).convert("P")
    indices.putpalette([10, 20, 30, 200, 100, 0, 0, 0, 255])
    (tmp_path / "a").write_bytes(encoded(indices, kind, transparency=transparency))
    photo = read_photo(tmp_path / "a")
    np.testing.assert_array_equal(photo.alpha, [[255, 0], [255, 0]])
    np.testing.assert_array_equal(photo.pixels[0, 0], [10, 20, 30])


def test_a_transparent_gray_value_becomes_alpha(tmp_path):
    gray = np.array([[0, 7], [7, 9]], dtype=np.uint8)
    (tmp_path / "a.png").write_bytes(encoded(PIL.Image.fromarray(gray), "PNG", transparency=7))
    photo = read_photo(tmp_path / "a.png")
    np.testing.assert_array_equal(photo.alpha, [[255, 0], [0, 255]])
    np.testing.assert_array_equal(photo.pixels[..., 0], gray)
    assert photo.is_gray


@pytest.mark.parametrize("mode", ["LA", "La", "PA", "RGBA"])
def test_alpha_is_read_beside_the_colours(tmp_path, mode):
    colours = PIL.Image.fromarray(np.full((4, 5, 3), 60, dtype=np.uint8))
    opacity = np.full((4, 5), 255, dtype=np.uint8)
    opacity[1, 2] = 0
    colours.putalpha(PIL.Image.fromarray(opacity))
    (tmp_path / "a").write_bytes(
        tiff(np.dstack([np.full((4, 5), 60, np.uint8), opacity]), t338=1)
        if mode == "La"
        else encoded(colours.convert(mode), "TIFF")
    )
    photo = read_photo(tmp_path / "a")
    np.testing.assert_array_equal(photo.alpha, opacity)
    assert (photo.pixels[0] == 60).all()


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "AVIF"])
def test_of_an_animation_the_first_frame_is_read_and_that_is_said(tmp_path, kind):
    frames = [PIL.Image.new("RGB", (16, 16), colour) for colour in ("red", "lime", "blue")]
    (tmp_path / "a").write_bytes(encoded(frames[0], kind, save_all=True, append_images=frames[1:]))
    photo = read_photo(tmp_path / "a")
    assert distance(photo.pixels, np.asarray(frames[0])) < 8
    assert photo.notes == ("animated: only the first frame is used",)


def test_of_several_pages_the_first_is_read_and_that_is_said(tmp_path):
    pages = [PIL.Image.fromarray(ramp()), PIL.Image.new("RGB", (3, 3))]
    (tmp_path / "a.tif").write_bytes(encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:]))
    photo = read_photo(tmp_path / "a.tif")
    np.testing.assert_array_equal(photo.pixels, ramp())
    assert photo.notes == ("several pages: only the first is used",)


def test_a_still_picture_has_no_notes(tmp_path):
    for suffix in (*LOSSLESS, *LOSSY, ".gif"):
        write_image(tmp_path / f"a{suffix}", ramp())
        assert read_photo(tmp_path / f"a{suffix}").notes == ()
