"""What a model file says of itself: the JSON in its metadata."""

import json
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from sparnet.config import Config
from sparnet.errors import WeightsError

METADATA_KEY = "sparnet"
"""Name of the metadata entry of the ONNX file that holds the JSON."""
SCALE_SUFFIX = ".scale"
"""Ends the names of the scales, one a channel, of weights that are stored in 8 bits."""


class Score(Config):
    """A measured number, with all that it needs to be believed."""

    metric: str
    """Name with its protocol, as in `psnr_y`."""
    value: float
    """The mean over the pictures."""
    bicubic: float | None = None
    """The same for plain bicubic enlargement."""
    data: str
    """The pictures it was measured on."""
    command: str
    """What makes the number."""


class ModelInfo(Config):
    """A model file's description of itself."""

    name: str
    """What it is called on the command line."""
    task: str = Field(pattern="^(upscale|restore)$")
    """upscale: a tiny face enlarged by a known factor. restore: a bad face of any kind, aligned."""
    image_size: int
    """Side of the faces it makes, px."""
    input_size: int
    """Side of the faces it reads, px."""
    upscale_factor: int | None = None
    """The factor it was trained for; None for restoration."""
    blind: bool = False
    """Whether it was trained on faces with noise, JPEG blocks or blur as well; said of those that enlarge."""
    network: dict[str, Any]
    """The architecture, as the lab half reads it."""
    parameters: int
    """Learnt numbers."""
    arithmetic: str = Field(default="float", pattern="^(float|int8)$")
    """float: whatever the engine is told to use. int8: convs in 8-bit integers, for running only."""
    bf16_loss_db: float | None = None
    """By how much `psnr_y` falls if floats are bfloat16, as measured; None where nobody has."""
    license: str
    """Licence or terms of the weights."""
    trained_on: str = "unknown"
    """The data, with its terms."""
    recipe: str = ""
    """How it was trained: recipe, images seen, hardware."""
    images_seen: int = 0
    """Training time in images, without the trainings that it began with."""
    scores: tuple[Score, ...] = ()
    """Measured numbers."""


def parse_info(text: str, *, source: Path) -> ModelInfo:
    """Read the JSON of a model file's metadata.

    Raises:
        WeightsError: If it is not what sparnet writes.
    """
    try:
        return ModelInfo.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        raise WeightsError(f"{source}: its description is not sparnet's ({key}: {first['msg']})") from None


def dump_info(info: ModelInfo) -> str:
    """Write the JSON for a model file's metadata."""
    return json.dumps(info.model_dump(mode="json"), sort_keys=True)
