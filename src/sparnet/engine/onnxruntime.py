"""Models on ONNX Runtime, with whatever provider is installed (extra `ort`)."""

from pathlib import Path

import numpy as np
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as state

from sparnet.engine.base import Faces, MadeFaces, Precision, check_faces
from sparnet.errors import SparnetError, WeightsError
from sparnet.weights.info import METADATA_KEY, parse_info

_BATCH = 8
"""Faces a call, which bounds memory."""
_CPU = "CPUExecutionProvider"
_PACKAGES = {
    "CUDAExecutionProvider": "onnxruntime-gpu",
    "TensorrtExecutionProvider": "onnxruntime-gpu",
    "DmlExecutionProvider": "onnxruntime-directml",
}
_FAILURES = (
    RuntimeError,
    UnicodeDecodeError,  # of a name inside the file
    state.EPFail,
    state.Fail,
    state.InvalidArgument,
    state.InvalidGraph,
    state.InvalidProtobuf,
    state.NotImplemented,
    state.RuntimeException,
)


class OnnxruntimeEngine:
    """A model in an ONNX Runtime session.

    Args:
        path: The model file.
        precision: Arithmetic; only float32, which auto means too.
        threads: Threads; None uses all cores.
        provider: ONNX Runtime's name of what computes, with its CPU for what that cannot; None
            takes all that are installed, in its order.

    Raises:
        WeightsError: If the file is missing, damaged, or not one of sparnet's.
        SparnetError: If another precision is asked for, or the provider is not installed.
    """

    def __init__(
        self,
        path: Path,
        *,
        precision: Precision = "auto",
        threads: int | None = None,
        provider: str | None = None,
    ) -> None:
        if precision == "bf16":
            raise SparnetError(
                f"engine onnxruntime computes in fp32 only, got {precision}; use engine openvino"
            )
        providers = _choose_providers(provider)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        if threads is not None:
            options.intra_op_num_threads = threads
        self._path = path
        try:
            self._session = onnxruntime.InferenceSession(
                _source(path),
                options,
                providers=providers,
                enable_fallback=False,  # it prints to standard output
            )
        except _FAILURES:
            raise WeightsError(f"{path}: not an ONNX file, or a damaged one") from None
        text = self._session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
        if text is None:
            raise WeightsError(f"{path}: an ONNX file, but not one of sparnet's (its metadata is missing)")
        self.info = parse_info(text, source=path)
        working = self._session.get_providers()
        if provider is not None and provider not in working:  # its libraries do not load
            raise SparnetError(
                f"ONNX Runtime cannot start {provider} on this machine; it would use {working[0]}"
            )

    def run(self, faces: Faces) -> MadeFaces:
        """Return the faces the network makes of `faces`; see `Engine.run`."""
        check_faces(faces, self.info)
        side = self.info.image_size
        made = np.empty((len(faces), side, side, 3), dtype=np.uint8)
        for start in range(0, len(faces), _BATCH):
            batch = np.ascontiguousarray(faces[start : start + _BATCH])
            try:
                made[start : start + _BATCH] = self._session.run(["sr"], {"lr_up": batch})[0]
            except _FAILURES:
                raise WeightsError(
                    f"{self._path}: cannot be run: a damaged file, or too little memory"
                ) from None
        return made


def _source(path: Path) -> Path | bytes:
    """Return the file's name, or its content where the name is none that ONNX Runtime takes."""
    try:
        str(path).encode()
    except UnicodeEncodeError:  # bytes that are not UTF-8
        return path.read_bytes()
    return path


def _choose_providers(provider: str | None) -> list[str]:
    installed = onnxruntime.get_available_providers()
    if provider is None:
        return installed
    if provider not in installed:
        package = _PACKAGES.get(provider)
        remedy = f"; pip install {package} in place of onnxruntime" if package else ""
        raise SparnetError(f"this ONNX Runtime has no {provider}, only {', '.join(installed)}{remedy}")
    return [provider] if provider == _CPU else [provider, _CPU]
