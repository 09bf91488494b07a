"""EXIF, XMP and printing resolution, as they are true of a copy that lies upright."""

import re
import struct

import PIL.Image

from sparnet.image.failures import CODEC_ERRORS

ORIENTATION = 274
"""Number of EXIF's tag that says how stored rows and columns lie."""
EXIF_PREFIX = b"Exif\x00\x00"
"""What EXIF begins with in a JPEG, and in a `Photo`."""
EXIF_DIRECTORIES = (34665, 34853)
"""Tags of the directories below the first: EXIF proper, and GPS."""
PNG_XMP = "XML:com.adobe.xmp"
"""Keyword of the text in a PNG that is XMP."""
# Image description, make, model, software, date, artist, copyright: what one TIFF may take over
# from another. The rest of the first directory says how the pixels of that file are stored.
_DESCRIPTIVE_TAGS = (270, 271, 272, 305, 306, 315, 33432)
_EXIF_OFFSETS = frozenset({37500, 40965})  # makers' notes and Interop: they point into the old file
# XMP of other parts of the file (a gain map, a video, a depth map), which are not kept.
_XMP_OF_PARTS = (
    b"hdrgm:", b"Container:", b"MotionPhoto", b"MicroVideo", b"GImage:", b"GDepth:", b"HasExtendedXMP",
)  # fmt: skip


def read_orientation(picture: PIL.Image.Image) -> int:
    """Return EXIF's orientation, from 1 to 8; 1 where it is unknown."""
    try:
        orientation = picture.getexif().get(ORIENTATION, 1)
    except CODEC_ERRORS:
        return 1
    return orientation if orientation in range(1, 9) else 1


def read_exif(picture: PIL.Image.Image, notes: list[str]) -> bytes | None:
    """Read EXIF as a copy that lies upright has it; damage goes to `notes`, and gives None."""
    try:
        raw = picture.info.get("exif")
        if raw is None:
            exif = picture.getexif()
            raw = _descriptive(exif) if picture.format == "TIFF" else exif.tobytes() if len(exif) else None
        if not raw:
            return None
        return _upright_exif(raw)
    except CODEC_ERRORS:
        notes.append("its EXIF is damaged and left out")
        return None


def _upright_exif(exif: bytes) -> bytes:
    """Set the orientation to 1 and unlink the thumbnail, in place.

    Writing EXIF anew would lose the makers' notes, whose offsets count from the start of it.

    Raises:
        struct.error: If it is no EXIF.
    """
    body = bytearray(exif.removeprefix(EXIF_PREFIX).removeprefix(EXIF_PREFIX))
    order = ">" if body.startswith(b"MM") else "<"
    magic, start = struct.unpack_from(f"{order}HI", body, 2)
    if magic != 42:
        raise struct.error("not EXIF")
    (entries,) = struct.unpack_from(f"{order}H", body, start)
    end = start + 2 + 12 * entries
    for entry in range(start + 2, end, 12):
        if struct.unpack_from(f"{order}H", body, entry) == (ORIENTATION,):
            struct.pack_into(f"{order}HHIHH", body, entry, ORIENTATION, 3, 1, 1, 0)
    if end + 4 <= len(body):
        struct.pack_into(f"{order}I", body, end, 0)
    return EXIF_PREFIX + bytes(body)


def _descriptive(exif: PIL.Image.Exif) -> bytes | None:
    """Keep of EXIF what is true of a copy of the picture in another file."""
    kept = PIL.Image.Exif()
    for tag in _DESCRIPTIVE_TAGS:
        if tag in exif:
            kept[tag] = exif[tag]
    for directory in EXIF_DIRECTORIES:
        tags = {tag: value for tag, value in exif.get_ifd(directory).items() if tag not in _EXIF_OFFSETS}
        if tags:
            kept[directory] = tags
    return kept.tobytes() if len(kept) else None


def renewed_exif(exif: bytes | None) -> bytes | None:
    """Write EXIF anew for writers that read it first; None if it is too damaged for that."""
    tags = PIL.Image.Exif()
    try:
        tags.load(exif or b"")
        return _descriptive(tags)
    except CODEC_ERRORS:
        return None


def read_xmp(picture: PIL.Image.Image) -> bytes | None:
    """Read XMP as a copy that lies upright has it; None if it speaks of parts that are not kept."""
    xmp = picture.info.get("xmp") or picture.info.get(PNG_XMP)
    if isinstance(xmp, str):
        xmp = xmp.encode("utf-8", "replace")
    if not isinstance(xmp, bytes) or any(part in xmp for part in _XMP_OF_PARTS):
        return None
    return re.sub(rb"(tiff:Orientation(?:=[\"']|>))[2-8]", rb"\g<1>1", xmp)


def read_dpi(picture: PIL.Image.Image) -> tuple[float, float] | None:
    """Read the printing resolution across and down, in dots per inch; None if unknown."""
    try:
        across, down = (float(value) for value in picture.info["dpi"])
    except (ArithmeticError, KeyError, TypeError, ValueError):
        return None
    # 1 is what Pillow says of a TIFF without; a JPEG has 16 bits for it.
    return (across, down) if min(across, down) > 1 and max(across, down) <= 65535 else None
