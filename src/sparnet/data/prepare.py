"""Make faces to train and to judge on out of photos, as the paper did.

`celeba`: rough crops of faces in the wild, 128 px, for SPARNet. `ffhq`: FFHQ's aligned faces at
512 px, for SPARNetHD. `natural`: small faces as they are found, aligned and enlarged to 512 px, to
judge SPARNetHD on. docs/data.md has the steps, where the paper says so, and what is ours.

The folder made can be trained on as it is. Its `manifest.jsonl` has a line for each face looked at,
and for each photo without one. A run that was stopped, even killed, goes on where it was: one
process alone writes, a file takes its name when it is whole, and its line follows it.
"""

import csv
import functools
import hashlib
import io
import json
import multiprocessing
import os
import signal
import stat
import sys
import tarfile
import threading
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, TypeAlias

import cv2
import numpy as np
import PIL.Image
from jaxtyping import UInt8
from pydantic import Field, ValidationError, model_validator

from sparnet.config import Config
from sparnet.errors import DataError, ImageError
from sparnet.faces.align import AlignmentError, align
from sparnet.faces.detect import Detector, Face, open_detector
from sparnet.files import replacing
from sparnet.image import Image, find_pictures, read_image, resize_bicubic, show_path

MANIFEST = "manifest.jsonl"
"""Name of the file in the output folder that says what became of each photo."""
SETTINGS = "prepare.json"
"""Name of the file in the output folder that says how it was made."""
PACK_BYTES = 14 * 2**20
"""Largest size of a tar in a pack."""

_SPLITS = {"0": "train", "1": "val", "2": "test"}
_INDEX_COLUMNS = ("file", "shard", "source", "identity", "terms", "px", "path")
_LOCK = ".sparnet-prepare.lock"
# Level 6, Pillow's own choice, takes twice as long and saves 3 % of a face of 512 px.
_PNG_LEVEL = 3
# Photos in work or waiting to be written, for each worker: a slow one keeps the others busy.
_PHOTOS_A_WORKER = 8


class CelebaConfig(Config):
    """How a photo in the wild becomes a rough crop, for SPARNet.

    Source: "Training Data" in section IV-A1.
    """

    kind: Literal["celeba"] = "celeba"
    """Which preparation this is."""
    size_px: int = Field(default=128, ge=16)
    """Side of the pictures made."""
    margin: float = Field(default=1.35, ge=1, le=4)
    """Side of the crop, in longer sides of the face's box."""
    larger_than_px: int = Field(default=128, ge=0)
    """Crops must be larger than this before they are resized: the crop's side, not the face's."""
    min_face_px: int = Field(default=40, ge=12)
    """Smallest face looked for. By the other defaults, one of 95 px is the smallest kept."""
    detector: str = "mtcnn"
    """What finds faces: mtcnn, or the path of a YuNet file in ONNX."""


class FfhqConfig(Config):
    """How a face of FFHQ becomes smaller, for SPARNetHD.

    Source: "Training data" in section IV-B1.
    """

    kind: Literal["ffhq"] = "ffhq"
    """Which preparation this is."""
    size_px: int = Field(default=512, ge=16)
    """Side of the pictures made."""
    filter: Literal["bilinear", "bicubic"] = "bilinear"
    """Pillow's filter, widened so that nothing is skipped. Bilinear is the paper's."""


class NaturalConfig(Config):
    """How small faces of a photo are collected, to judge SPARNetHD on.

    Source: "Natural Test Data" in section IV-B1.
    """

    kind: Literal["natural"] = "natural"
    """Which preparation this is."""
    size_px: int = Field(default=512, ge=16)
    """Side of the pictures made."""
    smaller_than_px: int = Field(default=48, ge=13)
    """Faces must be smaller than this: the longer side of the box."""
    min_face_px: int = Field(default=20, ge=12)
    """Smallest face looked for."""
    detector: str = "mtcnn"
    """What finds faces: mtcnn, or the path of a YuNet file in ONNX."""

    @model_validator(mode="after")
    def _check(self) -> "NaturalConfig":
        if self.min_face_px >= self.smaller_than_px:
            raise ValueError(
                f"min_face_px must be below smaller_than_px ({self.smaller_than_px}), got {self.min_face_px}"
            )
        return self


PrepareConfig: TypeAlias = CelebaConfig | FfhqConfig | NaturalConfig
"""How photos become faces; one class a kind."""

Reason: TypeAlias = Literal[
    "no face",
    "too small",
    "too large",
    "cut off",
    "not square",
    "cannot be aligned",
    "in no split",
    "cannot be read",
    "name taken",
]
"""Why a photo or a face of it was not kept."""

Square: TypeAlias = tuple[int, int, int, int]
"""Left, top, right, bottom in whole px of the photo."""


class Record(Config):
    """A line of the manifest: what became of one face, or of a photo without."""

    source: str
    """The photo's path in its folder, with `/`."""
    face: int = Field(default=0, ge=0)
    """Number of this line among those of its photo."""
    faces: int = Field(default=1, ge=1)
    """Lines that its photo has."""
    outcome: Literal["kept", "dropped", "failed"]
    """Whether a picture was made; none could be made of a photo that failed."""
    reason: Reason | None = None
    """Why none was made."""
    detail: str | None = None
    """More on the reason, for the user to read."""
    width_px: int | None = None
    """Width of the photo."""
    height_px: int | None = None
    """Height of the photo."""
    box: tuple[float, float, float, float] | None = None
    """Left, top, right, bottom of the face in px of the photo."""
    score: float | None = None
    """How sure the detector is, 0..1."""
    square: Square | None = None
    """What was cut out, in px of the photo."""
    file: str | None = None
    """The picture's path in the output folder, with `/`; in a pack, the `path` of the index."""
    split: str | None = None
    """Part of the official partition."""
    identity: str | None = None
    """Who it shows."""
    sha256: str | None = None
    """Hash of the picture's file."""
    size_bytes: int | None = None
    """Length of the picture's file."""


@dataclass(frozen=True)
class Summary:
    """What a prepared folder came to."""

    photos: int
    """Photos of which the manifest tells."""
    kept: dict[str, int]
    """Pictures made, by split; the split of a set without a partition is called `all`."""
    dropped: dict[str, int]
    """Photos and faces left out, by reason."""
    failed: list[str]
    """A line for each photo that failed."""


@dataclass(frozen=True, eq=False)
class Cut:
    """One face of a photo, cut out, or the reason why not."""

    image: Image | None = None
    reason: Reason | None = None
    face: Face | None = None
    square: Square | None = None


# From a photo to faces


def cut_celeba(image: Image, config: CelebaConfig, detector: Detector) -> list[Cut]:
    """Cut one face out of a photo, roughly and without alignment, and resize it by Pillow's bicubic.

    Source: "Training Data" in section IV-A1. That the crop, not the face's box, must be larger than
    128 px is what the authors say in issues 5 and 21 of the release; their margin is lost.
    """
    height, width = image.shape[:2]
    faces = detector.detect(image)
    if not faces:
        return [Cut(reason="no face")]
    face = choose_face(faces, height=height, width=width)
    square = square_around(face, margin=config.margin, height=height, width=width)
    if square is None:
        return [Cut(reason="cut off", face=face)]
    left, top, right, bottom = square
    if right - left <= config.larger_than_px:
        return [Cut(reason="too small", face=face, square=square)]
    made = resize_bicubic(image[top:bottom, left:right], config.size_px, config.size_px)
    return [Cut(image=made, face=face, square=square)]


def choose_face(faces: Sequence[Face], *, height: int, width: int) -> Face:
    """Choose the face that a photo is about: large and near the middle.

    The one with the largest `area - 2 * distance^2`, distance being that of the box's centre from
    the photo's.

    Source: the rule of facenet's `align_dataset_mtcnn.py`, with which MTCNN has been used since 2016.
    The paper says nothing.
    """

    def prominence(face: Face) -> float:
        left, top, right, bottom = face.box
        across, down = (left + right - width) / 2, (top + bottom - height) / 2
        return face.width * face.height - 2 * (across**2 + down**2)

    return max(faces, key=prominence)


def square_around(face: Face, *, margin: float, height: int, width: int) -> Square | None:
    """Return the square about a face's box, `margin` times its longer side.

    A square that reaches beyond the photo is moved inside, and is reduced to the photo's shorter side
    where it is larger than that.

    Returns:
        The square, or None if the photo is too narrow for the face.
    """
    side = min(round(margin * face.size_px), height, width)
    if side < int(face.size_px):
        return None
    left = round((face.box[0] + face.box[2] - side) / 2)
    top = round((face.box[1] + face.box[3] - side) / 2)
    left, top = min(max(left, 0), width - side), min(max(top, 0), height - side)
    return left, top, left + side, top + side


def cut_ffhq(image: Image, config: FfhqConfig) -> list[Cut]:
    """Make a square face smaller. One that has the size already is left as it is."""
    height, width = image.shape[:2]
    if height != width:
        return [Cut(reason="not square")]
    if width < config.size_px:
        return [Cut(reason="too small")]
    if width == config.size_px:
        return [Cut(image=image)]
    resampling = PIL.Image.Resampling[config.filter.upper()]
    resized = PIL.Image.fromarray(image).resize((config.size_px, config.size_px), resampling)
    return [Cut(image=np.array(resized))]


def cut_natural(image: Image, config: NaturalConfig, detector: Detector) -> list[Cut]:
    """Align every small face of a photo as FFHQ's are, and enlarge it bicubically, in one step."""
    cuts = []
    for face in detector.detect(image):
        if face.size_px >= config.smaller_than_px:
            cuts.append(Cut(reason="too large", face=face))
            continue
        try:
            cuts.append(Cut(image=align(image, face, config.size_px).image, face=face))
        except AlignmentError:
            cuts.append(Cut(reason="cannot be aligned", face=face))
    return cuts or [Cut(reason="no face")]


Cutter: TypeAlias = Callable[[Image], list[Cut]]


def open_cutter(config: PrepareConfig) -> Cutter:
    """Make what takes a photo to its faces; opens the detector, once.

    Raises:
        WeightsError: If the detector's files are missing or damaged.
    """
    if isinstance(config, FfhqConfig):
        return functools.partial(cut_ffhq, config=config)
    detector = open_detector(config.detector, min_face_px=config.min_face_px)
    if isinstance(config, CelebaConfig):
        return functools.partial(cut_celeba, config=config, detector=detector)
    return functools.partial(cut_natural, config=config, detector=detector)


# From files to files, in many processes


@dataclass(frozen=True)
class _Task:
    """A photo to be done."""

    source: str
    path: Path
    stem: str
    """Path of its picture in the output folder, without suffix and split."""
    is_numbered: bool
    """Whether there may be several pictures of it."""
    split: str | None = None
    identity: str | None = None
    is_excluded: bool = False
    """Whether there is a partition and it is in no part of it."""


@dataclass(frozen=True)
class _Made:
    """A line for the manifest and the file it speaks of."""

    record: Record
    encoded: bytes | None = None


def _make(task: _Task, cutter: Cutter) -> list[_Made]:
    if task.is_excluded:
        return [_Made(Record(source=task.source, outcome="dropped", reason="in no split"))]
    try:
        image = read_image(task.path)
    except ImageError as error:
        detail = str(error).removeprefix(f"{show_path(task.path)}: ")
        return [_failure(task.source, "cannot be read", detail)]
    cuts = cutter(image)
    return [_made(task, image, cut, number, len(cuts)) for number, cut in enumerate(cuts)]


def _failure(source: str, reason: Reason, detail: str) -> _Made:
    return _Made(Record(source=source, outcome="failed", reason=reason, detail=detail))


def _made(task: _Task, image: Image, cut: Cut, number: int, total: int) -> _Made:
    record = Record(
        source=task.source,
        face=number,
        faces=total,
        outcome="dropped" if cut.image is None else "kept",
        reason=cut.reason,
        width_px=image.shape[1],
        height_px=image.shape[0],
        box=None if cut.face is None else _rounded(cut.face.box),
        score=None if cut.face is None else round(cut.face.score, 4),
        square=cut.square,
        split=task.split,
        identity=task.identity,
    )
    if cut.image is None:
        return _Made(record)
    encoded = _png(cut.image)
    name = f"{task.stem}_{number:02d}.png" if task.is_numbered else f"{task.stem}.png"
    made = {
        "file": name if task.split is None else f"{task.split}/{name}",
        "sha256": hashlib.sha256(encoded).hexdigest(),
        "size_bytes": len(encoded),
    }
    return _Made(record.model_copy(update=made), encoded)


def _rounded(box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    left, top, right, bottom = box
    return round(left, 2), round(top, 2), round(right, 2), round(bottom, 2)


def _png(image: UInt8[np.ndarray, "h w 3"]) -> bytes:
    buffer = io.BytesIO()
    PIL.Image.fromarray(image).save(buffer, format="PNG", compress_level=_PNG_LEVEL)
    return buffer.getvalue()


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that was started
    cv2.setNumThreads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


@functools.cache
def _opened(config: PrepareConfig) -> Cutter:
    return open_cutter(config)


def _work(task: _Task, config: PrepareConfig) -> list[_Made]:
    """Make the faces of a photo in a worker process, which opens its detector at its first one."""
    return _make(task, _opened(config))


def _end_with_parent() -> None:
    """End this worker if the process that was started is killed; it would wait for photos forever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _make_all(
    tasks: Sequence[_Task], config: PrepareConfig, workers: int
) -> Generator[list[_Made], None, None]:
    """Make the faces of many photos, in order, by this process or by several."""
    if workers == 1:
        cutter = open_cutter(config)
        yield from (_make(task, cutter) for task in tasks)
        return
    context = multiprocessing.get_context("spawn")
    waiting: deque[Future[list[_Made]]] = deque()
    with ProcessPoolExecutor(workers, context, _start_worker) as pool:
        try:
            for task in tasks:
                with _interrupts_held():
                    waiting.append(pool.submit(_work, task, config))
                if len(waiting) >= _PHOTOS_A_WORKER * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool:
            raise DataError(
                "a worker process died, perhaps for want of memory; what is done is kept: "
                "run again with fewer --workers"
            ) from None
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Hold Ctrl-C back while processes are started, so that it is theirs neither now nor later."""
    if sys.platform == "win32":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


# The folder of photos


def read_partition(path: Path) -> dict[str, str]:
    """Read CelebA's `list_eval_partition.txt` (or Kaggle's `.csv`).

    Returns:
        `train`, `val` or `test` for each picture's name without suffix.

    Raises:
        DataError: If the file cannot be read or has a line of another kind.
    """
    numbers = _read_pairs(path, "a picture's name and 0, 1 or 2")
    for stem, number in numbers.items():
        if number not in _SPLITS:
            raise DataError(f"{show_path(path)}: {stem} has part {number!r}, expected 0, 1 or 2")
    return {stem: _SPLITS[number] for stem, number in numbers.items()}


def read_identities(path: Path) -> dict[str, str]:
    """Read CelebA's `identity_CelebA.txt`.

    Returns:
        `celeba-2880` or the like, for each picture's name without suffix.

    Raises:
        DataError: If the file cannot be read or has a line of another kind.
    """
    people = _read_pairs(path, "a picture's name and a person's number")
    return {stem: f"celeba-{person}" for stem, person in people.items()}


def _read_pairs(path: Path, expected: str) -> dict[str, str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise DataError(f"{show_path(path)}: no such file") from None
    except OSError as error:
        raise DataError(f"{show_path(path)}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise DataError(f"{show_path(path)}: not a text file in UTF-8") from None
    pairs: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        words = line.replace(",", " ").split()
        if not words or words[0] == "image_id":  # the head of Kaggle's copies
            continue
        if len(words) != 2:
            raise DataError(f"{show_path(path)}: line {number} is {line[:60]!r}, expected {expected}")
        pairs[Path(words[0]).stem] = words[1]
    if not pairs:
        raise DataError(f"{show_path(path)}: is empty, expected {expected} on each line")
    return pairs


def _list_tasks(
    folder: Path,
    config: PrepareConfig,
    partition: dict[str, str] | None,
    identities: dict[str, str],
    problems: list[str],
) -> list[_Task]:
    """List the photos of a folder and those below it; what cannot be listed goes to `problems`."""
    try:
        is_folder = stat.S_ISDIR(folder.stat().st_mode)
    except OSError as error:
        raise DataError(f"{show_path(folder)}: cannot be read ({error.strerror})") from None
    if not is_folder:
        raise DataError(f"{show_path(folder)}: a file, not a folder of photos")
    pictures, errors = find_pictures([folder], recursive=True)
    if not pictures:
        raise DataError(
            str(errors[0]) if errors else f"{show_path(folder)}: no pictures in this folder or below it"
        )
    problems += map(str, errors)
    sources = []
    for picture in pictures:
        name = (picture.folder / picture.path.name).as_posix()
        try:
            name.encode("utf-8")
        except UnicodeEncodeError:
            problems.append(f"{show_path(picture.path)}: its name is not text; rename it")
        else:
            sources.append(Path(name))
    tasks = [
        _Task(
            source=source.as_posix(),
            path=folder / source,
            stem=stem,
            is_numbered=isinstance(config, NaturalConfig),
            split=None if partition is None else partition.get(source.stem),
            identity=identities.get(source.stem),
            is_excluded=partition is not None and source.stem not in partition,
        )
        for source, stem in zip(sources, _stems(sources), strict=True)
    ]
    if tasks and all(task.is_excluded for task in tasks):
        raise DataError(f"{show_path(folder)}: none of its pictures is in the partition file")
    return tasks


def _stems(sources: Sequence[Path]) -> list[str]:
    """Name pictures after their photos; `a.jpg` and `a.png` of one folder keep their suffixes."""
    stems = [source.with_suffix("").as_posix() for source in sources]
    while len(set(stems)) < len(stems):
        counts = Counter(stems)
        stems = [
            stem if counts[stem] == 1 else source.as_posix()
            for stem, source in zip(stems, sources, strict=True)
        ]
    return stems


# The folder made


@contextmanager
def open_preparation(
    source: Path,
    output: Path,
    config: PrepareConfig,
    *,
    partition: Path | None = None,
    identities: Path | None = None,
) -> Iterator["Preparation"]:
    """Begin or continue to prepare a folder of photos; no other run may write there meanwhile.

    Args:
        source: Folder of photos; those in folders below it too.
        output: Folder to write to: new, empty, or one that a run with the same settings has made.
        config: How photos become faces.
        partition: CelebA's `list_eval_partition.txt`: its parts go to folders of their own.
        identities: CelebA's `identity_CelebA.txt`.

    Raises:
        DataError: If there are no photos, a file cannot be read, or `output` is something else.
    """
    problems: list[str] = []
    splits = None if partition is None else read_partition(partition)
    people = {} if identities is None else read_identities(identities)
    tasks = _list_tasks(source, config, splits, people, problems)
    settings = {
        "source": str(source.resolve()),
        **config.model_dump(mode="json"),
        "partition_sha256": _file_hash(partition),
        "identities_sha256": _file_hash(identities),
    }
    _check_output(source, output, settings)
    with _writing(output):
        output.mkdir(parents=True, exist_ok=True)
        lock = (output / _LOCK).open("ab")
    with lock:
        with _writing(output):
            _take(lock, output)
            for leftover in output.glob(".sparnet-*.tmp"):
                leftover.unlink(missing_ok=True)
        _write_file(output, SETTINGS, json.dumps(settings, indent=2).encode() + b"\n")
        yield Preparation(output, config, tasks, problems)


class Preparation:
    """A folder in the making; `open_preparation` makes it.

    Attributes:
        problems: A line for each photo or folder that could not even be listed.
    """

    def __init__(
        self, output: Path, config: PrepareConfig, tasks: Sequence[_Task], problems: Sequence[str]
    ) -> None:
        self.output = output
        self.config = config
        self.problems = list(problems)
        self._tasks = tasks
        self._manifest = _Manifest(output / MANIFEST)
        self._packed = self._all_packed()
        self._taken = self._files_of_others()
        self._pending = self._still_to_do()

    @property
    def pending(self) -> int:
        """Number of photos still to be done, those that failed before among them."""
        return len(self._pending)

    @property
    def is_packed(self) -> bool:
        """Whether pictures were packed before; later ones have to be as well, or are not read."""
        return bool(self._packed)

    def run(self, *, workers: int = 1) -> Generator[list[Record], None, None]:
        """Do what is to be done, in order, and yield what became of each photo.

        The files made do not depend on `workers`. With more than one, the calling program must be
        importable without side effects, as always with `multiprocessing`.

        Raises:
            DataError: If a file cannot be written or a worker process dies.
            WeightsError: If the detector cannot be opened.
        """
        self._manifest.tidy(task.source for task in self._tasks)
        if self._pending:
            workers = max(1, min(workers, len(self._pending)))
            with closing(_make_all(self._pending, self.config, workers)) as photos:
                for made in photos:
                    yield self._save(made)
        self._manifest.tidy(task.source for task in self._tasks)
        self._pending = self._still_to_do()

    def records(self) -> Iterator[Record]:
        """Yield the lines of the manifest."""
        return self._manifest.records()

    def summary(self) -> Summary:
        """Count what the folder came to, over all runs."""
        photos, kept, dropped = 0, Counter[str](), Counter[str]()
        failed = list(self.problems)
        for record in self.records():
            photos += record.face == 0
            if record.outcome == "kept":
                kept[record.split or "all"] += 1
            elif record.outcome == "dropped":
                dropped[str(record.reason)] += 1
            else:
                failed.append(f"{show_path(record.source)}: {explain(record)}")
        return Summary(photos, dict(kept), dict(dropped), failed)

    def pack(self, *, terms: str | None = None) -> int:
        """Move the pictures into tars with an `index.csv`, which `read_faces` reads.

        Each part of a partition becomes a pack of its own. A folder that is a pack already gets
        further tars for what is new.

        Args:
            terms: Terms of use, for the index; None for those that the pack has, or none.

        Returns:
            Number of tars in all packs.

        Raises:
            DataError: If a picture is not what the manifest says, or a file cannot be written.
        """
        tars = 0
        for split in self._splits():
            pack = _Pack(self.output, split)
            fresh = [
                record
                for record in self.records()
                if record.file is not None and record.split == split and record.file not in self._packed
            ]
            pack.add(fresh, self.config, terms)
            tars += pack.tars
        self._packed = self._all_packed()
        return tars

    def _splits(self) -> list[str] | list[None]:
        """Name the parts, each of which may become a pack; None alone where there is no partition."""
        return sorted({task.split for task in self._tasks if task.split is not None}) or [None]

    def _all_packed(self) -> set[str]:
        return {row["path"] for split in self._splits() for row in _Pack(self.output, split).rows}

    def _files_of_others(self) -> dict[str, str]:
        """Name the photo of each picture whose photo is no longer there."""
        here = {task.source for task in self._tasks}
        gone = [source for source in self._manifest.sources() if source not in here]
        return {record.file: source for source in gone for record in self._manifest.of(source) if record.file}

    def _still_to_do(self) -> list[_Task]:
        return [task for task in self._tasks if not self._is_done(task)]

    def _is_done(self, task: _Task) -> bool:
        records = self._manifest.of(task.source)
        return bool(records) and all(map(self._is_there, records))

    def _is_there(self, record: Record) -> bool:
        if record.file is None or record.file in self._packed:
            return record.outcome != "failed"
        try:
            return (self.output / record.file).stat().st_size == record.size_bytes
        except FileNotFoundError:
            return False

    def _save(self, made: Sequence[_Made]) -> list[Record]:
        """Write the pictures of a photo, then their lines."""
        taken = [item.record for item in made if item.record.file in self._taken]
        if taken:
            made = [self._refuse(taken[0])]
        for item in made:
            if item.record.file is not None and item.encoded is not None:
                _write_file(self.output, item.record.file, item.encoded)
        records = [item.record for item in made]
        self._manifest.append(records)
        return records

    def _refuse(self, record: Record) -> _Made:
        other = self._taken[str(record.file)]
        detail = f"{record.file} was made of {other}, which is no longer there; rename this one"
        return _failure(record.source, "name taken", detail)


def explain(record: Record) -> str:
    """Say in words why no picture was made."""
    return record.detail or str(record.reason)


class _Manifest:
    """The lines of the manifest, photo by photo, kept as text: a set may have 200,000."""

    def __init__(self, path: Path) -> None:
        self.path = path
        groups: dict[str, list[Record]] = {}
        for line in self._read().split("\n"):
            record = _parse(line)
            if record is not None:
                group = groups.setdefault(record.source, [])
                if record.face == 0:  # a later run did the photo again
                    group.clear()
                group.append(record)
        # A photo that lacks a line, or whose line was cut short by the end of the run, is not done.
        self._lines = {source: _format(group) for source, group in groups.items() if _is_whole(group)}

    def sources(self) -> list[str]:
        """Return the photos."""
        return list(self._lines)

    def of(self, source: str) -> list[Record]:
        """Return the records of a photo; none if it is not done."""
        return [Record.model_validate_json(line) for line in self._lines.get(source, "").splitlines()]

    def records(self) -> Iterator[Record]:
        """Yield all records."""
        for source in self._lines:
            yield from self.of(source)

    def append(self, records: Sequence[Record]) -> None:
        """Add a photo."""
        text = _format(records)
        with _writing(self.path), self.path.open("ab") as file:
            file.write(text.encode())
        self._lines[records[0].source] = text

    def tidy(self, order: Iterable[str]) -> None:
        """Put the file in order and leave out what is not whole, if it is not so already."""
        places = {source: place for place, source in enumerate(order)}
        last = len(places)
        self._lines = dict(sorted(self._lines.items(), key=lambda item: places.get(item[0], last)))
        text = "".join(self._lines.values())
        if text != self._read():
            _write_file(self.path.parent, self.path.name, text.encode())

    def _read(self) -> str:
        try:
            return self.path.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return ""
        except OSError as error:
            raise DataError(f"{show_path(self.path)}: cannot be read ({error.strerror})") from None


def _parse(line: str) -> Record | None:
    try:
        return Record.model_validate_json(line)
    except ValidationError:
        return None


def _format(records: Sequence[Record]) -> str:
    dumped = [json.dumps(record.model_dump(mode="json", exclude_none=True)) for record in records]
    return "".join(f"{line}\n" for line in dumped)


def _is_whole(group: Sequence[Record]) -> bool:
    return [record.face for record in group] == list(range(group[0].faces))


def _check_output(source: Path, output: Path, settings: dict[str, Any]) -> None:
    """Refuse a folder that this preparation would spoil."""
    here, there = source.resolve(), output.resolve()
    if here == there or here in there.parents or there in here.parents:
        raise DataError(f"{show_path(output)}: neither folder may lie in the other; name another by -o")
    try:
        children = [child for child in output.iterdir() if not child.name.startswith(".")]
        if not children:
            return
        before = json.loads((output / SETTINGS).read_text(encoding="utf-8"))
    except FileNotFoundError:
        if output.exists():
            raise DataError(
                f"{show_path(output)}: not empty, and not made by sparnet prepare; name another by -o"
            ) from None
        return
    except NotADirectoryError:
        raise DataError(f"{show_path(output)}: a file is in the way; name another folder by -o") from None
    except OSError as error:
        raise DataError(f"{show_path(output)}: cannot be read ({error.strerror})") from None
    except ValueError:
        before = None
    if not isinstance(before, dict):
        raise DataError(f"{show_path(output / SETTINGS)}: damaged; name another folder by -o")
    for key in {**settings, **before}:
        if before.get(key) != settings.get(key):
            raise DataError(
                f"{show_path(output)}: was prepared with {key} = {before.get(key)!r}, "
                f"not {settings.get(key)!r}; name another folder by -o"
            )


def _file_hash(path: Path | None) -> str | None:
    return None if path is None else hashlib.sha256(path.read_bytes()).hexdigest()


def _take(lock: IO[bytes], output: Path) -> None:
    """Lock the output folder for this process; the system lifts it when the process ends."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(lock.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        raise DataError(f"{show_path(output)}: another sparnet prepare is writing to it") from None


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turn the system's errors into one line that names the path."""
    try:
        yield
    except OSError as error:
        raise DataError(f"{show_path(path)}: cannot be written ({error.strerror})") from None


def _write_file(output: Path, name: str, content: bytes) -> None:
    """Write a file of the output folder that appears whole or not at all."""
    path = output / name
    with _writing(path), replacing(path, by_way_of=output) as file:
        file.write(content)


# Packs


class _Pack:
    """A folder of tars and their index, in the making."""

    def __init__(self, output: Path, split: str | None) -> None:
        self.output = output
        self.prefix = "" if split is None else f"{split}/"
        self.name = split
        self.rows = _read_index(output / f"{self.prefix}index.csv")

    @property
    def tars(self) -> int:
        """Number of tars."""
        return len({row["shard"] for row in self.rows})

    def add(self, records: Sequence[Record], config: PrepareConfig, terms: str | None) -> None:
        """Write tars of further pictures, then the index, then remove the pictures themselves."""
        if terms is None:
            terms = self.rows[-1]["terms"] if self.rows else ""
        names = {row["file"] for row in self.rows}
        shard = 1 + max((int(row["shard"]) for row in self.rows), default=-1)
        for number, group in enumerate(_shards(records), start=shard):
            members = []
            for record in group:
                name = self._member_name(record, names)
                members.append((name, _read_made(record, self.output)))
                row = {"file": name, "shard": number, "source": config.kind, "px": config.size_px}
                row |= {"identity": record.identity or "", "terms": terms, "path": record.file}
                self.rows.append({key: str(value) for key, value in row.items()})
            tar = f"{self.prefix}{self.name or config.kind}-{number:05d}.tar"
            _write_file(self.output, tar, _tar(members))
        if records:
            self._write_index()
        self._remove_loose()

    def _member_name(self, record: Record, names: set[str]) -> str:
        """Name a picture in its tar: no folders, for they are not read, and no dot but the last."""
        path = str(record.file).removeprefix(self.prefix).removesuffix(".png")
        stem = path.replace("/", "-").replace(".", "_")
        name, number = f"{stem}.png", 2
        while name in names:
            name, number = f"{stem}-{number}.png", number + 1
        names.add(name)
        return name

    def _write_index(self) -> None:
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, _INDEX_COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        _write_file(self.output, f"{self.prefix}index.csv", text.getvalue().encode())

    def _remove_loose(self) -> None:
        paths = [self.output / row["path"] for row in self.rows]
        with _writing(self.output):
            for path in paths:
                path.unlink(missing_ok=True)
        top = self.output / self.prefix
        below = {parent for path in paths for parent in path.parents if top in parent.parents}
        for folder in sorted(below, reverse=True):  # the deepest first
            with suppress(OSError):  # not empty
                folder.rmdir()


def _read_index(path: Path) -> list[dict[str, str]]:
    """Read the index of a pack that was made before, if there is one."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{show_path(path)}: cannot be read ({error})") from None
    if any(row.keys() != set(_INDEX_COLUMNS) or not str(row["shard"]).isdecimal() for row in rows):
        raise DataError(f"{show_path(path)}: damaged, expected the columns {', '.join(_INDEX_COLUMNS)}")
    return rows


def _shards(records: Sequence[Record]) -> Iterator[list[Record]]:
    """Share pictures out to tars, in order."""
    group: list[Record] = []
    size = 2 * tarfile.RECORDSIZE  # the end of the archive and its padding
    for record in records:
        blocks = -(-(record.size_bytes or 0) // tarfile.BLOCKSIZE)
        room = (blocks + 4) * tarfile.BLOCKSIZE  # with a header, and one more for a long name
        if group and size + room > PACK_BYTES:
            yield group
            group, size = [], 2 * tarfile.RECORDSIZE
        group.append(record)
        size += room
    if group:
        yield group


def _read_made(record: Record, output: Path) -> bytes:
    path = output / str(record.file)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{show_path(path)}: cannot be read ({error.strerror})") from None
    if hashlib.sha256(content).hexdigest() != record.sha256:
        raise DataError(f"{show_path(path)}: is not as it was made; delete it and run again")
    return content


def _tar(members: Sequence[tuple[str, bytes]]) -> bytes:
    """Make a tar whose bytes depend on names and contents alone."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()
