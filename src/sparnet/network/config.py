"""The architecture of a generator as data: every choice of the paper and of the release."""

import math
from typing import Literal

from pydantic import Field, model_validator

from sparnet.config import Config

Attention = Literal["spatial", "channelwise", "none", "rcan", "cbam"]
Norm = Literal["batch", "instance", "none"]
GlobalResidual = Literal["none", "input", "detail"]
Activation = Literal["leaky_relu", "prelu", "prelu_shared"]
WAVELET_KEYS = {
    "architecture",
    "image_size",
    "input_size",
    "base_channels",
    "max_channels",
    "body_units",
    "subnet_channels",
    "spectral_norm",
}
"""Keys of a `NetworkConfig` that mean something for Wavelet-SRNet."""


class NetworkConfig(Config):
    """A SPARNet or SPARNetHD generator.

    The default is the released SPARNet for 128 px, "SPARNet-V16-S4" with one attention map a unit.
    """

    architecture: Literal["sparnet", "wavelet"] = "sparnet"
    """SPARNet, or Wavelet-SRNet, which it is compared with. Of what follows that one has the sizes; the
    channels of its embedding net, from `base_channels` doubled up to `max_channels`; `body_units`
    residual blocks at each width of it and in each subnet; and `subnet_channels`."""
    image_size: int = 128
    """Side of the output, and of the input enlarged to it, in px. A power of two from 16."""
    input_size: int | None = None
    """Side of the picture the network reads, in px; None reads `image_size`, as the paper does.
    A smaller one starts the encoder there ("direct"); at the body's size there is no encoder."""
    pixel_unshuffle: int = 1
    """Side of the squares of pixels that are folded into channels before the stem and unfolded after
    the output (space to depth); the network works inside at `image_size / pixel_unshuffle`. 1 folds
    nothing, as the paper. Ours: at 2, four times less work for the same layers."""
    global_residual: GlobalResidual = "none"
    """What of the input is added to the network's output: nothing, as the paper; the whole picture,
    so that the network makes the difference and starts as the identity; or its detail, which is what
    folding hides from an average: the input less the mean of each square of `pixel_unshuffle`."""
    encoder_skips: bool = False
    """Whether the encoder's features are added to the decoder's of the same size, through a 1x1 conv
    that starts at 0. Ours: in the paper all of the picture passes through the body, which is enough
    for 16 px of information, but not for a face whose detail is to be kept."""
    refine_channels: int = Field(default=0, ge=0)
    """Channels of two convs at `image_size`, behind the unfolding, whose output is added to the picture
    and starts at 0. Ours: what is unfolded from squares of `pixel_unshuffle` can show their borders,
    which convs of whole pixels can blend. 0 has none, as the paper."""
    body_size: int = 16
    """Side of the feature maps of the body, in px: the smallest ones outside the hourglasses."""
    body_units: int = Field(default=10, ge=0)
    """Units at the smallest size between encoder and decoder."""
    base_channels: int = Field(default=32, ge=1)
    """Channels at `inner_size`; doubled at each halving of the size."""
    max_channels: int = Field(default=128, ge=1)
    """Where the doubling of channels stops."""
    norm: Norm = "batch"
    """Normalisation in every unit."""
    activation: Activation = "leaky_relu"
    """LeakyReLU with slope 0.2 (release), PReLU with a slope a channel (paper), or one slope shared."""
    attention: Attention = "spatial"
    """What weights the residual branch: one hourglass map shared by all channels (spatial, "2D" in
    the release), one a channel (channelwise, "3D"), nothing, or the attention of RCAN or CBAM."""
    attention_units: int | None = Field(default=None, ge=0)
    """How many units have attention, counted from the output ("V"); None means all."""
    attention_smallest_size: int = Field(default=4, ge=2)
    """Side of the smallest map in an hourglass, in px ("S"). A unit at that size has no attention."""
    attention_channels: int = Field(default=64, ge=1)
    """Filters of every conv in an hourglass."""
    attention_activation: Activation | None = None
    """Activation inside the hourglasses; None means that of the units."""
    spectral_norm: bool = False
    """Whether every conv is divided by its spectral norm while it is trained."""
    subnet_channels: int = Field(default=64, ge=1)
    """Channels inside each of Wavelet-SRNet's subnets."""

    @model_validator(mode="after")
    def _check_sizes(self) -> "NetworkConfig":
        for name in ("image_size", "pixel_unshuffle", "body_size", "attention_smallest_size"):
            _require_power_of_two(name, getattr(self, name))
        if self.image_size < 16:
            raise ValueError(f"image_size must be a power of two from 16, got {self.image_size}")
        if not 2 <= self.body_size <= self.inner_size:
            limit = "image_size" if self.pixel_unshuffle == 1 else "image_size / pixel_unshuffle"
            raise ValueError(
                f"body_size must lie between 2 and {limit} ({self.inner_size}), got {self.body_size}"
            )
        if self.input_size is not None:
            _require_power_of_two("input_size", self.input_size)
            smallest = 2 if self.architecture == "wavelet" else self.body_size
            largest = "image_size" if self.pixel_unshuffle == 1 else "image_size / pixel_unshuffle"
            if not smallest <= self.input_size <= self.inner_size and self.input_size != self.image_size:
                raise ValueError(
                    f"input_size must lie between body_size ({smallest}) and "
                    f"{largest} ({self.inner_size}), got {self.input_size}"
                )
            if self.input_size < self.image_size and self.global_residual != "none":
                raise ValueError("global_residual needs an input of image_size")
        if self.encoder_skips and self.reads_px != self.image_size:
            raise ValueError(
                "encoder_skips needs an encoder as deep as the decoder, not a smaller input_size"
            )
        if self.refine_channels > 0 and self.pixel_unshuffle == 1:
            raise ValueError("refine_channels needs pixel_unshuffle above 1: without it nothing is unfolded")
        if self.global_residual == "detail" and self.pixel_unshuffle == 1:
            raise ValueError("global_residual detail needs pixel_unshuffle above 1: without it there is none")
        if self.architecture == "wavelet":
            self._check_wavelet()
        if self.attention_units is not None and self.attention_units > self.units:
            raise ValueError(
                f"attention_units must be at most the network's {self.units} units, "
                f"got {self.attention_units}"
            )
        return self

    def _check_wavelet(self) -> None:
        if self.input_size is None or self.input_size == self.image_size:
            raise ValueError(
                "architecture wavelet reads the small face: give input_size, below "
                f"image_size ({self.image_size})"
            )
        if self.spectral_norm:
            raise ValueError("architecture wavelet has no spectral_norm")
        meant = self.model_fields_set - WAVELET_KEYS
        changed = sorted(
            name for name in meant if getattr(self, name) != type(self).model_fields[name].default
        )
        if changed:
            raise ValueError(f"architecture wavelet has no {changed[0]}")

    @property
    def reads_px(self) -> int:
        """Side of the picture the network reads."""
        return self.image_size if self.input_size is None else self.input_size

    @property
    def input_fold(self) -> int:
        """Side of the squares of pixels of the input that are folded into channels."""
        return self.pixel_unshuffle if self.reads_px == self.image_size else 1

    @property
    def inner_size(self) -> int:
        """Side of the largest feature maps, in px."""
        return self.image_size // self.pixel_unshuffle

    @property
    def encoder_units(self) -> int:
        """Units that halve the size, before the body."""
        return int(math.log2(self.reads_px // self.input_fold // self.body_size))

    @property
    def decoder_units(self) -> int:
        """Units that double the size, after the body."""
        return int(math.log2(self.inner_size // self.body_size))

    @property
    def units(self) -> int:
        """All units; 16 in the paper's network."""
        return self.encoder_units + self.body_units + self.decoder_units

    def channels_at(self, size: int) -> int:
        """Channels of feature maps with `size` px a side."""
        return min(self.base_channels * (self.inner_size // size), self.max_channels)

    def hourglass_levels(self, size: int) -> int:
        """Levels of the hourglass over maps of `size` px: the halvings down to the smallest size."""
        return int(math.log2(max(1, size // self.attention_smallest_size)))


def _require_power_of_two(name: str, value: int) -> None:
    if value < 1 or value & (value - 1):
        smallest = {"image_size": 16, "pixel_unshuffle": 1}.get(name, 2)
        raise ValueError(f"{name} must be a power of two from {smallest}, got {value}")
