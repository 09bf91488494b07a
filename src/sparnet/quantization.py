"""Model files in 8-bit integer arithmetic, calibrated on faces (extra `int8`)."""

import contextlib
import io
import logging
import os
import warnings
from collections.abc import Sequence
from pathlib import Path

import onnx

from sparnet.errors import DataError
from sparnet.export import INPUT, trace, write_model
from sparnet.image import Image
from sparnet.network.build import Generator
from sparnet.network.fast import fixed_form
from sparnet.network.generator import without_spectral_norm
from sparnet.weights.info import ModelInfo

CALIBRATION_FACES = 100
"""Faces whose values set the ranges; more do not change the scores."""


def export_int8(network: Generator, path: Path, info: ModelInfo, faces: Sequence[Image]) -> None:
    """Write a network as a model file whose convs compute in 8-bit integers, by rename.

    Weights get a scale for each output channel, values between layers a scale and a zero for each
    tensor (LeakyReLU makes little below 0), wide enough for everything that the faces make: a range
    cut at what is usual costs the unusual face decibels. Sums, attention's sigmoid and the norms that
    follow no conv stay in floating point.
    Such a file is for running only; it cannot be trained further.

    Args:
        network: The network; it is not changed.
        path: The file.
        info: What the file says of itself.
        faces: Faces as the network reads them, like those it will be given.

    Raises:
        DataError: If there are no faces, or they are of another size than the network reads.
    """
    side = network.config.reads_px
    if not faces:
        raise DataError("no faces to calibrate on")
    for face in faces:
        if face.shape != (side, side, 3):
            raise DataError(
                f"the network reads faces of {side} px, got one of {face.shape[1]} x {face.shape[0]}"
            )
    model = _quantize(trace(fixed_form(without_spectral_norm(network).float().eval())), faces)
    for node in model.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    del model.metadata_props[:]
    model.producer_name, model.producer_version = "sparnet", ""
    write_model(model, path, info.model_copy(update={"arithmetic": "int8"}))


def _quantize(model: onnx.ModelProto, faces: Sequence[Image]) -> onnx.ModelProto:
    os.environ.setdefault("NNCF_CI", "1")  # else it reports its use to its makers over the network
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):  # it draws progress bars
        warnings.simplefilter("ignore")
        import nncf
        from nncf.quantization import advanced_parameters as advanced
        from nncf.quantization import range_estimator as ranges

        nncf.set_log_level(logging.ERROR)
        widest = ranges.RangeEstimatorParameters(
            min=ranges.StatisticsCollectorParameters(ranges.StatisticsType.MIN, ranges.AggregatorType.MIN),
            max=ranges.StatisticsCollectorParameters(ranges.StatisticsType.MAX, ranges.AggregatorType.MAX),
        )
        return nncf.quantize(
            model,
            nncf.Dataset([face[None] for face in faces], lambda face: {INPUT: face}),
            subset_size=len(faces),
            preset=nncf.QuantizationPreset.MIXED,
            target_device=nncf.TargetDevice.CPU,
            advanced_parameters=advanced.AdvancedQuantizationParameters(
                activations_range_estimator_params=widest,
                # Half of the integers would go unused, for processors without VNNI that overflow.
                overflow_fix=advanced.OverflowFix.DISABLE,
            ),
        )
