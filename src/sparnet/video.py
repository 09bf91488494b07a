"""Restore the faces of a video: extra `video`.

The video is done in segments, each of which is a file that appears whole or not at all, beside the
result in a hidden folder. A run that is killed goes on after the last of them. In the end they are put
one behind the other without being encoded again, and sound and subtitles are copied from the source.
"""

import hashlib
import heapq
import itertools
import json
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from sparnet.errors import ImageError, SparnetError
from sparnet.faces.track import TrackingDetector
from sparnet.files import replacing, write_whole
from sparnet.image import AnyImage, show_path
from sparnet.restoration import RestoredPhoto, Restorer
from sparnet.weights.catalog import DEFAULT_RESTORE

VIDEO_SUFFIXES = {
    ".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm", ".avi": "avi",
    ".ts": "mpegts",
}  # fmt: skip
"""Container written for each suffix."""

# What writes each codec, and how well; the others are told a number of bits a second. Frames that refer
# to later ones are left out, so that segments can follow each other whatever the times of their frames.
_WRITERS: dict[str, tuple[str, dict[str, str]]] = {
    "h264": ("libx264", {"crf": "18"}),
    "hevc": ("libx265", {"crf": "20", "x265-params": "bframes=0:log-level=none"}),
    "vp9": ("libvpx-vp9", {"crf": "24", "b": "0", "cpu-used": "4"}),
    "av1": ("libsvtav1", {"crf": "26", "preset": "8"}),
    "vp8": ("libvpx", {}),
}
_SEGMENT_FORMAT = "nut"  # keeps times to the tick, for every codec
_VERSION = 1

OnFrame: TypeAlias = Callable[[int, int | None], None]
"""Is given the number of frames that are done, and of all frames if that is known."""


@dataclass(frozen=True)
class RestoredVideo:
    """What became of a video."""

    frames: int
    """Frames written."""
    faces: int
    """Faces restored, in all frames together."""
    tracks: int
    """Faces that were followed: one that leaves and comes back counts twice."""
    resumed_at: int
    """Frames that an earlier run had done already."""
    width: int
    """Of a frame as it is stored, px."""
    height: int
    """Of a frame as it is stored, px."""
    seconds: float
    """Time taken."""
    notes: tuple[str, ...]
    """What of the file was not kept, for the user to read."""


def restore_video(
    source: str | Path,
    target: str | Path,
    model: str | Path | Restorer = DEFAULT_RESTORE,
    *,
    segment_seconds: int | float = 10,
    on_frame: OnFrame | None = None,
) -> RestoredVideo:
    """Restore the faces of a video, frame by frame, each face followed and moved smoothly.

    Sound and subtitles are copied; the times of frames, the rotation, the proportions and the marks of
    colour are kept, and the codec's family. A run that is killed is gone on with by the same call: only
    the segment that was being made is lost.

    Args:
        source: The video.
        target: Where to; its suffix says the container, one of `VIDEO_SUFFIXES`.
        model: Name or file of a model that restores, or a `Restorer` with all its options but
            `aligned` and `numbers`.
        segment_seconds: How much is lost at most when a run is killed, in seconds of the video.
        on_frame: Called after each frame.

    Raises:
        SparnetError: If PyAV is not installed.
        ImageError: If the source cannot be read, or the target not be written.
        ValueError: If the restorer works on aligned faces or numbered ones.
    """
    _import_av()
    source, target = Path(source), Path(target)
    restorer = model if isinstance(model, Restorer) else Restorer(model)
    if restorer.aligned or restorer.numbers is not None:
        raise ValueError("faces of a video are neither aligned nor numbered")
    if segment_seconds <= 0:
        raise ValueError(f"segment_seconds must be positive, got {segment_seconds}")
    if target.suffix.lower() not in VIDEO_SUFFIXES:
        raise ImageError(
            f"{show_path(target)}: cannot write the format '{show_path(target.suffix)}'; "
            f"supported: {', '.join(VIDEO_SUFFIXES)}"
        )
    started = time.perf_counter()
    with ExitStack() as stack:
        film = _Film(source, stack)
        if target.exists() and target.samefile(source):
            raise ImageError(f"{show_path(source)}: would be overwritten; name another folder")
        segments = _Segments(target, _plan(film, restorer, segment_seconds))
        job = _Job(film, segments, restorer, on_frame)
        with _naming(target, "cannot be written"):
            job.make_segments()
            notes = _put_together(film, segments, target)
    shutil.rmtree(segments.folder, ignore_errors=True)
    size = film.width * restorer.upscale_factor, film.height * restorer.upscale_factor
    return RestoredVideo(
        frames=job.frames,
        faces=job.faces,
        tracks=job.tracks,
        resumed_at=job.resumed_at,
        width=size[0],
        height=size[1],
        seconds=time.perf_counter() - started,
        notes=(*film.notes, *notes),
    )


def _import_av() -> Any:
    try:
        import av
    except ModuleNotFoundError:
        raise SparnetError("video needs the package av: pip install 'sparnet[video]'") from None
    return av


@contextmanager
def _naming(path: Path, failure: str) -> Iterator[None]:
    """Put the file's name before what goes wrong."""
    av = _import_av()
    try:
        yield
    except av.error.FFmpegError as error:  # some of which are OSErrors
        raise ImageError(f"{show_path(path)}: {failure} ({error.strerror})") from None
    except OSError as error:
        raise ImageError(f"{show_path(path)}: {failure} ({error.strerror or error})") from None


class _Film:
    """A video that is read."""

    def __init__(self, path: Path, stack: ExitStack) -> None:
        av = _import_av()
        self.path = path
        self.notes: list[str] = []
        if not path.is_file():
            reason = "a folder, not a video" if path.is_dir() else "no such file"
            raise ImageError(f"{show_path(path)}: {reason}")
        with _naming(path, "not a video that can be read"):
            # What a file says of its title and the like is nothing to fail by.
            self.container = stack.enter_context(av.open(str(path), metadata_errors="replace"))
        if not self.container.streams.video:
            raise ImageError(f"{show_path(path)}: has sound, but no picture")
        self.stream = self.container.streams.video[0]
        self.stream.thread_type = "AUTO"
        self.codec = self.stream.codec_context
        if self.codec is None:
            raise ImageError(f"{show_path(path)}: its pictures are coded in a way that is not known")
        self.width, self.height = self.codec.width, self.codec.height
        self.rate = self.stream.average_rate or self.stream.guessed_rate or Fraction(25)
        total = self.stream.frames
        if not total and self.container.duration:
            total = round(self.container.duration / av.time_base * self.rate)
        self.total: int | None = total or None
        if self.codec.format is not None and self.codec.format.components[0].bits > 8:
            self.notes.append("more than 8 bits a colour became 8")

    def frames(self) -> Iterator[Any]:
        """Decode the frames, in order; those that are damaged are left out and noted."""
        av = _import_av()
        damaged = 0
        count = itertools.count()
        for packet in self.container.demux(self.stream):
            try:
                decoded = packet.decode()
            except av.error.FFmpegError:
                damaged += 1
                continue
            for frame in decoded:
                index = next(count)
                if frame.pts is None:
                    frame.pts, frame.time_base = index, 1 / self.rate
                yield frame
        if damaged:
            self.notes.append(f"{damaged} damaged pieces of the video are left out")


class _Segments:
    """The pieces of the result that are done, in a hidden folder beside it."""

    def __init__(self, target: Path, plan: dict[str, Any]) -> None:
        self.folder = target.with_name(f".{target.name[:200]}.sparnet")
        self.length: int = plan["segment_frames"]
        self.done: list[dict[str, Any]] = []
        known = self._read("plan.json")
        if known is not None and known != plan:  # another film or other options: begin anew
            shutil.rmtree(self.folder, ignore_errors=True)
        with _naming(self.folder, "cannot be written"):
            write_whole(self.folder / "plan.json", json.dumps(plan))
        while (facts := self._read(f"{len(self.done):06d}.json")) is not None:
            if not self.path(len(self.done)).is_file():
                break
            self.done.append(facts)

    def path(self, index: int) -> Path:
        return self.folder / f"{index:06d}.{_SEGMENT_FORMAT}"

    def add(self, facts: dict[str, Any]) -> None:
        """Count the next segment as done; its file is there."""
        write_whole(self.folder / f"{len(self.done):06d}.json", json.dumps(facts))
        self.done.append(facts)

    def _read(self, name: str) -> dict[str, Any] | None:
        try:
            return json.loads((self.folder / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None


def _plan(film: _Film, restorer: Restorer, segment_seconds: int | float) -> dict[str, Any]:
    """Say what the segments are of: they are used again only for exactly this."""
    status = film.path.stat()
    options = {
        name: getattr(restorer, name)
        for name in (
            "upscale_factor", "fidelity", "only_center_face", "max_faces", "min_face_px", "color_match",
            "small_face_px",
        )
    }  # fmt: skip
    return {
        "version": _VERSION,
        "source": str(film.path.resolve()),
        "bytes": status.st_size,
        "changed": status.st_mtime_ns,
        "model": hashlib.sha256(restorer.info.model_dump_json().encode()).hexdigest(),
        "options": options,
        "others": restorer.named_parts(),
        "segment_frames": max(1, round(segment_seconds * film.rate)),
    }


class _Job:
    """The frames of a film on their way into segments."""

    def __init__(
        self, film: _Film, segments: _Segments, restorer: Restorer, on_frame: OnFrame | None
    ) -> None:
        self.film, self.segments, self.restorer, self.on_frame = film, segments, restorer, on_frame
        self.detector = TrackingDetector(restorer.detector)
        self.frames = self.resumed_at = sum(facts["frames"] for facts in segments.done)
        self.faces = sum(facts["faces"] for facts in segments.done)
        if segments.done:
            self.detector.take_up(segments.done[-1]["tracker"])

    @property
    def tracks(self) -> int:
        return self.detector.tracker.count

    def make_segments(self) -> None:
        """Make all segments that are missing."""
        if self.on_frame is not None and self.frames:
            self.on_frame(self.frames, self.film.total)
        frames = itertools.islice(self.film.frames(), self.frames, None)
        for first in frames:
            piece = itertools.islice(itertools.chain([first], frames), self.segments.length)
            before = self.frames, self.faces
            self._make(piece)
            facts = {"frames": self.frames - before[0], "faces": self.faces - before[1]}
            self.segments.add({**facts, "tracker": self.detector.state()})
        if not self.frames:
            raise ImageError(f"{show_path(self.film.path)}: holds no picture that can be decoded")

    def _make(self, piece: Iterator[Any]) -> None:
        av = _import_av()
        with (
            replacing(self.segments.path(len(self.segments.done))) as file,
            av.open(file, "w", format=_SEGMENT_FORMAT) as container,
        ):
            writer = _add_writer(container, self.film, self.restorer.upscale_factor)
            waiting: deque[Any] = deque()
            for made in self.restorer.restore_stream(self._upright(piece, waiting), detector=self.detector):
                frame = waiting.popleft()
                self.faces += sum(face.skipped is None for face in made.faces)
                container.mux(writer.encode(_to_frame(made, frame, writer.pix_fmt)))
                self.frames += 1
                if self.on_frame is not None:
                    self.on_frame(self.frames, self.film.total)
            container.mux(writer.encode(None))

    def _upright(self, piece: Iterator[Any], waiting: deque[Any]) -> Iterator[AnyImage]:
        """Hand out frames as pictures, and tell the tracker when each is shown."""
        for frame in piece:
            waiting.append(frame)
            self.detector.seconds = float(frame.pts * frame.time_base)
            colours = frame.reformat(
                format="rgb24", src_colorspace=_matrix(frame), interpolation=_accurate(), threads=1
            ).to_ndarray()
            yield np.ascontiguousarray(np.rot90(colours, _turns(frame)))


def _turns(frame: Any) -> int:
    """Return by how many right angles a frame is turned to the left to be shown."""
    return round(frame.rotation / 90) % 4


def _matrix(frame: Any) -> int:
    """Return what turns a frame's colours into RGB, by swscale's numbers; 601 where it is not said."""
    return {1: 1, 7: 7, 9: 9, 10: 9}.get(int(frame.colorspace), 5)


def _accurate() -> Any:
    from av.video.reformatter import Interpolation

    return Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT


def _to_frame(made: RestoredPhoto, frame: Any, pixel_format: str) -> Any:
    """Return a frame for the encoder; one in which nothing was restored is passed on as it is."""
    av = _import_av()
    if made.is_changed:
        turned = np.ascontiguousarray(np.rot90(made.photo.pixels, -_turns(frame)))
        new = av.VideoFrame.from_ndarray(turned, format="rgb24").reformat(
            format=pixel_format,
            dst_colorspace=_matrix(frame),
            dst_color_range=2 if frame.color_range == 2 else 1,
            interpolation=_accurate(),
            threads=1,
        )
    else:
        new = frame if frame.format.name == pixel_format else frame.reformat(format=pixel_format)
    new.pts, new.time_base = frame.pts, frame.time_base
    new.pict_type = 0  # which kind of frame it was is no matter of the new encoder
    return new


def _add_writer(container: Any, film: _Film, factor: int) -> Any:
    """Add a video stream of the codec's family to a segment."""
    av = _import_av()
    family = film.codec.codec.canonical_name
    name, options = _WRITERS.get(family, (family, {}))
    try:
        codec = av.codec.Codec(name, "w")
    except ValueError:  # PyAV's UnknownCodecError is one
        name, options = _WRITERS["h264"]
        codec = av.codec.Codec(name, "w")
        note = f"{family} is not written by what is installed; it became H.264"
        if note not in film.notes:
            film.notes.append(note)
    writer = container.add_stream(name, rate=film.rate, options=options)
    context = writer.codec_context
    writer.width, writer.height = film.width * factor, film.height * factor
    writer.pix_fmt = _pixel_format(codec, film.codec.pix_fmt, writer.width, writer.height)
    ticks = film.stream.time_base
    if name not in {writer for writer, _ in _WRITERS.values()} and ticks.denominator > 65_535:
        ticks = Fraction(1, 60_000)  # MPEG-4 part 2 counts in 16 bits
    context.time_base = ticks
    # No race between threads can then change a file; x264 itself still can, at some widths (docs/photos.md).
    context.thread_count = 1
    context.max_b_frames = 0
    context.flags |= av.codec.context.Flags.global_header.value
    if film.stream.sample_aspect_ratio:
        context.sample_aspect_ratio = film.stream.sample_aspect_ratio
    for mark in ("color_range", "color_primaries", "color_trc", "colorspace"):
        setattr(context, mark, getattr(film.codec, mark))
    if "crf" not in options:
        floor = writer.width * writer.height * float(film.rate) * 0.2
        context.bit_rate = round(max(1.5 * factor**2 * (film.stream.bit_rate or 0), floor))
    return writer


def _pixel_format(codec: Any, wanted: str | None, width: int, height: int) -> str:
    """Choose how colours are stored: as they were if the encoder can, else alike."""
    can = [known.name for known in codec.video_formats or ()]
    is_odd = width % 2 or height % 2
    for name in (wanted, "yuv444p" if is_odd else "yuv420p", "yuvj444p" if is_odd else "yuvj420p"):
        if name in can and not (is_odd and "420" in str(name)) and "10" not in str(name):
            return str(name)
    return can[0] if can else "yuv420p"


def _put_together(film: _Film, segments: _Segments, target: Path) -> list[str]:
    """Write the result: the segments behind each other, and the source's sound and subtitles."""
    av = _import_av()
    notes: list[str] = []
    with (
        av.open(str(film.path)) as source,
        replacing(target) as file,
        av.open(file, "w", format=VIDEO_SUFFIXES[target.suffix.lower()]) as container,
    ):
        container.metadata.update(source.metadata)
        with av.open(str(segments.path(0))) as first:
            video = container.add_stream_from_template(first.streams.video[0])
        rotation = _rotation(film)
        if rotation:
            video.set_display_rotation(rotation)
        copied = {}
        for stream in source.streams:
            if stream.type in {"audio", "subtitle"}:
                copied[stream.index] = container.add_stream_from_template(stream)
                copied[stream.index].metadata.update(stream.metadata)
        others = len(source.streams) - len(copied) - 1
        if others:
            notes.append(f"{others} more stream{'' if others == 1 else 's'} of the file left out")
        wanted = [source.streams[index] for index in copied]
        sound = (packet for packet in (source.demux(wanted) if wanted else ()) if packet.dts is not None)
        for packet in heapq.merge(_packets(segments), sound, key=_when):
            from_source = packet.stream.container is source
            packet.stream = copied[packet.stream.index] if from_source else video
            container.mux(packet)
    return notes


def _packets(segments: _Segments) -> Iterator[Any]:
    av = _import_av()
    for index in range(len(segments.done)):
        with av.open(str(segments.path(index))) as segment:
            for packet in segment.demux(video=0):
                if packet.dts is not None:
                    yield packet


def _when(packet: Any) -> float:
    return float(packet.dts * packet.time_base)


def _rotation(film: _Film) -> int:
    """Return the angle that a player turns the video by, to the left."""
    av = _import_av()
    with av.open(str(film.path)) as source:
        for frame in source.decode(video=0):
            return round(frame.rotation)
    return 0
