"""Whether it is still the same person: cosine of face embeddings."""

import numpy as np
from jaxtyping import Float, UInt8

from sparnet.faces.align import fit_similarity
from sparnet.metrics.faces import HrFace, OnnxFile, crop_by
from sparnet.metrics.pairs import check_pair

_SIDE_PX = 112
# The ArcFace template: eyes, nose and corners of the mouth in a crop of 112 px.
_ARCFACE_POINTS = np.array(
    [(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041)]
)
_IMAGENET_MEAN = np.array([0.485, 0.456, 0.406])
_IMAGENET_STD = np.array([0.229, 0.224, 0.225])


class IdentityCosine:
    """Measure how alike a network for face recognition finds the faces of two pictures.

    Both are cropped by one and the same transform, from the original's five points to the ArcFace
    template. Loaded once, used often.

    Raises:
        WeightsError: If the file is missing, damaged or another one.

    Source:
        Paper: SphereFace. Here: a MobileFaceNet whose licence is free; docs/metrics.md.
    """

    def __init__(self) -> None:
        self.network = OnnxFile("identity")

    def __call__(
        self, sr: UInt8[np.ndarray, "h w 3"], hr: UInt8[np.ndarray, "h2 w2 3"], face: HrFace
    ) -> float:
        """Return `embedding(sr) . embedding(hr)`.

        Args:
            sr: A picture.
            hr: Its original; the two may be exchanged.
            face: Where the face is in the original.

        Returns:
            -1 to 1, higher is better; 1 for equal pictures.

        Raises:
            ValueError: If the sizes differ.
        """
        check_pair(sr, hr)
        return float(self.embedding(sr, face.points) @ self.embedding(hr, face.points))

    def embedding(
        self, image: UInt8[np.ndarray, "h w 3"], points: Float[np.ndarray, "5 2"]
    ) -> Float[np.ndarray, "128"]:
        """Return the face's embedding, of length 1: the sum of the crop's and its mirror image's.

        Args:
            image: A picture.
            points: The five points of the face in it, in indices of pixels.

        Raises:
            AlignmentError: If the points do not look like those of a face.
        """
        crop = crop_by(image, fit_similarity(points, _ARCFACE_POINTS), size_px=_SIDE_PX)
        picture = (crop / 255 - _IMAGENET_MEAN) / _IMAGENET_STD
        embedding = self.network(picture)[0] + self.network(picture[:, ::-1])[0]
        return embedding / np.linalg.norm(embedding)
