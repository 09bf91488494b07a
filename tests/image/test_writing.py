"""Writing: suffixes, quality, whole files or none."""

import os
import stat

import cv2
import numpy as np
import PIL.Image
import pytest
from PIL import ImageSequence
from PIL.JpegImagePlugin import JpegImageFile, get_sampling
from PIL.TiffImagePlugin import TiffImageFile

from sparnet.errors import ImageError
from sparnet.image import Photo, read_image, read_photo, show_path, write_image, write_photo
from tests.image.pictures import ramp


def test_a_jpeg_is_written_without_chroma_subsampling(tmp_path):
    write_image(tmp_path / "a.jpg", ramp())
    with PIL.Image.open(tmp_path / "a.jpg") as picture:
        assert isinstance(picture, JpegImageFile)
        assert get_sampling(picture) == 0


def test_more_quality_makes_a_larger_file(tmp_path):
    sizes = []
    for quality in (20, 95):
        write_image(tmp_path / "a.jpg", ramp(), quality=quality)
        sizes.append((tmp_path / "a.jpg").stat().st_size)
    assert sizes[0] < sizes[1]


@pytest.mark.parametrize("quality", [0, 101])
def test_a_quality_outside_1_to_100_is_a_programming_error(tmp_path, quality):
    with pytest.raises(ValueError, match="quality"):
        write_image(tmp_path / "a.jpg", ramp(), quality=quality)


@pytest.mark.parametrize("name", ["a.xyz", "a", "a.svg"])
def test_an_unknown_suffix_is_refused_with_those_known(tmp_path, name):
    with pytest.raises(ImageError, match=r"supported: \.jpg.*\.png.*\.tif"):
        write_image(tmp_path / name, ramp())
    assert list(tmp_path.iterdir()) == []


def test_folders_are_made_as_needed(tmp_path):
    write_image(tmp_path / "b" / "c" / "a.png", ramp())
    assert (tmp_path / "b" / "c" / "a.png").is_file()


def test_what_cannot_be_written_is_told_in_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.png").mkdir()
    for path in (tmp_path / "file" / "a.png", tmp_path / "folder.png", tmp_path / "a\0.png"):
        with pytest.raises(ImageError) as refusal:
            write_image(path, ramp())
        assert str(refusal.value).startswith(f"{show_path(path)}: ")
        assert "\n" not in str(refusal.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.png"]


@pytest.mark.parametrize(("suffix", "width"), [(".jpg", 65_501), (".webp", 16_384), (".gif", 65_536)])
def test_a_picture_too_long_for_its_format_is_refused(tmp_path, suffix, width):
    with pytest.raises(ImageError, match=f"{width:,} x 1"):
        write_image(tmp_path / f"a{suffix}", np.zeros((1, width, 3), dtype=np.uint8))


def test_a_lossless_webp_stays_so_and_no_other_becomes_one(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    picture = PIL.Image.fromarray(pixels)
    transparent = picture.copy()
    transparent.putalpha(128)
    picture.save(tmp_path / "plain.webp", lossless=True)
    picture.save(tmp_path / "exif.webp", lossless=True, exif=PIL.Image.Exif().tobytes(), icc_profile=b"x" * 9)
    transparent.save(tmp_path / "alpha.webp", lossless=True)
    for name in ("plain", "exif", "alpha"):
        photo = read_photo(tmp_path / f"{name}.webp")
        assert photo.is_lossless, name
        write_photo(tmp_path / "again.webp", photo)
        again = read_photo(tmp_path / "again.webp")
        assert again.is_lossless
        assert np.array_equal(again.pixels, pixels)
    picture.save(tmp_path / "lossy.webp", quality=90)
    transparent.save(tmp_path / "lossy-alpha.webp", quality=90)
    others = [PIL.Image.fromarray(255 - pixels)]
    picture.save(tmp_path / "animated.webp", save_all=True, append_images=others, lossless=True)
    for name in ("lossy", "lossy-alpha", "animated"):
        assert not read_photo(tmp_path / f"{name}.webp").is_lossless, name


def test_a_picture_without_rows_is_not_written(tmp_path):
    with pytest.raises(ImageError, match="from 1 to"):
        write_image(tmp_path / "a.png", np.zeros((0, 4, 3), dtype=np.uint8))


@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("where", ["os.replace", "PIL.Image.Image.save"])
@pytest.mark.parametrize("old", [None, b"the old file"])
def test_a_failed_write_leaves_everything_as_it_was(tmp_path, monkeypatch, failure, where, old):
    path = tmp_path / "a.png"
    if old is not None:
        path.write_bytes(old)

    def fail(*_, **__):
        raise failure

    monkeypatch.setattr(where, fail)
    with pytest.raises(ImageError if isinstance(failure, OSError) else KeyboardInterrupt):
        write_image(path, ramp())
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == (
        {} if old is None else {"a.png": old}
    )


def test_the_reason_of_a_failed_write_is_given(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(PIL.Image.Image, "save", full)
    with pytest.raises(ImageError, match=r"cannot be written \(No space left on device\)"):
        write_image(tmp_path / "a.png", ramp())


def test_a_file_is_replaced_as_a_whole_and_nothing_else_is_left(tmp_path):
    write_image(tmp_path / "a.png", ramp())
    write_image(tmp_path / "a.png", ramp(8, 8))
    assert read_image(tmp_path / "a.png").shape == (8, 8, 3)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
def test_a_written_file_has_the_permissions_of_any_new_file(tmp_path):
    (tmp_path / "plain").write_text("")
    write_image(tmp_path / "a.png", ramp())
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "a.png")]
    assert modes[0] == modes[1]


@pytest.mark.parametrize(
    "name", ["ünï.png", "a b.png", "line\nfeed.png", "😀.png", "-a.png", "[1].png", "a%d.tif"]
)
def test_odd_names_are_no_obstacle(tmp_path, name):
    write_photo(tmp_path / name, Photo(pixels=ramp(), deep=ramp().astype(np.uint16) * 257))
    photo = read_photo(tmp_path / name)
    np.testing.assert_array_equal(photo.pixels, ramp())
    assert photo.deep is not None


def test_a_tiff_of_many_strips_is_read_by_others_as_it_was(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (900, 700, 3), dtype=np.uint8)
    write_image(tmp_path / "a.tif", pixels)
    with PIL.Image.open(tmp_path / "a.tif") as picture:
        assert isinstance(picture, TiffImageFile)
        assert len(picture.tag_v2[273]) > 1
        assert len(list(ImageSequence.Iterator(picture))) == 1
        np.testing.assert_array_equal(np.asarray(picture), pixels)
    data = np.frombuffer((tmp_path / "a.tif").read_bytes(), dtype=np.uint8)
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert decoded is not None
    np.testing.assert_array_equal(decoded[..., ::-1], pixels)
