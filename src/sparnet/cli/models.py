"""`sparnet models`: the models that are there, their terms and hashes; the released ones taken in."""

import dataclasses
import enum
import hashlib
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sparnet.cli.batch import print_json
from sparnet.cli.options import AsJson, Framing, check_upscale_factor, upscale_factor_option

if TYPE_CHECKING:
    from sparnet.weights.catalog import CatalogEntry
    from sparnet.weights.info import ModelInfo

models = typer.Typer(
    help="The models that are there; take in the released ones.", invoke_without_command=True
)

if TYPE_CHECKING:
    Context = typer.Context
else:
    Context = typer.Context.__base__  # what typer really gives: the tests' checker would refuse the other
Name = Annotated[
    str, typer.Argument(metavar="NAME", help="A model of the list, or a model file.", show_default=False)
]


@models.callback()
def _default(context: Context) -> None:
    if context.invoked_subcommand is None:
        list_models(as_json=False)


@models.command("list")
def list_models(*, as_json: AsJson = False) -> None:
    """List the models that are known by name."""
    from rich.console import Console
    from rich.table import Table

    from sparnet.weights.catalog import known_models, locate_model

    known = known_models()
    if as_json:
        print_json({name: _facts(name, entry) for name, entry in known.items()})
        return
    table = Table(box=None, pad_edge=False)
    for title in ("name", "makes", "parameters", "size", "terms", "there"):
        table.add_column(title, justify="right" if title in ("parameters", "size") else "left")
    for name, entry in known.items():
        factor = f"x{entry.info.upscale_factor}, " if entry.info.upscale_factor else ""
        table.add_row(
            name,
            f"{factor}{entry.info.image_size} px",
            f"{entry.info.parameters / 1e6:.2f} M",
            f"{entry.bytes / 1e6:.1f} MB",
            entry.info.license,
            "yes" if locate_model(entry) else "no",
        )
    console = Console()
    console.print(table, width=None if console.is_terminal else 200, soft_wrap=True)


@models.command("show")
def show_model(name: Name, *, as_json: AsJson = False) -> None:
    """Show all that is known of a model: data, recipe, scores with their protocols."""
    from sparnet.weights.catalog import known_models

    known = known_models()
    facts = _facts(name, known[name]) if name in known else _facts_of_file(name)
    if as_json:
        print_json(facts)
        return
    scores = facts.pop("scores")
    network = facts.pop("network")
    for key, value in facts.items():
        typer.echo(f"{key.replace('_', ' ')}: {value}")
    typer.echo(
        "network: " + ", ".join(f"{key} {value}" for key, value in network.items() if value is not None)
    )
    for score in scores:
        beside = "" if score["bicubic"] is None else f" (bicubic {score['bicubic']:g})"
        typer.echo(f"{score['metric']}: {score['value']:g}{beside} on {score['data']}; {score['command']}")


def _facts_of_file(name: str) -> dict[str, Any]:
    """Tell of a model file what `_facts` tells of a known model; it is checked as for running."""
    from sparnet.engine import open_engine
    from sparnet.weights.catalog import find_model

    path = find_model(name)
    info = open_engine(path, precision="fp32").info
    content = path.read_bytes()
    return _told(info.name, name, hashlib.sha256(content).hexdigest(), len(content), info)


@models.command("verify")
def verify_models(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAMES]...", help="Models; all if none is named.", show_default=False),
    ] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Check that model files are what the catalog says, by their SHA-256."""
    from sparnet.errors import WeightsError
    from sparnet.weights.catalog import find_model, known_models

    results: dict[str, str] = {}
    for name in names or list(known_models()):
        try:
            find_model(name)
            results[name] = "sound"
        except WeightsError as error:
            if str(error) not in results.values():  # a folder that is missing is told once
                typer.echo(f"sparnet: {error}", err=True)
            results[name] = str(error)
        else:
            if not as_json:
                typer.echo(f"{name}: sound")
    if as_json:
        print_json(results)
    if any(result != "sound" for result in results.values()):
        raise typer.Exit(1)


@models.command("import")
def import_model(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A released .pth file.", show_default=False)],
    *,
    name: Annotated[
        str | None, typer.Option(help="Name it gets; the file's if none is given.", show_default=False)
    ] = None,
    upscale_factor: Annotated[
        int, upscale_factor_option("The factor a 128 px network is for.", show_default=True)
    ] = 8,
    as_json: AsJson = False,
) -> None:
    r"""Turn one of the authors' released .pth files into a model of ours.

    Needs the lab half (pip install 'sparnet\[train]'). The released files are CC BY-NC-SA 4.0.
    """
    from sparnet.errors import SparnetError

    check_upscale_factor(upscale_factor)
    try:
        from sparnet.importing import import_official
    except ModuleNotFoundError as error:
        raise SparnetError(f"import needs the package {error.name}: pip install 'sparnet[train]'") from None
    entry = import_official(file, name=name or file.stem.lower(), upscale_factor=upscale_factor)
    if as_json:
        print_json(_facts(entry.info.name, entry))
        return
    kind = "SPARNetHD" if entry.info.task == "restore" else "SPARNet"
    attention = entry.info.network["attention"]
    typer.echo(
        f"{entry.info.name}: {kind}, {attention} attention, {entry.info.parameters / 1e6:.2f} M parameters; "
        f"use it with -m {entry.info.name}"
    )


class ExportFormat(enum.StrEnum):
    """Formats of other programs."""

    ONNX = "onnx"
    OPENVINO = "openvino"
    TORCHSCRIPT = "torchscript"
    TORCH_EXPORT = "torch-export"


class StoredPrecision(enum.StrEnum):
    """Of the weights in an exported file."""

    FP32 = "fp32"
    FP16 = "fp16"
    INT8_WEIGHTS = "int8-weights"
    INT8 = "int8"


@models.command("export")
def export_command(
    model: Annotated[
        str, typer.Argument(metavar="NAME", help="A model of the list, or a file.", show_default=False)
    ],
    *,
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FILE", help="File to write.", show_default=False)
    ],
    kind: Annotated[
        ExportFormat, typer.Option("--format", help="For ONNX Runtime and others, OpenVINO, or torch.")
    ] = ExportFormat.ONNX,
    precision: Annotated[
        StoredPrecision, typer.Option(help="Of the weights; only int8 also computes in integers.")
    ] = StoredPrecision.FP16,
    calibrate: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Originals that int8 is calibrated on.", show_default=False),
    ] = None,
    framing: Framing = 1.0,
    as_json: AsJson = False,
) -> None:
    r"""Write a model for other programs: uint8 N x H x W x RGB in and out, any number of faces at once.

    What is written is run, and compared with the network, before it gets its name.

    Needs the lab half (pip install 'sparnet\[train]'); int8 needs 'sparnet\[int8]'.
    """
    from sparnet.errors import SparnetError
    from sparnet.image import show_path

    try:
        from sparnet.exporting import SUFFIXES, export_model
    except ModuleNotFoundError as error:
        raise SparnetError(f"export needs the package {error.name}: pip install 'sparnet[train]'") from None
    wanted = SUFFIXES[kind.value]
    if output.suffix.lower() != wanted:
        raise typer.BadParameter(f"a file of {kind} ends in {wanted}, got {output.name}", param_hint="-o")
    if precision is StoredPrecision.INT8 and calibrate is None:
        raise typer.BadParameter("int8 needs a folder of originals", param_hint="--calibrate")
    try:
        made = export_model(
            model, output, kind=kind.value, precision=precision.value, calibrate=calibrate, framing=framing
        )
    except ModuleNotFoundError as error:
        raise SparnetError(f"int8 needs the package {error.name}: pip install 'sparnet[int8]'") from None
    except OSError as error:
        raise SparnetError(f"{show_path(output)}: cannot be written ({error.strerror or error})") from None
    if as_json:
        facts = {**dataclasses.asdict(made), "path": str(made.path)}
        print_json(facts | {"psnr_db": made.psnr_db if math.isfinite(made.psnr_db) else None})
        return
    opset = f", opset {made.opset}" if made.opset else ""
    apart = f"{made.psnr_db:.1f} dB from" if math.isfinite(made.psnr_db) else "equal to"
    typer.echo(
        f"{show_path(made.path)}: {made.format}{opset}, {made.precision}, {made.bytes / 1e6:.1f} MB, "
        f"any number of faces; {apart} the network on {made.faces} faces "
        f"(at most {made.grey_levels_apart} grey levels)"
    )


def _facts(name: str, entry: "CatalogEntry") -> dict[str, Any]:
    from sparnet.weights.catalog import locate_model

    path = locate_model(entry)
    return _told(name, None if path is None else str(path), entry.sha256, entry.bytes, entry.info)


def _told(name: str, path: str | None, sha256: str, size: int, info: "ModelInfo") -> dict[str, Any]:
    facts: dict[str, Any] = {"name": name, "path": path, "sha256": sha256, "bytes": size}
    return facts | {key: value for key, value in info.model_dump(mode="json").items() if key != "name"}
