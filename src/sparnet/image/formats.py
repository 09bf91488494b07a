"""The formats of pictures: known by their first bytes, opened by their own readers."""

import importlib
import io
import re
import struct
from typing import IO, Any, TypeAlias

import PIL.Image

from sparnet.errors import ImageError

ByteFile: TypeAlias = IO[bytes] | io.BytesIO
"""A file, on a disk or in memory."""
MAX_PIXELS = 256_000_000
"""Largest picture that is decoded unless the caller says otherwise: 0.8 GB as an array."""
WRITABLE_SUFFIXES = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".jpe": "JPEG",
    ".jfif": "JPEG",
    ".png": "PNG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
    ".gif": "GIF",
    ".avif": "AVIF",
    ".heic": "HEIF",
    ".heif": "HEIF",
}
"""Format written for each suffix."""
PICTURE_SUFFIXES = frozenset({*WRITABLE_SUFFIXES, ".apng", ".hif"})
"""Suffixes by which a folder's pictures are known."""
REMEDIES = {
    "AVIF": "pip install --upgrade pillow",
    "HEIF": "pip install 'sparnet[heic]'",
}
"""What to install for formats that not every installation reads."""
_READABLE = "JPEG, PNG, WebP, TIFF, BMP, GIF, AVIF, HEIC"
_SIGNATURES = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"BM", "BMP"),
)
_AVIF_BRANDS = (b"avif", b"avis")
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1")
_READERS = {
    "JPEG": ("PIL.JpegImagePlugin", "JpegImageFile"),
    "PNG": ("PIL.PngImagePlugin", "PngImageFile"),
    "WEBP": ("PIL.WebPImagePlugin", "WebPImageFile"),
    "TIFF": ("PIL.TiffImagePlugin", "TiffImageFile"),
    "BMP": ("PIL.BmpImagePlugin", "BmpImageFile"),
    "GIF": ("PIL.GifImagePlugin", "GifImageFile"),
    "AVIF": ("PIL.AvifImagePlugin", "AvifImageFile"),
    "HEIF": ("pillow_heif", "HeifImageFile"),
}
_WEBP_CHUNKS = 16
"""More before the picture itself are not looked through; the format has three."""
_MOST_SCANS = 100
"""Of a JPEG; libtiff decodes no more either. Encoders write about ten, and each is as long as the picture."""
_MOST_SEGMENTS = 10_000
"""Of a JPEG. A profile, or a depth map in its metadata, takes some hundreds."""
_START_OF_SCAN = b"\xff\xda"
# Without those that have no length: they also stand within a scan, one a row.
_NEXT_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")
_PILLOWS_LIMIT = 1024 * 1024 * 1024 // 4 // 3


def format_of(header: bytes) -> str:
    """Name the format by its first bytes; a file's suffix is not asked.

    Raises:
        ImageError: If it is none of those that are read.
    """
    for signature, kind in _SIGNATURES:
        if header.startswith(signature):
            return kind
    if header[:4] == b"RIFF" and header[8:12] == b"WEBP":
        return "WEBP"
    if header[4:8] == b"ftyp":
        brands = header[8 : struct.unpack(">I", header[:4])[0]]
        for kind, known in (("AVIF", _AVIF_BRANDS), ("HEIF", _HEIF_BRANDS)):
            if any(brand in brands for brand in known):
                return kind
    raise ImageError(f"not a picture that can be read; expected one of {_READABLE}")


def check_length(kind: str, header: bytes, length: int) -> None:
    """Refuse files that are cut where Pillow would give another reason.

    Raises:
        ImageError: If the header speaks of more bytes than `length`.
    """
    needed = 0
    if kind == "WEBP":
        needed = 8 + int(struct.unpack_from("<I", header, 4)[0])
    elif kind == "TIFF" and header[2:4] in {b"*\0", b"\0*"}:  # where its first directory begins
        needed = int(struct.unpack_from("<I" if header.startswith(b"II") else ">I", header, 4)[0])
    if needed > length:
        raise ImageError("the file is truncated")


def check_scans(file: ByteFile) -> None:
    """Refuse JPEGs that make a decoder go over the whole picture for hours, a few bytes each time.

    Raises:
        ImageError: If there are more scans, or segments between them, than any encoder writes.
    """
    file.seek(0)
    data = file.read()
    if data.count(_START_OF_SCAN) <= _MOST_SCANS:
        return
    # The two bytes also stand in metadata and in what follows the picture, such as a telephone's video.
    scans, place = 0, 2
    for _ in range(_MOST_SEGMENTS):
        found = _NEXT_MARKER.search(data, place)
        if found is None or found[0] == b"\xff\xd9":  # the end of the picture
            return
        place = found.end()
        scans += found[0] == _START_OF_SCAN
        if scans > _MOST_SCANS:
            raise ImageError(f"a JPEG of more than {_MOST_SCANS} scans is not decoded")
        place += max(2, int.from_bytes(data[place : place + 2]))
    raise ImageError(f"a JPEG of more than {_MOST_SEGMENTS:,} segments is not decoded")


def is_lossless_webp(file: ByteFile) -> bool:
    """Say whether a WebP's picture is stored without loss; that of an animation is never said to be."""
    place = 12  # behind RIFF, its length and WEBP
    for _ in range(_WEBP_CHUNKS):
        file.seek(place)
        head = file.read(8)
        if len(head) < 8 or head[:4] in {b"VP8 ", b"ANIM", b"ANMF"}:
            return False
        if head[:4] == b"VP8L":
            return True
        length = int(struct.unpack("<I", head[4:])[0])
        place += 8 + length + length % 2
    return False


def open_picture(kind: str, file: ByteFile) -> PIL.Image.Image:
    """Open by the reader of one format: `PIL.Image.open` tries others and hides why each failed.

    Raises:
        ImageError: If the format is not read by what is installed, or is a camera's raw one.
    """
    if PIL.Image.MAX_IMAGE_PIXELS == _PILLOWS_LIMIT:  # a limit that the program has set stays
        PIL.Image.MAX_IMAGE_PIXELS = MAX_PIXELS
    file.seek(0)
    module, name = _READERS[kind]
    try:
        reader = getattr(importlib.import_module(module), name)
    except ImportError:
        raise ImageError(f"{kind} is not read by what is installed; {REMEDIES[kind]}") from None
    try:
        picture: PIL.Image.Image = reader(file)
    except SyntaxError as error:
        if kind == "TIFF" and "unknown pixel mode" in str(error):
            raise ImageError("this kind of TIFF is not read; save it with 8 or 16 bits a channel") from None
        is_of_exif = kind == "JPEG" and isinstance(error.__cause__, IndexError)  # of a tag without its values
        if is_of_exif and file.read(1):  # at the end of the file it would be the file's
            raise SyntaxError("its header is damaged") from None
        raise
    if kind == "TIFF" and _is_camera_raw(picture):
        raise ImageError("a camera's raw file, or a preview in one; develop it to JPEG, PNG or TIFF first")
    return picture


def decoded_size(picture: PIL.Image.Image) -> tuple[int, int]:
    """Return width and height of what is decoded: a tile of a TIFF may be larger than the picture."""
    tile_width, tile_height = (tiff_tag(picture, tag) for tag in (322, 323))
    return max(picture.width, tile_width or 0), max(picture.height, tile_height or 0)


def tiff_tag(picture: PIL.Image.Image, tag: int) -> Any:
    """Return the value of a TIFF's tag, by its number; None if the picture has none or is no TIFF."""
    return getattr(picture, "tag_v2", {}).get(tag)


def _is_camera_raw(picture: PIL.Image.Image) -> bool:
    """Tell raw files, which are TIFFs whose first page is a thumbnail."""
    is_dng = tiff_tag(picture, 50706) is not None
    is_thumbnail = tiff_tag(picture, 254) == 1
    return is_dng or is_thumbnail
