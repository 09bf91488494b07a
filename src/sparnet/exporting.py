"""A model in the formats of other programs, checked against the network it is made of."""

import io
import logging
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import openvino
import torch
from torch import Tensor, nn

from sparnet.engine.base import Faces, MadeFaces
from sparnet.errors import DataError, SparnetError, WeightsError
from sparnet.evaluation.testset import TestSetOptions, read_test_set
from sparnet.export import INPUT, OPSET, export_onnx
from sparnet.files import replacing, write_whole
from sparnet.image import Image, resize_bicubic
from sparnet.network.build import Generator
from sparnet.network.bytes import to_bytes, to_signed
from sparnet.network.fast import fast_form
from sparnet.network.files import read_model_file
from sparnet.quantization import CALIBRATION_FACES, export_int8
from sparnet.weights.catalog import find_model
from sparnet.weights.info import METADATA_KEY, ModelInfo, dump_info

Format = Literal["onnx", "openvino", "torchscript", "torch-export"]
StoredPrecision = Literal["fp32", "fp16", "int8-weights", "int8"]
SUFFIXES: dict[Format, str] = {
    "onnx": ".onnx",
    "openvino": ".xml",
    "torchscript": ".pt",
    "torch-export": ".pt2",
}
_CHECKED = 3
# Weights rounded to fp16 and sums in another order move no value by more than this.
_GREY_LEVELS = 1
# What 8-bit integers leave: errors of two grey levels, on faces like those they were calibrated on; of
# one, where only the weights are such.
_PSNR_DB = {"int8": 35.0, "int8-weights": 45.0}


@dataclass(frozen=True)
class Exported:
    """What was written, and how near it is to the network."""

    path: Path
    """The file; OpenVINO's weights lie beside it, in a `.bin`."""
    format: Format
    """What kind of file it is."""
    precision: StoredPrecision
    """Of the weights in it; integers of 8 bits also compute as such."""
    opset: int | None
    """Of ONNX, where it is one."""
    bytes: int
    """Size of all files."""
    faces: int
    """How many faces it was checked on, one at a time and all at once."""
    grey_levels_apart: int
    """The largest difference to the network on them."""
    psnr_db: float
    """The same as a PSNR over them; infinite if there is none."""


def export_model(
    model: str | Path,
    path: Path,
    *,
    kind: Format = "onnx",
    precision: StoredPrecision = "fp16",
    calibrate: Path | None = None,
    framing: float = 1.0,
) -> Exported:
    """Write a model for another program: uint8 N x H x W x RGB in and out, any number of faces.

    What was written is run before the file gets its name, and refused if it makes other faces than
    the network.

    Args:
        model: Name or file of a model of floats.
        path: The file to write.
        kind: The format.
        precision: Of the weights. fp16 halves the file and is computed in float32; int8-weights
            halves it again, also computed in float32; int8 also computes in integers, and needs faces
            to calibrate on.
        calibrate: Folder or pack of originals for int8.
        framing: Central share of each original's side that is kept.

    Raises:
        WeightsError: If the model is missing, damaged or already of integers, or what was made of it
            differs.
        SparnetError: If the format has no such precision.
        DataError: If int8 lacks faces.
        OSError: If the file cannot be written.
    """
    torch_format = kind in ("torchscript", "torch-export")
    if torch_format and precision.startswith("int8"):
        raise SparnetError(f"{kind} is written in fp32 or fp16; {precision} goes to onnx or openvino")
    source = find_model(model)
    network, info = _read_floats(source)
    faces = _faces_for(info, calibrate, framing)
    if precision == "int8" and calibrate is None:
        raise DataError("int8 needs faces to calibrate on: --calibrate DIR, a folder of originals")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".sparnet-") as folder:
        temporary = Path(folder) / f"model{SUFFIXES[kind]}"
        if torch_format:
            _write_torch(network, temporary, info, kind=kind, precision=precision)
        else:
            onnx_file = temporary.with_suffix(".onnx")
            if precision == "int8":
                export_int8(network, onnx_file, info, faces)
            else:
                export_onnx(
                    network, onnx_file, info, weights="int8" if precision == "int8-weights" else precision
                )
            if kind == "openvino":
                _write_openvino(onnx_file, temporary, info, half=precision == "fp16")
        checked = np.stack(faces[:_CHECKED])
        apart, psnr_db = _check(_open(temporary, kind), network, checked, precision)
        size = 0
        for suffix in (".bin", ".xml") if kind == "openvino" else (SUFFIXES[kind],):
            written = temporary.with_suffix(suffix)
            size += written.stat().st_size
            target = path if suffix == SUFFIXES[kind] else path.with_suffix(suffix)
            with replacing(target) as file:
                file.write(written.read_bytes())
    return Exported(
        path, kind, precision, OPSET if kind == "onnx" else None, size, len(checked), apart, psnr_db
    )


def _read_floats(source: Path) -> tuple[Generator, ModelInfo]:
    """Read a model as a network; integers are no longer one."""
    try:
        return read_model_file(source)
    except WeightsError as error:
        if "int8" in str(source):
            raise WeightsError(f"{source}: of 8-bit integers; export the model it was made of") from error
        raise


def _faces_for(info: ModelInfo, folder: Path | None, framing: float) -> list[Image]:
    """Return faces as the network reads them: of a folder, or smooth random ones."""
    side = info.input_size
    if folder is None:
        coarse = np.random.default_rng(0).integers(0, 256, (_CHECKED, 16, 16, 3), dtype=np.uint8)
        return [resize_bicubic(one, side, side) for one in coarse]
    options = TestSetOptions(
        upscale_factor=info.upscale_factor, framing=framing, size_px=info.image_size, limit=CALIBRATION_FACES
    )
    return [face.at(side) for face in read_test_set(folder, options)]


class _ForTorch(nn.Module):
    """A network between 8-bit pictures; weights kept in half precision are widened when used."""

    def __init__(self, network: Generator) -> None:
        super().__init__()
        self.network = network

    def forward(self, lr_up: Tensor) -> Tensor:
        """Return faces of 8 bits."""
        signed = lr_up.permute(0, 3, 1, 2).float() / 127.5 - 1
        sr = self.network(signed)
        whole = ((sr + 1) * 127.5 + 1 / 1024).clamp(0, 255).to(torch.uint8)
        return whole.permute(0, 2, 3, 1).contiguous()


class _Widened(nn.Module):
    """A parametrization that keeps half a weight and gives a whole one."""

    def forward(self, kept: Tensor) -> Tensor:
        """Return the weight in float32."""
        return kept.float()


def _write_torch(
    network: Generator, path: Path, info: ModelInfo, *, kind: Format, precision: StoredPrecision
) -> None:
    fast = fast_form(network)
    if precision == "fp16":
        for module in list(fast.modules()):
            if isinstance(module, nn.Conv2d):
                module.weight = nn.Parameter(module.weight.half())
                nn.utils.parametrize.register_parametrization(module, "weight", _Widened(), unsafe=True)
    side = info.input_size
    example = torch.zeros(2, side, side, 3, dtype=torch.uint8)
    extra: dict[str, Any] = {METADATA_KEY: dump_info(info)}
    content = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # about TorchScript's age, and constants in the trace
        if kind == "torchscript":
            given = _ForTorch(fast).eval()
            traced = torch.jit.trace(given, (example,), check_trace=False)  # type: ignore[no-untyped-call]
            torch.jit.save(traced, content, _extra_files=extra)
        else:
            logging.getLogger("torch.export").setLevel(logging.ERROR)
            program = torch.export.export(
                _ForTorch(fast).eval(), (example,), dynamic_shapes={"lr_up": {0: torch.export.Dim("n")}}
            )
            torch.export.save(program, content, extra_files=extra)
    write_whole(path, content.getvalue())


def _write_openvino(onnx_file: Path, path: Path, info: ModelInfo, *, half: bool) -> None:
    model = openvino.Core().read_model(str(onnx_file))
    model.set_rt_info(dump_info(info), [METADATA_KEY])
    openvino.save_model(model, str(path), compress_to_fp16=half)


def _open(path: Path, kind: Format) -> Callable[[Faces], MadeFaces]:
    """Return a function that runs what was written, as another program would."""
    if kind == "torchscript":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            scripted = torch.jit.load(str(path))  # type: ignore[no-untyped-call]
        return lambda faces: scripted(torch.from_numpy(faces)).numpy()
    if kind == "torch-export":
        module = torch.export.load(path).module()
        return lambda faces: module(torch.from_numpy(faces)).numpy()
    core = openvino.Core()
    options = {"INFERENCE_PRECISION_HINT": "f32", "ENABLE_CPU_PINNING": False}
    compiled = core.compile_model(core.read_model(str(path)), "CPU", options)
    return lambda faces: np.array(compiled({INPUT: faces})[0])


def _check(
    run: Callable[[Faces], MadeFaces], network: Generator, faces: Faces, precision: StoredPrecision
) -> tuple[int, float]:
    """Compare what was written with the network, one face at a time and all at once."""
    with torch.inference_mode():
        pictures = torch.from_numpy(faces).permute(0, 3, 1, 2)
        wanted = to_bytes(network(to_signed(pictures))).permute(0, 2, 3, 1).numpy().astype(int)
        together = run(faces)
        alone = np.concatenate([run(face[None]) for face in faces])
    if together.dtype != np.uint8 or together.shape != wanted.shape:
        raise WeightsError(f"what was written makes {together.dtype} {together.shape}, not {wanted.shape}")
    errors = np.abs(np.stack([together, alone]).astype(int) - wanted)
    apart = int(errors.max())
    mean = float((errors**2).mean())
    psnr_db = float("inf") if mean == 0 else 10 * float(np.log10(255**2 / mean))
    expected = _PSNR_DB.get(precision)
    if expected is not None and psnr_db < expected:
        hint = "; calibrate on faces like those it is for" if precision == "int8" else ""
        raise WeightsError(
            f"in 8-bit integers it makes other faces: {psnr_db:.1f} dB from the network's, "
            f"{expected:g} are expected{hint}"
        )
    if expected is None and apart > _GREY_LEVELS:
        raise WeightsError(f"what was written makes other faces: up to {apart} grey levels apart")
    return apart, psnr_db
