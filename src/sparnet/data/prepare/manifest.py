"""The manifest: what became of each photo, kept so that a run can go on."""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from pydantic import ValidationError

from sparnet.data.prepare.output import write_file, writing
from sparnet.data.prepare.records import Record
from sparnet.errors import DataError
from sparnet.image import show_path

MANIFEST = "manifest.jsonl"
"""Name of the file in the output folder that says what became of each photo."""


class Manifest:
    """The lines of the manifest, photo by photo, kept as text: a set may have 200,000."""

    def __init__(self, path: Path) -> None:
        self.path = path
        groups: dict[str, list[Record]] = {}
        for line in self._read().split("\n"):
            record = _parse(line)
            if record is not None:
                group = groups.setdefault(record.source, [])
                if record.face == 0:  # a later run did the photo again
                    group.clear()
                group.append(record)
        # A photo that lacks a line, or whose line was cut short by the end of the run, is not done.
        self._lines = {source: format_records(group) for source, group in groups.items() if _is_whole(group)}

    def sources(self) -> list[str]:
        """Return the photos."""
        return list(self._lines)

    def of(self, source: str) -> list[Record]:
        """Return the records of a photo; none if it is not done."""
        return [Record.model_validate_json(line) for line in self._lines.get(source, "").splitlines()]

    def records(self) -> Iterator[Record]:
        """Yield all records."""
        for source in self._lines:
            yield from self.of(source)

    def append(self, records: Sequence[Record]) -> None:
        """Add a photo."""
        text = format_records(records)
        with writing(self.path), self.path.open("ab") as file:
            file.write(text.encode())
        self._lines[records[0].source] = text

    def tidy(self, order: Iterable[str]) -> None:
        """Put the file in order and leave out what is not whole, if it is not so already."""
        places = {source: place for place, source in enumerate(order)}
        last = len(places)
        self._lines = dict(sorted(self._lines.items(), key=lambda item: places.get(item[0], last)))
        text = "".join(self._lines.values())
        if text != self._read():
            write_file(self.path.parent, self.path.name, text.encode())

    def _read(self) -> str:
        try:
            return self.path.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return ""
        except OSError as error:
            raise DataError(f"{show_path(self.path)}: cannot be read ({error.strerror})") from None


def _parse(line: str) -> Record | None:
    try:
        return Record.model_validate_json(line)
    except ValidationError:
        return None


def format_records(records: Sequence[Record]) -> str:
    """Write records as JSON, one a line."""
    dumped = [json.dumps(record.model_dump(mode="json", exclude_none=True)) for record in records]
    return "".join(f"{line}\n" for line in dumped)


def _is_whole(group: Sequence[Record]) -> bool:
    return [record.face for record in group] == list(range(group[0].faces))
