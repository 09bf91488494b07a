"""`sparnet upscale`: tiny faces, enlarged."""

import enum
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from sparnet.cli.batch import AsJson, Batch, Job, OutputFolder, Pictures, Verbose, find_jobs, progress_bar

if TYPE_CHECKING:
    from sparnet.upscaling import PreparedFace, Upscaler

FACES_A_BATCH = 16


class Extension(enum.StrEnum):
    """Formats results are written in."""

    PNG = "png"
    JPG = "jpg"
    WEBP = "webp"
    TIFF = "tiff"


class EngineName(enum.StrEnum):
    """What runs the network."""

    OPENVINO = "openvino"
    ONNXRUNTIME = "onnxruntime"
    TORCH = "torch"


Engine = Annotated[EngineName, typer.Option("--engine", help="What runs the network.")]
Model = Annotated[
    str | None,
    typer.Option("-m", "--model", metavar="MODEL", help="Name or file of a model.", show_default=False),
]


def upscale(
    faces: Pictures,
    output: OutputFolder,
    *,
    model: Model = None,
    upscale_factor: Annotated[
        int | None,
        typer.Option(
            "-s", "--upscale-factor", metavar="4|8|16", help="By how much.  [default: 8]", show_default=False
        ),
    ] = None,
    compare: Annotated[
        bool, typer.Option("--compare", help="Also write input, bicubic and result side by side.")
    ] = False,
    suffix: Annotated[str, typer.Option(help="Added to the names of results.")] = "",
    extension: Annotated[Extension, typer.Option("--ext", help="Format of results.")] = Extension.PNG,
    recursive: Annotated[bool, typer.Option("-r", "--recursive", help="Also look into subfolders.")] = False,
    engine: Engine = EngineName.OPENVINO,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Enlarge tiny faces, aligned or roughly cropped: 16 x 16 px become 128 x 128.

    For whole photos use `sparnet restore`.
    """
    from sparnet.image import show_path
    from sparnet.upscaling import Upscaler

    if upscale_factor is not None and upscale_factor not in (4, 8, 16):
        raise typer.BadParameter(f"must be 4, 8 or 16, got {upscale_factor}", param_hint="--upscale-factor")
    if "/" in suffix or "\\" in suffix:
        raise typer.BadParameter(f"must be part of a name, got {suffix!r}", param_hint="--suffix")
    batch = find_jobs(faces, output, suffix=suffix, extension=f".{extension}", recursive=recursive)
    if not batch.jobs:
        batch.finish("faces enlarged", as_json=as_json)
        return
    started = time.perf_counter()
    upscaler = Upscaler(model, upscale_factor=upscale_factor, engine=engine)
    with progress_bar("enlarging", len(batch.jobs)) as advance:
        for group in _groups(batch, upscaler, advance):
            _enlarge(batch, upscaler, group, compare=compare)
            for _ in group:
                advance()
    for entry in batch.done:
        if verbose and not as_json:
            typer.echo(f"{show_path(entry['source'])} -> {show_path(entry['target'])}")
        for note in entry["notes"]:
            typer.echo(f"sparnet: {show_path(entry['source'])}: {note}", err=True)
    if verbose and not as_json:
        typer.echo(f"{upscaler.info.name} on {engine}: {time.perf_counter() - started:.2f} s")
    batch.finish("enlarged" if len(batch.done) != 1 else "face enlarged", as_json=as_json)


def _groups(
    batch: Batch, upscaler: "Upscaler", advance: "object"
) -> Iterator[list[tuple[Job, "PreparedFace"]]]:
    """Read and prepare faces in groups of a batch; those that cannot be read are told of."""
    from sparnet.errors import ImageError
    from sparnet.image import read_image, show_path

    group: list[tuple[Job, PreparedFace]] = []
    for job in batch.jobs:
        try:
            face = read_image(job.source)
        except ImageError as error:
            batch.fail(str(error))
            advance()  # type: ignore[operator]
            continue
        try:
            group.append((job, upscaler.prepare(face)))
        except ImageError as error:
            batch.fail(f"{show_path(job.source)}: {error}")
            advance()  # type: ignore[operator]
            continue
        if len(group) == FACES_A_BATCH:
            yield group
            group = []
    if group:
        yield group


def _enlarge(
    batch: Batch, upscaler: "Upscaler", group: list[tuple[Job, "PreparedFace"]], *, compare: bool
) -> None:
    from sparnet.errors import ImageError
    from sparnet.image import read_image, write_image
    from sparnet.upscaling import side_by_side

    for (job, _), face in zip(group, upscaler.run([prepared for _, prepared in group]), strict=True):
        try:
            write_image(job.target, face.sr)
            if compare:
                beside = job.target.with_name(f"{job.target.stem}_compare{job.target.suffix}")
                write_image(beside, side_by_side([read_image(job.source), face.bicubic, face.sr]))
        except ImageError as error:
            batch.fail(str(error))
            continue
        height, width = face.sr.shape[:2]
        batch.done.append(
            {
                "source": str(job.source),
                "target": str(job.target),
                "width": width,
                "height": height,
                "model": upscaler.info.name,
                "notes": list(face.notes),
            }
        )
