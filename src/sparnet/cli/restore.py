"""`sparnet restore`: whole photos in, photos with restored faces out."""

import enum
import secrets
import shutil
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sparnet.cli.batch import (
    AsJson,
    Batch,
    Job,
    OutputFolder,
    Pictures,
    Recursive,
    Verbose,
    find_jobs,
    make_output_folder,
    print_json,
    progress_bar,
)
from sparnet.cli.upscale import Engine, EngineName, Model
from sparnet.cli.video import name_results, restore_videos, split_videos

if TYPE_CHECKING:
    from sparnet.image import Photo
    from sparnet.restoration import RestoredFace, RestoredPhoto, Restorer, Similarity

PHOTOS, CROPS, FACES, PAIRS = "restored_imgs", "cropped_faces", "restored_faces", "cmp"
"""Folders that --save-faces writes, named as GFPGAN names them."""
_NAMED_REASONS = 3


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
    fidelity: Annotated[
        float,
        typer.Option(
            "-w", "--fidelity", min=0, max=1, help="0: what the model makes. 1: the face as it was."
        ),
    ] = 0.0,
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
        float, typer.Option("--min-face", metavar="PX", min=0, help="Leave smaller faces as they are.")
    ] = 0,
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
        bool, typer.Option("--identity", help="Also measure how alike each face and the restored one are.")
    ] = False,
    suffix: Annotated[str, typer.Option(help="Added to the names of photos.")] = "",
    extension: Annotated[
        PhotoExtension, typer.Option("--ext", help="Format of photos; auto: as it was.")
    ] = PhotoExtension.AUTO,
    overwrite: Annotated[
        bool, typer.Option("--overwrite/--skip-existing", help="What to do where a result is there already.")
    ] = True,
    batch_size: Annotated[int, typer.Option(min=1, help="Faces at once; memory grows with it.")] = 4,
    quality: Annotated[
        int, typer.Option(min=1, max=100, help="Of photos written as JPEG, WebP, AVIF or HEIC.")
    ] = 95,
    small_faces: Annotated[
        str,
        typer.Option(metavar="auto|off|MODEL", help="Enlarges faces of up to 16 px first; auto: sparnet-x8."),
    ] = "auto",
    background_model: Annotated[
        Path | None,
        typer.Option(metavar="FILE.onnx", help="Enlarges all but the faces, with -s.", show_default=False),
    ] = None,
    detector: Annotated[
        str, typer.Option(metavar="mtcnn|FILE.onnx", help="What finds faces; a file of YuNet.")
    ] = "mtcnn",
    recursive: Recursive = False,
    engine: Engine = EngineName.OPENVINO,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Restore the faces of photos, or of videos: old, blurred, noisy, small ones.

    The rest of a photo stays as it is, and so do its format, transparency, colour profile and EXIF.
    A photo without a face is copied. For tiny faces cut out of photos use `sparnet upscale`.
    A video (.mp4, .mov, .mkv, ...) is named by itself; run again, it goes on where it was stopped.
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
    if "/" in suffix or "\\" in suffix:
        raise typer.BadParameter(f"must be part of a name, got {suffix!r}", param_hint="--suffix")
    if background_model is not None and upscale_factor == 1:
        raise typer.BadParameter(
            "needs -s 2 or more, by how much to enlarge", param_hint="--background-model"
        )
    if aligned:
        given = {
            "--upscale-factor": upscale_factor != 1, "--only-center-face": only_center_face,
            "--max-faces": max_faces is not None, "--min-face": min_face_px > 0,
            "--faces": faces is not None, "--draw-boxes": draw_boxes, "--detector": detector != "mtcnn",
        }  # fmt: skip
        for option in (option for option, is_given in given.items() if is_given):
            raise typer.BadParameter(
                "does not go with --aligned, where the picture is the face", param_hint=option
            )
    batch = find_jobs(
        photos,
        output / PHOTOS if save_faces else output,
        suffix=suffix,
        extension=None if extension is PhotoExtension.AUTO else f".{extension}",
        compare=draw_boxes,
        beside="_boxes",
        recursive=recursive,
    )
    batch.output = output
    existing = [] if overwrite else [job for job in batch.jobs if job.target.is_file()]
    batch.jobs = [job for job in batch.jobs if job not in existing]
    facts: dict[str, object] = {"existing": [str(job.source) for job in existing]}
    clips = name_results(videos, batch, suffix)
    left = [] if overwrite else [clip for clip in clips if clip[1].is_file()]
    clips = [clip for clip in clips if clip not in left]
    if videos:
        facts |= {"existing": [*(str(job.source) for job in existing), *(str(source) for source, _ in left)]}
    if batch.jobs or clips:
        from sparnet.restoration import Restorer
        from sparnet.weights.catalog import DEFAULT_RESTORE

        restorer = Restorer(
            DEFAULT_RESTORE if model is None else model,
            engine=engine.value,
            batch_size=batch_size,
            detector=detector,
            upscale_factor=upscale_factor,
            fidelity=fidelity,
            aligned=aligned,
            only_center_face=only_center_face,
            max_faces=max_faces,
            min_face_px=min_face_px,
            numbers=numbers,
            identity=_open_identity() if identity else None,
            small_faces=small_faces,
            background=background_model,
        )
        make_output_folder(output)
        facts["model"] = restorer.info.name
        if batch.jobs:
            _restore_all(batch, restorer, save_faces=save_faces, quality=quality)
        if clips:
            facts["videos"] = restore_videos(clips, batch, restorer, as_json=as_json)
    if verbose and not as_json:
        _tell_photos(batch)
    batch.tell_notes()
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

    jobs = {job.source: job for job in batch.jobs}
    crops = _CropWriter(batch) if save_faces else None
    with progress_bar("restoring", len(jobs)) as advance:
        for made in restorer.restore_many(jobs, on_face=crops):
            if made.result is None:
                batch.fail(str(made.error))
            else:
                try:
                    _write(batch, restorer, jobs[made.source], made.result, quality)
                except ImageError as error:
                    batch.fail(str(error))
            advance()


def _write(batch: Batch, restorer: "Restorer", job: Job, made: "RestoredPhoto", quality: int) -> None:
    """Write a photo and report it.

    Raises:
        ImageError: If it cannot be written.
    """
    from sparnet.image import Photo, write_photo
    from sparnet.restoration import draw_boxes

    copied = not made.is_changed and _copy(job, made.photo.format)
    if not copied:
        write_photo(job.target, made.photo, quality=quality)
    if job.comparison is not None:
        boxes = draw_boxes(made.photo.pixels, made.faces, upscale_factor=restorer.upscale_factor)
        profile = None if made.photo.is_gray else made.photo.icc_profile  # the boxes have colours
        write_photo(job.comparison, Photo(boxes, icc_profile=profile, dpi=made.photo.dpi))
    height, width = made.photo.pixels.shape[:2]
    batch.done.append(
        {
            "source": str(job.source),
            "target": str(job.target),
            "boxes": None if job.comparison is None else str(job.comparison),
            "width": width,
            "height": height,
            "seconds": round(made.seconds, 4),
            "faces": [_describe(face) for face in made.faces],
            "notes": [*(() if copied else made.photo.notes), *_notes(made, restorer)],
        }
    )


def _copy(job: Job, kind: str) -> bool:
    """Copy a photo's file as it is, by rename, if its format is the one wanted.

    Raises:
        ImageError: If it cannot be written.
    """
    from sparnet.errors import ImageError
    from sparnet.image import WRITABLE_SUFFIXES, show_path

    if WRITABLE_SUFFIXES.get(job.target.suffix.lower()) != kind:
        return False
    temporary = job.target.with_name(f".sparnet-{secrets.token_hex(8)}.tmp")
    try:
        job.target.parent.mkdir(parents=True, exist_ok=True)
        try:
            shutil.copyfile(job.source, temporary)
            temporary.replace(job.target)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise ImageError(f"{show_path(job.target)}: cannot be written ({error.strerror})") from None
    return True


def _describe(face: "RestoredFace") -> dict[str, Any]:
    return {
        "number": face.number,
        "box": [round(edge, 2) for edge in face.box],
        "score": round(face.score, 4),
        "size_px": round(face.size_px, 2),
        "points": [[round(x, 2), round(y, 2)] for x, y in face.points.tolist()],
        "skipped": face.skipped,
        "enlarged_by": face.enlarged_by,
        "seconds": round(face.seconds, 4),
        "identity": None if face.identity is None else round(face.identity, 4),
    }


def _notes(made: "RestoredPhoto", restorer: "Restorer") -> list[str]:
    """Say what a person should know: that there is no face, or which ones were left as they are."""
    if not made.faces:
        return ["no face found; " + ("enlarged only" if restorer.upscale_factor > 1 else "copied as it is")]
    numbers: dict[str, list[int]] = {}
    for face in made.faces:
        if face.skipped is not None:
            numbers.setdefault(face.skipped, []).append(face.number)
    if not numbers:
        return []
    named = ", ".join(
        f"face{'' if len(which) == 1 else 's'} {', '.join(map(str, which))} ({reason})"
        for reason, which in list(numbers.items())[:_NAMED_REASONS]
    )
    others = sum(len(which) for which in list(numbers.values())[_NAMED_REASONS:])
    count = sum(len(which) for which in numbers.values())
    more = f" and {others} more" if others else ""
    return [f"{count} of {len(made.faces)} faces left as they are: {named}{more}"]


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
