"""Compiled models kept on the disk, so that the next program starts in a third of the time.

A file of the user's cache folder holds what the model says of itself and what OpenVINO made of it,
under a hash of all that it depends on: the model's bytes, OpenVINO's version, the processor, the
options. It ends with the hash of its content: one that is damaged is removed and made anew. The
oldest files go when there are too many. `SPARNET_CACHE=off` keeps and reads nothing.
"""

import contextlib
import hashlib
import json
import os
from pathlib import Path

from sparnet.files import remove_leftovers, replacing
from sparnet.weights.folders import user_cache_folder

CACHE_VARIABLE = "SPARNET_CACHE"
"""Name of the environment variable that turns the cache off."""
MAX_BYTES = 400_000_000
"""All files together; a model that takes more than half of it is not kept."""
_SUFFIX = ".compiled"
_FORMAT = 1
_DIGEST = 32


class CompiledCache:
    """The compiled models of one user.

    Args:
        folder: Where they lie.
        max_bytes: How much they may take.
    """

    def __init__(self, folder: Path, *, max_bytes: int = MAX_BYTES) -> None:
        self.folder = folder
        self.max_bytes = max_bytes

    def read(self, key: str) -> tuple[str, bytes] | None:
        """Return the description and the compiled model kept under a key, or None.

        A file that is damaged is removed; one that cannot be read is none.
        """
        path = self._path(key)
        try:
            content = path.read_bytes()
            if hashlib.sha256(content[:-_DIGEST]).digest() != content[-_DIGEST:]:
                path.unlink()
                return None
            os.utime(path)  # the ones used last are the last to go
        except OSError:
            return None
        described, _, compiled = content[:-_DIGEST].partition(b"\n")
        return json.loads(described), compiled

    def write(self, key: str, info: str, compiled: bytes) -> None:
        """Keep a compiled model and what its file says of itself, if the disk takes it.

        A cache that cannot be written is no failure: the next program compiles anew.
        """
        described = json.dumps(info).encode() + b"\n"
        if len(described) + len(compiled) + _DIGEST > self.max_bytes // 2:
            return
        digest = hashlib.sha256(described)
        digest.update(compiled)
        with contextlib.suppress(OSError):
            remove_leftovers([self.folder])
            with replacing(self._path(key)) as file:
                file.write(described)
                file.write(compiled)
                file.write(digest.digest())
            self._remove_oldest()

    def forget(self, key: str) -> None:
        """Remove what is kept under a key."""
        with contextlib.suppress(OSError):
            self._path(key).unlink()

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}{_SUFFIX}"

    def _remove_oldest(self) -> None:
        found = []
        for path in self.folder.glob(f"*{_SUFFIX}"):
            with contextlib.suppress(OSError):  # another program removed it
                status = path.stat()
                found.append((status.st_mtime_ns, status.st_size, path))
        kept = 0
        for _, size, path in sorted(found, reverse=True):
            kept += size
            if kept > self.max_bytes:
                with contextlib.suppress(OSError):
                    path.unlink()


def open_cache() -> CompiledCache | None:
    """Return the user's cache, or None where `SPARNET_CACHE` is off."""
    if os.environ.get(CACHE_VARIABLE, "").lower() in ("off", "0", "no", "false"):
        return None
    return CompiledCache(user_cache_folder() / "compiled")


def cache_key(*facts: object) -> str:
    """Hash all that a compiled model depends on."""
    return hashlib.sha256(json.dumps([_FORMAT, *facts], sort_keys=True).encode()).hexdigest()[:40]
