"""Reading, writing and finding photos; every picture is made here."""

import io
import os
import stat
import struct
import subprocess
import sys
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import PIL.Image
import PIL.PngImagePlugin
import pytest
from jaxtyping import TypeCheckError
from PIL import ImageCms, ImageSequence
from PIL.JpegImagePlugin import JpegImageFile, get_sampling
from PIL.TiffImagePlugin import ImageFileDirectory_v2, TiffImageFile

from sparnet.errors import ImageError
from sparnet.image import (
    MAX_PIXELS,
    WRITABLE_SUFFIXES,
    FoundPicture,
    Photo,
    find_pictures,
    read_image,
    read_photo,
    resize_bicubic,
    show_path,
    write_image,
    write_photo,
)

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
# The names of two primaries exchanged: a space in which a file's red is blue.
RED_IS_BLUE = SRGB.replace(b"rXYZ", b"????").replace(b"bXYZ", b"rXYZ").replace(b"????", b"bXYZ")
LOSSLESS = (".png", ".tif", ".bmp")
LOSSY = (".jpg", ".webp", ".avif")

# What brings the stored rows and columns upright, from the EXIF standard's table.
UPRIGHT = {
    1: lambda stored: stored,
    2: np.fliplr,
    3: lambda stored: np.rot90(stored, 2),
    4: np.flipud,
    5: lambda stored: np.swapaxes(stored, 0, 1),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: np.rot90(np.swapaxes(stored, 0, 1), 2),
    8: lambda stored: np.rot90(stored, 1),
}


def ramp(height: int = 40, width: int = 56) -> np.ndarray:
    """A picture that lossy formats keep well: no two corners are alike, and no symmetry."""
    rows, columns = np.mgrid[:height, :width]
    red, green = columns * 255 // width, rows * 255 // height
    return np.dstack([red, green, 255 - (red + green) // 2]).astype(np.uint8)


def deep_ramp(height: int = 40, width: int = 56) -> np.ndarray:
    """A picture of 16 bits whose low bytes say something."""
    return ramp(height, width).astype(np.uint16) * 256 + np.arange(width, dtype=np.uint16)[None, :, None]


def gray_ramp() -> np.ndarray:
    return ramp()[..., 0]


def distance(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one.astype(int) - other.astype(int)).mean())


def encoded(picture: PIL.Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def png_chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def deep_png(samples: np.ndarray, *chunks: bytes) -> bytes:
    height, width, channels = samples.shape
    colour_type = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0))
    data = png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + data


def tiff(samples: np.ndarray, *, order: str = "<", **tags: Any) -> bytes:
    """A plain TIFF of any samples; tags by number, as in `t274=6`."""
    height, width, channels = samples.shape
    data = samples.astype(samples.dtype.newbyteorder(order)).tobytes()  # type: ignore[arg-type]
    directory = ImageFileDirectory_v2(prefix=b"II" if order == "<" else b"MM")
    directory.tagtype[273] = directory.tagtype[279] = 4
    basic = {256: width, 257: height, 258: (8 * samples.itemsize,) * channels, 259: 1, 273: 0}
    basic |= {262: 2 if channels > 2 else 1, 277: channels, 278: height, 279: len(data)}
    for tag, value in (basic | {int(name[1:]): value for name, value in tags.items()}).items():
        directory[tag] = value
    file = io.BytesIO()
    directory.save(file)
    return file.getvalue() + data


def icc(space: bytes, connection: bytes, kind: bytes, tags: dict[bytes, bytes]) -> bytes:
    """A colour profile, version 2."""
    table, data = struct.pack(">I", len(tags)), b""
    for name, content in tags.items():
        table += name + struct.pack(">II", 128 + 4 + 12 * len(tags) + len(data), len(content))
        data += content + b"\0" * (-len(content) % 4)
    d50 = struct.pack(">3i", 63190, 65536, 54061)
    header = struct.pack(">I4x4s", 128 + len(table) + len(data), b"\x02\x10\0\0") + kind + space + connection
    return header.ljust(36, b"\0") + b"acsp".ljust(32, b"\0") + d50.ljust(60, b"\0") + table + data


def gray_profile() -> bytes:
    white = b"XYZ \0\0\0\0" + struct.pack(">3i", 63190, 65536, 54061)
    linear = b"curv\0\0\0\0" + struct.pack(">I", 0)
    return icc(b"GRAY", b"XYZ ", b"mntr", {b"wtpt": white, b"kTRC": linear})


def cmyk_profile() -> bytes:
    """A press that prints every mixture of inks in one gray, L* = 50."""
    identity = bytes(range(256))
    matrix = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    table = (
        b"mft1\0\0\0\0"
        + bytes([4, 3, 2, 0])
        + matrix
        + identity * 4
        + bytes([128, 128, 128]) * 16
        + identity * 3
    )
    return icc(b"CMYK", b"Lab ", b"prtr", {b"A2B0": table})


def exif(orientation: int) -> bytes:
    tags = PIL.Image.Exif()
    tags[271] = "A camera"
    tags[274] = orientation
    tags[34665] = {36867: "2020:01:02 03:04:05"}
    return tags.tobytes()


def assert_refused(path: Path, *words: str, **options: Any) -> None:
    with pytest.raises(ImageError) as refusal:
        read_photo(path, **options)
    message = str(refusal.value)
    assert "\n" not in message
    assert message.startswith(f"{show_path(path)}: ")
    for word in words:
        assert word in message


# Formats and modes


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


# Orientation and metadata


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


def test_pillows_warnings_about_metadata_are_not_heard(tmp_path):
    data = bytearray(tiff(ramp(), t270="a long description"))
    where = data.index(struct.pack("<HH", 270, 2))
    struct.pack_into("<II", data, where + 4, 10**9, 8)  # so long that it cannot be in the file
    (tmp_path / "a.tif").write_bytes(data)
    with pytest.warns(UserWarning, match="larger than file"), PIL.Image.open(tmp_path / "a.tif"):
        pass
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), ramp())
    assert heard == []


def test_threads_read_at_once_and_leave_the_warning_filters_alone(tmp_path):
    for suffix in (*LOSSLESS, ".gif"):
        write_image(tmp_path / f"a{suffix}", ramp())
    before = list(warnings.filters)
    paths = [tmp_path / f"a{suffix}" for suffix in (*LOSSLESS, ".tif")] * 20
    with ThreadPoolExecutor(8) as pool:
        for picture in pool.map(read_image, paths):
            np.testing.assert_array_equal(picture, ramp())
    assert list(warnings.filters) == before


# Alpha, gray, 16 bits


@pytest.mark.parametrize("gray", [False, True])
@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp", ".avif"])
def test_alpha_is_kept(tmp_path, suffix, gray):
    pixels = np.dstack([gray_ramp()] * 3) if gray else ramp()
    alpha = np.ascontiguousarray(gray_ramp()[:, ::-1])
    write_photo(tmp_path / f"a{suffix}", Photo(pixels=pixels, alpha=alpha, is_gray=gray))
    photo = read_photo(tmp_path / f"a{suffix}")
    assert photo.alpha is not None
    assert distance(photo.alpha, alpha) < 1
    if suffix != ".avif":
        np.testing.assert_array_equal(photo.alpha, alpha)
    assert distance(photo.pixels, pixels) < 2


@pytest.mark.parametrize("suffix", [".jpg", ".bmp"])
def test_a_format_without_alpha_shows_the_photo_on_white(tmp_path, suffix):
    pixels = np.full((16, 16, 3), 100, dtype=np.uint8)
    alpha = np.zeros((16, 16), dtype=np.uint8)
    alpha[:, 8:] = 255
    write_photo(tmp_path / f"a{suffix}", Photo(pixels=pixels, alpha=alpha))
    photo = read_photo(tmp_path / f"a{suffix}")
    assert photo.alpha is None
    np.testing.assert_allclose(photo.pixels[:, :8], 255, atol=2)
    np.testing.assert_allclose(photo.pixels[:, 8:], 100, atol=2)


def test_a_gif_keeps_what_is_wholly_transparent(tmp_path):
    alpha = np.where(gray_ramp() > 100, 255, 0).astype(np.uint8)
    write_photo(tmp_path / "a.gif", Photo(pixels=ramp(), alpha=alpha))
    np.testing.assert_array_equal(read_photo(tmp_path / "a.gif").alpha, alpha)


def test_alpha_is_resized_with_the_pixels(tmp_path):
    alpha = np.zeros((40, 56), dtype=np.uint8)
    alpha[:, 28:] = 255
    photo = Photo(pixels=ramp(), alpha=alpha).with_pixels(ramp(80, 112))
    assert photo.alpha is not None
    assert photo.alpha.shape == (80, 112)
    assert (photo.alpha[:, :50] == 0).all()
    assert (photo.alpha[:, 62:] == 255).all()


@pytest.mark.parametrize(("suffix", "mode"), [(".png", "L"), (".jpg", "L"), (".tif", "L"), (".bmp", "L")])
def test_gray_stays_gray_in_what_is_shown_and_in_the_file(tmp_path, suffix, mode):
    (tmp_path / "a.png").write_bytes(encoded(PIL.Image.fromarray(gray_ramp()), "PNG"))
    photo = read_photo(tmp_path / "a.png").with_pixels(ramp())
    np.testing.assert_array_equal(photo.pixels[..., 0], photo.pixels[..., 1])
    np.testing.assert_array_equal(photo.pixels[..., 0], photo.pixels[..., 2])
    # BT.601 luma, as Pillow's.
    luma = ramp() @ np.array([0.299, 0.587, 0.114])
    np.testing.assert_allclose(photo.pixels[..., 0], luma, atol=0.51)
    write_photo(tmp_path / f"b{suffix}", photo)
    with PIL.Image.open(tmp_path / f"b{suffix}") as written:
        assert written.mode == mode


def test_gray_pixels_given_to_a_gray_photo_are_not_changed():
    pixels = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    photo = Photo(pixels=np.zeros_like(pixels), is_gray=True)
    np.testing.assert_array_equal(photo.with_pixels(pixels).pixels, pixels)


def test_a_colour_file_without_colour_counts_as_gray(tmp_path):
    write_image(tmp_path / "a.png", np.dstack([gray_ramp()] * 3))
    write_image(tmp_path / "b.png", ramp())
    assert read_photo(tmp_path / "a.png").is_gray
    assert not read_photo(tmp_path / "b.png").is_gray


def test_gray_with_a_profile_for_colours_is_written_as_colours(tmp_path):
    photo = Photo(pixels=np.dstack([gray_ramp()] * 3), is_gray=True, icc_profile=SRGB)
    write_photo(tmp_path / "a.png", photo)
    with PIL.Image.open(tmp_path / "a.png") as written:
        assert (written.mode, written.info["icc_profile"]) == ("RGB", SRGB)


def test_16_bits_become_the_nearest_8_and_8_bits_come_back(tmp_path):
    every = np.arange(65536, dtype=np.uint16).reshape(256, 256, 1)
    (tmp_path / "a.png").write_bytes(deep_png(every))
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), np.round(np.dstack([every] * 3) / 257))


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bits_are_kept_exactly_with_their_metadata(tmp_path, suffix, channels):
    stored = np.dstack([deep_ramp(), deep_ramp()[::-1, :, 0]])
    stored = stored[..., [0, 3]] if channels == 2 else stored[..., :channels]
    profile = gray_profile() if channels == 1 else SRGB
    (tmp_path / "a.png").write_bytes(
        deep_png(
            stored,
            png_chunk(b"iCCP", b"name\0\0" + zlib.compress(profile)),
            png_chunk(b"eXIf", exif(1)[6:]),
            png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0<xmp/>"),
        )
    )
    write_photo(tmp_path / f"b{suffix}", read_photo(tmp_path / "a.png"))
    again = read_photo(tmp_path / f"b{suffix}")
    assert again.notes == ()
    assert again.is_gray == (channels < 3)
    assert again.deep is not None
    np.testing.assert_array_equal(again.deep[..., 0], stored[..., 0])
    if channels > 2:
        np.testing.assert_array_equal(again.deep, stored[..., :3])
    if channels in (2, 4):
        np.testing.assert_array_equal(again.deep_alpha, stored[..., -1])
    assert (again.icc_profile, again.xmp) == (profile, b"<xmp/>")
    assert again.exif is not None
    assert b"A camera" in again.exif


@pytest.mark.parametrize("channels", [1, 3])
def test_16_bits_change_only_where_the_pixels_do(tmp_path, channels):
    stored = deep_ramp()[..., :channels]
    (tmp_path / "a.png").write_bytes(deep_png(stored))
    photo = read_photo(tmp_path / "a.png")
    new = photo.pixels.copy()
    new[5:9, 7:11] = 255 - new[5:9, 7:11]
    expected = np.broadcast_to(stored, new.shape).copy()
    expected[5:9, 7:11] = new[5:9, 7:11].astype(np.uint16) * 257
    changed = photo.with_pixels(new)
    np.testing.assert_array_equal(changed.deep, expected)
    np.testing.assert_array_equal(np.round(expected / 257), changed.pixels)
    write_photo(tmp_path / "b.png", changed)
    np.testing.assert_array_equal(read_photo(tmp_path / "b.png").deep, expected)


def test_16_bits_become_8_at_another_size_and_that_is_said(tmp_path):
    (tmp_path / "a.png").write_bytes(deep_png(deep_ramp()))
    photo = read_photo(tmp_path / "a.png").with_pixels(ramp(80, 112))
    assert photo.deep is None
    assert "16 bits" in photo.notes[0]
    write_photo(tmp_path / "b.png", photo)
    np.testing.assert_array_equal(read_image(tmp_path / "b.png"), ramp(80, 112))


def test_16_bits_are_written_as_8_where_the_format_has_no_more(tmp_path):
    (tmp_path / "a.png").write_bytes(deep_png(deep_ramp()))
    photo = read_photo(tmp_path / "a.png")
    write_photo(tmp_path / "b.bmp", photo)
    np.testing.assert_array_equal(read_image(tmp_path / "b.bmp"), photo.pixels)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("channels", [1, 3])
def test_16_bit_tiffs_of_both_byte_orders_are_read(tmp_path, channels, order):
    stored = deep_ramp()[..., :channels]
    (tmp_path / "a.tif").write_bytes(tiff(stored, order=order))
    photo = read_photo(tmp_path / "a.tif")
    np.testing.assert_array_equal(photo.deep, np.broadcast_to(stored, (40, 56, 3)))


def test_a_transparent_value_of_16_bits_becomes_alpha(tmp_path):
    for channels in (1, 3):
        stored = deep_ramp()[..., :channels]
        key = struct.pack(f">{channels}H", *stored[3, 4].tolist())
        (tmp_path / "a.png").write_bytes(deep_png(stored, png_chunk(b"tRNS", key)))
        photo = read_photo(tmp_path / "a.png")
        np.testing.assert_array_equal(photo.alpha, np.where((stored == stored[3, 4]).all(axis=2), 0, 255))
        np.testing.assert_array_equal(photo.deep, np.broadcast_to(stored, (40, 56, 3)))


def test_16_bits_that_cannot_be_read_in_full_are_told(tmp_path):
    opacity = np.full((40, 56, 1), 30_000, dtype=np.uint16)
    stored = np.concatenate([deep_ramp() // 4, opacity], axis=2)
    (tmp_path / "a.tif").write_bytes(tiff(stored, t338=1))  # colours multiplied by their opacity
    photo = read_photo(tmp_path / "a.tif")
    assert photo.deep is None
    assert "16 bits" in photo.notes[0]


def test_gray_with_white_as_zero_is_not_shown_as_a_negative(tmp_path):
    for stored in (gray_ramp()[..., None], deep_ramp()[..., :1]):
        (tmp_path / "a.tif").write_bytes(tiff(stored, t262=0))
        top = np.iinfo(stored.dtype).max
        expected = np.round((top - stored[..., 0]) / (top // 255))
        np.testing.assert_array_equal(read_image(tmp_path / "a.tif")[..., 0], expected)


def test_floats_from_0_to_1_become_16_bits(tmp_path):
    floats = (gray_ramp() / np.float32(255)).astype(np.float32)
    (tmp_path / "a.tif").write_bytes(tiff(floats[..., None], t339=3))
    photo = read_photo(tmp_path / "a.tif")
    np.testing.assert_array_equal(photo.pixels[..., 0], gray_ramp())
    np.testing.assert_array_equal(photo.deep, np.dstack([np.rint(floats * 65535)] * 3))
    assert photo.notes == ("float samples became 16 bits",)


def test_integers_of_32_bits_are_read_if_16_would_do(tmp_path):
    (tmp_path / "a.tif").write_bytes(tiff(deep_ramp()[..., :1].astype(np.int32), t339=2))
    np.testing.assert_array_equal(read_photo(tmp_path / "a.tif").deep, np.dstack([deep_ramp()[..., 0]] * 3))


@pytest.mark.parametrize("value", [-0.5, 2.0, np.nan])
def test_floats_of_unknown_meaning_are_refused(tmp_path, value):
    (tmp_path / "a.tif").write_bytes(tiff(np.full((4, 4, 1), value, dtype=np.float32), t339=3))
    assert_refused(tmp_path / "a.tif", "float samples", "expected 0 to 1")


@pytest.mark.parametrize("value", [-1, 65536])
def test_integers_of_unknown_meaning_are_refused(tmp_path, value):
    (tmp_path / "a.tif").write_bytes(tiff(np.full((4, 4, 1), value, dtype=np.int32), t339=2))
    assert_refused(tmp_path / "a.tif", "expected 16 bits")


# Refusals


def test_a_file_that_does_not_exist_is_named(tmp_path):
    assert_refused(tmp_path / "a.png", "no such file")
    assert_refused(tmp_path / "a\0.png", "no such file")


def test_what_is_no_file_is_refused(tmp_path):
    assert_refused(tmp_path, "a folder, not a picture")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.png")
        assert_refused(tmp_path / "pipe.png", "not a regular file")


def test_a_file_that_may_not_be_read_is_refused(tmp_path, monkeypatch):
    write_image(tmp_path / "a.png", ramp())

    def denied(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)
    assert_refused(tmp_path / "a.png", "cannot be read (Permission denied)")


def test_a_path_too_long_for_the_system_is_refused(tmp_path):
    assert_refused(tmp_path / ("a" * 300 + ".png"), "cannot be read")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "the file is empty"),
        (b"Not a picture.\n", "not a picture that can be read; expected one of JPEG"),
        (b"%PDF-1.4", "not a picture"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a picture"),
        (b"%!PS-Adobe-3.0 EPSF-3.0", "not a picture"),
        (b"\x89PNG\r\n\x1a\n", "PNG"),
        (b"GIF89a", "the file is truncated"),
        (b"II*\0\x08\0\0\0", "TIFF"),
        (b"BM", "the file is truncated"),
        (b"RIFF\x10\0\0\0WEBPVP8 ", "the file is truncated"),
        (b"\0\0\0\x18ftypavif\0\0\0\0", "AVIF"),
        (b"\xff\xd8\xff\xe0\0", "JPEG"),
    ],
)
def test_a_file_that_is_no_picture_is_refused_in_one_line(tmp_path, content, words):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(ImageError) as refusal:
        read_photo(tmp_path / "a.png")
    assert words in str(refusal.value) or "truncated" in str(refusal.value)
    assert "\n" not in str(refusal.value)


SAMPLES = {
    "JPEG": encoded(PIL.Image.fromarray(ramp()), "JPEG", exif=exif(6), icc_profile=SRGB),
    "progressive": encoded(PIL.Image.fromarray(ramp()), "JPEG", progressive=True),
    "CMYK": encoded(PIL.Image.fromarray(ramp()).convert("CMYK"), "JPEG"),
    "PNG": encoded(PIL.Image.fromarray(ramp()), "PNG", exif=exif(6), icc_profile=SRGB),
    "deep PNG": deep_png(deep_ramp()),
    "WEBP": encoded(PIL.Image.fromarray(ramp()), "WEBP", exif=exif(6)),
    "TIFF": encoded(PIL.Image.fromarray(ramp()), "TIFF", exif=exif(6), icc_profile=SRGB),
    "LZW": encoded(PIL.Image.fromarray(ramp()), "TIFF", compression="tiff_lzw"),
    "BMP": encoded(PIL.Image.fromarray(ramp()), "BMP"),
    "GIF": encoded(PIL.Image.fromarray(ramp()), "GIF"),
    "AVIF": encoded(PIL.Image.fromarray(ramp()), "AVIF", exif=exif(6)),
}


@pytest.mark.parametrize("kind", ["JPEG", "progressive", "PNG", "deep PNG", "WEBP", "TIFF", "BMP", "GIF"])
@pytest.mark.parametrize("part", [0.5, 0.8])
def test_a_truncated_file_is_refused_as_such(tmp_path, kind, part):
    data = SAMPLES[kind]
    (tmp_path / "a").write_bytes(data[: int(len(data) * part)])
    assert_refused(tmp_path / "a", "the file is truncated")


@pytest.mark.parametrize("kind", SAMPLES)
def test_a_damaged_file_is_read_or_refused_but_never_raises_anything_else(tmp_path, kind):
    rng = np.random.default_rng(0)
    data = SAMPLES[kind]
    for length in range(1, len(data), len(data) // 12):
        (tmp_path / "a").write_bytes(data[:length])
        try_to_read(tmp_path / "a")
    for _ in range(30):
        damaged = np.frombuffer(data, dtype=np.uint8).copy()
        where = rng.integers(0, rng.choice([60, len(damaged)]), size=3)
        damaged[where] = rng.integers(0, 256, size=3)
        (tmp_path / "a").write_bytes(damaged.tobytes())
        try_to_read(tmp_path / "a")


def try_to_read(path: Path) -> None:
    try:
        read_photo(path, max_pixels=100_000)
    except ImageError as error:
        assert "\n" not in str(error)  # noqa: PT017 - either outcome is right


def header_bombs() -> dict[str, bytes]:
    """Files of a few bytes that claim 30,000 x 30,000 pixels."""
    side = 30_000
    ihdr = png_chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    frame = struct.pack("<BHHHHB", 0x2C, 0, 0, side, side, 0) + b"\x02\x02\x4c\x01\0;"
    gif = b"GIF89a" + struct.pack("<HHBBB", side, side, 0, 0, 0)
    jpeg = b"\xff\xd8\xff\xc0" + struct.pack(">HBHHB", 17, 8, side, side, 3)
    bmp = struct.pack("<IiiHHIIiiII", 40, side, side, 1, 24, 0, 0, 0, 0, 0, 0)
    vp8x = b"VP8X" + struct.pack("<I", 10) + b"\0\0\0\0" + 2 * struct.pack("<I", 16_382)[:3]
    return {
        "PNG": b"\x89PNG\r\n\x1a\n"
        + ihdr
        + png_chunk(b"IDAT", zlib.compress(b"\0" * 99))
        + png_chunk(b"IEND", b""),
        "GIF": gif + frame,
        "GIF frame": b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0, 0, 0) + frame,
        "JPEG": jpeg + b"\x01\x11\0\x02\x11\0\x03\x11\0\xff\xda\0\x08\x01\x01\0\0?\0\xff\xd9",
        "BMP": b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + bmp,
        "TIFF": tiff(np.zeros((1, 1, 3), np.uint8), t256=side, t257=side),
        "WEBP": b"RIFF" + struct.pack("<I", 4 + len(vp8x)) + b"WEBP" + vp8x,
    }


@pytest.mark.parametrize("kind", header_bombs())
def test_a_picture_too_large_is_refused_before_it_is_decoded(tmp_path, kind):
    (tmp_path / "a").write_bytes(header_bombs()[kind])
    if kind == "WEBP":  # whose longest side is shorter, and which is not whole
        with pytest.raises(ImageError):
            read_photo(tmp_path / "a")
        return
    if kind == "GIF frame":  # beyond Pillow's limit, which it looks at first
        assert_refused(tmp_path / "a", "900000000", str(2 * MAX_PIXELS))
        return
    assert_refused(tmp_path / "a", "30,000 x 30,000 = 900,000,000", "more than 256,000,000")


def test_the_limit_of_pixels_is_exact(tmp_path):
    write_image(tmp_path / "a.png", ramp(40, 50))
    assert read_image(tmp_path / "a.png", max_pixels=2000).shape == (40, 50, 3)
    assert_refused(tmp_path / "a.png", "2,000 pixels", "1,999", max_pixels=1999)


def test_the_limit_is_that_of_sparnet_and_not_pillows(tmp_path, monkeypatch):
    pillows = 1024 * 1024 * 1024 // 4 // 3
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", pillows)
    write_image(tmp_path / "a.tif", ramp())
    read_image(tmp_path / "a.tif")
    assert PIL.Image.MAX_IMAGE_PIXELS == MAX_PIXELS


def test_a_limit_that_the_program_gave_pillow_is_not_touched(tmp_path, monkeypatch):
    write_image(tmp_path / "a.tif", ramp())
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 500)
    assert_refused(tmp_path / "a.tif", "2240", "1000")
    assert PIL.Image.MAX_IMAGE_PIXELS == 500


def test_a_picture_without_pixels_is_refused(tmp_path):
    ihdr = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 0, 5, 8, 2, 0, 0, 0))
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + ihdr + png_chunk(b"IEND", b""))
    assert_refused(tmp_path / "a.png", "PNG")


@pytest.mark.parametrize("tags", [{"t254": 1}, {"t50706": (1, 4, 0, 0)}])
def test_the_preview_in_a_cameras_raw_file_is_not_taken_for_the_photo(tmp_path, tags):
    (tmp_path / "a.dng").write_bytes(tiff(ramp(), **tags))
    assert_refused(tmp_path / "a.dng", "raw file", "develop")


def test_a_tiff_of_floating_point_colours_is_refused_with_the_remedy(tmp_path):
    (tmp_path / "a.tif").write_bytes(tiff(np.zeros((4, 4, 3), np.float32), t339=(3, 3, 3)))
    assert_refused(tmp_path / "a.tif", "save it with 8 or 16 bits a channel")


def test_heic_without_its_plugin_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    assert_refused(tmp_path / "a.heic", "pip install 'sparnet[heic]'")
    with pytest.raises(ImageError, match=r"sparnet\[heic\]"):
        write_image(tmp_path / "b.heic", ramp())
    assert [path.name for path in tmp_path.iterdir()] == ["a.heic"]


def test_too_little_memory_is_told_in_one_line(tmp_path, monkeypatch):
    write_image(tmp_path / "a.png", ramp())

    def exhausted(*_, **__):
        raise MemoryError

    monkeypatch.setattr(PIL.PngImagePlugin.PngImageFile, "load", exhausted)
    assert_refused(tmp_path / "a.png", "not enough memory")


def test_a_float_picture_is_refused():
    """Only the checker refuses this; without it the call writes nonsense."""
    with pytest.raises(TypeCheckError):
        resize_bicubic(np.zeros((4, 4, 3), dtype=np.float32), 8, 8)


# Writing


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


def test_importing_is_cheap():
    program = "import sys, sparnet.image; print({'cv2', 'torch', 'PIL.ImageCms'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


# Resizing and names


def test_resizing_to_the_same_size_changes_nothing():
    np.testing.assert_array_equal(resize_bicubic(ramp(), 40, 56), ramp())


def test_a_plain_picture_stays_plain_at_any_size():
    plain = np.full((5, 7, 3), 93, dtype=np.uint8)
    for height, width in ((40, 56), (3, 2), (1, 1)):
        np.testing.assert_array_equal(resize_bicubic(plain, height, width), np.full((height, width, 3), 93))


def test_height_comes_before_width():
    assert resize_bicubic(ramp(), 8, 16).shape == (8, 16, 3)


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("a/b c.png", "a/b c.png"),
        ("ünï 😀👩\u200d🚀.png", "ünï 😀👩\u200d🚀.png"),
        ("a\nb\t\x1b[31m.png", r"a\nb\t\x1b[31m.png"),
        ("a\u2028b\u202egnp.exe", r"a\u2028b\u202egnp.exe"),
        ("a\udcff.png", r"a\udcff.png"),
    ],
)
def test_a_path_is_shown_in_one_printable_line(path, shown):
    assert show_path(path) == shown


def test_a_message_is_one_line_even_when_the_path_is_not(tmp_path):
    assert_refused(tmp_path / "a\nb.png", "no such file")


# Finding


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")


def found(*inputs: str | Path, recursive: bool = False) -> list[str]:
    pictures, errors = find_pictures(inputs, recursive=recursive)
    assert errors == []
    return [picture.path.as_posix() for picture in pictures]


def test_a_file_named_is_found_whatever_its_suffix(tmp_path):
    touch(tmp_path, "a.data")
    pictures, errors = find_pictures([tmp_path / "a.data"])
    assert (pictures, errors) == ([FoundPicture(path=tmp_path / "a.data", folder=Path())], [])


def test_a_folder_stands_for_its_pictures_in_the_order_people_count(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    touch(tmp_path, "p/b10.png", "p/b2.PNG", "p/a.jpeg", "p/notes.txt", "p/.hidden.png", "p/sub/c.png")
    assert found("p") == ["p/a.jpeg", "p/b2.PNG", "p/b10.png"]
    assert found("p", recursive=True) == ["p/a.jpeg", "p/b2.PNG", "p/b10.png", "p/sub/c.png"]


def test_pictures_below_a_folder_keep_their_place(tmp_path):
    touch(tmp_path, "a/1.png", "b/1.png", "b/c/1.png", "1.png")
    pictures, _ = find_pictures([tmp_path], recursive=True)
    assert [picture.folder.as_posix() for picture in pictures] == [".", "a", "b", "b/c"]


def test_patterns_are_understood(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    touch(tmp_path, "p/1.jpg", "p/2.png", "p/x/3.jpg", "p/x/y/4.jpg", "p/x/notes.txt", "q/5.jpg")
    assert found("p/*.jpg") == ["p/1.jpg"]
    assert found("p/?.*") == ["p/1.jpg", "p/2.png"]
    assert found("p/[2-9].png") == ["p/2.png"]
    assert found("*/*.jpg") == ["p/1.jpg", "q/5.jpg"]
    assert found("p/**/*.jpg") == ["p/1.jpg", "p/x/3.jpg", "p/x/y/4.jpg"]
    assert found("p/**") == ["p/1.jpg", "p/2.png", "p/x/3.jpg", "p/x/y/4.jpg"]
    assert found("**/x/*") == ["p/x/3.jpg"]
    assert found(tmp_path / "p" / "*.jpg") == [(tmp_path / "p/1.jpg").as_posix()]
    pictures, _ = find_pictures(["p/**/*.jpg"])
    assert [picture.folder.as_posix() for picture in pictures] == [".", "x", "x/y"]


def test_a_file_of_that_very_name_wins_over_a_pattern(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    touch(tmp_path, "photo[1].png", "photo1.png")
    assert found("photo[1].png") == ["photo[1].png"]


def test_a_file_named_twice_is_found_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    touch(tmp_path, "p/1.png", "p/2.png")
    (tmp_path / "link").symlink_to("p")
    assert found("p/1.png", "p", "./p/1.png", "p/*.png", "link/2.png", tmp_path / "p") == [
        "p/1.png",
        "p/2.png",
    ]


def test_links_that_form_loops_are_followed_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    touch(tmp_path, "p/1.png", "p/q/2.png")
    for name in ("a", "b", "q/up"):
        (tmp_path / "p" / name).symlink_to(tmp_path / "p")
    (tmp_path / "p" / "self").symlink_to("self")
    assert found("p", recursive=True) == ["p/1.png", "p/q/2.png"]
    assert found("p/**/*.png") == ["p/1.png", "p/q/2.png"]


def test_pictures_of_one_name_do_not_meet_in_the_output(tmp_path):
    names = ["a/b/1.png", "a/c/1.png", "d/1.png", "e/a/b/1.png", "2.png"]
    touch(tmp_path, *names)
    pictures, errors = find_pictures([tmp_path / "e", *(tmp_path / name for name in names)], recursive=True)
    outputs = [picture.folder / picture.path.name for picture in pictures]
    assert errors == []
    assert len(set(outputs)) == len(outputs) == 5
    assert not any(output.is_absolute() or ".." in output.parts for output in outputs)
    assert Path("2.png") in outputs


def test_what_gives_no_picture_is_told_and_the_rest_is_found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    touch(tmp_path, "1.png", "empty/notes.txt")
    pictures, errors = find_pictures(
        ["gone.png", "1.png", "empty", "*.jpg", "", "gone/*.png", "a\nb", "a\0b"]
    )
    assert [picture.path.name for picture in pictures] == ["1.png"]
    assert [str(error) for error in errors] == [
        "gone.png: no such file",
        "empty: no pictures in this folder",
        "*.jpg: no pictures match this pattern",
        "'': no such file",
        "gone: cannot be read (No such file or directory)",
        r"a\nb: no such file",
        r"a\x00b: no such file",
    ]
    assert all(isinstance(error, ImageError) for error in errors)


def test_a_folder_below_that_cannot_be_read_is_told_once_and_the_rest_is_found(tmp_path, monkeypatch):
    touch(tmp_path, "1.png", "shut/2.png")
    listed = Path.iterdir

    def iterdir(path):
        if path.name == "shut":
            raise PermissionError(13, "Permission denied")
        return listed(path)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    pictures, errors = find_pictures([tmp_path], recursive=True)
    assert [picture.path.name for picture in pictures] == ["1.png"]
    assert [str(error) for error in errors] == [f"{tmp_path / 'shut'}: cannot be read (Permission denied)"]


def test_what_is_found_can_be_read(tmp_path):
    write_image(tmp_path / "p" / "a.png", ramp())
    (tmp_path / "p" / "gone.png").symlink_to("nothing")
    pictures, errors = find_pictures([tmp_path / "p"])
    assert errors == []
    np.testing.assert_array_equal(read_image(pictures[0].path), ramp())
    assert_refused(pictures[1].path, "no such file")
