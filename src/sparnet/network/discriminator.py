"""The discriminators of SPARNetHD, and what they say about a batch of faces."""

import itertools
from collections.abc import Iterable
from typing import NamedTuple

from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from sparnet.config import Config
from sparnet.network.config import Norm
from sparnet.network.generator import apply_spectral_norm, init_weights
from sparnet.network.layers import ConvNormAct


class Features(tuple[Tensor, ...]):
    """Feature maps that one network made of one batch: a type that pictures are not.

    The losses on features take nothing else, so that pictures cannot be fed to them by mistake. It
    is a tuple, so that wrappers for devices and precision find the tensors in it.

    Args:
        maps: One N x C x H x W tensor a layer.

    Raises:
        TypeError: If `maps` is one tensor instead of several.
        ValueError: If there is no map, or one is not N x C x H x W or has three channels: that is
            a picture.
    """

    __slots__ = ()

    def __new__(cls, maps: Iterable[Tensor]) -> "Features":
        """Check the maps and keep them in order."""
        if isinstance(maps, Tensor):
            raise TypeError(f"features must be several feature maps, got one tensor {tuple(maps.shape)}")
        kept = tuple(maps)
        if not kept:
            raise ValueError("features must have at least one feature map, got none")
        for layer, values in enumerate(kept):
            if values.ndim != 4:
                raise ValueError(f"feature map {layer} must be N x C x H x W, got {tuple(values.shape)}")
            if values.shape[1] == 3:
                raise ValueError(f"feature map {layer} has 3 channels: it is a picture, not features")
        return super().__new__(cls, kept)

    def detach(self) -> "Features":
        """Return the same maps, through which no gradient flows."""
        return Features(values.detach() for values in self)


class Judgement(NamedTuple):
    """What one discriminator says about a batch."""

    logits: Float[Tensor, "n 1 h w"]
    """A score for each patch, before any squashing: high for real."""
    features: Features
    """The activated maps of every layer but the last."""


class DiscriminatorConfig(Config):
    """The discriminators of one training run. The default is the release's, for 512 px."""

    scales: int = Field(default=3, ge=1)
    """How many discriminators there are, each reading pictures of half the size of the one before."""
    halvings: int = Field(default=4, ge=1)
    """Convs of stride 2 in each."""
    base_channels: int = Field(default=64, ge=1)
    """Channels of the first conv; doubled at each halving."""
    max_channels: int = Field(default=512, ge=1)
    """Where the doubling of channels stops."""
    norm: Norm = "instance"
    """Normalisation after every conv of stride 2."""
    spectral_norm: bool = True
    """Whether every conv is divided by its spectral norm while it is trained."""

    @property
    def smallest_size(self) -> int:
        """Side of the smallest pictures that can be judged, in px: the last score map is one score."""
        return 3 * 2 ** (self.halvings + self.scales - 1)


class PatchDiscriminator(nn.Module):
    """Score each patch of a picture as real or made.

    A conv, convs of stride 2 with a norm, and a conv without padding to one score map.

    Args:
        config: The architecture.

    Source:
        Section III-C; layers of the released code. Padding reflects, as in the generator; convs
        followed by a norm have no bias, as in the generator.
    """

    def __init__(self, config: DiscriminatorConfig) -> None:
        super().__init__()
        widths = [
            min(config.base_channels * 2**level, config.max_channels) for level in range(config.halvings + 1)
        ]
        self.layers = nn.ModuleList([ConvNormAct(3, widths[0], norm="none", activation="leaky_relu")])
        for reads, makes in itertools.pairwise(widths):
            self.layers.append(
                ConvNormAct(reads, makes, resize="down", norm=config.norm, activation="leaky_relu")
            )
        self.output = nn.Conv2d(widths[-1], 1, kernel_size=3)

    def forward(self, x: Float[Tensor, "n 3 h w"]) -> Judgement:
        """Return the score map and the features it was made of."""
        maps = []
        values = x
        for layer in self.layers:
            values = layer(values)
            maps.append(values)
        return Judgement(logits=self.output(values), features=Features(maps))


class MultiScaleDiscriminator(nn.Module):
    """Judge faces at full, half and quarter size, by a network each.

    Args:
        config: The architecture.

    Source:
        Section III-C; 11.75 M parameters for the three. The paper does not say how the pictures
        are halved; the released code does it bicubically. Here: bicubically with antialiasing, so
        that the coarse discriminators judge no aliasing.
    """

    def __init__(self, config: DiscriminatorConfig) -> None:
        super().__init__()
        self.config = config
        self.discriminators = nn.ModuleList(PatchDiscriminator(config) for _ in range(config.scales))
        self.apply(init_weights)
        if config.spectral_norm:
            apply_spectral_norm(self)

    def forward(self, x: Float[Tensor, "n 3 h w"]) -> list[Judgement]:
        """Return what each discriminator says, the one that reads the full size first.

        Args:
            x: Faces, RGB in [-1, 1].

        Raises:
            ValueError: If the faces are too small for the last discriminator.
        """
        side = min(x.shape[-2:])
        if side < self.config.smallest_size:
            raise ValueError(
                f"faces must have {self.config.smallest_size} px a side for {self.config.scales} "
                f"discriminators of {self.config.halvings} halvings, got {side} px"
            )
        judgements = []
        for scale, discriminator in enumerate(self.discriminators):
            if scale > 0:
                x = halve(x)
            judgements.append(discriminator(x))
        return judgements


def halve(x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h2 w2"]:
    """Resize pictures to half their size, bicubically and with antialiasing.

    In float32, whatever comes in: on a CPU there is no such kernel for bfloat16.
    """
    halved = functional.interpolate(
        x.float(), scale_factor=0.5, mode="bicubic", align_corners=False, antialias=True
    )
    return halved.to(x.dtype)
