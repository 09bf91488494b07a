"""Models on torch: the engine of those who have it, on a CPU or a CUDA device."""

from pathlib import Path

import numpy as np
import torch

from sparnet.engine.base import Faces, MadeFaces, Precision, check_faces
from sparnet.network.bytes import to_bytes, to_signed
from sparnet.network.files import read_model_file

_BATCH = 8
"""Faces a call, which bounds memory."""


class TorchEngine:
    """A model as a torch network; on the CUDA device if there is one.

    Args:
        path: The model file.
        precision: Arithmetic.
        threads: Threads; None leaves torch's own choice. It holds for the whole process.
    """

    def __init__(self, path: Path, *, precision: Precision = "fp32", threads: int | None = None) -> None:
        if threads is not None:
            torch.set_num_threads(threads)
        network, self.info = read_model_file(path)
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._network = network.to(self._device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._dtype = torch.bfloat16 if precision == "bf16" else None

    @torch.inference_mode()
    def run(self, faces: Faces) -> MadeFaces:
        """Return the faces the network makes of `faces`; see `Engine.run`."""
        check_faces(faces, self.info)
        side = self.info.image_size
        made = np.empty((len(faces), side, side, 3), dtype=np.uint8)
        for start in range(0, len(faces), _BATCH):
            batch = torch.from_numpy(np.array(faces[start : start + _BATCH])).to(self._device)
            with torch.autocast(self._device.type, self._dtype, enabled=self._dtype is not None):
                sr = self._network(to_signed(batch.permute(0, 3, 1, 2)))
            made[start : start + _BATCH] = to_bytes(sr).permute(0, 2, 3, 1).cpu().numpy()
        return made
