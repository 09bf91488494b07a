"""Files that want to break a program that reads photos, and a few good ones to hide among them."""

import itertools
import os
import socket
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, features

FACES = sorted((Path(__file__).parents[1] / "examples" / "faces").glob("*.webp"))
"""Faces in the public domain, aligned, 128 px."""

HARD_NAMES = (
    "new\nline{}", "tab\tand\rreturn{}", "-{}", "--output={}", "*{}", "[a-z]{}", "zoë und max{}", "顔{}",
    "\u202eright{}", "a" * 200 + "{}", "'quoted' \"twice\"{}", "$(touch owned){}",
    "\x1b[31mred{}", "100%s{}", " {}",
)  # fmt: skip
"""Names of files that programs stumble over, with a place for what follows."""


def scene(seed: int, *, faces: int = 1, width: int = 240, height: int = 180) -> np.ndarray:
    """Draw a soft background and put public-domain faces on it, side by side."""
    chance = np.random.default_rng(seed)
    coarse = Image.fromarray(chance.integers(40, 200, (5, 7, 3), dtype=np.uint8))
    photo = coarse.resize((width, height), Image.Resampling.BICUBIC)
    for index in range(faces):
        side = int(chance.integers(90, 120))
        face = Image.open(FACES[(seed + index) % len(FACES)]).convert("RGB")
        place = (
            round((index + 0.5) * width / faces - side / 2),
            int(chance.integers(10, height - side - 10)),
        )
        photo.paste(face.resize((side, side), Image.Resampling.BICUBIC), place)
    return np.array(photo)


def encoded(kind: str, pixels: np.ndarray, **options: object) -> bytes:
    """Encode a picture in memory."""
    file = BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def write_good_files(folder: Path, count: int = 20) -> list[Path]:
    """Write good photos of several formats under plain names and hard ones."""
    kinds = [("JPEG", ".jpg"), ("PNG", ".png"), ("WEBP", ".webp"), ("TIFF", ".tif")]
    names = [name.format("") for name in HARD_NAMES]
    paths = []
    for index in range(count):
        kind, suffix = kinds[index % len(kinds)]
        name = names[index] if index < len(names) else f"good {index}"
        paths.append(folder / f"{name}{suffix}")
        paths[-1].write_bytes(encoded(kind, scene(index)))
    return paths


def write_hostile_files(folder: Path, count: int = 200) -> list[Path]:
    """Write files, links and folders that look like photos; none of them can be restored.

    They are the same at every call. Kinds take turns, so that a small count has some of each.
    """
    makers = [_truncated, _emptied, _rubbish, _foreign, _bombs, _lying, _specials]
    turns = itertools.zip_longest(*(maker() for maker in makers))
    files = [file for turn in turns for file in turn if file is not None]
    assert len(files) >= count, f"only {len(files)} kinds of hostile files"
    paths = []
    for index, (name, make) in enumerate(files[:count]):
        hard = HARD_NAMES[index % len(HARD_NAMES)] if index % 3 == 0 else "{}"
        paths.append(folder / hard.format(f"{index:03d} {name}"))
        make(paths[-1])
    return paths


Hostile = tuple[str, Callable[[Path], object]]


def _file(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content)


def _wholes() -> dict[str, bytes]:
    pixels = scene(99)
    deep = np.random.default_rng(0).integers(0, 65536, (60, 60), dtype=np.uint16)
    wholes = {
        "a.jpg": encoded("JPEG", pixels),
        "progressive.jpg": encoded("JPEG", pixels, progressive=True),
        "a.png": encoded("PNG", pixels),
        "deep.png": encoded("PNG", deep),
        "a.webp": encoded("WEBP", pixels),
        "lossless.webp": encoded("WEBP", pixels[:40, :40], lossless=True),
        "a.tif": encoded("TIFF", pixels),
        "lzw.tif": encoded("TIFF", pixels, compression="tiff_lzw"),
        "deflate.tif": encoded("TIFF", pixels, compression="tiff_adobe_deflate"),
        "a.gif": encoded("GIF", pixels),
        "a.bmp": encoded("BMP", pixels),
    }
    if features.check("avif"):
        wholes["a.avif"] = encoded("AVIF", pixels, speed=10)
    return wholes


def _truncated() -> Iterator[Hostile]:
    wholes = _wholes()
    # A GIF and a lossless WebP of even colours may end early and be whole: not below a half.
    for share in (0.5, 0.02, 0.3, 0.45, 0.2):
        for name, whole in wholes.items():
            cut = max(4, int(share * len(whole)))
            yield f"cut at {share:.0%} {name}", _file(whole[:cut])
    for name, whole in wholes.items():
        yield f"only its signature {name}", _file(whole[:12])


def _emptied() -> Iterator[Hostile]:
    for suffix in (".jpg", ".png", ".webp", ".tif", ".gif", ".bmp", ".avif", ".heic"):
        yield f"empty{suffix}", _file(b"")
    for suffix in (".jpg", ".png", ".webp", ".tif"):
        yield f"zeros{suffix}", _file(bytes(5000))
    for name, whole in _wholes().items():
        yield f"zeros after the signature {name}", _file(whole[:16] + bytes(len(whole) - 16))


def _rubbish() -> Iterator[Hostile]:
    chance = np.random.default_rng(1)
    for suffix in (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".gif", ".bmp", ".avif", ".heic"):
        yield f"noise{suffix}", _file(chance.bytes(3000))
    for name, whole in _wholes().items():
        yield f"noise after the signature {name}", _file(whole[:16] + chance.bytes(3000))


def _foreign() -> Iterator[Hostile]:
    archive = BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("face.jpg", encoded("JPEG", scene(3)))
    contents = {
        "text": b"this is no picture\n",
        "page": b"<!DOCTYPE html><html><body>404 not found</body></html>",
        "drawing": b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>',
        "archive": archive.getvalue(),
        "document": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<<>>\nendobj\n",
        "program": b"\x7fELF\x02\x01\x01" + bytes(200),
        "script": b"#!/bin/sh\nrm -rf ~\n",
        "pickle": b"\x80\x04\x95\x1e\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94\x93\x94.",
        "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\n",
        "film": b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom" + bytes(100),
        "music": b"ID3\x04" + bytes(100),
        "table": b"name,size\nanna,24\n",
        "pixmap": b"P6\n2 2\n255\n" + bytes(12),
        "jpeg2000": b"\x00\x00\x00\x0cjP  \r\n\x87\n" + bytes(100),
        "icon": b"\x00\x00\x01\x00\x01\x00\x10\x10" + bytes(100),
        "photoshop": b"8BPS\x00\x01" + bytes(100),
    }
    for index, (name, content) in enumerate(contents.items()):
        for suffix in ((".jpg", ".png"), (".webp", ".tif"))[index % 2]:
            yield f"{name}{suffix}", _file(content)


def _bombs() -> Iterator[Hostile]:
    """Files that are small and say they are huge, or are."""
    for width, height in ((100_000, 100_000), (2**31 - 1, 2**31 - 1), (1, 2**31 - 1), (30_000, 30_000)):
        yield f"{width} x {height}.png", _file(_png(width, height))
    yield "a gigabyte of black.png", _file(_png(20_000, 20_000, data=_compressed_zeros(20_000 * 6_000)))
    yield "text.png", _file(_png(4, 4, before=_chunk(b"zTXt", b"a\0\0" + _compressed_zeros(10**8))))
    jpeg = bytearray(encoded("JPEG", scene(4)))
    frame = jpeg.index(b"\xff\xc0")
    for side in (65_500, 65_535, 40_000):
        yield (
            f"{side} px.jpg",
            _file(bytes(jpeg[: frame + 5]) + struct.pack(">HH", side, side) + bytes(jpeg[frame + 9 :])),
        )
    gif = bytearray(encoded("GIF", scene(5)[:20, :20]))
    gif[6:10] = struct.pack("<HH", 65_535, 65_535)
    yield "canvas.gif", _file(bytes(gif))
    bmp = bytearray(encoded("BMP", scene(5)[:20, :20]))
    for name, width, height in (
        ("wide", 2**31 - 1, 20),
        ("tall", 20, 2**31 - 1),
        ("upside down", 90_000, -90_000),
    ):
        bmp[18:26] = struct.pack("<ii", width, height)
        yield f"{name}.bmp", _file(bytes(bmp))
    for width, height in ((200_000, 200_000), (2**32 - 1, 2**32 - 1)):
        yield f"{width} x {height}.tif", _file(_tiff(width, height))
    vp8x = b"VP8X" + struct.pack("<I", 10) + bytes(4) + (2**24 - 1).to_bytes(3, "little") * 2
    yield "canvas.webp", _file(b"RIFF" + struct.pack("<I", 4 + len(vp8x)) + b"WEBP" + vp8x)


def _lying() -> Iterator[Hostile]:
    """Files that are well formed at first sight and contradict themselves."""
    png = encoded("PNG", scene(6)[:50, :50])
    yield "no width.png", _file(_png(0, 10))
    yield "no height.png", _file(_png(10, 0))
    yield "seven bits.png", _file(_png(10, 10, bits=7))
    yield "colour type 5.png", _file(_png(10, 10, colour=5))
    yield "no pixels.png", _file(_png(10, 10, data=b""))
    yield "no header.png", _file(png[:8] + png[33:])
    yield "wrong sum.png", _file(png[:60] + bytes([png[60] ^ 255]) + png[61:])
    yield "no palette.png", _file(_png(10, 10, colour=3)[:-12])
    jpeg = encoded("JPEG", scene(6)[:50, :50])
    frame = jpeg.index(b"\xff\xc0")
    yield "no size.jpg", _file(jpeg[: frame + 5] + bytes(4) + jpeg[frame + 9 :])
    yield "no components.jpg", _file(jpeg[: frame + 9] + b"\0" + jpeg[frame + 10 :])
    yield "nine components.jpg", _file(jpeg[: frame + 9] + b"\x09" + jpeg[frame + 10 :])
    yield "markers only.jpg", _file(b"\xff\xd8" + b"\xff\xd9")
    yield "no tables.jpg", _file(jpeg[:2] + jpeg[frame:])
    tiff = encoded("TIFF", scene(6)[:50, :50])
    (start,) = struct.unpack_from("<I", tiff, 4)
    yield "directory beyond the end.tif", _file(tiff[:4] + struct.pack("<I", len(tiff) + 999) + tiff[8:])
    yield "directory is the header.tif", _file(tiff[:4] + struct.pack("<I", 0) + tiff[8:])
    yield "no entries.tif", _file(tiff[:start] + bytes(2) + tiff[start + 2 :])
    yield "unknown compression.tif", _file(_tiff(10, 10, compression=59_999))
    yield "strips beyond the end.tif", _file(_tiff(10, 10, offset=10**6))
    yield "no size.tif", _file(_tiff(0, 0))
    infinite = np.full((20, 20), np.nan, dtype=np.float32)
    yield "not a number.tif", _file(encoded("TIFF", infinite))
    yield "32 bits.tif", _file(encoded("TIFF", np.full((20, 20), 2**30, dtype=np.int32)))
    yield "thumbnail.tif", _file(_tiff(10, 10, subfile=1))
    webp = encoded("WEBP", scene(6)[:50, :50])
    yield "longer than it is.webp", _file(webp[:4] + struct.pack("<I", len(webp) * 2) + webp[8:])
    yield "no frame.webp", _file(b"RIFF" + struct.pack("<I", 4) + b"WEBP")
    yield "unknown frame.webp", _file(webp[:12] + b"VP9 " + webp[16:])
    bmp = encoded("BMP", scene(6)[:50, :50])
    yield "3 bits.bmp", _file(bmp[:28] + struct.pack("<H", 3) + bmp[30:])
    yield "unknown header.bmp", _file(bmp[:14] + struct.pack("<I", 77) + bmp[18:])
    yield "pixels beyond the end.bmp", _file(bmp[:10] + struct.pack("<I", 10**8) + bmp[14:])
    gif = encoded("GIF", scene(6)[:50, :50])
    yield "no frame.gif", _file(gif[:13] + b";")
    yield "unknown block.gif", _file(gif[:13] + b"\x99" * 300)


def _specials() -> Iterator[Hostile]:
    """What is no regular file at all."""
    for index, suffix in enumerate((".jpg", ".png", ".webp", ".tif", ".gif", ".bmp")):
        yield f"folder{suffix}", lambda path: path.mkdir()
        if index % 2:
            yield f"folder in a folder{suffix}", lambda path: (path / path.name[-30:]).mkdir(parents=True)
    if sys.platform == "win32":
        return
    for suffix in (".jpg", ".png", ".webp"):
        yield f"link to itself{suffix}", lambda path: path.symlink_to(path.name)
        yield f"link to nothing{suffix}", lambda path: path.symlink_to("gone.jpg")
        yield f"links in a ring{suffix}", _ring
        yield f"link to an endless file{suffix}", lambda path: path.symlink_to("/dev/zero")
        yield f"link to no file{suffix}", lambda path: path.symlink_to("/dev/null")
        yield f"pipe{suffix}", os.mkfifo
        yield f"socket{suffix}", _socket
        yield f"folder that holds itself{suffix}", _loop


def _ring(path: Path) -> None:
    other = path.with_name(f".{path.name[:40]}")
    path.symlink_to(other.name)
    other.symlink_to(path.name)


def _loop(path: Path) -> None:
    path.mkdir()
    (path / "again").symlink_to(path.resolve())


def _socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # the path of a socket is at most 107 bytes long
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind("socket")
        Path("socket").rename(path.name)
    finally:
        os.chdir(here)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _png(
    width: int, height: int, *, bits: int = 8, colour: int = 2, data: bytes | None = None, before: bytes = b""
) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    pixels = _compressed_zeros(1000) if data is None else data
    return (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", header)
        + before
        + _chunk(b"IDAT", pixels)
        + _chunk(b"IEND", b"")
    )


def _compressed_zeros(count: int) -> bytes:
    packer = zlib.compressobj(1)
    block = bytes(10**6)
    parts = [
        packer.compress(block[: min(len(block), count - start)]) for start in range(0, count, len(block))
    ]
    return b"".join(parts) + packer.flush()


def _tiff(width: int, height: int, *, compression: int = 1, offset: int = 8, subfile: int = 0) -> bytes:
    tags = {
        254: subfile, 256: width, 257: height, 258: 8, 259: compression, 262: 1, 273: offset, 277: 1,
        278: height, 279: min(width * height, 2**32 - 1),
    }  # fmt: skip
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4)
