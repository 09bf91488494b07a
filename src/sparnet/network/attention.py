"""What weights a residual branch: our hourglass, and the attention of RCAN and CBAM in its place.

Each module reads the branch and returns weights in (0, 1) that broadcast over it.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sparnet.network.config import Activation, Norm
from sparnet.network.layers import ConvNormAct, ScaleConv


class Hourglass(nn.Module):
    """Read maps at several scales and return them at their own size.

    Each level adds a branch at full size to one that is halved, passed to the next level (or one
    more conv at the bottom) and doubled again.

    Args:
        in_channels: Channels read by the outermost level.
        channels: Filters of every conv.
        levels: Halvings; at least 1.
        norm: Normalisation after every conv.
        activation: Activation after every norm.

    Source:
        Paper section III-B, attention branch.
    """

    def __init__(
        self, in_channels: int, channels: int, *, levels: int, norm: Norm, activation: Activation
    ) -> None:
        super().__init__()
        if levels < 1:
            raise ValueError(f"levels must be at least 1, got {levels}")
        self.skip = ConvNormAct(in_channels, channels, norm=norm, activation=activation)
        self.down = ConvNormAct(in_channels, channels, resize="down", norm=norm, activation=activation)
        self.inner: nn.Module = (
            Hourglass(channels, channels, levels=levels - 1, norm=norm, activation=activation)
            if levels > 1
            else ConvNormAct(channels, channels, norm=norm, activation=activation)
        )
        self.up = ConvNormAct(channels, channels, resize="up", norm=norm, activation=activation)

    def forward(self, x: Float[Tensor, "n i h w"]) -> Float[Tensor, "n c h w"]:
        """Return features of several scales at the size of `x`."""
        return self.skip(x) + self.up(self.inner(self.down(x)))


class SpatialAttention(nn.Module):
    """Say, pixel by pixel, how much of a residual branch to let through.

    An hourglass reads the branch at several scales, a conv makes the maps, a sigmoid bounds them.

    Args:
        channels: Channels of the branch it reads.
        maps: 1 for one map shared by all channels, as in the paper ("2D" in the released
            models), or `channels` for a map of each channel's own ("3D").
        hidden: Filters inside the hourglass.
        levels: Halvings inside the hourglass.
        norm: Normalisation inside the hourglass.
        activation: Activation inside the hourglass.

    Raises:
        ValueError: If `maps` is neither 1 nor `channels`.

    Source:
        Equation 3.
    """

    def __init__(
        self,
        channels: int,
        *,
        maps: int = 1,
        hidden: int = 64,
        levels: int,
        norm: Norm = "batch",
        activation: Activation = "leaky_relu",
    ) -> None:
        super().__init__()
        if maps not in (1, channels):
            raise ValueError(f"maps must be 1 or channels ({channels}), got {maps}")
        self.hourglass = Hourglass(channels, hidden, levels=levels, norm=norm, activation=activation)
        self.output = ScaleConv(hidden, maps)

    def forward(self, branch: Float[Tensor, "n c h w"]) -> Float[Tensor, "n m h w"]:
        """Return the attention map; every weight lies in (0, 1)."""
        return self.output(self.hourglass(branch)).sigmoid()


class ChannelGate(nn.Module):
    """Squeeze each channel to a number, excite: a two-layer perceptron as 1x1 convs.

    Args:
        channels: Channels of the branch.
        reduction: How much narrower the hidden layer is.
    """

    def __init__(self, channels: int, *, reduction: int = 16) -> None:
        super().__init__()
        hidden = max(1, channels // reduction)
        self.squeeze = nn.Conv2d(channels, hidden, kernel_size=1)
        self.activation = nn.ReLU()
        self.excite = nn.Conv2d(hidden, channels, kernel_size=1)

    def forward(self, pooled: Float[Tensor, "n c 1 1"]) -> Float[Tensor, "n c 1 1"]:
        """Return one logit a channel."""
        return self.excite(self.activation(self.squeeze(pooled)))


class RcanAttention(nn.Module):
    """Weight whole channels by what their mean says (the attention of RCAN).

    Args:
        channels: Channels of the branch.

    Source:
        Zhang et al., "Image super-resolution using very deep residual channel attention
        networks" (reference 31 of the paper), reduction 16.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gate = ChannelGate(channels)

    def forward(self, branch: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """Return one weight a channel, the same at each pixel."""
        weights = self.gate(branch.mean(dim=(2, 3), keepdim=True)).sigmoid()
        return weights.expand_as(branch)


class CbamAttention(nn.Module):
    """Weight channels by their mean and maximum, then pixels likewise (the attention of CBAM).

    Args:
        channels: Channels of the branch.

    Source:
        Woo et al., "CBAM: Convolutional block attention module" (reference 26 of the paper),
        reduction 16, kernel 7.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gate = ChannelGate(channels)
        self.conv = nn.Conv2d(2, 1, kernel_size=7, padding=3, bias=False)
        self.norm = nn.BatchNorm2d(1)

    def forward(self, branch: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """Return the product of channel and pixel weights."""
        mean = self.gate(branch.mean(dim=(2, 3), keepdim=True))
        peak = self.gate(branch.amax(dim=(2, 3), keepdim=True))
        channel = (mean + peak).sigmoid()
        weighted = channel * branch
        pooled = torch.cat([weighted.amax(dim=1, keepdim=True), weighted.mean(dim=1, keepdim=True)], dim=1)
        return channel * self.norm(self.conv(pooled)).sigmoid()
