"""The log of a run: JSON lines, one object a step or an evaluation."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from sparnet.data.validation import Validation
from sparnet.errors import SparnetError
from sparnet.files import read_json_lines, write_whole


class RunLog:
    """Appends to a run's `log.jsonl`.

    Args:
        path: The file.
        images_seen: Where training goes on; lines beyond it, of a run that was cut off after its
            last saved state, are dropped, so that the log has each step once.
    """

    def __init__(self, path: Path, *, images_seen: int) -> None:
        self.path = path
        kept = [line for line in read_json_lines(path) if line["images_seen"] <= images_seen]
        write_whole(path, "".join(json.dumps(line) + "\n" for line in kept))
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


class TensorboardLog:
    """Writes scalars and pictures for TensorBoard.

    Args:
        folder: Where to.
        images_seen: Where training goes on; what an earlier run wrote beyond it is hidden.

    Raises:
        SparnetError: If the package tensorboard is not installed.
    """

    def __init__(self, folder: Path, *, images_seen: int) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ModuleNotFoundError:
            raise SparnetError("--tensorboard needs a package: pip install tensorboard") from None
        self._writer: Any = SummaryWriter(str(folder), purge_step=images_seen + 1)

    def step(self, images_seen: int, numbers: dict[str, float]) -> None:
        """Write the numbers of a step."""
        for name, value in numbers.items():
            self._writer.add_scalar(name, value, images_seen)

    def evaluation(
        self, images_seen: int, psnr_y: float, validation: Validation, sr: UInt8[np.ndarray, "n h w 3"]
    ) -> None:
        """Write a score, and four faces as lr, what the network read, sr, hr."""
        self._writer.add_scalar("psnr_y", psnr_y, images_seen)
        for index in range(min(4, len(sr))):
            strip = face_strip(validation, sr, index)
            self._writer.add_image(f"face {index}", strip, images_seen, dataformats="HWC")

    def close(self) -> None:
        """Close the files."""
        self._writer.close()


def face_strip(
    validation: Validation, sr: UInt8[np.ndarray, "n h w 3"], index: int
) -> UInt8[np.ndarray, "h2 w2 3"]:
    """Lay a face out as lr, what the network read, sr, hr."""
    hr = validation.hr[index]
    times = hr.shape[0] // validation.lr.shape[1]
    lr = validation.lr[index].repeat(times, axis=0).repeat(times, axis=1)
    return np.concatenate([lr, validation.lr_up[index], sr[index], hr], axis=1)
