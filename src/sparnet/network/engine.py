"""Models on torch: the engine of those who have it, on a CPU or a CUDA device."""

from pathlib import Path

import numpy as np
import torch

from sparnet.engine.base import Faces, MadeFaces, Precision, check_faces, choose_precision
from sparnet.network.bytes import to_bytes, to_signed
from sparnet.network.fast import fast_form
from sparnet.network.files import read_model_file

_BATCH = 8
"""Faces a call, which bounds memory."""


class TorchEngine:
    """A model as a torch network in its fast form; on the CUDA device if there is one.

    Args:
        path: The model file.
        precision: Arithmetic; auto is float32 on a CPU.
        threads: Threads; None leaves torch's own choice. It holds for the whole process.
        is_compiled: Whether torch compiles the network when it is first run, for a batch of any size.
    """

    def __init__(
        self,
        path: Path,
        *,
        precision: Precision = "auto",
        threads: int | None = None,
        is_compiled: bool = False,
    ) -> None:
        if threads is not None:
            torch.set_num_threads(threads)
        network, self.info = read_model_file(path)
        on_cuda = torch.cuda.is_available()
        self._device = torch.device("cuda" if on_cuda else "cpu")
        has_bf16 = on_cuda and torch.cuda.is_bf16_supported()
        self.precision = choose_precision(precision, self.info, has_bf16=has_bf16)
        """The arithmetic in use: fp32 or bf16."""
        self._dtype = torch.bfloat16 if self.precision == "bf16" else None
        fast = fast_form(network).to(self._device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._network = torch.compile(fast, dynamic=True) if is_compiled else fast

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
