"""The convolutions that everything is built of: reflect padding, and a change of size beside it."""

from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sparnet.network.config import Activation, Norm

Resize = Literal["none", "down", "up"]


def reflect_pad(x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h+2 w+2"]:
    """Pad by one pixel on each side, mirrored at the border pixel's centre.

    While training on a CPU our own gradient is used: torch's leaves bfloat16 and channels_last, and
    costs a fifth of a training step.
    """
    if x.requires_grad and x.device.type == "cpu" and not torch.compiler.is_compiling():
        return _ReflectPad.apply(x)  # type: ignore[no-untyped-call]
    return nn.functional.pad(x, (1, 1, 1, 1), mode="reflect")


class _ReflectPad(torch.autograd.Function):
    """Reflect padding that keeps type and memory layout, forwards and backwards."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        ctx.layout = layout_of(x)
        padded = torch.empty((n, c, h + 2, w + 2), dtype=x.dtype, memory_format=ctx.layout)
        padded[:, :, 1:-1, 1:-1] = x
        padded[:, :, 0, 1:-1] = x[:, :, 1]
        padded[:, :, -1, 1:-1] = x[:, :, -2]
        padded[:, :, :, 0] = padded[:, :, :, 2]
        padded[:, :, :, -1] = padded[:, :, :, -3]
        return padded

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (gradient,) = gradients
        inner = gradient[:, :, 1:-1, 1:-1].clone(memory_format=ctx.layout)
        for edge, source in ((0, 1), (-1, -2)):
            inner[:, :, source] += gradient[:, :, edge, 1:-1]
            inner[:, :, :, source] += gradient[:, :, 1:-1, edge]
            for edge_x, source_x in ((0, 1), (-1, -2)):
                inner[:, :, source, source_x] += gradient[:, :, edge, edge_x]
        return inner


def layout_of(x: Tensor) -> torch.memory_format:
    """Say whether a tensor has its channels innermost."""
    last = torch.channels_last
    return last if x.is_contiguous(memory_format=last) else torch.contiguous_format


class ScaleConv(nn.Module):
    """Convolve 3x3 with reflect padding, halving or doubling the size if asked.

    Down is a stride of 2. Up is nearest-neighbour enlargement before the padding, which avoids
    checkerboards.

    Args:
        in_channels: Channels read.
        out_channels: Channels made.
        resize: Change of size.
        bias: Whether the conv has a bias; convs followed by a norm need none.

    Source:
        Paper section III-B and Figure 4 (downscale and upscale Conv).
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, resize: Resize = "none", bias: bool = True
    ) -> None:
        super().__init__()
        self.upsample = nn.Upsample(scale_factor=2.0, mode="nearest") if resize == "up" else nn.Identity()
        self.conv = nn.Conv2d(
            in_channels,
            out_channels,
            kernel_size=3,
            stride=2 if resize == "down" else 1,
            bias=bias,
        )

    def forward(self, x: Float[Tensor, "n i h w"]) -> Float[Tensor, "n o h2 w2"]:
        """Return the convolved maps, at half, the same or twice the size."""
        return self.conv(reflect_pad(self.upsample(x)))


class ConvNormAct(nn.Module):
    """Convolve, normalise, activate.

    Args:
        in_channels: Channels read.
        out_channels: Channels made.
        resize: Change of size, in the conv.
        norm: Kind of normalisation.
        activation: Kind of activation, or None for none.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        resize: Resize = "none",
        norm: Norm,
        activation: Activation | None,
    ) -> None:
        super().__init__()
        self.scale_conv = ScaleConv(in_channels, out_channels, resize=resize, bias=norm == "none")
        self.norm = build_norm(norm, out_channels)
        self.activation = nn.Identity() if activation is None else build_activation(activation, out_channels)

    def forward(self, x: Float[Tensor, "n i h w"]) -> Float[Tensor, "n o h2 w2"]:
        """Return the activated maps."""
        return self.activation(self.norm(self.scale_conv(x)))


def build_norm(norm: Norm, channels: int) -> nn.Module:
    """Make a normalisation layer; instance norm has a learnt scale and shift."""
    match norm:
        case "batch":
            return nn.BatchNorm2d(channels)
        case "instance":
            return nn.InstanceNorm2d(channels, affine=True)
        case "none":
            return nn.Identity()


def build_activation(activation: Activation, channels: int) -> nn.Module:
    """Make an activation layer."""
    match activation:
        case "leaky_relu":
            return nn.LeakyReLU(0.2)
        case "prelu":
            return nn.PReLU(channels)
        case "prelu_shared":
            return nn.PReLU(1)
