"""Make bad photos of good faces: equation 14.

`lr = JPEG(downsample(blur(hr)) + noise)`, enlarged bicubically to the size of `hr`. What is done to a
picture is first drawn, as a `DegradationParameters` that can be written down, and then done, by
`apply_degradation`, which draws nothing: the same parameters give the same bytes.

Lengths in a `DegradationConfig`, of blurs and of the low-resolution picture, are those of a face of
512 px. For another size they are scaled by `side / 512`, where the side is the shorter one: the blur
stays the same share of the face and the factor stays the same. Noise and JPEG do not change.
"""

import io
import math
from collections.abc import Sequence
from typing import Annotated, Literal, TypeVar

import cv2
import numpy as np
import PIL.Image
from jaxtyping import Float32
from pydantic import Field, model_validator

from sparnet.config import Config
from sparnet.errors import ImageError, RecipeError
from sparnet.image import AnyImage, Image, resize_bicubic

REFERENCE_SIZE_PX = 512
"""Side of the faces that the lengths in a `DegradationConfig` are for."""

BlurKind = Literal["gaussian", "average", "median", "motion"]
Interpolation = Literal["nearest", "linear", "area", "cubic", "antialiased"]
SizeLaw = Literal["size", "factor"]
ChoiceT = TypeVar("ChoiceT")

# cv2.INTER_NEAREST takes the pixel left and above of the centre, which moves the face by half a
# low-resolution pixel, up to 8 px at 512; INTER_NEAREST_EXACT takes the one at the centre.
# "antialiased" is not among them: it is Pillow's bicubic filter.
_INTERPOLATIONS: dict[Interpolation, int] = {
    "nearest": cv2.INTER_NEAREST_EXACT,
    "linear": cv2.INTER_LINEAR,
    "area": cv2.INTER_AREA,
    "cubic": cv2.INTER_CUBIC,
}

# From this sigma on a gaussian is computed at half the size, eight times as fast.
_HALF_SIZE_SIGMA_PX = 6.0
_LARGEST_MEDIAN_PX = 255
"""OpenCV counts the pixels of a larger square in 16 bits, which overflow: a wrong median, or none."""
_LONGEST_JPEG_SIDE_PX = 65_500  # libjpeg's own limit


class GaussianBlur(Config):
    """A lens out of focus, as a gaussian."""

    kind: Literal["gaussian"] = "gaussian"
    """Which blur this is."""
    sigma_px: float = Field(gt=0)
    """Standard deviation of the gaussian."""


class AverageBlur(Config):
    """The mean over a square."""

    kind: Literal["average"] = "average"
    """Which blur this is."""
    size_px: float = Field(gt=0)
    """Side of the square; it need not be whole, pixels at the border count for what lies inside."""


class MedianBlur(Config):
    """The median over a square, of each channel."""

    kind: Literal["median"] = "median"
    """Which blur this is."""
    size_px: int = Field(ge=1, le=_LARGEST_MEDIAN_PX)
    """Side of the square, an odd number, at most 255; 1 changes nothing."""

    @model_validator(mode="after")
    def _check_odd(self) -> "MedianBlur":
        if self.size_px % 2 == 0:
            raise ValueError(f"size_px must be odd, got {self.size_px}")
        return self


class MotionBlur(Config):
    """A camera that moved evenly along a straight line."""

    kind: Literal["motion"] = "motion"
    """Which blur this is."""
    length_px: float = Field(gt=0)
    """Length of the line."""
    angle_degrees: float
    """Direction of the line, counterclockwise from the right."""


Blur = Annotated[GaussianBlur | AverageBlur | MedianBlur | MotionBlur, Field(discriminator="kind")]


class Noise(Config):
    """White gaussian noise, added to the low-resolution picture."""

    std: float = Field(ge=0)
    """Standard deviation in grey levels of 255."""
    per_channel: bool
    """Whether each channel has its own noise (coloured) or all have the same (grey)."""
    seed: int = Field(ge=0)
    """Seed of the noise."""


class DegradationParameters(Config):
    """All that is done to one picture. Lengths are in pixels of that picture."""

    blur: Blur | None
    """The blur, None for none."""
    lr_height_px: int = Field(ge=1)
    """Rows of the low-resolution picture."""
    lr_width_px: int = Field(ge=1)
    """Columns of the low-resolution picture."""
    interpolation: Interpolation
    """How the picture is made smaller: as OpenCV does it, without antialiasing but for area; antialiased
    is Pillow's bicubic filter."""
    noise: Noise | None
    """The noise, None for none."""
    jpeg_quality: int | None = Field(ge=1, le=100)
    """Quality of the JPEG, None for no JPEG."""


class DegradationConfig(Config):
    """What degradations are drawn from. The default is the release's; lengths are at 512 px.

    A pair of numbers is a range: drawn evenly, both ends included.
    """

    blur_probability: float = Field(default=0.5, ge=0, le=1)
    """How often there is a blur."""
    blurs: tuple[BlurKind, ...] = Field(default=("gaussian", "average", "median", "motion"), min_length=1)
    """The kinds of blur, each as likely as another."""
    gaussian_sigma_px: tuple[float, float] = (3.0, 15.0)
    """Sigma of gaussian blurs."""
    average_size_px: tuple[float, float] = (3.0, 15.0)
    """Side of average blurs."""
    median_size_px: tuple[int, int] = (3, 15)
    """Side of median blurs; one of the odd numbers in the range."""
    motion_length_px: tuple[float, float] = (5.0, 25.0)
    """Length of motion blurs; every direction is as likely."""
    lr_size_px: tuple[int, int] = (32, 127)
    """Side of the low-resolution picture."""
    size_law: SizeLaw = "size"
    """Whether that side is drawn evenly, or the factor that leads to it, which gives smaller ones."""
    interpolations: tuple[Interpolation, ...] = Field(
        default=("nearest", "linear", "area", "cubic"), min_length=1
    )
    """How pictures are made smaller, each as likely as another."""
    noise_probability: float = Field(default=0.2, ge=0, le=1)
    """How often there is noise."""
    noise_std: tuple[float, float] = (0.0, 25.5)
    """Standard deviation of the noise in grey levels of 255."""
    noise_per_channel_probability: float = Field(default=0.5, ge=0, le=1)
    """How often noise is drawn for each channel rather than once for all."""
    jpeg_probability: float = Field(default=0.7, ge=0, le=1)
    """How often there is a JPEG."""
    jpeg_compression: tuple[int, int] = (10, 65)
    """Compression of the JPEG: 100 less its quality."""
    grayscale_probability: float = Field(default=0.3, ge=0, le=1)
    """How often `degrade_pair` makes both pictures gray."""
    clean_probability: float = Field(default=0.0, ge=0, le=1)
    """How often a picture is only made smaller, antialiased and to the largest of `lr_size_px`."""

    @model_validator(mode="after")
    def _check_ranges(self) -> "DegradationConfig":
        smallest = {
            "gaussian_sigma_px": 0.1,
            "average_size_px": 1,
            "median_size_px": 1,
            "motion_length_px": 1,
            "lr_size_px": 1,
            "noise_std": 0,
            "jpeg_compression": 0,
        }
        for name, least in smallest.items():
            low, high = getattr(self, name)
            if not least <= low <= high:
                raise ValueError(
                    f"{name} must be a range from {least:g} up, low end first, got [{low}, {high}]"
                )
        if self.jpeg_compression[1] > 99:
            raise ValueError(f"jpeg_compression must be at most 99, got {self.jpeg_compression[1]}")
        if not self.median_sizes_px:
            raise ValueError(f"median_size_px must hold an odd number, got {list(self.median_size_px)}")
        return self

    @property
    def median_sizes_px(self) -> range:
        """The odd numbers in the range of median blurs."""
        return range(self.median_size_px[0] | 1, self.median_size_px[1] + 1, 2)


RELEASE = DegradationConfig()
"""What the released SPARNetHD was trained on."""

PAPER = DegradationConfig(
    blur_probability=1.0,
    lr_size_px=(32, 128),
    size_law="factor",
    noise_probability=1.0,
    jpeg_probability=1.0,
    grayscale_probability=0.0,
)
"""Section IV-C1: every picture is blurred, noisy and a JPEG, and the factor is drawn evenly from 4 to 16.

Source:
    The paper's text; its ranges were lost on the way and are the release's.
"""

DEGRADATIONS: dict[str, DegradationConfig] = {"paper": PAPER, "release": RELEASE}
"""Every preset."""


def degradation_preset(name: str) -> DegradationConfig:
    """Look up a distribution of degradations by name.

    Raises:
        RecipeError: If there is no such preset.
    """
    if name not in DEGRADATIONS:
        raise RecipeError(f"no degradation '{name}'; have: {', '.join(DEGRADATIONS)}")
    return DEGRADATIONS[name]


def degrade(hr: Image, rng: np.random.Generator, config: DegradationConfig = RELEASE) -> Image:
    """Make a bad photo of a good one, of the same size.

    Args:
        hr: A face.
        rng: Where all randomness comes from.
        config: What is drawn from.

    Source:
        Equation 14.
    """
    return degrade_with_parameters(hr, rng, config)[0]


def degrade_with_parameters(
    hr: Image, rng: np.random.Generator, config: DegradationConfig = RELEASE
) -> tuple[Image, DegradationParameters]:
    """Do as `degrade`, and say what was done."""
    height, width = hr.shape[:2]
    parameters = draw_parameters(height, width, rng, config)
    return apply_degradation(hr, parameters), parameters


def degrade_pair(
    hr: Image, rng: np.random.Generator, config: DegradationConfig = RELEASE, *, size: int | None = None
) -> tuple[Image, AnyImage]:
    """Make a pair to train on: the face and the bad photo of it, sometimes both gray.

    A gray photo has no coloured noise.

    Args:
        hr: A face.
        rng: Where all randomness comes from.
        config: What is drawn from.
        size: Side to which the bad photo is enlarged, px; None enlarges it to the face's own.

    Returns:
        The face as the network should make it, and as the network sees it.
    """
    grayscale = rng.random() < config.grayscale_probability
    if grayscale:
        hr = to_gray(hr)
        config = config.model_copy(update={"noise_per_channel_probability": 0.0})
    height, width = hr.shape[:2]
    lr = _low_resolution(hr, draw_parameters(height, width, rng, config))
    return hr, resize_bicubic(lr, size or height, size or width)


def to_gray(image: Image) -> Image:
    """Return the picture in gray (BT.601 luma), still of three channels."""
    return cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)


def draw_parameters(
    height: int, width: int, rng: np.random.Generator, config: DegradationConfig = RELEASE
) -> DegradationParameters:
    """Draw what to do to a picture.

    The same number of draws is made whatever comes of them, so that a change of one probability
    leaves everything else of a seed's picture as it was. Only `clean_probability` above 0 draws once more.

    Args:
        height: Rows of the picture.
        width: Columns of the picture.
        rng: Where all randomness comes from.
        config: What is drawn from.
    """
    scale = min(height, width) / REFERENCE_SIZE_PX
    has_blur, kind, length, angle, size, interpolation, has_noise, std, per_channel, has_jpeg, compression = (
        rng.random(11).tolist()
    )
    seed = int(rng.integers(2**32))
    if config.clean_probability > 0 and rng.random() < config.clean_probability:
        config = config.model_copy(
            update={
                "blur_probability": 0.0,
                "noise_probability": 0.0,
                "jpeg_probability": 0.0,
                "lr_size_px": (config.lr_size_px[1],) * 2,
                "interpolations": ("antialiased",),
            }
        )
    lr_scale = _draw_lr_size(size, config) / REFERENCE_SIZE_PX
    return DegradationParameters(
        blur=(
            _draw_blur(_choose(config.blurs, kind), length, angle, scale, config)
            if has_blur < config.blur_probability
            else None
        ),
        lr_height_px=max(1, round(height * lr_scale)),
        lr_width_px=max(1, round(width * lr_scale)),
        interpolation=_choose(config.interpolations, interpolation),
        noise=(
            Noise(
                std=_between(config.noise_std, std),
                per_channel=per_channel < config.noise_per_channel_probability,
                seed=seed,
            )
            if has_noise < config.noise_probability
            else None
        ),
        jpeg_quality=(
            100 - _choose(range(config.jpeg_compression[0], config.jpeg_compression[1] + 1), compression)
            if has_jpeg < config.jpeg_probability
            else None
        ),
    )


def apply_degradation(hr: Image, parameters: DegradationParameters) -> Image:
    """Do to a picture what `parameters` say; the same bytes each time.

    Args:
        hr: A face.
        parameters: What to do, as drawn for a picture of this size.

    Raises:
        ImageError: If it is too long for the JPEG that is to be made of it.

    Source:
        Equation 14, in its order: blur, downsample, noise, JPEG; then the enlarging of section
        IV-C1, by Pillow in 8 bits, as everywhere in this package.
    """
    height, width = hr.shape[:2]
    return resize_bicubic(_low_resolution(hr, parameters), height, width)


def _low_resolution(hr: Image, parameters: DegradationParameters) -> AnyImage:
    """Do all of `apply_degradation` but the enlarging."""
    height, width = parameters.lr_height_px, parameters.lr_width_px
    image = hr if parameters.blur is None else apply_blur(hr, parameters.blur)
    if parameters.interpolation == "antialiased":
        lr = resize_bicubic(image, height, width)
    else:
        lr = cv2.resize(image, (width, height), interpolation=_INTERPOLATIONS[parameters.interpolation])
    if parameters.noise is not None:
        lr = add_noise(lr, parameters.noise)
    return lr if parameters.jpeg_quality is None else compress(lr, parameters.jpeg_quality)


def apply_blur(image: Image, blur: Blur) -> Image:
    """Blur a picture; beyond its border it goes on as its mirror image, for a median as its last pixel."""
    match blur:
        case GaussianBlur():
            return _blur_gaussian(image, blur.sigma_px)
        case AverageBlur():
            kernel = average_kernel(blur.size_px)
            blurred = cv2.sepFilter2D(
                image.astype(np.float32), -1, kernel, kernel, borderType=cv2.BORDER_REFLECT
            )
            return cv2.convertScaleAbs(blurred)
        case MedianBlur():
            return cv2.medianBlur(image, blur.size_px) if blur.size_px > 1 else image
        case MotionBlur():
            kernel = motion_kernel(blur.length_px, blur.angle_degrees)
            return cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REFLECT)


def average_kernel(size_px: float) -> Float32[np.ndarray, " k"]:
    """Return how much of each pixel in a row lies within `size_px` about the middle one; the sum is 1."""
    reach = math.ceil((size_px - 1) / 2)
    distance = np.abs(np.arange(-reach, reach + 1))
    covered = np.clip(size_px / 2 - distance + 0.5, 0, 1)
    return (covered / covered.sum()).astype(np.float32)


def motion_kernel(length_px: float, angle_degrees: float) -> Float32[np.ndarray, "k k"]:
    """Return what a point becomes when the camera moves evenly along a line; the sum is 1.

    The line goes through the middle; each of its points is shared among the four pixels about it.

    Args:
        length_px: Length of the line.
        angle_degrees: Its direction, counterclockwise from the right.
    """
    reach = math.ceil(length_px / 2)
    side = 2 * reach + 1
    points = 16 * math.ceil(length_px)  # 16 a pixel: finer ones change the 8-bit result no more
    along = ((np.arange(points) + 0.5) / points - 0.5) * length_px
    angle = math.radians(angle_degrees)
    column, row = reach + along * math.cos(angle), reach - along * math.sin(angle)
    left, above = np.floor(column).astype(int), np.floor(row).astype(int)
    kernel = np.zeros((side + 1, side + 1))
    for right in (0, 1):
        for below in (0, 1):
            share = np.abs(1 - right - (column - left)) * np.abs(1 - below - (row - above))
            np.add.at(kernel, (above + below, left + right), share)
    # The last row and column only ever hold the zero share of a point that lies on the pixel before.
    return (kernel[:side, :side] / points).astype(np.float32)


def add_noise(lr: Image, noise: Noise) -> Image:
    """Add white noise, rounded and clipped to 8 bits."""
    height, width = lr.shape[:2]
    values = np.random.default_rng(noise.seed).standard_normal(
        (height, width, 3 if noise.per_channel else 1), dtype=np.float32
    )
    noisy = lr + np.float32(noise.std) * values
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


def compress(lr: Image, jpeg_quality: int) -> Image:
    """Encode a picture as a JPEG (libjpeg, chroma at half size) and decode it again.

    Raises:
        ImageError: If it is too long for a JPEG.
    """
    height, width = lr.shape[:2]
    if max(height, width) > _LONGEST_JPEG_SIDE_PX:
        raise ImageError(
            f"it would be a JPEG of {width:,} x {height:,} px, "
            f"which has at most {_LONGEST_JPEG_SIDE_PX:,} a side; cut it into pieces"
        )
    with io.BytesIO() as file:
        PIL.Image.fromarray(lr).save(file, format="JPEG", quality=jpeg_quality)
        return np.array(PIL.Image.open(file))


def _blur_gaussian(image: Image, sigma_px: float) -> Image:
    """Blur by a gaussian cut at 4 sigma, true to less than one grey level.

    In floats: OpenCV's gaussian of 8 bits has weights of 8 bits and is off by 2 grey levels.

    A wide one is computed at half the size. Halving by area has a variance of 1/4 px^2 and doubling
    linearly one of 3/4 px^2, at every pixel alike; the gaussian between is narrower by that much.
    Mirroring at the border, border pixel included, is the same at both sizes.
    """
    height, width = image.shape[:2]
    values: np.ndarray = image.astype(np.float32)
    halved = sigma_px >= _HALF_SIZE_SIGMA_PX and height % 2 == 0 and width % 2 == 0
    if halved:
        values = cv2.resize(values, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
        sigma_px = math.sqrt(sigma_px**2 - 1 / 4 - 3 / 4) / 2
    side = 2 * math.ceil(4 * sigma_px) + 1
    values = cv2.GaussianBlur(values, (side, side), sigma_px, borderType=cv2.BORDER_REFLECT)
    if halved:
        values = cv2.resize(values, (width, height), interpolation=cv2.INTER_LINEAR)
    return cv2.convertScaleAbs(values)


def _draw_blur(kind: BlurKind, length: float, angle: float, scale: float, config: DegradationConfig) -> Blur:
    """Turn evenly drawn numbers into a blur of a picture that is `scale` times 512 px."""
    match kind:
        case "gaussian":
            return GaussianBlur(sigma_px=scale * _between(config.gaussian_sigma_px, length))
        case "average":
            return AverageBlur(size_px=scale * _between(config.average_size_px, length))
        case "median":
            size_px = scale * _choose(config.median_sizes_px, length)
            return MedianBlur(size_px=min(_LARGEST_MEDIAN_PX, max(1, 2 * round((size_px - 1) / 2) + 1)))
        case "motion":
            length_px = scale * _between(config.motion_length_px, length)
            return MotionBlur(length_px=length_px, angle_degrees=180 * angle)


def _draw_lr_size(even: float, config: DegradationConfig) -> float:
    """Return the side of the low-resolution picture, for a face of 512 px."""
    low, high = config.lr_size_px
    if config.size_law == "size":
        return float(_choose(range(low, high + 1), even))
    return REFERENCE_SIZE_PX / _between((REFERENCE_SIZE_PX / high, REFERENCE_SIZE_PX / low), even)


def _between(ends: tuple[float, float], even: float) -> float:
    """Take a number from [0, 1) to the range."""
    return ends[0] + (ends[1] - ends[0]) * even


def _choose(choices: Sequence[ChoiceT], even: float) -> ChoiceT:
    """Pick one of `choices` by a number from [0, 1)."""
    return choices[int(even * len(choices))]
