"""Alpha, gray, 16 bits."""

import struct
import zlib

import numpy as np
import PIL.Image
import pytest

from sparnet.image import Photo, read_image, read_photo, write_image, write_photo
from tests.image.pictures import (
    SRGB,
    assert_refused,
    deep_png,
    deep_ramp,
    distance,
    encoded,
    exif,
    gray_profile,
    gray_ramp,
    png_chunk,
    ramp,
    tiff,
)


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


def test_a_gray_gif_keeps_what_is_wholly_transparent(tmp_path):
    alpha = np.where(gray_ramp() > 100, 255, 0).astype(np.uint8)
    gray = np.dstack([gray_ramp()] * 3)
    write_photo(tmp_path / "a.gif", Photo(pixels=gray, alpha=alpha, is_gray=True))
    photo = read_photo(tmp_path / "a.gif")
    np.testing.assert_array_equal(photo.alpha, alpha)
    np.testing.assert_allclose(photo.pixels[alpha > 0], gray[alpha > 0], atol=8)  # 256 colours


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_a_transparent_gray_of_few_bits_becomes_alpha(tmp_path, bits):
    count = 2**bits
    packed = np.packbits(np.arange(count, dtype=np.uint8)[:, None] >> np.arange(bits)[::-1] & 1)
    chunks = [
        png_chunk(b"IHDR", struct.pack(">IIBBBBB", count, 1, bits, 0, 0, 0, 0)),
        png_chunk(b"tRNS", struct.pack(">H", count - 1)),
        png_chunk(b"IDAT", zlib.compress(b"\0" + packed.tobytes())),
        png_chunk(b"IEND", b""),
    ]
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))
    photo = read_photo(tmp_path / "a.png")
    assert photo.alpha is not None
    assert photo.alpha.tolist() == [[255] * (count - 1) + [0]]
    assert photo.pixels[0, :, 0].tolist() == [value * 255 // (count - 1) for value in range(count)]


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
