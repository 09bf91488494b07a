"""Where the face is in an original: what identity and landmarks are measured by.

The face is sought once, in the original, and the same place is looked at in both pictures. A
detector run on each of them would measure the detector too, and finds no face in many a bad one.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
import openvino
from jaxtyping import Float, UInt8

from sparnet.faces.align import AlignmentError, fit_similarity, resampled, scale_of, template
from sparnet.faces.detect import MtcnnDetector
from sparnet.weights.auxiliary import find_auxiliary

Box = tuple[float, float, float, float]
"""Left, top, right and bottom edge in px of a picture that spans 0 to its width and height."""

_TEMPLATE_PX = 512
# MTCNN's median box on the 56 pictures of faces512-test, which are aligned to the template.
_TEMPLATE_BOX = (119.0, 89.0, 390.0, 465.0)


@dataclass(frozen=True, eq=False)
class HrFace:
    """Where the face is in an original."""

    box: Box
    points: Float[np.ndarray, "5 2"]
    """x and y of left eye, right eye, nose, left and right mouth corner, as in the picture, in
    indices of pixels: (0, 0) is the centre of the first."""
    found: bool
    """Whether a detector says so; if not, this is where an aligned face would be."""


class FaceFinder:
    """Find the face of an original with MTCNN, the paper's detector. The same picture gives the same.

    Loaded once, used often.

    Raises:
        WeightsError: If the detector's files are missing or damaged.
    """

    def __init__(self) -> None:
        self.detector = MtcnnDetector(threads=1)  # pictures of one face: more threads only wait

    def __call__(self, hr: UInt8[np.ndarray, "h w 3"]) -> HrFace:
        """Return the largest face of a picture, or the template's where none is found."""
        height, width = hr.shape[:2]
        faces = self.detector.detect(hr)
        if not faces or not _looks_like_a_face(faces[0].points):
            return template_face(height=height, width=width)
        return HrFace(box=faces[0].box, points=faces[0].points, found=True)


def template_face(*, height: int, width: int) -> HrFace:
    """Return where the face would be if the central square of the picture were an aligned one.

    Args:
        height: The picture's, in px.
        width: The picture's, in px.
    """
    side = min(height, width)
    scale = side / _TEMPLATE_PX
    x, y = (width - side) / 2, (height - side) / 2
    left, top, right, bottom = (edge * scale for edge in _TEMPLATE_BOX)
    return HrFace(
        box=(left + x, top + y, right + x, bottom + y), points=template(side) + np.array([x, y]), found=False
    )


def crop_by(
    image: UInt8[np.ndarray, "h w 3"], transform: Float[np.ndarray, "2 3"], *, size_px: int
) -> UInt8[np.ndarray, "s s 3"]:
    """Cut a square out of a picture; what lies outside the picture is black.

    The sampling is bilinear; before a reduction by 2 or more, the picture is reduced by a whole
    factor by averaging, so that no pixel goes unseen.

    Args:
        image: A picture.
        transform: Similarity from indices of the picture's pixels to those of the square's.
        size_px: Side of the square.
    """
    shrink = math.floor(1 / scale_of(transform))
    if shrink > 1:
        height, width = image.shape[:2]
        size = (max(1, width // shrink), max(1, height // shrink))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        transform = resampled(transform, (size[0] / width, size[1] / height))
    return cv2.warpAffine(image, transform, (size_px, size_px), flags=cv2.INTER_LINEAR)


class OnnxFile:
    """Run an auxiliary ONNX file with OpenVINO in float32, one picture at a time.

    Args:
        key: Its name among the auxiliary files.

    Raises:
        WeightsError: If the file is missing, damaged or another one.
    """

    def __init__(self, key: str) -> None:
        options = {
            # Otherwise processors that can would compute in bfloat16 and score differently.
            "INFERENCE_PRECISION_HINT": "f32",
            # So small a network gains little from more threads, and one adds up in one order anywhere;
            # tied to one core it waits where others work: 5 ms became 300 on a busy machine of two cores.
            "INFERENCE_NUM_THREADS": 1,
            "ENABLE_CPU_PINNING": False,
        }
        self.network = openvino.Core().compile_model(find_auxiliary(key), "CPU", options)

    def __call__(self, picture: Float[np.ndarray, "h w 3"]) -> Float[np.ndarray, "1 *shape"]:
        """Return the network's first output."""
        batch = np.ascontiguousarray(picture.transpose(2, 0, 1)[None], dtype=np.float32)
        return np.array(self.network(batch)[0])


def _looks_like_a_face(points: Float[np.ndarray, "5 2"]) -> bool:
    try:
        fit_similarity(points, template(_TEMPLATE_PX))
    except AlignmentError:
        return False
    return True
