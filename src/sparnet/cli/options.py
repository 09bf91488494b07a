"""Arguments and options that several commands have, so that they read alike everywhere."""

import enum
import math
from pathlib import Path
from typing import Annotated, Any

import typer

UPSCALE_FACTORS = (4, 8, 16)
"""Factors of the networks for tiny faces."""


class EngineName(enum.StrEnum):
    """What runs the network."""

    OPENVINO = "openvino"
    ONNXRUNTIME = "onnxruntime"
    ONNXRUNTIME_CPU = "onnxruntime-cpu"
    ONNXRUNTIME_CUDA = "onnxruntime-cuda"
    ONNXRUNTIME_TENSORRT = "onnxruntime-tensorrt"
    ONNXRUNTIME_COREML = "onnxruntime-coreml"
    ONNXRUNTIME_DIRECTML = "onnxruntime-directml"
    TORCH = "torch"
    TORCH_COMPILE = "torch-compile"


def finite(value: float | None) -> float | None:
    """Refuse infinity and what is no number, which a range lets through.

    Raises:
        typer.BadParameter: If it is one of them.
    """
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"must be a number, got {value:g}")
    return value


Pictures = Annotated[
    list[Path],
    typer.Argument(
        metavar="PICTURES",
        help="Pictures, folders of them, or patterns.",
        show_default=False,
        readable=False,  # one that cannot be read is told of, and the others go on
    ),
]
OutputFolder = Annotated[
    Path, typer.Option("-o", "--output", metavar="DIR", help="Folder to write to.", show_default=False)
]
Recursive = Annotated[bool, typer.Option("-r", "--recursive", help="Also look into subfolders.")]
AsJson = Annotated[bool, typer.Option("--json", help="Report in JSON on standard output.")]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="Say what is done to each picture.")]
Engine = Annotated[
    EngineName,
    typer.Option(
        "--engine",
        metavar="openvino|onnxruntime[-cuda|...]|torch[-compile]",
        help="What runs the network; with ONNX Runtime also cpu, cuda, tensorrt, coreml, directml.",
    ),
]
Model = Annotated[
    str | None,
    typer.Option("-m", "--model", metavar="MODEL", help="Name or file of a model.", show_default=False),
]
DetectorName = Annotated[
    str,
    typer.Option("--detector", metavar="mtcnn|FILE.onnx", help="What finds faces; a file of YuNet."),
]
Framing = Annotated[
    float,
    typer.Option(
        "--framing",
        min=0.1,
        max=1.0,
        callback=finite,
        help="Central share of each original's side that is kept.",
    ),
]


def assignments_option(about: str) -> Any:
    """Declare `--set KEY=VALUE`, which changes a setting and may be repeated."""
    return typer.Option("--set", metavar="KEY=VALUE", help=about, show_default=False)


def upscale_factor_option(about: str, *, show_default: bool | str = False) -> Any:
    """Declare `-s`, by how much a tiny face is enlarged; `check_upscale_factor` judges what is given."""
    return typer.Option("-s", "--upscale-factor", metavar="4|8|16", help=about, show_default=show_default)


def fidelity_option(about: str) -> Any:
    """Declare `-w`, the share of the face as it was in the one that is written, from 0 to 1."""
    return typer.Option("-w", "--fidelity", min=0, max=1, callback=finite, help=about)


def check_upscale_factor(factor: int | None) -> None:
    """Refuse a factor that no network for tiny faces has.

    Raises:
        typer.BadParameter: If one is given that is not of `UPSCALE_FACTORS`.
    """
    if factor is not None and factor not in UPSCALE_FACTORS:
        raise typer.BadParameter(f"must be 4, 8 or 16, got {factor}", param_hint="--upscale-factor")


def check_suffix(suffix: str) -> None:
    """Refuse what cannot be added to a file's name.

    Raises:
        typer.BadParameter: If it would name a folder.
    """
    if "/" in suffix or "\\" in suffix:
        raise typer.BadParameter(f"must be part of a name, got {suffix!r}", param_hint="--suffix")
