"""Models for other programs: run by those programs, equal to the network, in any number."""

import json

import numpy as np
import onnx
import openvino
import pytest
import torch
from PIL import Image

from sparnet import exporting
from sparnet.errors import DataError, WeightsError
from sparnet.exporting import SUFFIXES, export_model
from sparnet.network.engine import TorchEngine

FORMATS = tuple(SUFFIXES)
FACES = np.random.default_rng(1).integers(0, 256, (4, 128, 128, 3), dtype=np.uint8)


def run(path, kind):
    """Run a file with nothing of ours."""
    if kind == "onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        return session.run(["sr"], {"lr_up": FACES})[0]
    if kind == "openvino":
        return openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(FACES)[0]
    faces = torch.from_numpy(FACES)
    if kind == "torch-export":
        return torch.export.load(path).module()(faces).numpy()
    return torch.jit.load(str(path))(faces).numpy()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_makes_the_network_s_faces(small_model, tmp_path, kind, precision):
    path = tmp_path / f"new folder/m{SUFFIXES[kind]}"
    made = export_model(small_model, path, kind=kind, precision=precision)
    assert (made.format, made.precision, made.opset) == (kind, precision, 18 if kind == "onnx" else None)
    assert made.grey_levels_apart <= 1
    assert made.bytes == sum(file.stat().st_size for file in path.parent.iterdir())
    apart = np.abs(run(path, kind).astype(int) - TorchEngine(small_model, precision="fp32").run(FACES))
    assert apart.max() <= 1


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_half_precision_makes_smaller_files(tmp_path):
    for kind in ("onnx", "torchscript"):
        path = tmp_path / f"m{SUFFIXES[kind]}"
        half, whole = (export_model("sparnet-x8", path, kind=kind, precision=p) for p in ("fp16", "fp32"))
        assert half.bytes < 0.6 * whole.bytes


@pytest.mark.parametrize("kind", ["onnx", "openvino"])
def test_weights_of_8_bits_halve_the_file_again_and_are_computed_with_as_floats(tmp_path, kind):
    path = tmp_path / "whole" / f"m{SUFFIXES[kind]}"
    half = export_model("sparnet-x8", tmp_path / "half" / path.name, kind=kind)
    made = export_model("sparnet-x8", path, kind=kind, precision="int8-weights")
    assert made.bytes < 0.65 * half.bytes
    assert made.psnr_db > 45
    assert made.grey_levels_apart > 0  # they are rounded
    core = openvino.Core()
    exact, short = (
        core.compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": hint})
        for hint in (
            "f32",
            "bf16" if "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES") else "f32",
        )
    )
    faces = FACES[:, :16, :16]
    assert np.abs(short(faces)[0].astype(int) - exact(faces)[0]).mean() < 2
    convs = {
        operation.get_rt_info()["runtimePrecision"].astype(str)
        for operation in exact.get_runtime_model().get_ops()
        if operation.get_rt_info()["layerType"].astype(str) == "Convolution"
    }
    assert convs == {"f32"}


def test_integers_are_computed_as_integers_and_stay_near(tmp_path, shared):
    path = tmp_path / "m.onnx"
    faces = shared / "faces" / "faces128-test"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporting, "CALIBRATION_FACES", 4)
        made = export_model("sparnet-x8", path, precision="int8", calibrate=faces, framing=0.85)
    assert made.psnr_db > 35
    kinds = [tensor.data_type for tensor in onnx.load(path).graph.initializer if len(tensor.dims) == 4]
    assert kinds.count(onnx.TensorProto.INT8) > 0.9 * len(kinds)
    # Beside bfloat16, which is usual on processors with AMX, OpenVINO has no kernels for integers there.
    compiled = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    convs = [
        operation.get_rt_info()["runtimePrecision"].astype(str)
        for operation in compiled.get_runtime_model().get_ops()
        if operation.get_rt_info()["layerType"].astype(str) == "Convolution"
    ]
    assert len(convs) > 90
    assert set(convs) <= {"u8", "i8"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--format", "torchscript", "-o", "m.onnx"], "ends in .pt"),
        (["--precision", "int8", "-o", "m.onnx"], "int8 needs a folder of originals"),
        (["--format", "nix", "-o", "m.onnx"], "nix"),
    ],
)
def test_wrong_use_is_told(sparnet_cli, small_model, arguments, message):
    ended = sparnet_cli("models", "export", small_model, *arguments)
    assert ended.code == 2
    assert message in ended.err


@pytest.mark.parametrize("precision", ["int8", "int8-weights"])
def test_integers_do_not_go_to_torch(sparnet_cli, small_model, tmp_path, precision):
    ended = sparnet_cli(
        "models", "export", small_model, "-o", tmp_path / "m.pt", "--format", "torchscript",
        "--precision", precision, "--calibrate", tmp_path,
    )  # fmt: skip
    assert ended.code == 1
    assert ended.errors == [
        f"sparnet: torchscript is written in fp32 or fp16; {precision} goes to onnx or openvino"
    ]


def test_the_command_writes_and_reports(sparnet_cli, small_model, tmp_path):
    ended = sparnet_cli("models", "export", small_model, "-o", tmp_path / "m.onnx")
    assert ended.code == 0
    assert "onnx, opset 18, fp16" in ended.out
    assert "3 faces" in ended.out
    facts = json.loads(sparnet_cli("models", "export", small_model, "-o", tmp_path / "n.onnx", "--json").out)
    assert facts["format"] == "onnx"
    assert (tmp_path / "n.onnx").stat().st_size == facts["bytes"]


def test_what_makes_other_faces_is_not_written(small_model, tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, "_open", lambda path, kind: lambda faces: 255 - faces)
    with pytest.raises(WeightsError, match="grey levels apart"):
        export_model(small_model, tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_pack_without_faces_is_refused(small_model, tmp_path):
    Image.new("L", (8, 8)).save(tmp_path / "x.txt", "png")
    with pytest.raises(DataError):
        export_model(small_model, tmp_path / "m.onnx", precision="int8", calibrate=tmp_path)
