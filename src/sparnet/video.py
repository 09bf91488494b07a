"""Restore the faces of a video: extra `video`.

The video is done in segments, each of which is a file that appears whole or not at all, beside the
result in a hidden folder. A run that is killed goes on after the last of them. In the end they are put
one behind the other without being encoded again, and sound and subtitles are copied from the source.
"""

import hashlib
import heapq
import io
import itertools
import json
import math
import os
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
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

# What writes each codec, and how well; those of `_BY_THEIR_NAME` are told a number of bits a second, and any
# other becomes H.264. Frames that refer to later ones are left out, so that segments can follow each other
# whatever the times of their frames.
_WRITERS: dict[str, tuple[str, dict[str, str]]] = {
    "h264": ("libx264", {"crf": "18"}),
    "hevc": ("libx265", {"crf": "20", "x265-params": "bframes=0:log-level=none"}),
    "vp9": ("libvpx-vp9", {"crf": "24", "b": "0", "cpu-used": "4"}),
    "av1": ("libsvtav1", {"crf": "26", "preset": "8"}),
    "vp8": ("libvpx", {}),
}
# Codecs whose results were read back from each container that takes them.
_BY_THEIR_NAME = frozenset({
    "cfhd", "cinepak", "dvvideo", "ffv1", "huffyuv", "jpeg2000", "magicyuv", "mjpeg", "mpeg4", "msmpeg4v3",
    "png", "v210", "wmv2",
})  # fmt: skip
_SEGMENT_FORMAT = "nut"  # keeps times to the tick, for every codec
_LONGEST_NAME = 200  # bytes of a target's name, of the 255 that a folder's may have
_VERSION = 2

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
    if not 0 < segment_seconds < math.inf:
        raise ValueError(f"segment_seconds must be positive and finite, got {segment_seconds}")
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
        writer = _choose_writer(film, restorer.upscale_factor, target)
        segments = _Segments(target, _plan(film, restorer, segment_seconds, writer))
        job = _Job(film, segments, restorer, writer, on_frame)
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
        self.rotation = 0.0
        """Angle that a player turns the video by, to the left; known from the first frame on."""
        self.rate = self.stream.average_rate or self.stream.guessed_rate or Fraction(25)
        total = self.stream.frames
        if not total and self.container.duration:
            total = round(self.container.duration / av.time_base * self.rate)
        self.total: int | None = total or None
        if self.codec.format is not None and self.codec.format.components[0].bits > 8:
            self.notes.append("more than 8 bits a colour became 8")

    def note(self, text: str) -> None:
        """Note something once."""
        if text not in self.notes:
            self.notes.append(text)

    def frames(self) -> Iterator[Any]:
        """Decode the frames, in order, of one size and each later than the last.

        Those that are damaged are left out and noted.
        """
        for index, frame in enumerate(self._decoded()):
            if index == 0:
                self.rotation = float(frame.rotation)
            if frame.interlaced_frame:
                self.note("its frames are interlaced; the result does not say so")
            if (frame.width, frame.height) == (self.width, self.height):
                yield frame
                continue
            self.note(f"frames of another size became {self.width} x {self.height} px")
            fitted = frame.reformat(
                width=self.width, height=self.height, interpolation=_accurate(), threads=1
            )
            fitted.pts, fitted.time_base = frame.pts, frame.time_base
            yield fitted

    def _decoded(self) -> Iterator[Any]:
        av = _import_av()
        damaged = 0
        count = itertools.count()
        forward = _Forward(1 / self.rate)
        for packet, times in self._packets():
            try:
                decoded = packet.decode()
            except av.error.FFmpegError:
                damaged += 1
                continue
            for frame in decoded:
                index = next(count)
                if times:
                    frame.pts, frame.time_base = heapq.heappop(times), self.stream.time_base
                if frame.pts is None:
                    frame.time_base = self.stream.time_base
                    frame.pts = round(index / self.rate / frame.time_base)
                frame.pts = forward(frame.pts, frame.time_base)
                yield frame
        if damaged:
            self.note(f"{damaged} damaged pieces of the video are left out")
        if forward.changed:
            self.note(f"the times of {forward.changed} frames went back; they follow the ones before")

    def _packets(self) -> Iterator[tuple[Any, list[int]]]:
        """Read the packets; with each the times of frames to come where the frames do not know theirs.

        AVI only has times of decoding: those of frames that are shown in another order are wrong, but the
        same all together.
        """
        times: list[int] = []
        with _naming(self.path, "cannot be read to its end"):
            for packet in self.container.demux(self.stream):
                time = packet.dts if packet.pts is None else packet.pts
                if self.container.format.name == "avi" and packet.size and time is not None:
                    heapq.heappush(times, time)
                yield packet, times


class _Forward:
    """Makes times go forward where they do not, as where films were put one behind the other.

    Args:
        step: Seconds between two; after a time that goes back by more than a second, all go on so much later.
        may_stay: Whether a time may be that of the last.
    """

    def __init__(self, step: Fraction, *, may_stay: bool = False) -> None:
        self.step, self.may_stay = step, may_stay
        self.changed = 0
        """Times that did not come after the last."""
        self._shift = 0
        self._last: int | None = None

    def __call__(self, time: int, tick: Fraction) -> int:
        """Return the time, or a later one."""
        time += self._shift
        if self._last is not None and time < self._last + (not self.may_stay):
            self.changed += 1
            is_other_film = (self._last - time) * tick > 1
            step = max(1, round((self.step if is_other_film else Fraction(1, 1000)) / tick))
            if is_other_film:
                self._shift += self._last + step - time
            time = self._last + step
        self._last = time
        return time


class _Segments:
    """The pieces of the result that are done, in a hidden folder beside it."""

    def __init__(self, target: Path, plan: dict[str, Any]) -> None:
        name, in_bytes = target.name, os.fsencode(target.name)
        if len(in_bytes) > _LONGEST_NAME:  # what is left of half a letter is dropped
            start = in_bytes[:_LONGEST_NAME].decode(errors="ignore")
            name = f"{start}.{hashlib.sha256(in_bytes).hexdigest()[:16]}"
        self.folder = target.with_name(f".{name}.sparnet")
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


def _plan(film: _Film, restorer: Restorer, segment_seconds: int | float, writer: str) -> dict[str, Any]:
    """Say what the segments are of: they are used again only for exactly this."""
    status = film.path.stat()
    options = {
        name: getattr(restorer, name)
        for name in (
            "upscale_factor", "fidelity", "only_center_face", "max_faces", "min_face_px", "color_match",
            "small_face_px",
        )
    }  # fmt: skip
    detector = restorer.detector
    limits = {
        name: str(getattr(detector, name))
        for name in ("min_face_px", "min_score", "max_pixels")
        if hasattr(detector, name)
    }
    return {
        "version": _VERSION,
        "source": str(film.path.resolve()),
        "bytes": status.st_size,
        "changed": status.st_mtime_ns,
        "model": hashlib.sha256(restorer.info.model_dump_json().encode()).hexdigest(),
        "options": options,
        "others": restorer.named_parts(),
        "detector": {"type": type(detector).__qualname__, **limits},
        "writer": writer,
        "segment_frames": max(1, round(segment_seconds * film.rate)),
    }


class _Job:
    """The frames of a film on their way into segments."""

    def __init__(
        self, film: _Film, segments: _Segments, restorer: Restorer, writer: str, on_frame: OnFrame | None
    ) -> None:
        self.film, self.segments, self.restorer = film, segments, restorer
        self.writer, self.on_frame = writer, on_frame
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
            writer = _add_writer(container, self.film, self.restorer.upscale_factor, self.writer)
            waiting: deque[Any] = deque()
            for made in self.restorer.restore_stream(self._upright(piece, waiting), detector=self.detector):
                frame = waiting.popleft()
                self.faces += sum(face.skipped is None for face in made.faces)
                new = _to_frame(made, frame, writer.pix_fmt, _turns(self.film.rotation))
                container.mux(writer.encode(new))
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
            yield np.ascontiguousarray(np.rot90(colours, _turns(self.film.rotation)))


def _turns(rotation: float) -> int:
    """Return by how many right angles a frame is turned to the left to be shown."""
    return round(rotation / 90) % 4


def _matrix(frame: Any) -> int:
    """Return what turns a frame's colours into RGB, by swscale's numbers; 601 where it is not said."""
    return {1: 1, 7: 7, 9: 9, 10: 9}.get(int(frame.colorspace), 5)


def _accurate() -> Any:
    from av.video.reformatter import Interpolation

    return Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT


def _to_frame(made: RestoredPhoto, frame: Any, pixel_format: str, turns: int) -> Any:
    """Return a frame for the encoder; one in which nothing was restored is passed on as it is."""
    av = _import_av()
    if made.is_changed:
        turned = np.ascontiguousarray(np.rot90(made.photo.pixels, -turns))
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


def _choose_writer(film: _Film, factor: int, target: Path) -> str:
    """Choose the encoder: that of the film's codec, else H.264, if a frame of it can be read back.

    Raises:
        ImageError: If the target cannot hold what the film holds.
    """
    av = _import_av()
    family = film.codec.codec.canonical_name
    fallback = _WRITERS["h264"][0]
    own = _WRITERS[family][0] if family in _WRITERS else family if family in _BY_THEIR_NAME else fallback
    for name in dict.fromkeys((own, fallback)):
        try:
            segment = _trial(film, factor, name)
            with av.open(segment) as source, io.BytesIO() as file:
                with _open_output(file, target) as container:
                    video = _add_video(container, source, film, target)
                    for packet in source.demux(video=0):
                        if packet.dts is not None:
                            packet.stream = video
                            container.mux(packet)
                _check(file, 1, target)
        except (av.error.FFmpegError, ImageError, ValueError):  # PyAV's UnknownCodecError is a ValueError
            continue
        if name == fallback and family != "h264":
            film.note(f"{family} is not written to {target.suffix.lower()}; it became H.264")
        _try_streams(film, segment, target)
        return name
    raise ImageError(
        f"{show_path(target)}: {target.suffix.lower()} can hold neither {family} nor H.264 of this size; "
        "name another format"
    )


def _trial(film: _Film, factor: int, name: str) -> Any:
    """Return a segment of one black frame."""
    av = _import_av()
    file = io.BytesIO()
    with av.open(file, "w", format=_SEGMENT_FORMAT) as container:
        writer = _add_writer(container, film, factor, name)
        black = np.zeros((writer.height, writer.width, 3), dtype=np.uint8)
        frame = av.VideoFrame.from_ndarray(black, format="rgb24").reformat(format=writer.pix_fmt)
        frame.pts, frame.time_base = 0, writer.codec_context.time_base
        container.mux(writer.encode(frame))
        container.mux(writer.encode(None))
    file.seek(0)
    return file


def _try_streams(film: _Film, segment: Any, target: Path) -> None:
    """Begin a result, and nothing more, with all streams that it is to hold."""
    av = _import_av()
    segment.seek(0)
    with _naming(target, "cannot be written"), av.open(segment) as first, _open_again(film) as source:
        container = _open_output(io.BytesIO(), target)
        try:
            _add_video(container, first, film, target)
            _add_copied(container, source, target)
            container.start_encoding()
        finally:
            with suppress(av.error.FFmpegError):  # of streams that hold nothing
                container.close()


def _open_output(file: Any, target: Path) -> Any:
    return _import_av().open(file, "w", format=VIDEO_SUFFIXES[target.suffix.lower()])


def _open_again(film: _Film) -> Any:
    return _import_av().open(str(film.path), metadata_errors="replace")


def _add_writer(container: Any, film: _Film, factor: int, name: str) -> Any:
    """Add a video stream of an encoder to a segment."""
    av = _import_av()
    options = dict(_WRITERS.values()).get(name, {})
    codec = av.codec.Codec(name, "w")
    writer = container.add_stream(name, rate=film.rate, options=options)
    context = writer.codec_context
    writer.width, writer.height = film.width * factor, film.height * factor
    writer.pix_fmt = _pixel_format(codec, film.codec.pix_fmt, writer.width, writer.height)
    ticks = film.stream.time_base
    if name in _BY_THEIR_NAME and ticks.denominator > 65_535:
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
    count = 0
    with _open_again(film) as source, replacing(target) as file:
        with _open_output(file, target) as container, av.open(str(segments.path(0))) as first:
            container.metadata.update(source.metadata)
            container.set_chapters(source.chapters())
            video = _add_video(container, first, film, target)
            if target.suffix.lower() == ".avi" and _are_regular(segments, film.rate):
                video.time_base = 1 / film.rate  # which AVI tells as the rate; by itself it tells a multiple
            if round(film.rotation):
                video.set_display_rotation(round(film.rotation))
            copied, notes = _add_copied(container, source, target)
            for packet in heapq.merge(_packets(segments), _sound(source, list(copied)), key=_when):
                from_source = packet.stream.container is source
                packet.stream = copied[packet.stream.index] if from_source else video
                container.mux(packet)
                count += not from_source and packet.size > 0
        chapters = _check(file, count, target)
        if chapters < len(source.chapters()):
            notes.append(f"{len(source.chapters())} chapters left out")
    return notes


def _add_video(container: Any, segment: Any, film: _Film, target: Path) -> Any:
    """Add the stream that the segments are copied to."""
    # Of a decoder, not an encoder, which does not go by the same name for all codecs.
    video = container.add_stream_from_template(segment.streams.video[0], opaque=True)
    video.codec_context.framerate = film.rate  # else Matroska tells the ticks of a second
    return video


def _add_copied(container: Any, source: Any, target: Path) -> tuple[dict[int, Any], list[str]]:
    """Add streams for sound and subtitles, by their numbers in the source; say what is left out.

    Raises:
        ImageError: If the container cannot hold the sound.
    """
    copied: dict[int, Any] = {}
    notes = []
    others = -1
    for stream in source.streams:
        if stream.type not in {"audio", "subtitle"}:
            others += 1
            continue
        try:
            copied[stream.index] = container.add_stream_from_template(stream)
        except ValueError:
            name = stream.codec_context.name if stream.codec_context else "unknown"
            kind = target.suffix.lower()
            if stream.type == "audio":
                raise ImageError(
                    f"{show_path(target)}: {kind} cannot hold the sound ({name}); name another format"
                ) from None
            notes.append(f"subtitles ({name}) left out, which {kind} cannot hold")
            continue
        copied[stream.index].metadata.update(stream.metadata)
    if others:
        notes.append(f"{others} more stream{'' if others == 1 else 's'} of the file left out")
    return copied, notes


def _check(file: Any, count: int, target: Path) -> int:
    """Read a result back; return how many chapters it has.

    Raises:
        ImageError: If it does not hold `count` frames of which one can be decoded.
    """
    av = _import_av()
    found, is_decoded = 0, False
    file.seek(0)
    with _naming(target, "cannot be read back"), av.open(file, "r", metadata_errors="replace") as container:
        chapters = len(container.chapters())
        for packet in container.demux(container.streams.video[:1]) if container.streams.video else ():
            found += packet.size > 0
            if not is_decoded:
                with suppress(av.error.FFmpegError):
                    is_decoded = bool(packet.decode())
    if found != count or not is_decoded:
        reason = f"{found} of {count} frames there" if found != count else "none can be decoded"
        raise ImageError(f"{show_path(target)}: cannot be read back ({reason}); name another format")
    return chapters


def _are_regular(segments: _Segments, rate: Fraction) -> bool:
    """Tell whether all frames are shown at whole multiples of the time between two, but for rounding."""
    places = (packet.pts * packet.time_base * rate for packet in _packets(segments))
    return all(abs(place - round(place)) < 0.1 for place in places)


def _sound(source: Any, indices: list[int]) -> Iterator[Any]:
    """Yield the packets of streams that are copied; the times of each stream go forward."""
    forward: dict[int, _Forward] = {}
    for packet in source.demux([source.streams[index] for index in indices]) if indices else ():
        if packet.dts is None:
            continue
        step = (packet.duration or 0) * packet.time_base
        time = forward.setdefault(packet.stream.index, _Forward(step, may_stay=True))(
            packet.dts, packet.time_base
        )
        if packet.pts is not None:
            packet.pts += time - packet.dts
        packet.dts = time
        yield packet


def _packets(segments: _Segments) -> Iterator[Any]:
    av = _import_av()
    for index in range(len(segments.done)):
        with av.open(str(segments.path(index))) as segment:
            for packet in segment.demux(video=0):
                if packet.dts is not None:
                    yield packet


def _when(packet: Any) -> float:
    return float(packet.dts * packet.time_base)
