"""The interface of all engines, and the choice among them."""

import importlib
from pathlib import Path
from typing import Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np
from jaxtyping import UInt8

from sparnet.errors import SparnetError
from sparnet.weights.catalog import find_model
from sparnet.weights.info import ModelInfo

Faces: TypeAlias = UInt8[np.ndarray, "n h w 3"]
"""A batch of square faces of one size."""
MadeFaces: TypeAlias = UInt8[np.ndarray, "n h2 w2 3"]
"""A batch of square faces of one size, which need not be that of the faces they were made of."""
Precision = Literal["auto", "fp32", "bf16"]
PRECISIONS: tuple[Precision, ...] = ("auto", "fp32", "bf16")
LARGEST_LOSS_DB = 0.02
"""By how much `psnr_y` may fall in bfloat16 for it to be used unasked."""


@runtime_checkable
class Engine(Protocol):
    """A loaded model."""

    info: ModelInfo
    """What the model file says of itself."""

    def run(self, faces: Faces) -> MadeFaces:
        """Return the faces the network makes of `faces`.

        Args:
            faces: Any number of faces, `info.input_size` px a side.

        Returns:
            As many faces, `info.image_size` px a side.

        Raises:
            ValueError: If the faces are of another size.
        """
        ...


# By name, so that an engine's library is imported only when it is used; torch's lives in the lab half.
_ENGINES = {
    "openvino": ("sparnet.engine.openvino", "OpenvinoEngine", "sparnet"),
    "onnxruntime": ("sparnet.engine.onnxruntime", "OnnxruntimeEngine", "sparnet[ort]"),
    "torch": ("sparnet.network.engine", "TorchEngine", "sparnet[train]"),
}
ENGINES = tuple(_ENGINES)
PROVIDERS = {
    "onnxruntime-cpu": "CPUExecutionProvider",
    "onnxruntime-cuda": "CUDAExecutionProvider",
    "onnxruntime-tensorrt": "TensorrtExecutionProvider",
    "onnxruntime-coreml": "CoreMLExecutionProvider",
    "onnxruntime-directml": "DmlExecutionProvider",
}
"""Engines that are ONNX Runtime on one named device, and its own name of the provider."""
COMPILED = "torch-compile"
"""The torch engine with its network compiled: a minute once a process, for very many faces."""


def open_engine(
    model: str | Path,
    *,
    engine: str = "openvino",
    precision: Precision = "auto",
    threads: int | None = None,
) -> Engine:
    """Load a model into an engine.

    Args:
        model: Name of a model of the catalog, or path of a model file.
        engine: `openvino` (the default on a CPU), `onnxruntime` (with whatever provider is
            installed, or one of `PROVIDERS`, as `onnxruntime-cuda`), `torch`, or `torch-compile`.
        precision: Arithmetic: float32; bfloat16 where the engine and the processor have it; or
            auto, see `choose_precision`.
        threads: Threads to use; None uses all cores.

    Raises:
        WeightsError: If the model is missing, damaged, or not one of sparnet's.
        SparnetError: If the engine is not installed.
        ValueError: If there is no such engine, it has no such precision, or `threads` is below 1.
    """
    if engine not in (*_ENGINES, *PROVIDERS, COMPILED):
        raise ValueError(
            f"engine must be one of {', '.join((*ENGINES, *PROVIDERS, COMPILED))}, got {engine!r}"
        )
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, got {precision!r}")
    if threads is not None and threads < 1:
        raise ValueError(f"threads must be 1 or more, got {threads}")
    module, name, extra = _ENGINES[engine.partition("-")[0]]
    path = find_model(model)
    try:
        factory = getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        raise SparnetError(f"engine {engine} needs the package {error.name}: pip install '{extra}'") from None
    special: dict[str, object] = {"provider": PROVIDERS[engine]} if engine in PROVIDERS else {}
    if engine == COMPILED:
        special["is_compiled"] = True
    return factory(path, precision=precision, threads=threads, **special)


def choose_precision(wanted: Precision, info: ModelInfo, *, has_bf16: bool) -> Precision:
    """Say which arithmetic `auto` means for a model on a processor; fp32 and bf16 mean themselves.

    bfloat16 takes half the time of float32 where the processor has instructions for it. It is used
    if the model was measured to lose less than `LARGEST_LOSS_DB` by it, or is one of 8-bit
    integers, which have lost more than that already.
    """
    if wanted != "auto":
        return wanted
    loss = info.bf16_loss_db
    harmless = info.arithmetic == "int8" or (loss is not None and loss < LARGEST_LOSS_DB)
    return "bf16" if has_bf16 and harmless else "fp32"


def check_faces(faces: Faces, info: ModelInfo) -> None:
    """Refuse faces that are not what the model reads."""
    side = info.input_size
    if faces.dtype != np.uint8 or faces.shape[1:] != (side, side, 3):
        raise ValueError(
            f"{info.name} reads faces of {side} x {side} px, uint8, N x H x W x RGB; "
            f"got {faces.dtype}, {' x '.join(map(str, faces.shape))}"
        )
