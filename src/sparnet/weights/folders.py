"""Where files of weights are looked for. Nothing is downloaded here."""

import os
import sys
from pathlib import Path

from sparnet.errors import WeightsError

WEIGHTS_VARIABLE = "SPARNET_WEIGHTS"
"""Name of the environment variable that names a folder to search first."""


def expand_user(path: str | Path) -> Path:
    """Return a path, `~` and `~NAME` at its beginning put as the home folder.

    Raises:
        WeightsError: If there is no such user, or no home folder.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise WeightsError(f"{path}: no such user, or one without a home folder") from None


def user_cache_folder() -> Path:
    """Return the user's folder for sparnet's files, as the operating system has it; it may not exist.

    That of a user without a home folder does not.
    """
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or _home() / "AppData" / "Local") / "sparnet"
    if sys.platform == "darwin":
        return _home() / "Library" / "Caches" / "sparnet"
    named = Path(os.environ.get("XDG_CACHE_HOME", ""))
    # The XDG specification: a relative path is to be ignored.
    return (named if named.is_absolute() else _home() / ".cache") / "sparnet"


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError:
        return Path("/nonexistent")  # as Debian names the home of users that have none


def weights_folders() -> list[Path]:
    """List the folders that are searched, first the one that SPARNET_WEIGHTS names.

    Raises:
        WeightsError: If SPARNET_WEIGHTS names no folder.
    """
    return [*named_weights_folder(), user_cache_folder()]


def named_weights_folder() -> list[Path]:
    """Return the folder that SPARNET_WEIGHTS names, or none where it is not set.

    Raises:
        WeightsError: If it names no folder.
    """
    named = os.environ.get(WEIGHTS_VARIABLE)
    if not named:
        return []
    try:
        folder = expand_user(named)
    except WeightsError as error:
        raise WeightsError(f"{WEIGHTS_VARIABLE}={error}; correct or unset it") from None
    if not folder.is_dir():
        raise WeightsError(f"{WEIGHTS_VARIABLE}={named}: no such folder; correct or unset it")
    return [folder]


def locate_weights_file(name: str) -> Path | None:
    """Return the first file called `name` in the folders, or None.

    Raises:
        ValueError: If `name` is a path rather than a file's name.
        WeightsError: If SPARNET_WEIGHTS names no folder.
    """
    if not name or Path(name).name != name:
        raise ValueError(f"expected a file's name without folders, got {name!r}")
    candidates = (folder / name for folder in weights_folders())
    return next((path for path in candidates if os.path.isfile(path)), None)  # noqa: PTH113 - Path's may raise


def find_weights_file(name: str, *, remedy: str | None = None) -> Path:
    """Return the first file called `name` in the folders.

    Args:
        name: The file's name.
        remedy: What to do if it is missing, where more is known than to put it there.

    Raises:
        ValueError: If `name` is a path rather than a file's name.
        WeightsError: If it is in none of them.
    """
    path = locate_weights_file(name)
    if path is None:
        searched = " and ".join(str(folder) for folder in weights_folders())
        remedy = remedy or f"put it there, or name the folder that has it in {WEIGHTS_VARIABLE}"
        raise WeightsError(f"{name}: not found in {searched}; {remedy}")
    return path
