"""Time models on this machine, with the engines that are installed."""

import os
import platform
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import openvino

from sparnet.engine import ENGINES, Engine, open_engine
from sparnet.engine.base import Precision
from sparnet.engine.openvino import OpenvinoEngine
from sparnet.errors import SparnetError, WeightsError
from sparnet.image import resize_bicubic


def describe_machine() -> dict[str, Any]:
    """Say what the times are measured on."""
    core = openvino.Core()
    affinity = getattr(os, "sched_getaffinity", None)
    return {
        "processor": core.get_property("CPU", "FULL_DEVICE_NAME"),
        "arithmetic": sorted(str(one) for one in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")),
        "cores": len(affinity(0)) if affinity else os.cpu_count(),
        "system": platform.platform(terse=True),
        "openvino": openvino.get_version(),
    }


def time_model(
    model: str | Path, *, rounds: int = 5, batch: int = 8, threads: int | None = None
) -> list[dict[str, Any]]:
    """Time a model in every way it can be run here, in turn, round after round.

    Args:
        model: Name or file of a model.
        rounds: Calls of each way; the median counts.
        batch: Faces of the larger call.
        threads: Threads of the engines; None uses all cores.

    Returns:
        For each way its engine, precision, the seconds until its first face, milliseconds for one face
        alone and for each of `batch` at once, and whether it is the one used unless another is asked for; an
        engine that is installed and cannot run the model has a `problem` instead.

    Raises:
        WeightsError: If the model is missing or damaged.
    """
    rows, engines = [], []
    for name, precision in _ways(model):
        row = {"model": str(model), "engine": name, "precision": precision, "is_default": False}
        row |= {"start_seconds": None, "milliseconds_one": None, "milliseconds_many": None, "problem": None}
        started = time.perf_counter()
        try:
            engine = open_engine(model, engine=name, precision=precision, threads=threads)
            engine.run(_faces(1, engine.info.input_size))
        except WeightsError as error:
            if name == "openvino":
                raise
            row["problem"] = str(error)
        except SparnetError:  # not installed, or not with this arithmetic
            continue
        else:
            row["start_seconds"] = round(time.perf_counter() - started, 4)
            row["is_default"] = name == "openvino" and precision == _default_precision(model)
            engines.append((row, engine))
        rows.append(row)
    for key, count in (("milliseconds_one", 1), ("milliseconds_many", batch)):
        for row, median in zip((row for row, _ in engines), _medians(engines, count, rounds), strict=True):
            row[key] = round(1000 * median / count, 3)
    return rows


def _ways(model: str | Path) -> list[tuple[str, Precision]]:
    """List engines and precisions; of a model in integers only the engines' own choice is of interest."""
    if open_engine(model).info.arithmetic == "int8":
        return [(name, "auto") for name in ENGINES if name != "torch"]
    return [(name, precision) for name in ENGINES for precision in ("fp32", "bf16")]


def _default_precision(model: str | Path) -> Precision:
    engine = open_engine(model)
    if engine.info.arithmetic == "int8":
        return "auto"
    return engine.precision if isinstance(engine, OpenvinoEngine) else "fp32"


def _medians(engines: "list[tuple[dict[str, Any], Engine]]", count: int, rounds: int) -> list[float]:
    faces = [_faces(count, engine.info.input_size) for _, engine in engines]
    taken: list[list[float]] = [[] for _ in engines]
    for turn in range(rounds + 1):
        for (_, engine), given, seconds in zip(engines, faces, taken, strict=True):
            started = time.perf_counter()
            engine.run(given)
            if turn:  # the first is for warming up
                seconds.append(time.perf_counter() - started)
    return [statistics.median(seconds) for seconds in taken]


def _faces(count: int, side: int) -> Any:
    coarse = np.random.default_rng(0).integers(0, 256, (count, 16, 16, 3), dtype=np.uint8)
    return np.stack([resize_bicubic(one, side, side) for one in coarse])
