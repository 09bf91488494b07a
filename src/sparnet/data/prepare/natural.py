"""Small faces as they are found, to judge SPARNetHD on."""

from typing import Literal

from pydantic import Field, model_validator

from sparnet.config import Config
from sparnet.data.prepare.records import Cut
from sparnet.faces.align import AlignmentError, align
from sparnet.faces.detect import Detector
from sparnet.image import Image


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
