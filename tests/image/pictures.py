"""Pictures to read and write, made byte by byte where no writer makes them."""

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from PIL import ImageCms
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from sparnet.errors import ImageError
from sparnet.image import read_photo, show_path

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
