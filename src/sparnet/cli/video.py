"""Videos among the pictures that `sparnet restore` is given."""

import glob
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from sparnet.cli.batch import Batch, file_identity, progress_to

if TYPE_CHECKING:
    from sparnet.restoration import Restorer

VIDEO_SUFFIXES = frozenset({".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ts"})
"""Suffixes by which videos are known; those of `sparnet.video`, which is not loaded for them."""


def split_videos(inputs: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Tell videos, named one by one or by patterns that end as videos do, from all else.

    A pattern that no video matches stays in its place, as the name of one that is not there.
    """
    videos: list[Path] = []
    others: list[Path] = []
    for path in inputs:
        if path.suffix.lower() not in VIDEO_SUFFIXES or path.is_dir():
            others.append(path)
        elif path.exists() or not glob.has_magic(str(path)):
            videos.append(path)
        else:
            names = glob.glob(str(path), recursive=True)  # noqa: PTH207 - that of Path refuses `**a`
            matches = sorted(map(Path, names))
            videos += matches or [path]
    return list(dict.fromkeys(videos)), others


def name_results(videos: Sequence[Path], batch: Batch, suffix: str) -> list[tuple[Path, Path]]:
    """Name the results of videos; one whose result would overwrite a video, or another's result, fails."""
    from sparnet.image import show_path

    originals = {file_identity(video) for video in videos} - {None}
    taken: dict[Path, Path] = {}
    for video in videos:
        target = batch.output / f"{video.stem}{suffix}{video.suffix}"
        shown = show_path(video)
        if file_identity(target) in originals:
            lost = "" if file_identity(target) == file_identity(video) else f"{show_path(target)} "
            batch.fail(f"{shown}: {lost}would be overwritten; name another folder by -o")
        elif target in taken:
            other = show_path(taken[target])
            batch.fail(f"{shown}: a result of {other} is named {show_path(target.name)} too; do it alone")
        else:
            taken[target] = video
    return [(video, target) for target, video in taken.items()]


def restore_videos(
    jobs: Sequence[tuple[Path, Path]], batch: Batch, restorer: "Restorer", *, as_json: bool
) -> list[dict[str, Any]]:
    """Restore videos one after the other; return what the report says of each."""
    from sparnet.errors import SparnetError
    from sparnet.image import show_path
    from sparnet.video import restore_video

    done: list[dict[str, Any]] = []
    for source, target in jobs:
        try:
            with progress_to(source.name) as on_frame:
                made = restore_video(source, target, restorer, on_frame=on_frame)
        except SparnetError as error:
            batch.fail(str(error))
            continue
        facts = {
            "source": str(source), "target": str(target), "frames": made.frames, "faces": made.faces,
            "tracks": made.tracks, "resumed_at": made.resumed_at, "width": made.width,
            "height": made.height, "seconds": round(made.seconds, 4), "notes": list(made.notes),
        }  # fmt: skip
        done.append(facts)
        if not as_json:
            went_on = f", gone on with at frame {made.resumed_at + 1}" if made.resumed_at else ""
            typer.echo(
                f"{show_path(source)} -> {show_path(target)}: {made.frames} frames, {made.faces} faces of "
                f"{made.tracks} followed restored{went_on}"
            )
        for note in made.notes if made.faces else ("no face found", *made.notes):
            typer.echo(f"sparnet: {show_path(source)}: {note}", err=True)
    return done
