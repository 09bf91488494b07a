"""`sparnet upscale`: tiny faces, enlarged."""

import dataclasses
import enum
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from sparnet.cli.batch import Batch, Job, find_jobs, make_output_folder, progress_bar
from sparnet.cli.options import (
    AsJson,
    Engine,
    EngineName,
    Model,
    OutputFolder,
    Pictures,
    Recursive,
    Verbose,
    check_suffix,
    check_upscale_factor,
    upscale_factor_option,
)

if TYPE_CHECKING:
    from sparnet.image import Photo
    from sparnet.upscaling import PreparedFace, UpscaledFace, Upscaler

FACES_A_BATCH = 16


@dataclasses.dataclass(frozen=True)
class Task:
    """A picture that was read and can be enlarged."""

    job: Job
    """Where it is and where its result goes."""
    photo: "Photo"
    """The picture and what must survive to the result."""
    face: "PreparedFace"
    """The picture as the network reads it."""


class Extension(enum.StrEnum):
    """Formats results are written in."""

    PNG = "png"
    JPG = "jpg"
    WEBP = "webp"
    TIFF = "tiff"


def upscale(
    faces: Pictures,
    output: OutputFolder,
    *,
    model: Model = None,
    upscale_factor: Annotated[
        int | None,
        upscale_factor_option(
            "The network for faces of 32, 16 or 8 px; results have 128 px.",
            show_default="8, or 4 below 16 px, from 32 px on and if bad",
        ),
    ] = None,
    compare: Annotated[
        bool, typer.Option("--compare", help="Also write input, bicubic and result side by side.")
    ] = False,
    suffix: Annotated[str, typer.Option(help="Added to the names of results.")] = "",
    extension: Annotated[Extension, typer.Option("--ext", help="Format of results.")] = Extension.PNG,
    recursive: Recursive = False,
    engine: Engine = EngineName.OPENVINO,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Enlarge tiny faces, aligned or roughly cropped: 16 x 16 or 32 x 32 px become 128 x 128.

    Noisy, compressed and blurred ones too. For whole photos use `sparnet restore`.
    """
    from sparnet.image import show_path
    from sparnet.upscaling import Upscaler

    check_upscale_factor(upscale_factor)
    check_suffix(suffix)
    batch = find_jobs(
        faces, output, suffix=suffix, extension=f".{extension}", compare=compare, recursive=recursive
    )
    if not batch.jobs:
        batch.finish("face", "enlarged", as_json=as_json)
        return
    make_output_folder(output, (job.target for job in batch.jobs))
    started = time.perf_counter()
    upscaler = Upscaler(model, upscale_factor=upscale_factor, engine=engine)
    with progress_bar("enlarging", len(batch.jobs)) as advance:
        for tasks in _read_faces(batch, upscaler, advance):
            for task, face in zip(tasks, upscaler.run([task.face for task in tasks]), strict=True):
                _write_face(batch, upscaler, task, face)
                advance()
    if verbose and not as_json:
        for entry in batch.done:
            typer.echo(f"{show_path(entry['source'])} -> {show_path(entry['target'])} ({entry['model']})")
        typer.echo(f"{len(batch.done)} on {engine}: {time.perf_counter() - started:.2f} s")
    batch.tell_notes()
    batch.finish("face", "enlarged", as_json=as_json)


def _read_faces(batch: Batch, upscaler: "Upscaler", advance: Callable[[], None]) -> Iterator[list[Task]]:
    """Read and prepare faces, as many at once as the network is given; what cannot be read is told of."""
    from sparnet.errors import ImageError
    from sparnet.image import read_photo, show_path

    tasks: list[Task] = []
    for job in batch.jobs:
        try:
            photo = read_photo(job.source)
        except ImageError as error:
            batch.fail(str(error))
            advance()
            continue
        try:
            tasks.append(Task(job, photo, upscaler.prepare(photo.pixels)))
        except ImageError as error:
            batch.fail(f"{show_path(job.source)}: {error}")
            advance()
            continue
        if len(tasks) == FACES_A_BATCH:
            yield tasks
            tasks = []
    if tasks:
        yield tasks


def _write_face(batch: Batch, upscaler: "Upscaler", task: Task, face: "UpscaledFace") -> None:
    """Write what was made of a picture, with its transparency, colour profile and metadata."""
    from sparnet.errors import ImageError
    from sparnet.image import write_photo
    from sparnet.upscaling import side_by_side

    made = task.photo.with_pixels(face.sr)
    try:
        write_photo(task.job.target, made)
        if task.job.comparison is not None:
            beside = side_by_side([task.photo.pixels, face.bicubic, made.pixels])
            opaque = dataclasses.replace(made, alpha=None, exif=None, xmp=None)
            write_photo(task.job.comparison, opaque.with_pixels(beside))
    except ImageError as error:
        batch.fail(str(error))
        return
    height, width = face.sr.shape[:2]
    batch.done.append(
        {
            "source": str(task.job.source),
            "target": str(task.job.target),
            "comparison": None if task.job.comparison is None else str(task.job.comparison),
            "width": width,
            "height": height,
            "model": face.model,
            "notes": [*made.notes, *face.notes],
        }
    )
