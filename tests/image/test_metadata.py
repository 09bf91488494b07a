"""EXIF, XMP, printing resolution, and the way up."""

import struct

import numpy as np
import PIL.Image
import pytest

from sparnet.image import Photo, read_image, read_photo, write_photo
from tests.image.pictures import UPRIGHT, deep_png, deep_ramp, distance, encoded, exif, png_chunk, ramp, tiff


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_a_photo_is_turned_upright(tmp_path, kind, orientation):
    (tmp_path / "a").write_bytes(encoded(PIL.Image.fromarray(ramp()), kind, exif=exif(orientation)))
    expected = UPRIGHT[orientation](ramp())
    photo = read_photo(tmp_path / "a")
    assert photo.pixels.shape == expected.shape
    assert distance(photo.pixels, expected) < 4


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_all_samples_of_a_deep_photo_are_turned_alike(tmp_path, channels, orientation):
    stored = np.dstack([deep_ramp(), deep_ramp()[::-1, :, 0]])
    stored = stored[..., [0, 3]] if channels == 2 else stored[..., :channels]
    (tmp_path / "a.png").write_bytes(deep_png(stored, png_chunk(b"eXIf", exif(orientation)[6:])))
    tags = {"t274": orientation} | ({"t338": 2} if channels == 4 else {})
    (tmp_path / "a.tif").write_bytes(tiff(stored, **tags))
    expected = UPRIGHT[orientation](stored)
    for name in ("a.png", "a.tif") if channels != 2 else ("a.png",):
        photo = read_photo(tmp_path / name)
        assert photo.deep is not None
        colours = slice(1) if channels < 3 else slice(3)
        np.testing.assert_array_equal(photo.deep[..., colours], expected[..., colours])
        np.testing.assert_array_equal(photo.pixels, np.round(photo.deep / 257))
        if channels in (2, 4):
            np.testing.assert_array_equal(photo.deep_alpha, expected[..., -1])


@pytest.mark.parametrize("source", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif", ".avif"])
def test_exif_is_kept_and_the_photo_is_not_turned_twice(tmp_path, source, suffix):
    (tmp_path / "a").write_bytes(encoded(PIL.Image.fromarray(ramp()), source, exif=exif(6)))
    photo = read_photo(tmp_path / "a")
    write_photo(tmp_path / f"b{suffix}", photo)
    assert distance(read_image(tmp_path / f"b{suffix}"), photo.pixels) < 4
    with PIL.Image.open(tmp_path / f"b{suffix}") as written:
        tags = written.getexif()
        assert tags.get(274, 1) == 1
        assert tags[271] == "A camera"
        assert tags.get_ifd(34665)[36867] == "2020:01:02 03:04:05"


@pytest.mark.parametrize("order", ["<", ">"])
def test_exif_is_kept_to_the_byte_but_for_the_orientation_and_the_thumbnail(tmp_path, order):
    pack = struct.Struct(f"{order}HHIHH").pack
    before = b"II*\0\x08\0\0\0" if order == "<" else b"MM\0*\0\0\0\x08"
    maker = struct.pack(f"{order}HHII", 37500, 7, 4, 0xDEADBEEF)
    tags, turned = maker + pack(274, 3, 1, 6, 0), maker + pack(274, 3, 1, 1, 0)
    count, next_directory = struct.pack(f"{order}H", 2), struct.pack(f"{order}I", 38)
    thumbnail = struct.pack(f"{order}H", 0) + b"\0\0\0\0 thumbnail"
    stored = b"Exif\0\0" + before + count + tags + next_directory + thumbnail
    expected = b"Exif\0\0" + before + count + turned + b"\0\0\0\0" + thumbnail
    (tmp_path / "a.jpg").write_bytes(encoded(PIL.Image.fromarray(ramp()), "JPEG", exif=stored))
    photo = read_photo(tmp_path / "a.jpg")
    assert photo.exif == expected
    assert photo.pixels.shape == (56, 40, 3)
    write_photo(tmp_path / "b.jpg", photo)
    assert read_photo(tmp_path / "b.jpg").exif == expected


def test_damaged_exif_is_left_out_and_that_is_said(tmp_path):
    for content in (b"nonsense", b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\xff\xff"):
        stored = encoded(PIL.Image.fromarray(ramp()), "JPEG", exif=b"Exif\0\0" + content)
        (tmp_path / "a.jpg").write_bytes(stored)
        photo = read_photo(tmp_path / "a.jpg")
        assert photo.exif is None
        assert photo.notes == ("its EXIF is damaged and left out",)


def test_exif_that_describes_pixels_does_not_reach_a_tiff(tmp_path):
    tags = PIL.Image.Exif()
    tags[256], tags[257], tags[258], tags[262], tags[271] = 9999, 9999, (8, 8, 8), 6, "A camera"
    photo = Photo(pixels=ramp(), exif=tags.tobytes())
    write_photo(tmp_path / "a.tif", photo)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), ramp())
    with PIL.Image.open(tmp_path / "a.tif") as written:
        assert written.getexif()[271] == "A camera"


def test_half_damaged_exif_never_stops_a_photo_from_being_written(tmp_path):
    rng = np.random.default_rng(0)
    for _ in range(40):
        damaged = np.frombuffer(exif(1), dtype=np.uint8).copy()
        damaged[rng.integers(14, len(damaged), size=3)] = rng.integers(0, 256, size=3)
        stored = encoded(PIL.Image.fromarray(ramp(8, 8)), "JPEG", exif=damaged.tobytes())
        (tmp_path / "a.jpg").write_bytes(stored)
        photo = read_photo(tmp_path / "a.jpg")
        for suffix in (".jpg", ".png", ".webp", ".tif", ".avif"):
            write_photo(tmp_path / f"b{suffix}", photo)
            assert distance(read_image(tmp_path / f"b{suffix}"), photo.pixels) < 10


def test_exif_too_long_for_a_jpeg_is_left_out(tmp_path):
    tags = PIL.Image.Exif()
    tags[270] = "x" * 70_000
    write_photo(tmp_path / "a.jpg", Photo(pixels=ramp(), exif=tags.tobytes()))
    assert read_photo(tmp_path / "a.jpg").exif is None


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif", ".avif"])
def test_xmp_is_kept(tmp_path, suffix):
    xmp = "<x:xmpmeta>é</x:xmpmeta>".encode()
    write_photo(tmp_path / f"a{suffix}", Photo(pixels=ramp(), xmp=xmp))
    assert read_photo(tmp_path / f"a{suffix}").xmp == xmp


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "AVIF"])
@pytest.mark.parametrize("tag", ['<a tiff:Orientation="%d"/>', "<tiff:Orientation>%d</tiff:Orientation>"])
def test_xmp_can_say_how_a_photo_is_turned_and_then_says_upright(tmp_path, kind, tag):
    (tmp_path / "a").write_bytes(encoded(PIL.Image.fromarray(ramp()), kind, xmp=(tag % 8).encode()))
    photo = read_photo(tmp_path / "a")
    assert distance(photo.pixels, UPRIGHT[8](ramp())) < 4
    assert photo.xmp == (tag % 1).encode()


def test_xmp_of_parts_that_are_not_kept_is_left_out(tmp_path):
    xmp = b'<x:xmpmeta GCamera:MotionPhoto="1"/>'
    (tmp_path / "a.jpg").write_bytes(encoded(PIL.Image.fromarray(ramp()), "JPEG", xmp=xmp))
    assert read_photo(tmp_path / "a.jpg").xmp is None


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".bmp"])
def test_the_printing_resolution_is_kept(tmp_path, suffix):
    write_photo(tmp_path / f"a{suffix}", Photo(pixels=ramp(), dpi=(300.0, 150.0)))
    # PNG and BMP count in whole dots per metre.
    assert read_photo(tmp_path / f"a{suffix}").dpi == pytest.approx((300, 150), abs=0.02)
