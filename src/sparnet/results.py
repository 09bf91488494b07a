"""Write what was made of a photo, and say in plain words and numbers what became of it."""

import shutil
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from sparnet.errors import ImageError
from sparnet.files import replacing
from sparnet.image import WRITABLE_SUFFIXES, Photo, show_path, write_photo
from sparnet.restoration import LARGE_PIXELS, RestoredFace, RestoredFile, RestoredPhoto, draw_boxes

_NAMED_REASONS = 3


def write_behind(made: Iterable[RestoredFile], write: Callable[[RestoredFile], None]) -> None:
    """Write each photo in a thread while the next ones are worked on.

    No more than one waits to be written, and after a large one nothing goes on before it is.

    Args:
        made: What `Restorer.restore_many` gives.
        write: Called with each, in order; what it raises ends the work.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="sparnet-writer") as writer:
        writing: Future[None] | None = None
        for one in made:
            if writing is not None:
                writing.result()
            writing = writer.submit(write, one)
            if one.result is not None and one.result.photo.pixels.size > 3 * LARGE_PIXELS:
                writing.result()
        if writing is not None:
            writing.result()


def write_result(
    source: Path,
    target: Path,
    made: RestoredPhoto,
    *,
    upscale_factor: int = 1,
    quality: int = 95,
    boxes: Path | None = None,
) -> dict[str, Any]:
    """Write a restored photo; return a report on it for JSON.

    A photo that did not change is copied as it is.

    Args:
        source: The file it was made of.
        target: Where it goes.
        made: What was made of it.
        upscale_factor: By how much it was enlarged.
        quality: For JPEG, WebP, AVIF and HEIC.
        boxes: Where a picture of the faces found goes, if one is wanted.

    Raises:
        ImageError: If something cannot be written.
    """
    copied = not made.is_changed and _copy(source, target, made.photo.format)
    if not copied:
        write_photo(target, made.photo, quality=quality)
    if boxes is not None:
        drawn = draw_boxes(made.photo.pixels, made.faces, upscale_factor=upscale_factor)
        profile = None if made.photo.is_gray else made.photo.icc_profile  # the boxes have colours
        write_photo(boxes, Photo(drawn, icc_profile=profile, dpi=made.photo.dpi))
    height, width = made.photo.pixels.shape[:2]
    return {
        "source": str(source),
        "target": str(target),
        "boxes": None if boxes is None else str(boxes),
        "width": width,
        "height": height,
        "seconds": round(made.seconds, 4),
        "faces": [describe_face(face) for face in made.faces],
        "notes": [*(() if copied else made.photo.notes), *_notes(made, upscale_factor)],
    }


def describe_face(face: RestoredFace) -> dict[str, Any]:
    """Return what became of a face, for JSON."""
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


def _copy(source: Path, target: Path, kind: str) -> bool:
    """Copy a photo's file as it is, by rename, if its format is the one wanted.

    Raises:
        ImageError: If it cannot be written.
    """
    if WRITABLE_SUFFIXES.get(target.suffix.lower()) != kind:
        return False
    try:
        with source.open("rb") as original, replacing(target) as file:
            shutil.copyfileobj(original, file)
    except OSError as error:
        raise ImageError(f"{show_path(target)}: cannot be written ({error.strerror})") from None
    return True


def _notes(made: RestoredPhoto, upscale_factor: int) -> list[str]:
    """Say what a person should know: that there is no face, or which ones were left as they are."""
    if not made.faces:
        return ["no face found; " + ("enlarged only" if upscale_factor > 1 else "copied as it is")]
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
