"""`sparnet restore`: whole photos in, photos with restored faces out."""

import dataclasses
import enum
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sparnet.cli.batch import Batch, Job, find_jobs, make_output_folder, print_json, progress_bar
from sparnet.cli.options import (
    AsJson,
    DetectorName,
    Engine,
    EngineName,
    Model,
    OutputFolder,
    Pictures,
    Recursive,
    Verbose,
    check_suffix,
    fidelity_option,
    finite,
)
from sparnet.cli.video import name_results, restore_videos, split_videos

if TYPE_CHECKING:
    from sparnet.fleet import Plan
    from sparnet.image import Photo
    from sparnet.restoration import RestoredFace, RestoredFile, RestoredPhoto, Restorer, Similarity

PHOTOS, CROPS, FACES, PAIRS = "restored_imgs", "cropped_faces", "restored_faces", "cmp"
"""Folders that --save-faces writes, named as GFPGAN names them."""


class PhotoExtension(enum.StrEnum):
    """Formats photos are written in."""

    AUTO = "auto"
    PNG = "png"
    JPG = "jpg"
    WEBP = "webp"
    TIFF = "tiff"


def restore(
    photos: Pictures,
    output: OutputFolder,
    *,
    model: Model = None,
    upscale_factor: Annotated[
        int, typer.Option("-s", "--upscale-factor", min=1, max=8, help="Enlarge the whole photo as well.")
    ] = 1,
    fidelity: Annotated[float, fidelity_option("0: what the model makes. 1: the face as it was.")] = 0.0,
    aligned: Annotated[
        bool, typer.Option("--aligned", help="Each picture is an aligned face; written at the model's size.")
    ] = False,
    only_center_face: Annotated[
        bool, typer.Option("--only-center-face", help="Only the face nearest to the middle.")
    ] = False,
    max_faces: Annotated[
        int | None,
        typer.Option(
            "--max-faces", metavar="N", min=1, help="Only the N largest of a photo.", show_default=False
        ),
    ] = None,
    min_face_px: Annotated[
        float | None,
        typer.Option(
            "--min-face",
            metavar="PX",
            min=0,
            callback=finite,
            help="Leave smaller faces as they are; below 20, look for smaller ones as well.",
            show_default="20, less in tiny pictures",
        ),
    ] = None,
    faces: Annotated[
        str | None,
        typer.Option(metavar="1,3", help="Only these, as --draw-boxes numbers them.", show_default=False),
    ] = None,
    draw_boxes: Annotated[
        bool, typer.Option("--draw-boxes", help="Also write NAME_boxes: the faces found, numbered.")
    ] = False,
    save_faces: Annotated[
        bool,
        typer.Option(
            "--save-faces", help=f"Also write each face: {CROPS}, {FACES}, {PAIRS}; photos: {PHOTOS}."
        ),
    ] = False,
    identity: Annotated[
        bool,
        typer.Option(
            "--identity", help="Also measure how alike each face stays (needs a file: docs/metrics.md)."
        ),
    ] = False,
    suffix: Annotated[str, typer.Option(help="Added to the names of photos.")] = "",
    extension: Annotated[
        PhotoExtension, typer.Option("--ext", help="Format of photos; auto: as it was.")
    ] = PhotoExtension.AUTO,
    overwrite: Annotated[
        bool | None,
        typer.Option(
            "--overwrite/--skip-existing",
            help="What to do where a result is there already.",
            show_default="overwrite; with --ray skip-existing",
        ),
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Faces at once; memory grows with it.")] = 4,
    quality: Annotated[
        int, typer.Option(min=1, max=100, help="Of photos written as JPEG, WebP, AVIF or HEIC.")
    ] = 95,
    small_faces: Annotated[
        str,
        typer.Option(metavar="auto|off|MODEL", help="Enlarges faces of up to 20 px first; auto: sparnet-x4."),
    ] = "auto",
    background_model: Annotated[
        Path | None,
        typer.Option(metavar="FILE.onnx", help="Enlarges all but the faces, with -s.", show_default=False),
    ] = None,
    detector: DetectorName = "mtcnn",
    engine_workers: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, help="Processes that share the photos, each with a model.", show_default=False
        ),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="local|auto|ADDRESS",
            help="Restore a folder, or s3://..., on a Ray cluster; run again, it goes on.",
            show_default=False,
        ),
    ] = None,
    recursive: Recursive = False,
    engine: Engine = EngineName.OPENVINO,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Restore the faces of photos, or of videos: old, blurred, noisy, small ones.

    The rest of a photo stays as it is, and so do its format, transparency, colour
    profile and EXIF. A photo without a face is copied. For tiny faces cut out of
    photos use `sparnet upscale`. A video (.mp4, .mov, .mkv, ...) is named by
    itself; run again, it goes on where it was stopped.
    """
    numbers = _parse_faces(faces)
    videos, photos = split_videos(photos)
    if videos:
        of_photos = {
            "--aligned": aligned, "--faces": faces is not None, "--draw-boxes": draw_boxes,
            "--save-faces": save_faces, "--identity": identity,
        }  # fmt: skip
        for option in (option for option, is_given in of_photos.items() if is_given):
            raise typer.BadParameter("does not go with a video", param_hint=option)
    check_suffix(suffix)
    if background_model is not None and upscale_factor == 1:
        raise typer.BadParameter(
            "needs -s 2 or more, by how much to enlarge", param_hint="--background-model"
        )
    if aligned:
        given = {
            "--upscale-factor": upscale_factor != 1, "--only-center-face": only_center_face,
            "--max-faces": max_faces is not None, "--min-face": min_face_px is not None,
            "--faces": faces is not None, "--draw-boxes": draw_boxes, "--detector": detector != "mtcnn",
        }  # fmt: skip
        for option in (option for option, is_given in given.items() if is_given):
            raise typer.BadParameter(
                "does not go with --aligned, where the picture is the face", param_hint=option
            )
    options: dict[str, Any] = {
        "model": model,
        "engine": engine.value,
        "batch_size": batch_size,
        "detector": detector,
        "upscale_factor": upscale_factor,
        "fidelity": fidelity,
        "aligned": aligned,
        "only_center_face": only_center_face,
        "max_faces": max_faces,
        "min_face_px": min_face_px,
        "numbers": numbers,
        "small_faces": small_faces,
        "background": background_model,
    }
    if engine_workers is not None or ray is not None:
        of_one_process = {
            "--draw-boxes": draw_boxes, "--save-faces": save_faces, "--identity": identity,
            "--suffix": ray is not None and suffix != "",
            "--ext": ray is not None and extension is not PhotoExtension.AUTO,
        }  # fmt: skip
        for option in (option for option, is_given in of_one_process.items() if is_given):
            several = "--engine-workers" if ray is None else "--ray"
            raise typer.BadParameter(f"does not go with {several}", param_hint=option)
        if videos:
            raise typer.BadParameter("are restored by one process", param_hint="videos")
    if ray is not None:
        _restore_on_ray(
            photos,
            output,
            _make_plan(options, quality),
            address=ray,
            workers=engine_workers,
            recursive=recursive,
            overwrite=overwrite is True,  # unless told to, it goes on
            as_json=as_json,
        )
        return
    overwrite = overwrite is not False
    batch = find_jobs(
        photos,
        output / PHOTOS if save_faces else output,
        suffix=suffix,
        extension=None if extension is PhotoExtension.AUTO else f".{extension}",
        compare=draw_boxes,
        beside="_boxes",
        recursive=recursive,
        keeps_existing=not overwrite,
        aside=[output, *(output / kind for kind in (PHOTOS, CROPS, FACES, PAIRS) if save_faces)],
    )
    batch.output = output
    existing = [] if overwrite else [job for job in batch.jobs if job.target.is_file()]
    left_alone = {job.source for job in existing}
    batch.jobs = [job for job in batch.jobs if job.source not in left_alone]
    facts: dict[str, object] = {"existing": [str(job.source) for job in existing]}
    clips = name_results(videos, batch, suffix)
    left = [] if overwrite else [clip for clip in clips if clip[1].is_file()]
    clips = [clip for clip in clips if clip not in left]
    if videos:
        facts |= {"existing": [*(str(job.source) for job in existing), *(str(source) for source, _ in left)]}
    if batch.jobs or clips:
        if engine_workers is not None and engine_workers > 1:
            make_output_folder(output, (job.target for job in batch.jobs))
            plan = _make_plan(options, quality)
            facts["model"] = str(plan.options["model"])
            _restore_by_processes(batch, plan, engine_workers)
        else:
            _restore_here(
                batch,
                clips,
                options,
                facts,
                identity=identity,
                save_faces=save_faces,
                quality=quality,
                as_json=as_json,
            )
    if verbose and not as_json:
        _tell_photos(batch)
    batch.tell_notes()
    if min_face_px is None and any(not entry["faces"] for entry in batch.done):
        typer.echo("sparnet: faces smaller than 20 px are looked for with --min-face 12", err=True)
    if (existing or left) and not as_json:
        typer.echo(f"{len(existing) + len(left)} there already, left alone")
    if videos and not photos:  # each has said what became of it
        if as_json:
            print_json({**facts, "done": [], "failed": batch.failures})
        if batch.failures:
            raise typer.Exit(1)
        return
    count = sum(face["skipped"] is None for entry in batch.done for face in entry["faces"])
    batch.finish("photo", f"with {count} face{'' if count == 1 else 's'} restored", as_json=as_json, **facts)


def _make_plan(options: dict[str, Any], quality: int) -> "Plan":
    from sparnet.fleet import Plan
    from sparnet.weights.catalog import DEFAULT_RESTORE

    return Plan({**options, "model": options["model"] or DEFAULT_RESTORE}, quality)


def _restore_here(
    batch: Batch,
    clips: list[tuple[Path, Path]],
    options: dict[str, Any],
    facts: dict[str, object],
    *,
    identity: bool,
    save_faces: bool,
    quality: int,
    as_json: bool,
) -> None:
    """Restore photos and videos in this process."""
    from sparnet.restoration import Restorer

    plan = _make_plan(options, quality)
    restorer = Restorer(**plan.options, identity=_open_identity() if identity else None)
    targets = [*(job.target for job in batch.jobs), *(target for _, target in clips)]
    make_output_folder(batch.output, targets)
    facts["model"] = restorer.info.name
    if batch.jobs:
        _restore_all(batch, restorer, save_faces=save_faces, quality=quality)
    if clips:
        facts["videos"] = restore_videos(clips, batch, restorer, as_json=as_json)


def _parse_faces(text: str | None) -> tuple[int, ...] | None:
    from sparnet.faces.select import parse_numbers

    if text is None:
        return None
    try:
        return parse_numbers(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--faces") from None


def _open_identity() -> "Similarity":
    from sparnet.faces.align import template
    from sparnet.metrics.identity import IdentityCosine

    cosine = IdentityCosine()

    def measure(restored: Any, aligned: Any) -> float:
        points = template(len(restored))
        return float(cosine.embedding(restored, points) @ cosine.embedding(aligned, points))

    return measure


def _restore_all(batch: Batch, restorer: "Restorer", *, save_faces: bool, quality: int) -> None:
    """Restore all photos and write each as soon as it is done."""
    from sparnet.errors import ImageError
    from sparnet.results import write_behind

    jobs = {job.source: job for job in batch.jobs}
    crops = _CropWriter(batch) if save_faces else None

    def end(made: "RestoredFile") -> None:
        """Write a photo and report it."""
        try:
            if made.result is None:
                batch.fail(str(made.error))
            else:
                batch.done.append(_write(restorer, jobs[made.source], made.result, quality))
        except ImageError as error:
            batch.fail(str(error))
        advance()

    with progress_bar("restoring", len(jobs)) as advance:
        write_behind(restorer.restore_many(jobs, on_face=crops), end)


def _write(restorer: "Restorer", job: Job, made: "RestoredPhoto", quality: int) -> dict[str, Any]:
    """Write a photo and describe it.

    Raises:
        ImageError: If it cannot be written.
    """
    from sparnet.results import write_result

    return write_result(
        job.source,
        job.target,
        made,
        upscale_factor=restorer.upscale_factor,
        quality=quality,
        boxes=job.comparison,
    )


def _restore_by_processes(batch: Batch, plan: "Plan", workers: int) -> None:
    """Restore all photos by several processes; the manifest says what became of each."""
    from sparnet.fleet import MANIFEST, restore_by_processes

    jobs = {job.source: job.target for job in batch.jobs}
    made = restore_by_processes(jobs, plan, workers=workers, manifest=batch.output / MANIFEST)
    with progress_bar("restoring", len(jobs)) as advance, closing(made):
        for report in made:
            if report["error"] is not None:
                batch.fail(report["error"])
            else:
                batch.done.append({key: value for key, value in report.items() if key != "error"})
            advance()


def _restore_on_ray(
    photos: list[Path],
    output: Path,
    plan: "Plan",
    *,
    address: str,
    workers: int | None,
    recursive: bool,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Restore a folder on a Ray cluster, and report."""
    from sparnet.fleet import as_uri, restore_on_ray
    from sparnet.image import show_path

    if len(photos) != 1:
        raise typer.BadParameter("needs one folder of photos, and no more", param_hint="--ray")

    def tell(reports: list[dict[str, Any]]) -> None:
        for report in reports:
            if report["error"] is not None:
                typer.echo(f"sparnet: {report['error']}", err=True)

    summary = restore_on_ray(
        photos[0],
        output,
        plan,
        address=address,
        workers=workers,
        recursive=recursive,
        overwrite=overwrite,
        progress=tell,
    )
    if as_json:
        print_json(dataclasses.asdict(summary))
    else:
        failed = f", {len(summary.failures)} failed" if summary.failures else ""
        existing = f", {summary.existing} were there already" if summary.existing else ""
        typer.echo(
            f"{summary.done} photos with {summary.faces} faces restored to {show_path(as_uri(output))}"
            f"{existing}{failed}, {summary.seconds:.0f} s\n{show_path(summary.manifest)}"
        )
    if summary.failures:
        raise typer.Exit(1)


def _tell_photos(batch: Batch) -> None:
    from sparnet.image import show_path

    for entry in batch.done:
        restored = sum(face["skipped"] is None for face in entry["faces"])
        typer.echo(
            f"{show_path(entry['source'])} -> {show_path(entry['target'])}: "
            f"{restored} of {len(entry['faces'])} faces restored, {entry['seconds']:.2f} s"
        )
        for face in entry["faces"]:
            left, top, right, bottom = (round(edge) for edge in face["box"])
            what = f"left as it is: {face['skipped']}" if face["skipped"] else f"{face['seconds']:.2f} s"
            alike = "" if face["identity"] is None else f", identity {face['identity']:.3f}"
            first = f", enlarged by {face['enlarged_by']} first" if face["enlarged_by"] else ""
            typer.echo(
                f"  face {face['number']}: {face['size_px']:.0f} px at {left},{top}-{right},{bottom}, "
                f"score {face['score']:.3f}, {what}{first}{alike}"
            )


class _CropWriter:
    """Write the pictures of each face as it is made, `NAME_01.png` being face 1 of photo NAME."""

    def __init__(self, batch: Batch) -> None:
        from sparnet.files import remove_leftovers

        self.batch = batch
        self.sources = {job.source.resolve() for job in batch.jobs}
        folder = batch.output / PHOTOS
        stems = {job.source: job.target.relative_to(folder).with_suffix("") for job in batch.jobs}
        counts = Counter(stems.values())
        self.names = {
            job.source: stem if counts[stem] == 1 else job.target.relative_to(folder)
            for job in batch.jobs
            for stem in [stems[job.source]]
        }
        inner = {name.parent for name in self.names.values()}
        remove_leftovers(batch.output / kind / name for kind in (CROPS, FACES, PAIRS) for name in inner)

    def __call__(self, source: Path, photo: "Photo", face: "RestoredFace") -> None:
        """Write a face as it was, restored, and both side by side."""
        import numpy as np

        from sparnet.errors import ImageError
        from sparnet.image import Photo, show_path, write_photo
        from sparnet.restoration import mix

        if face.aligned is None or face.restored is None:
            return
        name = self.names[source]
        before = mix(face.aligned, face.restored, 1)  # at the size of the restored one
        pair = np.concatenate([before, face.restored], axis=1)
        pictures = {CROPS: face.aligned, FACES: face.restored, PAIRS: pair}
        for folder, picture in pictures.items():
            path = self.batch.output / folder / name.parent / f"{name.name}_{face.number:02d}.png"
            try:
                if path.resolve() in self.sources:
                    raise ImageError(f"{show_path(path)} would be overwritten; name another folder by -o")
                crop = Photo(picture, is_gray=photo.is_gray, icc_profile=photo.icc_profile)
                write_photo(path, crop.with_pixels(picture))
            except ImageError as error:
                self.batch.fail(str(error))
