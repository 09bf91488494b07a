"""What goes wrong with files and with Pillow, as one line that names the file."""

import struct
import threading
import unicodedata
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import PIL.Image

from sparnet.errors import ImageError

# Warning: for programs that turn warnings into errors.
CODEC_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    PIL.Image.DecompressionBombError,
    RuntimeError,
    SyntaxError,
    SystemError,
    TypeError,
    ValueError,
    Warning,
    struct.error,
    zlib.error,
)
"""What Pillow's readers raise on damaged files."""
_WARNINGS_LOCK = threading.Lock()


def show_path(path: str | Path) -> str:
    """Return a path as one printable line: control characters and broken Unicode are escaped."""
    joiners = "\u200c\u200d"  # parts of words and emoji, unlike the other invisible characters
    return "".join(
        char.encode("unicode_escape").decode("ascii")
        if char not in joiners and unicodedata.category(char) in {"Cc", "Cf", "Cs", "Zl", "Zp"}
        else char
        for char in str(path)
    )


@contextmanager
def naming(path: str | Path) -> Iterator[None]:
    """Put the path before every message, and give the system's errors one."""
    try:
        yield
    except ImageError as error:
        raise ImageError(f"{show_path(path)}: {error}") from None
    except FileNotFoundError:
        raise ImageError(f"{show_path(path)}: no such file") from None
    except OSError as error:
        raise ImageError(f"{show_path(path)}: cannot be read ({reason_of(error)})") from None
    except MemoryError:
        raise ImageError(f"{show_path(path)}: not enough memory") from None


@contextmanager
def nameless() -> Iterator[None]:
    """Turn the system's errors into an `ImageError` where there is no path to name."""
    try:
        yield
    except OSError as error:
        raise ImageError(f"cannot be read ({reason_of(error)})") from None
    except MemoryError:
        raise ImageError("not enough memory") from None


@contextmanager
def coding(failure: str) -> Iterator[None]:
    """Turn what Pillow raises into an `ImageError`."""
    try:
        yield
    except ImageError:
        raise
    except CODEC_ERRORS as error:
        reason = f"unknown value {reason_of(error)}" if isinstance(error, KeyError) else reason_of(error)
        # Pillow turns the end of the data, met while it reads a header, into a SyntaxError.
        ended = isinstance(error.__cause__ or error, EOFError | IndexError | struct.error)
        if ended or "truncated" in reason.lower():
            raise ImageError("the file is truncated") from None
        if reason == "not identified by this driver":  # Pillow's word for a header with something wrong
            reason = "its header is damaged"
        raise ImageError(f"{failure} ({reason})") from None


def reason_of(error: BaseException) -> str:
    """Return why something failed, in one line of at most 200 characters, without a full stop."""
    text = str(getattr(error, "strerror", None) or str(error) or type(error).__name__)
    return show_path(" ".join(text.split()))[:200].rstrip(".")


@contextmanager
def quiet_pillow() -> Iterator[None]:
    """Silence Pillow's warnings about odd metadata; one thread at a time, for filters are global."""
    with _WARNINGS_LOCK, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
