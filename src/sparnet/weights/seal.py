"""The hash at the end of a model file, by which any damage shows, whoever made the file.

A damaged file can bring an engine down, or give wrong faces in silence. The hash of all before it is
a last entry of the ONNX file's metadata; it is found by its length, without reading the file as ONNX.
"""

import hashlib
from pathlib import Path

from sparnet.errors import WeightsError

SEAL_KEY = "sparnet.sha256"
"""Name of the metadata entry of the ONNX file that holds the hash."""


def seal(model: bytes) -> bytes:
    """Return the bytes of an ONNX model with the hash of them as one more entry of its metadata."""
    return model + _entry(hashlib.sha256(model).hexdigest())


def check_seal(path: Path) -> None:
    """Refuse a file that is not as sparnet wrote it.

    Raises:
        WeightsError: If it cannot be read, has no hash at its end, or has another.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror})") from None
    empty = _entry("0" * 64)
    model, found = content[: -len(empty)], content[-len(empty) :]
    if found[:-64] != empty[:-64]:
        raise WeightsError(f"{path}: not a model file of sparnet's, or one that is cut short")
    if found != _entry(hashlib.sha256(model).hexdigest()):
        raise WeightsError(f"{path}: damaged, its SHA-256 is not the one it was written with; replace it")


def _entry(digest: str) -> bytes:
    """Write field 14 of ONNX's ModelProto: a string for a key (field 1), one for a value (field 2)."""
    key, value = SEAL_KEY.encode(), digest.encode()
    entry = bytes([0x0A, len(key)]) + key + bytes([0x12, len(value)]) + value
    return bytes([0x72, len(entry)]) + entry
