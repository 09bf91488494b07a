"""All that a run is, in one file, written whole or not at all."""

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sparnet.errors import WeightsError
from sparnet.files import replacing
from sparnet.network.official import UNREADABLE, load_tensors

_DIGEST_BYTES = 32
KEEP_STATES = 2
"""Saved states that are kept: the last, and the one before in case the last is damaged."""


@dataclass
class TrainState:
    """Everything that changes while a network is trained."""

    images_seen: int
    """Training time."""
    modules: dict[str, dict[str, Any]]
    """State dicts of networks, their averages and optimisers, by name."""

    def save(self, run: Path) -> Path:
        """Write the state into the run's folder: under another name first, then renamed.

        The file ends in the SHA-256 of what is before it. Older states are removed afterwards, and later
        ones, which the run was resumed before since they were damaged.
        """
        buffer = io.BytesIO()
        torch.save({"images_seen": self.images_seen, "modules": self.modules}, buffer)
        content = buffer.getvalue()
        path = run / f"state-{self.images_seen:012d}.pt"
        with replacing(path) as file:
            file.write(content)
            file.write(hashlib.sha256(content).digest())
        states = saved_states(run)
        kept = [state for state in states if state <= path][-KEEP_STATES:]
        for state in states:
            if state not in kept:
                state.unlink()
        return path

    @classmethod
    def load(cls, path: Path) -> "TrainState":
        """Read one state.

        Raises:
            WeightsError: If the file is missing, cut short or altered.
        """
        try:
            content = path.read_bytes()
        except OSError as error:
            raise WeightsError(f"{path}: cannot be read ({error.strerror})") from None
        body, digest = content[:-_DIGEST_BYTES], content[-_DIGEST_BYTES:]
        if hashlib.sha256(body).digest() != digest:
            raise WeightsError(f"{path}: damaged or half-written (its checksum does not match)")
        try:
            saved: Any = load_tensors(io.BytesIO(body))
            return cls(images_seen=saved["images_seen"], modules=saved["modules"])
        except UNREADABLE as error:
            reason = str(error).split("\n", 1)[0].strip()
            raise WeightsError(f"{path}: not a training state ({reason or type(error).__name__})") from None


def saved_states(run: Path) -> list[Path]:
    """List a run's saved states, oldest first."""
    return sorted(run.glob("state-*.pt"))


def load_newest(run: Path) -> tuple[TrainState, list[str]]:
    """Load the newest sound state of a run.

    Returns:
        The state, and a line for each damaged one that was passed over.

    Raises:
        WeightsError: If no sound state is there.
    """
    refused: list[str] = []
    for path in reversed(saved_states(run)):
        try:
            return TrainState.load(path), refused
        except WeightsError as error:
            refused.append(str(error))
    reason = "; ".join(refused) or f"{run}: no saved state to resume from"
    raise WeightsError(reason)
