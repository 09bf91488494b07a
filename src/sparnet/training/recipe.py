"""A recipe says all that a training is; it comes from TOML and is saved beside its results."""

from pathlib import Path
from typing import Annotated, Any, Literal

import tomli_w
from pydantic import Field, model_validator

from sparnet.config import Config, parse_config, read_toml, set_values
from sparnet.data.batches import AugmentConfig
from sparnet.degradation import REFERENCE_SIZE_PX, DegradationConfig, degradation_preset
from sparnet.errors import RecipeError, SparnetError
from sparnet.network.config import NetworkConfig
from sparnet.network.discriminator import DiscriminatorConfig
from sparnet.network.presets import PRESETS, preset
from sparnet.training.losses import LossWeights


class DataConfig(Config):
    """Which faces are trained and judged on."""

    train: tuple[str, ...]
    """Packs or folders of square faces, relative to the recipe's working folder."""
    terms: tuple[str, ...] | None = None
    """Train only on pictures of a pack under these terms of use; None takes all."""
    images: int | None = Field(default=None, ge=1)
    """Train only on so many pictures, chosen by the hash of their names; None takes all."""
    holdout_people: int = Field(default=0, ge=0)
    """People whose pictures are not trained on but judged on, chosen by the hash of their identity."""
    validation: str | None = None
    """Pack or folder to judge on instead of people held out."""
    validation_images: int = Field(default=64, ge=1)
    """Faces judged at each evaluation: the first so many of those held out."""
    validation_framing: float = Field(default=0.85, ge=0.1, le=1)
    """Central share of a validation picture's side that is cut out and resized to `image_size`. One of
    exactly `image_size`, which has no margin to cut, is taken whole."""
    augment: AugmentConfig = AugmentConfig()
    """How training faces are varied."""


Decay = Annotated[float, Field(ge=0, lt=1)]
Betas = tuple[Decay, Decay]
"""Adam's decay rates, of the mean and of the square."""


class TrainConfig(Config):
    """How the network is optimised. Lengths are in images seen, whatever the batch size."""

    total_images: int = Field(default=3_600_000, ge=1)
    """Length of the training."""
    batch_size: int = Field(default=32, ge=1)
    """Images a step, over all devices."""
    learning_rate: float = Field(default=2e-4, gt=0)
    """Step size of Adam, at its highest."""
    betas: Betas = (0.9, 0.99)
    """Adam's decay rates."""
    schedule: Literal["fixed", "cosine"] = "fixed"
    """Whether the learning rate stays (paper) or rises linearly and falls as a cosine (ours)."""
    warmup_images: int = Field(default=0, ge=0)
    """Images over which the learning rate rises from 0."""
    final_learning_rate: float = Field(default=0.0, ge=0)
    """Where the cosine ends, as a share of `learning_rate`."""
    loss: Literal["l1", "charbonnier", "mse", "wavelet"] = "l1"
    """Pixel loss: equation 1 (l1), sqrt(d^2 + 1e-6), d^2, or Wavelet-SRNet's for an upscale_factor."""
    ema_halflife_images: int = Field(default=0, ge=0)
    """Images after which the running average of the weights has forgotten half; 0 keeps no average."""
    ema_rampup: float = Field(default=0.05, gt=0)
    """The half-life is at most this share of the images seen, so that a young average is young."""
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    """Arithmetic of the network: float32, or bfloat16 where it is safe."""
    channels_last: bool = False
    """Memory layout: channels innermost, faster on CPUs with bf16 and on tensor cores."""
    compile: bool = False
    """Whether torch.compile makes the network faster, at the price of a slow start."""
    checkpointing: bool = False
    """Whether a unit's inner values are computed again in the backward pass: less memory, a third
    more work."""
    even_squares: bool = False
    """Whether the output conv of a network with `pixel_unshuffle` is kept such that it makes even squares
    of even features (`sparnet.network.folding.even_squares`): against a grid over the face."""
    evaluate_every_images: int = Field(default=20_000, ge=1)
    """Images between two evaluations."""
    save_every_images: int = Field(default=20_000, ge=1)
    """Images between two saved states."""
    log_every_images: int = Field(default=320, ge=1)
    """Images between two lines of the log."""


class AdversarialConfig(Config):
    """How the generator is trained against discriminators."""

    start_images: int = Field(default=0, ge=0)
    """Until so many images the generator is trained by its pixel and perceptual losses alone."""
    weights: LossWeights = LossWeights()
    """What each loss counts for (equation 12)."""
    discriminator: DiscriminatorConfig = DiscriminatorConfig()
    """The discriminators."""
    initial_discriminators: str | None = None
    """Folder of a run whose discriminators, as they were in its newest state, the training starts from;
    None starts from chance."""
    learning_rate: float = Field(default=4e-4, gt=0)
    """Step size of the discriminators' Adam."""
    betas: Betas = (0.5, 0.99)
    """Its decay rates."""
    perceptual: Literal["vgg19", "vgg16"] = "vgg19"
    """Network of the perceptual loss; VGG16 is taken where VGG19's file is absent, and said so."""
    perceptual_crop: int | None = Field(default=None, ge=32)
    """Side of the square, elsewhere in each batch, that the perceptual loss looks at, in px; None
    looks at whole faces, as the paper. Ours: at 512 px the loss costs more than the network."""
    discriminator_crop: int | None = Field(default=None, ge=16)
    """Side of the square, elsewhere in each batch, that the discriminators judge, in px; None judges
    whole faces, as the paper. Ours: three discriminators of 512 px cost more than a light network."""


class Recipe(Config):
    """A training from faces to weights."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")
    """Name of the model made."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """Every random number of the run follows from it."""
    upscale_factor: Literal[4, 8, 16] | None = None
    """How much larger the output is than the low-resolution face, which is made bicubically; None trains
    a network that restores."""
    degradation: DegradationConfig | None = None
    """How bad faces are made instead (equation 14): the name of a preset, or a table. Together with
    `upscale_factor` it makes the low-resolution faces of a network that enlarges."""
    initial_weights: str | None = None
    """Model (name or file) whose weights the training starts from; None starts from chance."""
    network: NetworkConfig
    """The architecture: the name of a preset, or a table whose `preset` is changed by its other keys."""
    data: DataConfig
    """The faces."""
    train: TrainConfig = TrainConfig()
    """The optimisation."""
    adversarial: AdversarialConfig | None = None
    """Discriminators and their losses; None trains by the pixel loss alone."""

    @model_validator(mode="after")
    def _check(self) -> "Recipe":
        if self.upscale_factor is None and self.degradation is None:
            raise ValueError("give upscale_factor, degradation or both")
        lr_size = self.network.image_size // (self.upscale_factor or 1)
        if self.upscale_factor is not None and self.degradation is not None:
            largest = REFERENCE_SIZE_PX // self.upscale_factor
            if self.degradation.lr_size_px[1] > largest:
                raise ValueError(
                    f"degradation.lr_size_px must be at most {largest} px, of a face of "
                    f"{REFERENCE_SIZE_PX} px, where upscale_factor is {self.upscale_factor}, "
                    f"got {self.degradation.lr_size_px[1]}"
                )
        exact = self.network.architecture == "wavelet"
        reads = self.network.reads_px
        if reads < lr_size or (exact and reads > lr_size):
            raise ValueError(
                f"network.input_size must be {'' if exact else 'at least '}{lr_size} px "
                f"(image_size / upscale_factor), got {reads}"
            )
        if self.data.holdout_people == 0 and self.data.validation is None:
            raise ValueError("name data.validation, or hold out people by data.holdout_people")
        if self.data.holdout_people > 0 and self.data.validation is not None:
            raise ValueError("data.validation and data.holdout_people: one of them, not both")
        folds = self.network.architecture == "sparnet" and self.network.pixel_unshuffle > 1
        if self.train.even_squares and (not folds or self.network.spectral_norm):
            raise ValueError("train.even_squares needs a network with pixel_unshuffle, without spectral_norm")
        if self.train.loss == "wavelet" and self.upscale_factor is None:
            raise ValueError("train.loss = wavelet needs an upscale_factor")
        if self.train.loss != "l1" and self.adversarial is not None:
            raise ValueError(
                f"train.loss = {self.train.loss} and [adversarial] do not go together: its pixel loss is l1"
            )
        if self.adversarial is not None:
            weights = self.adversarial.weights
            first = weights.pixel + weights.perceptual
            if first == 0 and not weights.needs_discriminators:
                raise ValueError("adversarial.weights are all 0: there is nothing to train on")
            if self.adversarial.start_images > 0 and first == 0:
                raise ValueError(
                    "adversarial.start_images must be 0 where the weights of pixel and perceptual are: "
                    "until then there is nothing to train on"
                )
            least = self.adversarial.discriminator.smallest_size
            if self.network.image_size < least:
                raise ValueError(
                    f"adversarial.discriminator with {self.adversarial.discriminator.scales} scales needs "
                    f"pictures of {least} px, the network makes {self.network.image_size}; lower its scales"
                )
            crop = self.adversarial.discriminator_crop
            if crop is not None and crop < least:
                raise ValueError(
                    f"adversarial.discriminator_crop must be at least {least} px for "
                    f"{self.adversarial.discriminator.scales} scales, got {crop}"
                )
        return self


def load_recipe(path: Path, assignments: tuple[str, ...] = ()) -> Recipe:
    """Read a recipe from TOML, with values changed as `--set key=value` does.

    Raises:
        RecipeError: With one line for the first mistake.
    """
    return parse_recipe(set_values(read_extended(path), assignments), source=str(path))


def read_extended(path: Path, seen: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Read a recipe; where it says `extends = "other.toml"`, its values change the other's."""
    values = read_toml(path)
    base = values.pop("extends", None)
    if base is None:
        return values
    if not isinstance(base, str) or path.resolve() in seen:
        raise RecipeError(f"{path}: extends must be the name of another recipe beside it, got {base!r}")
    extended = read_extended(path.parent / base, (*seen, path.resolve()))
    for key in ("network", "degradation"):
        if isinstance(name := extended.get(key), str) and isinstance(values.get(key), dict):
            extended[key] = {"preset": name} if key == "network" else _degradation(name, str(path))
    return _merged(extended, values)


def _merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        inner = merged.get(key)
        merged[key] = _merged(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
    return merged


def parse_recipe(values: dict[str, Any], *, source: str) -> Recipe:
    """Check a recipe given as nested dictionaries; a network may be the name of a preset."""
    values = dict(values)
    network = values.get("network")
    if isinstance(network, str):
        network = {"preset": network}
    if isinstance(network, dict) and "preset" in network:
        name = network["preset"]
        if not isinstance(name, str) or name not in PRESETS:
            raise RecipeError(f"{source}: network.preset must be one of {', '.join(PRESETS)}, got {name!r}")
        changes = {key: value for key, value in network.items() if key != "preset"}
        values["network"] = preset(name).model_dump() | changes
    if isinstance(values.get("degradation"), str):
        values["degradation"] = _degradation(values["degradation"], source)
    return parse_config(Recipe, values, source=source)


def _degradation(name: str, source: str) -> dict[str, Any]:
    try:
        return degradation_preset(name).model_dump()
    except (SparnetError, ValueError) as error:
        raise RecipeError(f"{source}: degradation: {error}") from None


def recipe_to_toml(recipe: Recipe) -> str:
    """Write a resolved recipe, architecture spelt out; what is None is left out."""
    return tomli_w.dumps(recipe.model_dump(mode="json", exclude_none=True))
