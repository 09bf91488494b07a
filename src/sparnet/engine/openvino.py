"""Models on OpenVINO: the default engine on a CPU."""

import functools
from pathlib import Path
from typing import Any

import numpy as np
import openvino
from jaxtyping import Float

from sparnet.engine.base import Faces, Precision, check_faces
from sparnet.errors import WeightsError
from sparnet.weights.info import METADATA_KEY, ModelInfo, parse_info

_MAP = "attention_map."


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
    """

    def __init__(self, path: Path, *, precision: Precision = "fp32", threads: int | None = None) -> None:
        self._core = openvino.Core()
        self._path = path
        self._model = _read(self._core, path)
        self.info = _info(self._model, path)
        self._model.reshape([1, self.info.input_size, self.info.input_size, 3])
        self._options: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16"}[precision],
        }
        if threads is not None:
            self._options["INFERENCE_NUM_THREADS"] = threads

    def run(self, faces: Faces) -> Faces:
        """Return the faces the network makes of `faces`; see `Engine.run`."""
        check_faces(faces, self.info)
        side = self.info.image_size
        made = np.empty((len(faces), side, side, 3), dtype=np.uint8)
        if len(faces) == 1:
            made[0] = self._one.infer_new_request([faces])[0][0]
        elif len(faces):
            queue = openvino.AsyncInferQueue(self._many)
            queue.set_callback(
                lambda request, index: np.copyto(made[index], request.get_output_tensor().data[0])
            )
            for index in range(len(faces)):
                queue.start_async([faces[index : index + 1]], userdata=index)
            queue.wait_all()
        return made

    def attention_maps(self, face: Faces) -> list[Float[np.ndarray, "m h w"]]:
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
        return self._core.compile_model(self._model, "CPU", {**self._options, "PERFORMANCE_HINT": "LATENCY"})

    @functools.cached_property
    def _many(self) -> Any:
        return self._core.compile_model(
            self._model, "CPU", {**self._options, "PERFORMANCE_HINT": "THROUGHPUT"}
        )

    @functools.cached_property
    def _with_maps(self) -> tuple[Any, list[str]]:
        model = _read(self._core, self._path)
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
        return self._core.compile_model(model, "CPU", self._options), names


def _read(core: Any, path: Path) -> Any:
    try:
        return core.read_model(path)
    except RuntimeError:
        raise WeightsError(f"{path}: not an ONNX file, or a damaged one") from None


def _info(model: Any, path: Path) -> ModelInfo:
    try:
        text = model.get_rt_info(["framework", METADATA_KEY]).astype(str)
    except RuntimeError:
        raise WeightsError(
            f"{path}: an ONNX file, but not one of sparnet's (its metadata is missing)"
        ) from None
    return parse_info(text, source=path)
