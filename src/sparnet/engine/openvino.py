"""Models on OpenVINO: the default engine on a CPU."""

import functools
import hashlib
import io
import os
import threading
from collections.abc import Callable, Iterator
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

from sparnet.engine.base import Faces, MadeFaces, Precision, check_faces, choose_precision
from sparnet.engine.cache import cache_key, open_cache
from sparnet.errors import SparnetError, WeightsError
from sparnet.weights.info import METADATA_KEY, ModelInfo, dump_info, parse_info

_MAP = "attention_map."
_FORK_LOCK = threading.Lock()
_OF_OTHER_PROCESSES: list[object] = []
OPENVINO_FAILURES = (
    RuntimeError,
    UnicodeDecodeError,  # of a name inside the file
    GeneralFailure,
    InitializationFailure,
    NotImplementedFailure,
    OpConversionFailure,
    OpValidationFailure,
)
"""What OpenVINO raises on a file that is no model, or not one it can run."""


class OpenvinoEngine:
    """A model compiled for the CPU.

    Single faces use all threads on one; several are shared out, a face a stream, which is the
    faster way where the network is small. In a process made by fork the model is compiled again.

    Args:
        path: The model file.
        precision: Arithmetic.
        threads: Threads; None uses all cores.

    Raises:
        WeightsError: If the file is missing, damaged, or not one of sparnet's.
        SparnetError: If the processor has no such arithmetic.
    """

    def __init__(self, path: Path, *, precision: Precision = "auto", threads: int | None = None) -> None:
        self._core = openvino.Core()
        self._lock = threading.Lock()
        self._process = os.getpid()
        has_bf16 = "BF16" in self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        if precision == "bf16" and not has_bf16:
            raise SparnetError(f"this processor does not compute in {precision}; use fp32")
        self._path = path
        self._precision_asked = precision
        self._has_bf16 = has_bf16
        self._threads = threads
        self._cache = open_cache()
        self._kept: bytes | None
        described, self._kept = self._look_up() or (None, None)
        self.info = _info(self._model, path) if described is None else parse_info(described, source=path)
        self.precision = choose_precision(precision, self.info, has_bf16=has_bf16)
        """The arithmetic in use: fp32 or bf16."""

    def run(self, faces: Faces) -> MadeFaces:
        """Return the faces the network makes of `faces`; see `Engine.run`."""
        check_faces(faces, self.info)
        self._begin_anew_after_fork()
        side = self.info.image_size
        made = np.empty((len(faces), side, side, 3), dtype=np.uint8)
        # The last faces of a long batch may be one; compiling anew for it would take longer.
        if len(faces) == 1 and "_many" not in self.__dict__:
            made[0] = self._one.infer_new_request([faces])[0][0]
        elif len(faces):
            with self._lock:
                self._share_out(faces, made)
        return made

    def _begin_anew_after_fork(self) -> None:
        """Forget what another process compiled: a fork has none of its threads, and would wait for them."""
        if self._process == os.getpid():
            return
        with _FORK_LOCK:
            if self._process == os.getpid():  # another thread did it meanwhile
                return
            # Kept, for to end them would be to wait for the threads as well.
            names = ("_core", "_one", "_many", "_requests", "_model", "_with_maps")
            _OF_OTHER_PROCESSES.append([self.__dict__.pop(name, None) for name in names])
            self._core = openvino.Core()
            self._lock = threading.Lock()
            self._process = os.getpid()

    def _share_out(self, faces: Faces, made: MadeFaces) -> None:
        """Run faces on several requests at a time, in turn.

        OpenVINO's own queue calls back into Python from its threads, and then now and then never
        ends: it waits for a thread that waits for the interpreter.
        """
        requests = self._requests
        for request in requests:
            request.wait()  # a run that was interrupted, as by Ctrl-C, left them at work
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
        self._begin_anew_after_fork()
        compiled, names = self._with_maps
        results = compiled.infer_new_request([face])
        return [np.array(results[compiled.output(name)][0]) for name in names]

    @functools.cached_property
    def _one(self) -> Any:
        return self._get_compiled("LATENCY")

    @functools.cached_property
    def _requests(self) -> list[Any]:
        count = self._many.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
        return [self._many.create_infer_request() for _ in range(count)]

    @functools.cached_property
    def _many(self) -> Any:
        return self._get_compiled("THROUGHPUT")

    @functools.cached_property
    def _model(self) -> Any:
        """The model file as OpenVINO reads it; not needed where all is in the cache."""
        model = _read(self._path)
        info = _info(model, self._path)
        with _blaming(self._path):
            model.reshape([1, info.input_size, info.input_size, 3])
            made = tuple(model.output(0).shape)
        if made != (1, info.image_size, info.image_size, 3):
            raise WeightsError(
                f"{self._path}: makes {made}, which is not what it says of itself: a damaged file"
            )
        return model

    @functools.cached_property
    def _identity(self) -> tuple[object, ...]:
        """What a compiled model depends on besides its options."""
        digest = hashlib.sha256(self._path.read_bytes()).hexdigest()
        processor = self._core.get_property("CPU", "FULL_DEVICE_NAME")
        return digest, openvino.get_version(), processor, self._has_bf16, os.cpu_count()

    @functools.cached_property
    def _key(self) -> str:
        return cache_key(*self._identity, self._precision_asked, self._threads)

    def _look_up(self) -> tuple[str, bytes] | None:
        """Return what the model says of itself and the compiled model, if they are in the cache."""
        if self._cache is None or not self._path.is_file():
            return None
        return self._cache.read(self._key)

    def _get_compiled(self, hint: str) -> Any:
        """Return the model compiled for one face at a time or for many, from the cache if it is there.

        What is kept is the model as OpenVINO changes it for the processor, which fits both.
        """
        kept, self._kept = self._kept, None  # read once: another thread may take it meanwhile
        if kept is None:
            _, kept = self._look_up() or (None, None)
        if kept is not None:
            chosen = self.precision
            try:
                return self._in_possible_arithmetic(
                    lambda: self._core.import_model(kept, "CPU", {**self._options, "PERFORMANCE_HINT": hint})
                )
            except RuntimeError:  # sound, and yet not what this OpenVINO wants
                self.precision = chosen
                if self._cache is not None:
                    self._cache.forget(self._key)
        compiled = self._compile(self._model, PERFORMANCE_HINT=hint)
        if self._cache is not None:
            exported = io.BytesIO()  # without one, OpenVINO returns bytes or a stream, as its version has it
            compiled.export_model(exported)
            self._cache.write(self._key, dump_info(self.info), exported.getvalue())
        return compiled

    @property
    def _options(self) -> dict[str, Any]:
        options: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16"}[self.precision],
            # Tied to a core that another program keeps busy, a thread would wait for seconds.
            "ENABLE_CPU_PINNING": False,
        }
        if self._threads is not None:
            options["INFERENCE_NUM_THREADS"] = self._threads
        return options

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
            return self._in_possible_arithmetic(
                lambda: self._core.compile_model(model, "CPU", {**self._options, **options})
            )

    def _in_possible_arithmetic(self, make: Callable[[], Any]) -> Any:
        """Make a compiled model, in float32 where OpenVINO cannot in bfloat16 and nobody asked for that.

        It has no kernels for 8-bit integers beside bfloat16 on processors with AMX.
        """
        tried = self.precision
        try:
            return make()
        except OPENVINO_FAILURES:
            if tried != "bf16" or self._precision_asked != "auto":
                raise
        self.precision = "fp32"
        return make()


@contextmanager
def _blaming(path: Path) -> Iterator[None]:
    """Say of what OpenVINO refuses that the file is damaged."""
    try:
        yield
    except OPENVINO_FAILURES:
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
