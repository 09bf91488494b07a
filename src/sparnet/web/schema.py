"""What the API answers, as its OpenAPI description states it."""

import base64
import enum

from pydantic import BaseModel, Field

from sparnet.faces.detect import Face
from sparnet.restoration import RestoredFace
from sparnet.web.service import Encoded, RestoredUpload, UpscaledUpload
from sparnet.weights.info import ModelInfo, Score


class Output(enum.StrEnum):
    """What a client wants back."""

    PICTURE = "picture"
    JSON = "json"
    PROGRESS = "progress"


class PictureOrJson(enum.StrEnum):
    """What a client wants back, where the work is too short for progress."""

    PICTURE = "picture"
    JSON = "json"


class PhotoFormat(enum.StrEnum):
    """Formats photos come back in; auto: as it was."""

    AUTO = "auto"
    PNG = "png"
    JPG = "jpg"
    WEBP = "webp"
    TIFF = "tiff"


class FaceFormat(enum.StrEnum):
    """Formats enlarged faces come back in."""

    PNG = "png"
    JPG = "jpg"
    WEBP = "webp"
    TIFF = "tiff"


class Task(enum.StrEnum):
    """The two kinds of models."""

    RESTORE = "restore"
    UPSCALE = "upscale"


class Problem(BaseModel):
    """Why a request was refused."""

    detail: str = Field(description="One line: what, what was expected, what was found.")


class Picture(BaseModel):
    """A picture inside an answer."""

    media_type: str = Field(examples=["image/jpeg"])
    suffix: str = Field(description="Of a file that holds it.", examples=[".jpg"])
    width: int
    height: int
    base64: str = Field(description="The file's bytes.", json_schema_extra={"contentEncoding": "base64"})


class FoundFace(BaseModel):
    """A face of a photo."""

    number: int = Field(description="From 1, the largest first.", ge=1)
    box: tuple[float, float, float, float] = Field(description="Left, top, right, bottom, px of the photo.")
    score: float = Field(description="How sure the detector is, 0 to 1.")
    size_px: float = Field(description="Longer side of the box.")
    points: list[tuple[float, float]] = Field(description="Eyes, nose, mouth corners, px of the photo.")


class FaceAnswer(FoundFace):
    """A face of a photo, and what became of it."""

    skipped: str | None = Field(description="Why it was left as it is; null if it was restored.")
    seconds: float
    before: Picture | None = Field(description="Aligned, as it was; if `crops` was set.")
    after: Picture | None = Field(description="Aligned, restored; if `crops` was set.")


class Faces(BaseModel):
    """The faces of a photo."""

    width: int = Field(description="Of the photo, upright.")
    height: int
    faces: list[FoundFace]


class Shown(BaseModel):
    """The photo before and after in a format that every browser shows."""

    before: Picture
    after: Picture


class RestoreAnswer(BaseModel):
    """A photo restored."""

    model: str
    is_changed: bool = Field(description="False if the photo comes back as it was.")
    seconds: float
    faces: list[FaceAnswer]
    notes: list[str] = Field(description="What a person should know.")
    picture: Picture
    shown: Shown | None = Field(description="If `shown` was set and browsers cannot show the format.")


class UpscaleAnswer(BaseModel):
    """A tiny face enlarged."""

    model: str
    notes: list[str]
    picture: Picture
    bicubic: Picture = Field(description="Plain bicubic enlargement, to compare with.")


class AttentionAnswer(BaseModel):
    """Where the network looks."""

    model: str
    maps: list[Picture] = Field(description="One a unit with attention, from the input to the output.")


class ModelAnswer(BaseModel):
    """A model."""

    name: str
    task: Task
    is_loaded: bool = Field(description="Whether this server uses it.")
    upscale_factor: int | None
    image_size: int = Field(description="Side of the faces it makes, px.")
    parameters: int
    license: str = Field(description="Licence or terms of the weights.")
    trained_on: str
    scores: list[Score]


class Limits(BaseModel):
    """What the server allows."""

    max_bytes: int
    max_pixels: int
    max_result_pixels: int
    max_faces: int
    time_limit_seconds: float


class Models(BaseModel):
    """The models, and what the server allows."""

    models: list[ModelAnswer]
    limits: Limits
    formats: list[str] = Field(description="Media types of the pictures that are read.")


class Health(BaseModel):
    """That the server serves."""

    status: str = Field(examples=["ok"])
    version: str


def describe_picture(picture: Encoded) -> Picture:
    """Put a picture into an answer."""
    return Picture(
        media_type=picture.media_type,
        suffix=picture.suffix,
        width=picture.width,
        height=picture.height,
        base64=base64.b64encode(picture.content).decode("ascii"),
    )


def describe_found(faces: list[Face]) -> list[FoundFace]:
    """Describe the faces that a detector found."""
    return [
        FoundFace(
            number=number,
            box=_rounded_box(face.box),
            score=round(face.score, 4),
            size_px=round(face.size_px, 2),
            points=[(round(x, 2), round(y, 2)) for x, y in face.points.tolist()],
        )
        for number, face in enumerate(faces, start=1)
    ]


def describe_restored(restored: RestoredUpload, model: str) -> RestoreAnswer:
    """Describe a photo restored."""
    shown = restored.shown
    return RestoreAnswer(
        model=model,
        is_changed=restored.made.is_changed,
        seconds=round(restored.made.seconds, 4),
        faces=[_describe_face(face, restored) for face in restored.made.faces],
        notes=list(restored.notes),
        picture=describe_picture(restored.picture),
        shown=None
        if shown is None
        else Shown(before=describe_picture(shown[0]), after=describe_picture(shown[1])),
    )


def describe_upscaled(upscaled: UpscaledUpload) -> UpscaleAnswer:
    """Describe a tiny face enlarged."""
    return UpscaleAnswer(
        model=upscaled.model,
        notes=list(upscaled.notes),
        picture=describe_picture(upscaled.picture),
        bicubic=describe_picture(upscaled.bicubic),
    )


def describe_model(info: ModelInfo, *, is_loaded: bool) -> ModelAnswer:
    """Describe a model."""
    return ModelAnswer(
        name=info.name,
        task=Task(info.task),
        is_loaded=is_loaded,
        upscale_factor=info.upscale_factor,
        image_size=info.image_size,
        parameters=info.parameters,
        license=info.license,
        trained_on=info.trained_on,
        scores=list(info.scores),
    )


def _describe_face(face: RestoredFace, restored: RestoredUpload) -> FaceAnswer:
    crops = restored.crops.get(face.number)
    return FaceAnswer(
        number=face.number,
        box=_rounded_box(face.box),
        score=round(face.score, 4),
        size_px=round(face.size_px, 2),
        points=[(round(x, 2), round(y, 2)) for x, y in face.points.tolist()],
        skipped=face.skipped,
        seconds=round(face.seconds, 4),
        before=None if crops is None else describe_picture(crops[0]),
        after=None if crops is None else describe_picture(crops[1]),
    )


def _rounded_box(box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    left, top, right, bottom = box
    return round(left, 2), round(top, 2), round(right, 2), round(bottom, 2)
