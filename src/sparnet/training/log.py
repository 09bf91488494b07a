"""The log of a run: JSON lines, one object a step or an evaluation."""

import json
from pathlib import Path
from typing import Any


class RunLog:
    """Appends to a run's `log.jsonl`.

    Args:
        path: The file.
        images_seen: Where training goes on; lines beyond it, of a run that was cut off after its
            last saved state, are dropped, so that the log has each step once.
    """

    def __init__(self, path: Path, *, images_seen: int) -> None:
        self.path = path
        kept = [line for line in _read_lines(path) if line["images_seen"] <= images_seen]
        partial = path.with_suffix(".partial")
        partial.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
        partial.replace(path)
        self._file = path.open("a", encoding="utf-8", buffering=1)

    def write(self, kind: str, images_seen: int, **numbers: Any) -> None:
        """Append one line: its kind ("step", "evaluation"), when, and named numbers."""
        rounded = {
            key: float(f"{value:.6g}") if isinstance(value, float) else value
            for key, value in numbers.items()
        }
        self._file.write(json.dumps({"kind": kind, "images_seen": images_seen, **rounded}) + "\n")

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _read_lines(path: Path) -> list[dict[str, Any]]:
    """Read whole lines; one cut short by a crash is dropped."""
    if not path.exists():
        return []
    lines = []
    for text in path.read_text(encoding="utf-8").splitlines():
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            continue
    return lines
