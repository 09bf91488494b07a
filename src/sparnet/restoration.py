"""Restore photos: find the faces, let a network restore each, put them back.

Faces of several photos share batches, and each is put back as soon as it is made, so that memory is
bounded by the batch and by `HELD_PIXELS`, however many faces a photo shows and however many photos
there are.
"""

import functools
import math
import operator
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
import PIL.Image
from jaxtyping import Float, UInt8

from sparnet.background import Background, check_enlarged_size, open_background
from sparnet.engine import Engine, open_engine
from sparnet.engine.base import Precision
from sparnet.errors import ImageError, SparnetError, WeightsError
from sparnet.faces.align import AlignedFace, AlignmentError, align, resampled, square_in_photo, template
from sparnet.faces.detect import Detector, Face, open_detector
from sparnet.faces.paste import face_mask, paste_all
from sparnet.faces.select import Chosen, select_faces
from sparnet.image import Image, Photo, check_image, read_photo, resize_bicubic, show_path
from sparnet.small_faces import SHARE_OF_SQUARE, SMALL_FACE_PX, SmallFaceEnlarger
from sparnet.upscaling import SMALLEST_PX
from sparnet.weights.catalog import DEFAULT_RESTORE, DEFAULT_SMALL_FACES, known_models

LARGEST_FACTOR = 8
"""By how much a photo is enlarged at most."""
HELD_PIXELS = 64_000_000
"""Pixels of photos that wait for their faces; beyond, a batch is run before it is full."""
LARGE_PIXELS = 16_000_000
"""Pixels of a photo, or of its result, beside which no other is opened or written."""
_HELD_PHOTOS = 16
_BAND_PIXELS = 4_000_000
# The least that a detector is asked for unless a smaller face is wanted; its own least is 12.
_DETECTED_PX = (12, 20)
_RESTORED_COLOUR, _LEFT_COLOUR = (40, 220, 80), (250, 160, 30)

Similarity: TypeAlias = Callable[[Image, Image], float]
"""Says how alike the same person is in two pictures of a face aligned alike, of one size."""


@dataclass(frozen=True, eq=False)
class RestoredFace:
    """A face of a photo, and what became of it."""

    number: int
    """Its number in the photo, from 1, the largest first."""
    box: tuple[float, float, float, float]
    """Left, top, right and bottom edge in px of the photo as it was."""
    score: float
    """How sure the detector is, 0..1."""
    size_px: float
    """Longer side of the box."""
    points: Float[np.ndarray, "5 2"]
    """Eyes, nose and mouth corners in px of the photo as it was; see `sparnet.faces.detect.Face`."""
    skipped: str | None = None
    """Why the face was left as it is; None if it was restored."""
    enlarged_by: str | None = None
    """The model for tiny faces that saw it first; None if none did. See `sparnet.small_faces`."""
    seconds: float = 0.0
    """Time taken, its share of the batch's included."""
    identity: float | None = None
    """How alike the restored face and the face as it was are, if that was asked for."""
    aligned: UInt8[np.ndarray, "a a 3"] | None = None
    """The face as the network read it, if faces were asked for."""
    restored: UInt8[np.ndarray, "r r 3"] | None = None
    """The face as it was put back, before the photo's tones are matched; if faces were asked for."""


@dataclass(frozen=True, eq=False)
class Restoration:
    """A picture with its faces restored."""

    image: Image
    """The picture."""
    faces: tuple[RestoredFace, ...]
    """All its faces, in the order of their numbers."""


@dataclass(frozen=True, eq=False)
class RestoredPhoto:
    """A photo with its faces restored, and all else that it holds."""

    photo: Photo
    """The photo."""
    faces: tuple[RestoredFace, ...]
    """All its faces, in the order of their numbers."""
    is_changed: bool
    """Whether any pixel can differ from the photo as it was: a face was restored, or it was enlarged."""
    seconds: float
    """Time taken for this photo, reading not included."""


@dataclass(frozen=True, eq=False)
class RestoredFile:
    """What became of one of many photos: it, or an error."""

    source: Path
    """The file."""
    result: RestoredPhoto | None
    """The photo restored, or None if that could not be done."""
    error: SparnetError | None
    """Why not; its message begins with the file's name."""


OnFace: TypeAlias = Callable[[Path, Photo, RestoredFace], None]
"""Is given the file, the photo as it was, and a face restored, with its pictures."""


class Restorer:
    """A model and a detector kept loaded, for many photos. It may be used by several threads.

    Args:
        model: Name of a model of the catalog, path of a model file, or an engine already loaded.
        engine: What runs the model; see `sparnet.engine.open_engine`.
        precision: Arithmetic of the engine; see `sparnet.engine.open_engine`.
        threads: Threads of each model that is opened, of MTCNN too; None uses all cores.
        batch_size: Faces the engine is given at once; memory grows with it.
        detector: `mtcnn`, the path of a YuNet file, or any `Detector`.
        upscale_factor: 1 keeps the photo's size; 2 to 8 enlarge it, by Lanczos where no face is.
        fidelity: How much of the face as it was is mixed into the restored one, from 0, what the
            network makes, to 1, the face as it was.
        aligned: Whether each picture is itself a face, aligned as FFHQ's and square. It is
            resized to what the model reads, and the result is as large as the model makes it. No face is
            looked for: `detector` and what chooses among faces have no say.
        only_center_face: Whether only the face nearest to the middle is restored.
        max_faces: How many faces of a photo at most, the largest; None for all.
        min_face_px: Smaller faces are left as they are. MTCNN and YuNet look for faces from 20 px on, or from
            this, 12 px at the least, where it is less; in a tiny picture for smaller ones as well.
        numbers: The faces wanted, from 1, the largest first; None for all.
        color_match: How much of the difference in tone between a restored face and the photo is
            undone, 0 (none) to 1.
        identity: Measures how alike each restored face and the face as it was are; None does not.
        small_faces: What enlarges small faces before the model restores them: `auto` (`sparnet-x4`),
            `off` (nothing), or the name, file or engine of a model that enlarges.
        small_face_px: Which faces are small: those of at most so many px (`RestoredFace.size_px`).
        background: What enlarges the photo around the faces, where `upscale_factor` is 2 or more: an
            ONNX file (see `sparnet.background.BackgroundModel`) or any `Background`; None is Lanczos.

    Raises:
        WeightsError: If the model or detector is missing or damaged, or does not restore.
        ValueError: If an argument is out of range.
        TypeError: If `batch_size`, `max_faces` or one of `numbers` is not a whole number.
    """

    def __init__(
        self,
        model: str | Path | Engine = DEFAULT_RESTORE,
        *,
        engine: str = "openvino",
        precision: Precision = "auto",
        threads: int | None = None,
        batch_size: int = 4,
        detector: str | Path | Detector = "mtcnn",
        upscale_factor: int = 1,
        fidelity: int | float = 0,
        aligned: bool = False,
        only_center_face: bool = False,
        max_faces: int | None = None,
        min_face_px: int | float | None = None,
        numbers: Iterable[int] | None = None,
        color_match: int | float = 0.7,
        identity: Similarity | None = None,
        small_faces: str | Path | Engine = "auto",
        small_face_px: int | float = SMALL_FACE_PX,
        background: str | Path | Background | None = None,
    ) -> None:
        # An iterator could be read only once; 1.5 would equal no count and no number.
        numbers = None if numbers is None else tuple(map(operator.index, numbers))
        batch_size = operator.index(batch_size)
        max_faces = None if max_faces is None else operator.index(max_faces)
        if batch_size < 1:
            raise ValueError(f"batch_size must be 1 or more, got {batch_size}")
        if not isinstance(upscale_factor, int | np.integer) or not 1 <= upscale_factor <= LARGEST_FACTOR:
            raise ValueError(
                f"upscale_factor must be a whole number from 1 to {LARGEST_FACTOR}, got {upscale_factor}"
            )
        for name, value in (("min_face_px", min_face_px), ("small_face_px", small_face_px)):
            if value is not None and not 0 <= value < math.inf:
                raise ValueError(f"{name} must be a number from 0 on, got {value}")
        if aligned and upscale_factor != 1:
            raise ValueError("an aligned face is as large as the model makes it: upscale_factor must be 1")
        if background is not None and upscale_factor == 1:
            raise ValueError("a background's model enlarges the photo: upscale_factor must be 2 or more")
        for name, value in (("fidelity", fidelity), ("color_match", color_match)):
            if not 0 <= value <= 1:
                raise ValueError(f"{name} must be from 0 to 1, got {value}")
        if max_faces is not None and max_faces < 1:
            raise ValueError(f"max_faces must be 1 or more, got {max_faces}")
        for number in numbers or ():
            if number < 1:
                raise ValueError(f"faces are numbered from 1, got {number}")
        self.batch_size = batch_size
        self.upscale_factor = _plain(upscale_factor)
        self.fidelity = _plain(fidelity)
        self.aligned = aligned
        self.only_center_face = only_center_face
        self.max_faces = max_faces
        self.min_face_px = _plain(min_face_px)
        self.numbers = numbers
        self.color_match = _plain(color_match)
        self.identity = identity
        if isinstance(model, str | Path):
            _check_default(model)
            model = open_engine(model, engine=engine, precision=precision, threads=threads)
        self.engine: Engine = model
        self.info = model.info
        if self.info.task != "restore":
            raise WeightsError(
                f"{self.info.name} enlarges tiny faces (sparnet upscale); it does not restore photos"
            )
        self.small_face_px = _plain(small_face_px)
        self._open_enlarger = functools.partial(
            open_engine, engine=engine, precision=precision, threads=threads
        )
        self._small_faces = small_faces
        if small_faces not in ("auto", "off"):  # what the user names is opened, or refused, at once
            _ = self._enlarger
        self._background = None if background is None else open_background(background, threads=threads)
        self._detector: Detector | None = None
        if not aligned:
            least, usual = _DETECTED_PX
            wanted = usual if min_face_px is None else max(least, min(usual, int(min_face_px)))
            if isinstance(detector, str | Path):
                detector = open_detector(detector, min_face_px=wanted, threads=threads)
            self._detector = detector

    def restore(self, image: Image, *, keep_faces: bool = False) -> Restoration:
        """Restore the faces of a picture.

        Args:
            image: A photo of any size; it is not changed.
            keep_faces: Whether the result holds each face's pictures, before and after.

        Returns:
            A picture of the same size, or enlarged; without faces, a copy of the picture.

        Raises:
            ImageError: If the picture is empty, or too large to be enlarged.
            TypeError, ValueError: If it is no array of 8 bits, H x W x 3.
            NoFaceFound: If a face was asked for by a number that the picture does not have.
        """
        made = self.restore_photo(Photo(pixels=image), keep_faces=keep_faces)
        pixels = made.photo.pixels if made.is_changed else made.photo.pixels.copy()
        return Restoration(pixels, made.faces)

    def restore_photo(self, photo: Photo, *, keep_faces: bool = False) -> RestoredPhoto:
        """Restore the faces of a photo, keeping its transparency, gray, 16 bits, profile and EXIF.

        See `restore`.
        """
        work = self._begin(photo)
        work.keeps_faces = keep_faces
        for _ in self._stream([(None, work)], None):
            pass
        return self._finish(work)

    def restore_stream(
        self, images: Iterable[Image], *, detector: Detector | None = None
    ) -> Iterator[RestoredPhoto]:
        """Restore pictures in order, as the frames of a video, sharing batches in bounded memory.

        Args:
            images: The pictures, asked for when their turn comes.
            detector: What finds their faces, each right after it was asked for; None is the restorer's.

        Raises:
            ImageError: If a picture is empty, or too large to be enlarged.
        """
        items = ((None, self._begin(Photo(pixels=image), detector)) for image in images)
        for _, work in self._stream(items, None):
            if isinstance(work, _Work):
                yield self._finish(work)

    @property
    def detector(self) -> Detector:
        """What finds the faces.

        Raises:
            ValueError: If pictures are aligned faces already.
        """
        if self._detector is None:
            raise ValueError("aligned faces are not looked for")
        return self._detector

    def named_parts(self) -> dict[str, str]:
        """Name what the restorer was put together of, for reports and for going on with work."""
        small = self._small_faces
        named = small if isinstance(small, str | Path) else small.info.name
        background = self._background
        path = getattr(background, "path", type(background).__name__)
        return {"model": self.info.name, "small_faces": str(named), "background": str(path)}

    def restore_many(
        self, sources: Iterable[str | Path], *, on_face: OnFace | None = None, ahead: bool = True
    ) -> Iterator[RestoredFile]:
        """Restore photos from files, in order, each as soon as it and those before are done.

        A file that cannot be read, is too large, also for the memory, or lacks a face that was asked for,
        gives an error in its place; the others go on.

        Args:
            sources: The files, each asked for when its turn comes to be read.
            on_face: Called with each face restored; the results hold no pictures of faces.
            ahead: Whether a photo is read, and its faces found, while those before are worked on; large
                ones are not. Off where other processes keep the cores busy.
        """
        if isinstance(sources, str | Path):
            raise TypeError(f"sources must be several files, got one name: {str(sources)!r}")
        opened = self._open_ahead(sources) if ahead else map(self._open_one, sources)
        for source, work in self._stream(opened, on_face):
            path = Path(source or "")
            if isinstance(work, SparnetError):
                yield RestoredFile(path, None, work)
                continue
            try:
                outcome = RestoredFile(path, self._finish(work), None)
            except MemoryError:
                outcome = RestoredFile(path, None, ImageError(f"{show_path(path)}: not enough memory"))
            yield outcome

    @functools.cached_property
    def _enlarger(self) -> SmallFaceEnlarger | None:
        """What small faces are enlarged by, loaded when the first is met."""
        model = self._small_faces
        if isinstance(model, str | Path):
            if model == "off" or (model == "auto" and DEFAULT_SMALL_FACES not in known_models()):
                return None
            model = self._open_enlarger(DEFAULT_SMALL_FACES if model == "auto" else model)
        return SmallFaceEnlarger(model)

    def _open_ahead(self, sources: Iterable[str | Path]) -> "Iterator[_Item]":
        """Open photos, the next one already while the one before is worked on, unless that is large."""
        with ThreadPoolExecutor(1, thread_name_prefix="sparnet-ahead") as thread:
            opening: Future[_Item] | None = None
            for source in sources:
                opened = None if opening is None else opening.result()
                if opened is not None and _pixels(opened) > LARGE_PIXELS:
                    yield opened
                    opened = None
                opening = thread.submit(self._open_one, source)
                if opened is not None:
                    yield opened
            if opening is not None:
                yield opening.result()

    def _open_one(self, source: str | Path) -> "_Item":
        try:
            photo = read_photo(source)
        except ImageError as error:
            return Path(source), error
        try:
            with _memory_errors():
                return Path(source), self._begin(photo)
        except SparnetError as error:
            return Path(source), type(error)(f"{show_path(source)}: {error}")
        except MemoryError:
            return Path(source), ImageError(f"{show_path(source)}: not enough memory")

    def _stream(self, items: "Iterable[_Item]", on_face: OnFace | None) -> "Iterator[_Item]":
        """Restore the faces of photos in shared batches; yield photos in order, when done."""
        held: deque[_Item] = deque()
        tasks: list[_Task] = []
        for source, work in items:
            held.append((source, work))
            if isinstance(work, _Work):
                for chosen in work.chosen:
                    tasks.append(_Task(source, work, chosen))
                    if len(tasks) == self.batch_size:
                        self._run(tasks, on_face)
                        tasks = []
            if _is_much(held):
                self._run(tasks, on_face)
                tasks = []
            while held and not _waits(held[0]):
                yield held.popleft()
        self._run(tasks, on_face)
        yield from held

    def _begin(self, photo: Photo, detector: Detector | None = None) -> "_Work":
        """Find and choose a photo's faces, and enlarge it; all that can fail happens here."""
        started = time.perf_counter()
        check_image(photo.pixels)
        if photo.pixels.size == 0:
            raise ImageError("the picture is empty")
        if self.aligned:
            work = self._begin_face(photo)
        else:
            work = self._begin_photo(photo, detector or self.detector)
        work.seconds = time.perf_counter() - started
        return work

    def _begin_face(self, photo: Photo) -> "_Work":
        height, width = photo.pixels.shape[:2]
        if min(height, width) < SMALLEST_PX:
            raise ImageError(
                f"{width} x {height} px is too small: expected an aligned face of at least {SMALLEST_PX} px"
            )
        if height != width:
            raise ImageError(
                f"{width} x {height} px is not square: expected an aligned face; "
                "faces of a photo are found where it is not said to be aligned"
            )
        face = Face((0.0, 0.0, float(width), float(height)), 1.0, template(width))
        return _Work(photo, [Chosen(1, face)], {}, {}, None)

    def _begin_photo(self, photo: Photo, detector: Detector) -> "_Work":
        height, width = photo.pixels.shape[:2]
        faces = detector.detect(photo.pixels)
        selection = select_faces(
            faces,
            (width, height),
            numbers=self.numbers,
            min_face_px=self.min_face_px or 0,
            only_center_face=self.only_center_face,
            max_faces=self.max_faces,
        )
        done = {left.number: _report(left.number, left.face, left.reason) for left in selection.skipped}
        factor, side = self.upscale_factor, self.info.input_size
        shape = (height * factor, width * factor)
        chosen, places = [], {}
        for one in selection.chosen:
            try:
                transform = align(photo.pixels, one.face, side).transform
            except AlignmentError as error:
                done[one.number] = _report(one.number, one.face, str(error))
                continue
            transform = resampled(transform, (float(factor), float(factor)))
            places[one.number] = _Place(transform, side, square_in_photo(transform, side, shape, margin=1))
            chosen.append(one)
        if factor > 1:
            canvas = self._enlarged(photo.pixels, list(places.values()))
        else:
            canvas = photo.pixels.copy() if chosen else photo.pixels
        return _Work(photo, chosen, places, done, canvas)

    def _enlarged(self, pixels: Image, places: "Sequence[_Place]") -> np.ndarray:
        """Enlarge a photo: by Lanczos where faces go, by the background's model elsewhere.

        What is put in for a face is its difference to the plain photo, so that it must not meet another.
        """
        factor = self.upscale_factor
        if self._background is None:
            return enlarge(pixels, factor)
        canvas = self._background.enlarge(pixels, factor)
        for place in places:
            left, top, right, bottom = place.rectangle
            if right > left and bottom > top:
                plain = _enlarged_part(pixels, factor, place.rectangle).astype(np.float32)
                part = canvas[top:bottom, left:right]
                mask = face_mask(place.seen_from(0, 0, 512), place.rectangle)[:, :, None]
                part[:] = np.rint(part + mask * (plain - part)).astype(np.uint8)
        return canvas

    def _first_enlarged(
        self, tasks: "Sequence[_Task]", aligned: "Sequence[AlignedFace]"
    ) -> tuple[list[np.ndarray], list[str | None]]:
        """Return what the model reads: small faces as the model for tiny faces makes them."""
        share = SHARE_OF_SQUARE if self.aligned else 1
        seen: list[np.ndarray] = [face.image for face in aligned]
        names: list[str | None] = [None for _ in tasks]
        small = [
            index
            for index, task in enumerate(tasks)
            if task.chosen.face.size_px * share <= self.small_face_px
        ]
        if small and self._small_faces != "off" and self._enlarger is not None:
            pairs = [(tasks[index].work.photo.pixels, aligned[index]) for index in small]
            for index, made in zip(small, self._enlarger.run(pairs), strict=True):
                if made is not None:
                    seen[index], names[index] = made, self._enlarger.info.name
        return seen, names

    def _run(self, tasks: "Sequence[_Task]", on_face: OnFace | None) -> None:
        """Restore a batch of faces and put each into its photo; one by one if they do not fit together.

        A photo one of whose faces does not fit by itself is given up; the others go on.
        """
        tasks = [task for task in tasks if not task.work.lacks_memory]
        if not tasks:
            return
        started = time.perf_counter()
        made = self._make(tasks)
        if made is None and len(tasks) == 1:
            tasks[0].work.give_up()
            return
        if made is None:
            for task in tasks:
                self._run([task], on_face)
            return
        share = (time.perf_counter() - started) / len(tasks)
        for task, (read, sr, enlarger) in zip(tasks, made, strict=True):
            work, number = task.work, task.chosen.number
            if work.lacks_memory:
                continue
            started = time.perf_counter()
            try:
                with _memory_errors():
                    face = self._put_in(task, read, sr)
            except MemoryError:
                work.give_up()
                continue
            face = replace(face, enlarged_by=enlarger, seconds=share + time.perf_counter() - started)
            work.seconds += face.seconds
            work.done[number] = face if work.keeps_faces else replace(face, aligned=None, restored=None)
            if on_face is not None and task.source is not None:
                on_face(task.source, work.photo, face)

    def _make(self, tasks: "Sequence[_Task]") -> list[tuple[np.ndarray, np.ndarray, str | None]] | None:
        """Return each face as it was cut out, what the network makes of it, and what enlarged it first.

        None if memory does not suffice for all of them at once.
        """
        side = self.info.input_size
        try:
            with _memory_errors():
                if self.aligned:
                    aligned = [_whole(task.work.photo.pixels, side) for task in tasks]
                else:
                    aligned = [align(task.work.photo.pixels, task.chosen.face, side) for task in tasks]
                seen, enlarged_by = self._first_enlarged(tasks, aligned)
                made = self.engine.run(np.stack(seen))
        except MemoryError:
            return None
        return list(zip([face.image for face in aligned], made, enlarged_by, strict=True))

    def _put_in(self, task: "_Task", read: np.ndarray, sr: np.ndarray) -> RestoredFace:
        """Put a face that the network made into its photo, and report on it, its pictures included."""
        work, number = task.work, task.chosen.number
        restored = mix(read, sr, self.fidelity)
        if self.aligned:
            work.canvas = restored
        else:
            self._paste(work, number, AlignedFace(read, work.places[number].transform), restored)
        return replace(
            _report(number, task.chosen.face),
            aligned=read,
            restored=restored,
            identity=None if self.identity is None else self.identity(restored, _resize(read, len(sr))),
        )

    def _paste(
        self, work: "_Work", number: int, aligned: AlignedFace, restored: UInt8[np.ndarray, "r r 3"]
    ) -> None:
        """Put one face into its photo's canvas; the result is that of all faces put in at once.

        Where masks overlap, each face's share depends on the others'. These take part as faces
        that change nothing, so that none of them need be there yet.
        """
        place = work.places[number]
        left, top, right, bottom = place.rectangle
        if work.canvas is None or right <= left or bottom <= top:
            return
        part = work.canvas[top:bottom, left:right]
        pairs = [(restored, AlignedFace(aligned.image, place.seen_from(left, top, aligned.size)))]
        for other, rival in work.places.items():
            if other != number and _meet(rival.rectangle, place.rectangle):
                pairs.append((_BLANK, AlignedFace(_BLANK, rival.seen_from(left, top, len(_BLANK)))))
        part[:] = paste_all(part, pairs, color_match=self.color_match)

    def _finish(self, work: "_Work") -> RestoredPhoto:
        started = time.perf_counter()
        if work.lacks_memory:
            raise MemoryError("not enough memory to restore a face")
        faces = tuple(work.done[number] for number in sorted(work.done))
        changed = self.upscale_factor > 1 or any(face.skipped is None for face in faces)
        photo = work.photo
        if changed and work.canvas is not None:
            photo = photo.with_pixels(work.canvas)
        seconds = work.seconds + time.perf_counter() - started
        return RestoredPhoto(photo, faces, changed, seconds)


def restore(
    image: Image,
    model: str | Path | Engine = DEFAULT_RESTORE,
    *,
    upscale_factor: int = 1,
    fidelity: int | float = 0,
    aligned: bool = False,
    only_center_face: bool = False,
    engine: str = "openvino",
) -> Restoration:
    """Restore the faces of a picture; for many pictures, and more options, keep a `Restorer`.

    Args:
        image: A photo of any size.
        model: Name or file of a model.
        upscale_factor: 1 keeps the photo's size; 2 to 8 enlarge it.
        fidelity: From 0, what the network makes, to 1, the face as it was.
        aligned: Whether the picture is itself an aligned face.
        only_center_face: Whether only the face nearest to the middle is restored.
        engine: See `sparnet.engine.open_engine`.

    Returns:
        The picture and its faces; of a picture without faces a copy, or it enlarged.

    Raises:
        ImageError: If the picture is empty, or too large to be enlarged.
        WeightsError: If there is no such model.
        ValueError: If an argument is out of range.
    """
    restorer = Restorer(
        model,
        engine=engine,
        upscale_factor=upscale_factor,
        fidelity=fidelity,
        aligned=aligned,
        only_center_face=only_center_face,
    )
    return restorer.restore(image)


def mix(
    read: UInt8[np.ndarray, "a a 3"], sr: UInt8[np.ndarray, "r r 3"], fidelity: int | float
) -> UInt8[np.ndarray, "r r 3"]:
    """Return `fidelity * read + (1 - fidelity) * sr`, at the size of `sr`.

    Args:
        read: An aligned face, as the network read it.
        sr: What the network made of it.
        fidelity: From 0 to 1.
    """
    if fidelity == 0:
        return sr
    weight = np.float32(fidelity)
    return np.rint(weight * _resize(read, len(sr)) + (1 - weight) * sr).astype(np.uint8)


def enlarge(image: Image, factor: int) -> UInt8[np.ndarray, "h2 w2 3"]:
    """Enlarge a picture by Lanczos, in bands of rows, which change no value and bound the memory.

    Args:
        image: A picture.
        factor: By how much, in both directions.

    Raises:
        ImageError: If the result has more than `sparnet.image.MAX_PIXELS` pixels.
    """
    check_enlarged_size(image, factor)
    height, width = image.shape[:2]
    result = np.empty((height * factor, width * factor, 3), dtype=np.uint8)
    rows = max(1, _BAND_PIXELS // (width * factor**2))
    reach = 3  # source px that Lanczos reads on each side
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        first, last = max(0, top - reach), min(height, bottom + reach)
        # In two steps: in one, Pillow chooses by the band's shape which direction comes first, and what
        # is clipped between them shows.
        taller = PIL.Image.fromarray(np.ascontiguousarray(image[first:last])).resize(
            (width, (bottom - top) * factor),
            PIL.Image.Resampling.LANCZOS,
            box=(0, top - first, width, bottom - first),
        )
        band = taller.resize((width * factor, taller.height), PIL.Image.Resampling.LANCZOS)
        result[top * factor : bottom * factor] = np.asarray(band)
    return result


def draw_boxes(image: Image, faces: Sequence[RestoredFace], *, upscale_factor: int = 1) -> Image:
    """Draw each face's box, number and score on a copy of a picture; faces left as they are in orange.

    Args:
        image: The photo, or an enlarged copy of it.
        faces: Its faces.
        upscale_factor: By how much it was enlarged.
    """
    drawn = np.ascontiguousarray(image).copy()
    height, width = image.shape[:2]
    thickness = max(1, round(max(height, width) / 800))
    letters = max(0.4, max(height, width) / 2000)
    for face in faces:
        colour = _RESTORED_COLOUR if face.skipped is None else _LEFT_COLOUR
        left, top, right, bottom = (round(edge * upscale_factor) for edge in face.box)
        cv2.rectangle(drawn, (left, top), (right - 1, bottom - 1), colour, thickness)
        text = f"{face.number}: {face.score:.2f}"
        (wide, high), below = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, letters, thickness)
        x = max(0, min(left, width - wide))
        y = top - below if top - below - high >= 0 else min(height - below, bottom + high + below)
        # A dark rim, so that the words can be read on any ground.
        for edge, ink in ((3 * thickness, (0, 0, 0)), (thickness, colour)):
            cv2.putText(drawn, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, letters, ink, edge, cv2.LINE_AA)
    return drawn


Rectangle: TypeAlias = tuple[int, int, int, int]


@dataclass(frozen=True, eq=False)
class _Place:
    """Where a face goes."""

    transform: Float[np.ndarray, "2 3"]
    """From px of the photo, enlarged if it is, to px of the aligned square."""
    side: int
    """Of the aligned square."""
    rectangle: Rectangle
    """Left, top, right and bottom of the px that can change."""

    def seen_from(self, left: int, top: int, side: int) -> Float[np.ndarray, "2 3"]:
        """Return the transform from a part of the photo to a square of another side."""
        transform = self.transform.copy()
        transform[:, 2] += transform[:, :2] @ [left, top]
        transform *= side / self.side
        transform[:, 2] += 0.5 * side / self.side - 0.5
        return transform


@dataclass(eq=False)
class _Work:
    """A photo on its way."""

    photo: Photo
    """The photo as it was."""
    chosen: list[Chosen]
    """The faces to restore."""
    places: dict[int, _Place]
    """Where they go, by their numbers."""
    done: dict[int, RestoredFace]
    """The faces that are restored or left as they are, by their numbers."""
    canvas: np.ndarray | None
    """The photo as it will be, or None for an aligned face that is not made yet."""
    seconds: float = 0.0
    """Time taken."""
    keeps_faces: bool = False
    """Whether `done` keeps the pictures of faces."""
    lacks_memory: bool = False
    """Whether memory did not suffice for one of its faces."""

    def give_up(self) -> None:
        """End the work on the photo, for want of memory."""
        self.lacks_memory = True
        self.canvas = None


@contextmanager
def _memory_errors() -> Iterator[None]:
    """Turn OpenCV's error for a lack of memory into Python's.

    Raises:
        MemoryError: If memory does not suffice.
    """
    try:
        yield
    except cv2.error as error:
        if error.code != cv2.Error.StsNoMem:
            raise
        raise MemoryError("OpenCV: not enough memory") from None


@dataclass(frozen=True, eq=False)
class _Task:
    """A face for the engine."""

    source: Path | None
    work: _Work = field(repr=False)
    chosen: Chosen


_Item: TypeAlias = tuple[Path | None, _Work | SparnetError]
_BLANK: np.ndarray = np.zeros((8, 8, 3), dtype=np.uint8)


def _waits(item: _Item) -> bool:
    _, work = item
    if not isinstance(work, _Work) or work.lacks_memory:
        return False
    return any(chosen.number not in work.done for chosen in work.chosen)


def _pixels(item: _Item) -> int:
    """Count the pixels of a photo, or of its result where that is larger."""
    _, work = item
    if not isinstance(work, _Work):
        return 0
    return max(work.photo.pixels.size, 0 if work.canvas is None else work.canvas.size) // 3


def _is_much(held: Iterable[_Item]) -> bool:
    """Say whether no more photos should wait for their faces."""
    pixels = [_pixels(item) for item in held]
    return len(pixels) >= _HELD_PHOTOS or sum(pixels) > HELD_PIXELS


def _report(number: int, face: Face, skipped: str | None = None) -> RestoredFace:
    return RestoredFace(number, face.box, face.score, face.size_px, face.points, skipped)


def _meet(one: Rectangle, other: Rectangle) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _whole(picture: Image, side: int) -> AlignedFace:
    """Take a picture that is an aligned face as cut out of itself."""
    factor = side / len(picture)
    shift = 0.5 * factor - 0.5
    transform = np.array([[factor, 0, shift], [0, factor, shift]])
    return AlignedFace(resize_bicubic(picture, side, side), transform)


def _enlarged_part(image: Image, factor: int, rectangle: Rectangle) -> UInt8[np.ndarray, "h2 w2 3"]:
    """Enlarge by Lanczos only what a rectangle of the enlarged picture shows."""
    left, top, right, bottom = rectangle
    reach = 3  # source px that Lanczos reads on each side
    x, y = max(0, left // factor - reach), max(0, top // factor - reach)
    part = image[y : -(-bottom // factor) + reach, x : -(-right // factor) + reach]
    large = enlarge(np.ascontiguousarray(part), factor)
    return large[top - y * factor : bottom - y * factor, left - x * factor : right - x * factor]


def _resize(face: UInt8[np.ndarray, "a a 3"], size: int) -> UInt8[np.ndarray, "r r 3"]:
    """Resize an aligned face as `paste_all` does, so that a face mixed with itself changes nothing."""
    if size == len(face):
        return face
    method = cv2.INTER_AREA if size < len(face) else cv2.INTER_CUBIC
    return cv2.resize(face, (size, size), interpolation=method)


def _plain(number: int | float | None) -> Any:
    """Return a number of NumPy as one of Python, which can be written as JSON."""
    return number.item() if isinstance(number, np.generic) else number


def _check_default(model: str | Path) -> None:
    """Say plainly that the default model is not there, where that is so."""
    known = known_models()
    if str(model) != DEFAULT_RESTORE or DEFAULT_RESTORE in known or Path(model).is_file():
        return
    restoring = ", ".join(name for name, entry in known.items() if entry.info.task == "restore")
    raise WeightsError(
        f"the model {DEFAULT_RESTORE} is not here; models that restore photos: {restoring or 'none'}; "
        "name one of them, or any model file"
    )
