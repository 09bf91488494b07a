"""Packs: folders of tars and their index."""

import csv
import hashlib
import io
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from sparnet.data.prepare.cutters import PrepareConfig
from sparnet.data.prepare.output import write_file, writing
from sparnet.data.prepare.records import Record
from sparnet.errors import DataError
from sparnet.image import show_path

PACK_BYTES = 14 * 2**20
"""Largest size of a tar in a pack."""
INDEX_COLUMNS = ("file", "shard", "source", "identity", "terms", "px", "path")
"""What the index says of each picture."""


class Pack:
    """A folder of tars and their index, in the making."""

    def __init__(self, output: Path, split: str | None) -> None:
        self.output = output
        self.prefix = "" if split is None else f"{split}/"
        self.name = split
        self.rows = _read_index(output / f"{self.prefix}index.csv")

    @property
    def tars(self) -> int:
        """Number of tars."""
        return len({row["shard"] for row in self.rows})

    def add(self, records: Sequence[Record], config: PrepareConfig, terms: str | None) -> None:
        """Write tars of further pictures, then the index, then remove the pictures themselves."""
        if terms is None:
            terms = self.rows[-1]["terms"] if self.rows else ""
        names = {row["file"] for row in self.rows}
        shard = 1 + max((int(row["shard"]) for row in self.rows), default=-1)
        for number, group in enumerate(_shards(records), start=shard):
            members = []
            for record in group:
                name = self._member_name(record, names)
                members.append((name, _read_made(record, self.output)))
                row = {"file": name, "shard": number, "source": config.kind, "px": config.size_px}
                row |= {"identity": record.identity or "", "terms": terms, "path": record.file}
                self.rows.append({key: str(value) for key, value in row.items()})
            tar = f"{self.prefix}{self.name or config.kind}-{number:05d}.tar"
            write_file(self.output, tar, _tar(members))
        if records:
            self._write_index()
        self._remove_loose()

    def _member_name(self, record: Record, names: set[str]) -> str:
        """Name a picture in its tar: no folders, for they are not read, and no dot but the last."""
        path = str(record.file).removeprefix(self.prefix).removesuffix(".png")
        stem = path.replace("/", "-").replace(".", "_")
        name, number = f"{stem}.png", 2
        while name in names:
            name, number = f"{stem}-{number}.png", number + 1
        names.add(name)
        return name

    def _write_index(self) -> None:
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, INDEX_COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        write_file(self.output, f"{self.prefix}index.csv", text.getvalue().encode())

    def _remove_loose(self) -> None:
        paths = [self.output / row["path"] for row in self.rows]
        with writing(self.output):
            for path in paths:
                path.unlink(missing_ok=True)
        top = self.output / self.prefix
        below = {parent for path in paths for parent in path.parents if top in parent.parents}
        for folder in sorted(below, reverse=True):  # the deepest first
            with suppress(OSError):  # not empty
                folder.rmdir()


def _read_index(path: Path) -> list[dict[str, str]]:
    """Read the index of a pack that was made before, if there is one."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{show_path(path)}: cannot be read ({error})") from None
    if any(row.keys() != set(INDEX_COLUMNS) or not str(row["shard"]).isdecimal() for row in rows):
        raise DataError(f"{show_path(path)}: damaged, expected the columns {', '.join(INDEX_COLUMNS)}")
    return rows


def _shards(records: Sequence[Record]) -> Iterator[list[Record]]:
    """Share pictures out to tars, in order."""
    group: list[Record] = []
    size = 2 * tarfile.RECORDSIZE  # the end of the archive and its padding
    for record in records:
        blocks = -(-(record.size_bytes or 0) // tarfile.BLOCKSIZE)
        room = (blocks + 4) * tarfile.BLOCKSIZE  # with a header, and one more for a long name
        if group and size + room > PACK_BYTES:
            yield group
            group, size = [], 2 * tarfile.RECORDSIZE
        group.append(record)
        size += room
    if group:
        yield group


def _read_made(record: Record, output: Path) -> bytes:
    path = output / str(record.file)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{show_path(path)}: cannot be read ({error.strerror})") from None
    if hashlib.sha256(content).hexdigest() != record.sha256:
        raise DataError(f"{show_path(path)}: is not as it was made; delete it and run again")
    return content


def _tar(members: Sequence[tuple[str, bytes]]) -> bytes:
    """Make a tar whose bytes depend on names and contents alone."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()
