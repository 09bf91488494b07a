"""What a server does with a picture: the same as the command line, on the engine that all share."""

import hashlib
import importlib.util
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import PIL.Image

from sparnet.drawing import draw_map, mean_map
from sparnet.engine import Engine, open_engine
from sparnet.errors import ImageError, NoFaceFound, SparnetError, WeightsError
from sparnet.faces.align import align
from sparnet.faces.detect import Detector, Face, open_detector
from sparnet.image import (
    AnyImage,
    Image,
    Photo,
    decode_photo,
    encode_photo,
    picture_size,
)
from sparnet.image.formats import WRITABLE_SUFFIXES
from sparnet.restoration import RestoredPhoto, Restorer, mix
from sparnet.upscaling import Upscaler, as_known
from sparnet.web.batching import BatchingEngine, Memory, Stopped, Ticket, working_for
from sparnet.web.metrics import Metrics
from sparnet.web.settings import Settings
from sparnet.weights.catalog import DEFAULT_RESTORE, DEFAULT_SMALL_FACES, known_models
from sparnet.weights.info import ModelInfo

SUFFIXES = {
    "JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp", "TIFF": ".tif", "BMP": ".bmp", "AVIF": ".avif",
    "HEIF": ".heic",
}  # fmt: skip
"""Suffix of results for the format read; what cannot be written becomes PNG, as on the command line."""
MEDIA_TYPES = {
    ".jpg": "image/jpeg", ".png": "image/png", ".webp": "image/webp", ".tif": "image/tiff",
    ".tiff": "image/tiff", ".bmp": "image/bmp", ".avif": "image/avif", ".heic": "image/heic",
}  # fmt: skip
_SHOWN_BY_BROWSERS = frozenset({"JPEG", "PNG", "WEBP", "BMP", "AVIF", "GIF"})
_SHOWN_PX = 3000
_FACES_A_CALL = 8
_REMEMBERED = 64
_MAP_PX = 256


class NotServed(SparnetError):  # noqa: N818 - the server is whole, it lacks a model
    """The server has no model for what is asked."""


@dataclass(frozen=True)
class Choices:
    """What a client chose, as on the command line."""

    numbers: tuple[int, ...] | None = None
    upscale_factor: int = 1
    fidelity: float = 0.0
    max_faces: int | None = None
    min_face_px: float = 0.0
    only_center_face: bool = False
    aligned: bool = False
    suffix: str | None = None
    """Of the result, with its dot; None for the photo's own format."""


@dataclass(frozen=True, eq=False)
class Encoded:
    """A picture as the bytes of a file."""

    content: bytes
    suffix: str
    width: int
    height: int

    @property
    def media_type(self) -> str:
        """What HTTP calls its format."""
        return MEDIA_TYPES[self.suffix]


@dataclass(frozen=True, eq=False)
class RestoredUpload:
    """A photo restored."""

    made: RestoredPhoto
    picture: Encoded
    crops: dict[int, tuple[Encoded, Encoded]]
    """Faces before and after by their numbers, if they were asked for."""
    shown: tuple[Encoded, Encoded] | None
    """The photo before and after for a browser, if it cannot show the format itself."""
    notes: tuple[str, ...]
    """What a person should know."""


@dataclass(frozen=True, eq=False)
class UpscaledUpload:
    """A tiny face enlarged."""

    picture: Encoded
    bicubic: Encoded
    model: str
    notes: tuple[str, ...]


class PixelBudget:
    """Lets no more pixels into memory than a limit, but one photo of any size."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._used = 0
        self._changed = threading.Condition()
        self._waiting: deque[object] = deque()

    @contextmanager
    def use(self, pixels: int, ticket: Ticket) -> Iterator[None]:
        """Wait for room, and keep it; who comes first is first, however much the others want.

        Raises:
            Stopped: If there is none in time.
        """
        place = object()
        with self._changed:
            self._waiting.append(place)
            try:
                while self._waiting[0] is not place or (self._used and self._used + pixels > self.most):
                    ticket.check()
                    self._changed.wait(0.25)
                self._used += pixels
            finally:
                self._waiting.remove(place)
                self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._used -= pixels
                self._changed.notify_all()


class Service:
    """Models kept loaded, and what is done with them. Used by several threads.

    Args:
        settings: Limits.
        metrics: Counters.
        restoring: A model that restores; None serves none.
        upscaling: A model that enlarges tiny faces, kept by an `Upscaler`; None serves none.
        small_faces: What sees the small faces of photos first, which may be an engine of the upscaler's;
            None leaves them to the model that restores.
        detector: What finds faces.
    """

    def __init__(
        self,
        settings: Settings,
        metrics: Metrics,
        *,
        restoring: Engine | None,
        upscaling: Upscaler | None,
        small_faces: Engine | None = None,
        detector: Detector,
    ) -> None:
        self.settings = settings
        self.metrics = metrics
        self.detector = detector
        self._faces_found: Memory[bytes, list[Face]] = Memory(settings.remember_seconds, _REMEMBERED)
        self._faces_made: Memory[bytes, np.ndarray] = Memory(settings.remember_seconds, _REMEMBERED)
        self._budget = PixelBudget(settings.max_result_pixels)
        self._drawing = threading.Lock()
        self.restoring = None if restoring is None else self._batching(restoring)
        self.upscaling = upscaling
        self.small_faces: Engine | None = None if small_faces is None else self._batching(small_faces)

        def shared(engine: Engine) -> Engine:
            if self.small_faces is not None and engine is small_faces:
                return self.small_faces
            return self._batching(engine)

        if upscaling is not None:
            upscaling.engine = shared(upscaling.engine)
            if upscaling.finer is not None:
                upscaling.finer = shared(upscaling.finer)

    def _batching(self, engine: Engine) -> BatchingEngine:
        task = engine.info.task
        return BatchingEngine(
            engine,
            max_batch=_FACES_A_CALL,
            memory=self._faces_made if task == "restore" else None,
            on_batch=lambda faces, seconds: self.metrics.count_batch(task, faces, seconds),
        )

    def close(self) -> None:
        """End the engines' threads."""
        for engine in self.engines:
            engine.close()

    @property
    def engines(self) -> list[BatchingEngine]:
        """The engines that are loaded."""
        upscaling = () if self.upscaling is None else (self.upscaling.engine, self.upscaling.finer)
        loaded = dict.fromkeys((self.restoring, *upscaling, self.small_faces))
        return [engine for engine in loaded if isinstance(engine, BatchingEngine)]

    @property
    def models(self) -> list[ModelInfo]:
        """The models that are served: one that restores, and those that enlarge."""
        upscaling = self.upscaling
        served = upscaling is not None and self.small_faces in (upscaling.engine, upscaling.finer)
        return [engine.info for engine in self.engines if served or engine is not self.small_faces]

    def forget_old(self) -> None:
        """Drop what was remembered long enough."""
        self._faces_found.forget_old()
        self._faces_made.forget_old()

    @property
    def remembered(self) -> int:
        """How many results are kept in memory."""
        return len(self._faces_found) + len(self._faces_made)

    def warm_up(self) -> float:
        """Let the engines compile, so that the first client does not wait for it.

        Returns:
            Seconds that a face takes on the slowest.
        """
        slowest = 0.0
        for engine in self.engines:
            side = engine.info.input_size
            faces = np.zeros((2, side, side, 3), dtype=np.uint8)
            engine.engine.run(faces)
            started = time.perf_counter()
            engine.engine.run(faces)
            slowest = max(slowest, (time.perf_counter() - started) / len(faces))
        return slowest

    def find_faces(self, data: bytes, ticket: Ticket) -> tuple[Photo, list[Face]]:
        """Find the faces of a photo, the largest first.

        Raises:
            ImageError: If it is no picture, or too large.
            Stopped: If there is no time for it.
        """
        with self._decoded(data, 1, ticket) as photo:
            return photo, self._remembering(data, lambda _: None).detect(photo.pixels)

    def restore(
        self,
        data: bytes,
        choices: Choices,
        ticket: Ticket,
        *,
        crops: bool = False,
        shown: bool = False,
        on_faces: Callable[[list[Face]], None] = lambda _: None,
    ) -> RestoredUpload:
        """Restore a photo; the result is what `sparnet restore` writes.

        Args:
            data: The file.
            choices: What the client chose.
            ticket: How long it may take.
            crops: Whether faces are wanted by themselves.
            shown: Whether pictures for a browser are wanted where it cannot show the format.
            on_faces: Told the faces as soon as they are found.

        Raises:
            ImageError: If it is no picture, or too large.
            NoFaceFound: If a face was asked for by a number that the photo does not have.
            NotServed: If there is no model that restores.
            Stopped: If there is no time for it.
        """
        if self.restoring is None:
            raise NotServed(
                "no model that restores photos is loaded; start the server with one: sparnet serve -m MODEL"
            )
        limit = self.settings.max_faces
        restorer = Restorer(
            self.restoring,
            batch_size=_FACES_A_CALL,
            detector=self._remembering(data, on_faces),
            upscale_factor=choices.upscale_factor,
            fidelity=choices.fidelity,
            aligned=choices.aligned,
            only_center_face=choices.only_center_face,
            max_faces=min(limit, choices.max_faces or limit),
            min_face_px=choices.min_face_px,
            numbers=choices.numbers,
            small_faces=self.small_faces or "off",
        )
        with self._decoded(data, choices.upscale_factor, ticket) as photo, working_for(ticket):
            made = restorer.restore_photo(photo, keep_faces=crops)
            ticket.check()
            suffix = choices.suffix or SUFFIXES.get(photo.format, ".png")
            if not made.is_changed and photo.format == WRITABLE_SUFFIXES[suffix]:
                height, width = photo.pixels.shape[:2]
                picture = Encoded(data, suffix, width, height)
            else:
                picture = encode(made.photo, suffix)
            self.metrics.faces.inc(sum(face.skipped is None for face in made.faces))
            return RestoredUpload(
                made,
                picture,
                _crops(made, photo, suffix) if crops else {},
                (_shown(photo), _shown(made.photo)) if shown and _is_hidden(photo, suffix) else None,
                tuple(_notes(made, choices)),
            )

    def upscale(self, data: bytes, suffix: str, ticket: Ticket) -> UpscaledUpload:
        """Enlarge a tiny face; the result is what `sparnet upscale` writes.

        Raises:
            ImageError: If it is no picture, or too small or large.
            NotServed: If there is no model that enlarges.
            Stopped: If there is no time for it.
        """
        upscaler = self._upscaler()
        with self._decoded(data, 1, ticket) as photo, working_for(ticket):
            face = upscaler.run([upscaler.prepare(photo.pixels)])[0]
            made = photo.with_pixels(face.sr)
            self.metrics.faces.inc()
            return UpscaledUpload(
                encode(made, suffix),
                encode(Photo(face.bicubic), ".png"),
                face.model,
                (*made.notes, *face.notes),
            )

    def attention(self, data: bytes, task: str, number: int, ticket: Ticket) -> tuple[str, list[Encoded]]:
        """Draw the attention maps of a face, in order of depth.

        Args:
            data: The file.
            task: `restore`: a face of a photo. `upscale`: a tiny face, or one that is reduced to it.
            number: Of the face in the photo, from 1.
            ticket: How long it may take.

        Returns:
            The name of the model, and its maps.

        Raises:
            ImageError: If it is no picture, or too small or large.
            NoFaceFound: If the photo has no such face.
            NotServed: If there is no model for the task, or its engine gives no maps.
            Stopped: If there is no time for it.
        """
        with self._decoded(data, 1, ticket) as photo:
            if task == "upscale":
                upscaler = self._upscaler()
                face = upscaler.prepare_reduced(photo.pixels)
                with working_for(ticket):
                    engine = upscaler.engine_of(upscaler.run([face])[0])
                read: AnyImage = as_known(face.lr, engine.info)
            else:
                if self.restoring is None:
                    raise NotServed("no model that restores photos is loaded")
                engine = self.restoring
                faces = self._remembering(data, lambda _: None).detect(photo.pixels)
                if number > len(faces):
                    raise NoFaceFound(f"face {number} was asked for, the photo shows {len(faces)}")
                read = align(photo.pixels, faces[number - 1], engine.info.input_size).image
        inner: Any = engine.engine if isinstance(engine, BatchingEngine) else engine
        if not hasattr(inner, "attention_maps"):
            raise NotServed("attention maps need the server's engine to be openvino")
        with self._drawing:  # all maps of a large face take memory; one face at a time
            ticket.check()
            maps = inner.attention_maps(read[None])
            pictures = [encode(Photo(draw_map(mean_map(one), size=_MAP_PX)), ".png") for one in maps]
        return engine.info.name, pictures

    def _upscaler(self) -> Upscaler:
        if self.upscaling is None:
            raise NotServed("no model that enlarges tiny faces is loaded")
        return self.upscaling

    @contextmanager
    def _decoded(self, data: bytes, upscale_factor: int, ticket: Ticket) -> Iterator[Photo]:
        """Decode a picture once its size is known to be allowed and there is room for it."""
        ticket.check()
        width, height = picture_size(data)
        pixels = width * height
        if pixels > self.settings.max_pixels:
            raise TooLarge(
                f"has {width:,} x {height:,} = {pixels:,} pixels; more than "
                f"{self.settings.max_pixels:,} are not taken here"
            )
        result = pixels * upscale_factor**2
        if result > self.settings.max_result_pixels:
            raise TooLarge(
                f"enlarged {upscale_factor} times it has {result:,} pixels; more than "
                f"{self.settings.max_result_pixels:,} are not made here"
            )
        with self._budget.use(pixels + result, ticket):
            yield decode_photo(data, max_pixels=self.settings.max_pixels)

    def _remembering(self, data: bytes, on_faces: Callable[[list[Face]], None]) -> "_RememberingDetector":
        return _RememberingDetector(self.detector, self._faces_found, hashlib.sha256(data).digest(), on_faces)


class TooLarge(ImageError):  # noqa: N818 - an `ImageError`, and named by what it is
    """A picture has more pixels than the server allows."""


@dataclass(frozen=True, eq=False)
class _RememberingDetector:
    """Finds the faces of one upload, and tells of them."""

    detector: Detector
    memory: Memory[bytes, list[Face]]
    key: bytes
    on_faces: Callable[[list[Face]], None]

    def detect(self, image: Image) -> list[Face]:
        """Return the faces of the photo, the largest first."""
        faces = self.memory.get(self.key)
        if faces is None:
            faces = self.detector.detect(image)
            self.memory.put(self.key, faces)
        self.on_faces(faces)
        return faces


def open_service(
    settings: Settings,
    metrics: Metrics,
    *,
    models: Sequence[str],
    engine: str = "openvino",
    threads: int | None = None,
    detector: str = "mtcnn",
) -> Service:
    """Load the models that a server needs: one that restores, and one or two that enlarge.

    Args:
        settings: Limits.
        metrics: Counters.
        models: Names or files of models, at most one of each kind; the defaults stand in for a kind
            that is not named. Without the default of restoring, photos are not restored.
        engine: What runs the models; see `sparnet.engine.open_engine`.
        threads: Threads of each; None uses all cores.
        detector: `mtcnn`, or the path of a YuNet file.

    Raises:
        WeightsError: If a model is missing, damaged, or one kind is named twice.
    """
    opened: dict[str, Engine] = {}
    for model in models:
        one = open_engine(model, engine=engine, threads=threads)
        if one.info.task in opened:
            kind = {"restore": "restore photos", "upscale": "enlarge tiny faces"}[one.info.task]
            raise WeightsError(f"{opened[one.info.task].info.name} and {one.info.name} both {kind}; name one")
        opened[one.info.task] = one
    if "restore" not in opened and DEFAULT_RESTORE in known_models():
        opened["restore"] = open_engine(DEFAULT_RESTORE, engine=engine, threads=threads)
    upscaler = (
        Upscaler(opened["upscale"]) if "upscale" in opened else Upscaler(engine=engine, threads=threads)
    )
    small_faces: Engine | None = None
    default = known_models().get(DEFAULT_SMALL_FACES)
    if "restore" in opened and default is not None:
        loaded = [one for one in (upscaler.engine, upscaler.finer) if one is not None]
        small_faces = next((one for one in loaded if one.info == default.info), None)
        if small_faces is None:
            small_faces = open_engine(DEFAULT_SMALL_FACES, engine=engine, threads=threads)
    return Service(
        settings,
        metrics,
        restoring=opened.get("restore"),
        upscaling=upscaler,
        small_faces=small_faces,
        detector=open_detector(detector, threads=threads),
    )


def readable_types() -> list[str]:
    """List the media types of pictures that can be read with what is installed."""
    types = {*MEDIA_TYPES.values(), "image/gif"}
    if importlib.util.find_spec("pillow_heif") is None:
        types.discard("image/heic")
    return sorted(types)


def encode(photo: Photo, suffix: str) -> Encoded:
    """Encode a photo as the command line writes it.

    Raises:
        ImageError: If the photo is too large for the format.
    """
    height, width = photo.pixels.shape[:2]
    return Encoded(encode_photo(photo, suffix), suffix, width, height)


def _crops(made: RestoredPhoto, photo: Photo, suffix: str) -> dict[int, tuple[Encoded, Encoded]]:
    crops = {}
    for face in made.faces:
        if face.aligned is None or face.restored is None:
            continue
        pictures = []
        for picture in (mix(face.aligned, face.restored, 1), face.restored):
            crop = Photo(picture, is_gray=photo.is_gray, icc_profile=photo.icc_profile)
            pictures.append(encode(crop.with_pixels(picture), suffix))
        crops[face.number] = (pictures[0], pictures[1])
    return crops


def _is_hidden(photo: Photo, suffix: str) -> bool:
    return photo.format not in _SHOWN_BY_BROWSERS or suffix in {".tif", ".tiff", ".heic"}


def _shown(photo: Photo) -> Encoded:
    """Make a picture that every browser shows, in the photo's own colours."""
    height, width = photo.pixels.shape[:2]
    share = min(1.0, _SHOWN_PX / max(height, width))
    pixels: AnyImage = photo.pixels
    if share < 1:
        smaller = PIL.Image.fromarray(photo.pixels)
        smaller.thumbnail((_SHOWN_PX, _SHOWN_PX), PIL.Image.Resampling.LANCZOS)
        pixels = np.array(smaller)
    shown = replace(
        photo, pixels=pixels, alpha=None, deep=None, deep_alpha=None, exif=None, xmp=None, dpi=None
    )
    return encode(shown, ".jpg")


def _notes(made: RestoredPhoto, choices: Choices) -> Iterator[str]:
    if not made.faces:
        yield "no face found; " + (
            "enlarged only" if choices.upscale_factor > 1 else "the photo is as it was"
        )
    if made.is_changed:
        yield from made.photo.notes


__all__ = ["Choices", "NotServed", "Service", "Stopped", "TooLarge", "open_service"]
