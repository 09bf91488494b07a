"""What is refused and why."""

import io
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.PngImagePlugin
import pytest

from sparnet.errors import ImageError
from sparnet.image import MAX_PIXELS, decode_photo, picture_size, read_image, read_photo, write_image
from tests.image.pictures import (
    SRGB,
    assert_refused,
    deep_png,
    deep_ramp,
    encoded,
    exif,
    png_chunk,
    ramp,
    tiff,
)


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


def test_a_jpeg_with_half_a_resolution_is_not_called_truncated(tmp_path):
    entries = struct.pack("<HHII", 282, 7, 1, 1) + struct.pack("<HHII", 296, 3, 1, 2)  # one undefined byte
    tags = b"II*\0\x08\0\0\0\x02\0" + entries + b"\0\0\0\0"
    (tmp_path / "a").write_bytes(encoded(PIL.Image.fromarray(ramp()), "JPEG", exif=b"Exif\0\0" + tags))
    assert_refused(tmp_path / "a", "the JPEG file cannot be decoded (its header is damaged)")


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


def test_importing_is_cheap():
    program = "import sys, sparnet.image; print({'cv2', 'torch', 'PIL.ImageCms'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def of_scans(times: int, *, after: bytes = b"") -> bytes:
    """Repeat the last scan of a progressive JPEG."""
    file = io.BytesIO()
    PIL.Image.new("L", (32, 32), 90).save(file, "JPEG", progressive=True)
    content = file.getvalue()
    last = content[content.rindex(b"\xff\xda") : -2]
    return content[:-2] + times * last + content[-2:] + after


def test_a_jpeg_of_thousands_of_scans_is_refused_before_it_is_decoded(tmp_path):
    (tmp_path / "a.jpg").write_bytes(of_scans(2000))
    assert_refused(tmp_path / "a.jpg", "a JPEG of more than 100 scans is not decoded")
    comments = 20_000 * b"\xff\xfe\0\2"
    (tmp_path / "b.jpg").write_bytes(of_scans(2000).replace(b"\xff\xda", comments + b"\xff\xda", 1))
    assert_refused(tmp_path / "b.jpg", "a JPEG of more than 10,000 segments is not decoded")


def test_what_looks_like_scans_in_metadata_or_behind_a_jpeg_is_none(tmp_path):
    """As in the video that telephones append to a photo."""
    content = of_scans(20, after=1000 * b"\xff\xda")
    comment = b"\xff\xfe" + struct.pack(">H", 2 + 1000) + 500 * b"\xff\xda"
    (tmp_path / "a.jpg").write_bytes(content[:2] + comment + content[2:])
    assert read_image(tmp_path / "a.jpg").shape == (32, 32, 3)


def test_a_tile_larger_than_its_tiff_counts_as_pixels():
    tile = zlib.compress(bytes(2048 * 2048))
    tags = [
        (256, 64), (257, 64), (258, 8), (259, 8), (262, 1), (277, 1),
        (322, 2048), (323, 2048), (324, 8 + 2 + 10 * 12 + 4), (325, len(tile)),
    ]  # fmt: skip
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    content = b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + tile
    assert decode_photo(content).pixels.shape == (64, 64, 3)
    assert picture_size(content) == (2048, 2048)
    with pytest.raises(ImageError, match="has 2,048 x 2,048 = 4,194,304 pixels"):
        decode_photo(content, max_pixels=1_000_000)
