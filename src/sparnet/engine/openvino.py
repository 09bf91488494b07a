"""Models on OpenVINO: the default engine on a CPU."""

import functools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import openvino
from jaxtyping import Float
from openvino.frontend import (
    FrontEndManager,
    GeneralFailure,
    InitializationFailure,
    NotImplementedFailure,
    OpConversionFailure,
    OpValidationFailure,
)

from sparnet.engine.base import Faces, MadeFaces, Precision, check_faces
from sparnet.errors import SparnetError, WeightsError
from sparnet.weights.info import METADATA_KEY, ModelInfo, parse_info

_MAP = "attention_map."
_FAILURES = (
    RuntimeError,
    UnicodeDecodeError,  # of a name inside the file
    GeneralFailure,
    InitializationFailure,
    NotImplementedFailure,
    OpConversionFailure,
    OpValidationFailure,
)


class OpenvinoEngine:
    """A model compiled for the CPU.

    Single faces use all threads on one; several are shared out, a face a stream, which is the
    faster way where the network is small.

    Args:
        path: The model file.
        precision: Arithmetic.
        threads: Threads; None uses all cores.

    Raises:
        WeightsError: If the file is missing, damaged, or not one of sparnet's.
        SparnetError: If the processor has no such arithmetic.
    """

    def __init__(self, path: Path, *, precision: Precision = "fp32", threads: int | None = None) -> None:
        self._core = openvino.Core()
        self._lock = threading.Lock()
        if precision.upper() not in ("FP32", *self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")):
            raise SparnetError(f"this processor does not compute in {precision}; use fp32")
        self._path = path
        self._model = _read(path)
        self.info = _info(self._model, path)
        side = self.info.input_size
        with _blaming(path):
            self._model.reshape([1, side, side, 3])
            made = tuple(self._model.output(0).shape)
        if made != (1, self.info.image_size, self.info.image_size, 3):
            raise WeightsError(f"{path}: makes {made}, which is not what it says of itself: a damaged file")
        self._options: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16"}[precision],
            # Tied to a core that another program keeps busy, a thread would wait for seconds.
            "ENABLE_CPU_PINNING": False,
        }
        if threads is not None:
            self._options["INFERENCE_NUM_THREADS"] = threads

    def run(self, faces: Faces) -> MadeFaces:
        """Return the faces the network makes of `faces`; see `Engine.run`."""
        check_faces(faces, self.info)
        side = self.info.image_size
        made = np.empty((len(faces), side, side, 3), dtype=np.uint8)
        # The last faces of a long batch may be one; compiling anew for it would take longer.
        if len(faces) == 1 and "_many" not in self.__dict__:
            made[0] = self._one.infer_new_request([faces])[0][0]
        elif len(faces):
            with self._lock:
                self._share_out(faces, made)
        return made

    def _share_out(self, faces: Faces, made: MadeFaces) -> None:
        """Run faces on several requests at a time, in turn.

        OpenVINO's own queue calls back into Python from its threads, and then now and then never
        ends: it waits for a thread that waits for the interpreter.
        """
        requests = self._requests
        for index in range(len(faces) + len(requests)):
            request = requests[index % len(requests)]
            done = index - len(requests)
            if done >= 0:
                request.wait()
                made[done] = request.get_output_tensor().data[0]
            if index < len(faces):
                request.start_async([faces[index : index + 1]])

    def attention_maps(self, face: Faces) -> list[Float[np.ndarray, "_ _ _"]]:
        """Return the attention maps of one face, in order of depth.

        Args:
            face: A batch of one face.

        Returns:
            For each unit with attention its map, M x H x W in (0, 1), M being 1 or its channels.

        Raises:
            WeightsError: If the model has no attention maps.
        """
        check_faces(face, self.info)
        compiled, names = self._with_maps
        results = compiled.infer_new_request([face])
        return [np.array(results[compiled.output(name)][0]) for name in names]

    @functools.cached_property
    def _one(self) -> Any:
        return self._compile(self._model, PERFORMANCE_HINT="LATENCY")

    @functools.cached_property
    def _requests(self) -> list[Any]:
        count = self._many.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
        return [self._many.create_infer_request() for _ in range(count)]

    @functools.cached_property
    def _many(self) -> Any:
        return self._compile(self._model, PERFORMANCE_HINT="THROUGHPUT")

    @functools.cached_property
    def _with_maps(self) -> tuple[Any, list[str]]:
        model = _read(self._path)
        names = sorted(
            name
            for operation in model.get_ordered_ops()
            for output in operation.outputs()
            for name in output.get_names()
            if name.startswith(_MAP)
        )
        if not names:
            raise WeightsError(f"{self._path}: the model has no attention maps")
        model.add_outputs(names)
        return self._compile(model), names

    def _compile(self, model: Any, **options: str) -> Any:
        with _blaming(self._path):
            return self._core.compile_model(model, "CPU", {**self._options, **options})


@contextmanager
def _blaming(path: Path) -> Iterator[None]:
    """Say of what OpenVINO refuses that the file is damaged."""
    try:
        yield
    except _FAILURES:
        raise WeightsError(f"{path}: not an ONNX file, or a damaged one") from None


def _read(path: Path) -> Any:
    # Not Core.read_model, which tries every format and lets TensorFlow's reader print its complaints.
    frontend = FrontEndManager().load_by_framework("onnx")
    with _blaming(path):
        return frontend.convert(frontend.load(str(path)))


def _info(model: Any, path: Path) -> ModelInfo:
    try:
        text = model.get_rt_info(["framework", METADATA_KEY]).astype(str)
    except RuntimeError:
        raise WeightsError(
            f"{path}: an ONNX file, but not one of sparnet's (its metadata is missing)"
        ) from None
    return parse_info(text, source=path)
