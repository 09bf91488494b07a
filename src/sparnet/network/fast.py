"""The same network with less work: what model files hold and the torch engine runs.

Nothing here has weights of its own. Each layer computes from the ScaleConv's weight the kernel of a
cheaper layer that gives the same result up to rounding; in a model file that is a small product of
constants, which engines compute once when they load it.
"""

import copy
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sparnet.network.layers import ConvNormAct, ScaleConv, reflect_pad

GeneratorT = TypeVar("GeneratorT", bound=nn.Module)

NARROW = {1: 4, 2: 2, 3: 2}
"""Output channels, and the side of the square of pixels that `BlockConv` makes at once."""


class DoublingConv(nn.Module):
    """Nearest-neighbour doubling, reflect padding and a 3 x 3 conv in one transposed conv.

    Of the nine pixels that the conv reads after the doubling only four differ. So each output is a
    2 x 2 conv at the small size with sums of weights, one of four by where it lies; the four
    together are a transposed conv of stride 2 whose 4 x 4 kernel is the mirrored 3 x 3 one spread
    over 2 x 2. Mirroring a doubled picture at its border repeats its border pixel, so that the
    small one is padded by its edge. 4/9 of the work.

    Args:
        plain: The conv to do the work of; its parameters are used.
    """

    def __init__(self, plain: ScaleConv) -> None:
        super().__init__()
        self.conv = plain.conv
        self.spread: Tensor
        spread = torch.zeros(3, 3, 4, 4)
        for row in range(3):
            for column in range(3):
                spread[row, column, 2 - row : 4 - row, 2 - column : 4 - column] = 1
        self.register_buffer("spread", spread.reshape(9, 16).to(plain.conv.weight), persistent=False)

    def forward(self, x: Float[Tensor, "n i h w"]) -> Float[Tensor, "n o h2 w2"]:
        """Return the convolved maps at twice the size."""
        padded = nn.functional.pad(x, (1, 1, 1, 1), mode="replicate")
        return nn.functional.conv_transpose2d(padded, self.kernel(), self.conv.bias, stride=2, padding=3)

    def kernel(self) -> Float[Tensor, "i o 4 4"]:
        """Return the kernel of the transposed conv."""
        made, read = self.conv.weight.shape[:2]
        return (self.conv.weight.flatten(2) @ self.spread).reshape(made, read, 4, 4).transpose(0, 1)

    def places(self) -> Float[Tensor, "o4 i 2 2"]:
        """Return the same work as four 2 x 2 convs, one for each place in a square, lower right first.

        Their outputs, laid out in squares, have a border of one pixel too many: that is how each
        reads the four pixels it needs of the padded picture.
        """
        mirrored = self.kernel().transpose(0, 1).flip(2, 3)
        kernels = [mirrored[:, :, 1 - down :: 2, 1 - right :: 2] for down in (0, 1) for right in (0, 1)]
        return torch.stack(kernels, dim=1).flatten(0, 1)


class BlockConv(nn.Module):
    """A 3 x 3 conv of few output channels that makes a square of pixels at once.

    Processors compute 16 output channels at the price of one. A square of `side` x `side` pixels
    is made as that many channels, by a kernel that covers all they read, and then laid out.

    Args:
        plain: The conv to do the work of; its parameters are used.
        side: Side of the square in px.
    """

    def __init__(self, plain: ScaleConv, side: int) -> None:
        super().__init__()
        self.conv = plain.conv
        self.side = side
        self.spread: Tensor
        spread = torch.zeros(3, 3, side, side, side + 2, side + 2)
        for row in range(3):
            for column in range(3):
                for down in range(side):
                    for right in range(side):
                        spread[row, column, down, right, down + row, right + column] = 1
        self.register_buffer("spread", spread.reshape(9, -1).to(plain.conv.weight), persistent=False)

    def forward(self, x: Float[Tensor, "n i h w"]) -> Float[Tensor, "n o h w"]:
        """Return the convolved maps."""
        squares = nn.functional.conv2d(reflect_pad(x), self.kernel(), self.bias(), stride=self.side)
        return nn.functional.pixel_shuffle(squares, self.side)

    def kernel(self) -> Float[Tensor, "squares i r r"]:
        """Return the kernel that makes a square of pixels."""
        weight, side = self.conv.weight, self.side
        made, read = weight.shape[:2]
        kernel = (weight.flatten(2) @ self.spread).reshape(made, read, side**2, side + 2, side + 2)
        return kernel.transpose(1, 2).flatten(0, 1)

    def bias(self) -> Float[Tensor, "squares"] | None:
        """Return the bias of each pixel of a square."""
        return None if self.conv.bias is None else self.conv.bias.repeat_interleave(self.side**2)


class FixedConv(nn.Module):
    """A conv of the fast form with its kernel computed, the norm and the activation after it taken in.

    A doubling conv is written as what it is in the end: four 2 x 2 convs, one for each place in a
    square of 2 x 2 pixels, whose outputs are laid out. Integer arithmetic wants it so: each of the
    four has its own scale, and the activation comes before the layout, where engines fuse it.

    Args:
        conv: The conv.
        norm: A batch norm that follows it, if one does.
        activation: What follows that, if anything does.
    """

    def __init__(
        self, conv: nn.Module, norm: nn.BatchNorm2d | None = None, activation: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.doubles = isinstance(conv, DoublingConv)
        self.side, self.stride = 1, 1
        if isinstance(conv, DoublingConv):
            self.side = 2
            kernel, bias = conv.places(), conv.conv.bias
            bias = None if bias is None else bias.repeat_interleave(4)
        elif isinstance(conv, BlockConv):
            self.side = self.stride = conv.side
            kernel, bias = conv.kernel(), conv.bias()
        elif isinstance(conv, ScaleConv):
            kernel, bias, self.stride = conv.conv.weight, conv.conv.bias, int(conv.conv.stride[0])
        else:
            raise TypeError(f"expected a conv of the fast form, got {type(conv).__name__}")
        shift = torch.zeros(len(kernel)).to(kernel) if bias is None else bias
        if norm is not None:
            mean, variance = norm.running_mean, norm.running_var
            if mean is None or variance is None:
                raise ValueError("a norm that keeps no statistics cannot be folded")
            scale = norm.weight / (variance + norm.eps).sqrt()
            scale, mean, offset = (each.repeat_interleave(self.side**2) for each in (scale, mean, norm.bias))
            kernel = kernel * scale[:, None, None, None]
            shift = (shift - mean) * scale + offset
        self.weight = nn.Parameter(kernel.detach().clone())
        self.bias = nn.Parameter(shift.detach().clone())
        self.activation = nn.Identity() if activation is None else copy.deepcopy(activation)
        if isinstance(self.activation, nn.PReLU) and self.activation.num_parameters > 1:
            slopes = self.activation.weight.detach().repeat_interleave(self.side**2)
            self.activation = nn.PReLU(len(slopes))
            self.activation.weight = nn.Parameter(slopes)

    def forward(self, x: Float[Tensor, "n i h w"]) -> Float[Tensor, "n o h2 w2"]:
        """Return the convolved maps."""
        padded = nn.functional.pad(x, (1, 1, 1, 1), mode="replicate") if self.doubles else reflect_pad(x)
        made = self.activation(nn.functional.conv2d(padded, self.weight, self.bias, stride=self.stride))
        if self.side > 1:
            made = nn.functional.pixel_shuffle(made, self.side)
        return made[:, :, 1:-1, 1:-1] if self.doubles else made


def fixed_form(network: GeneratorT) -> GeneratorT:
    """Return the fast form with kernels computed, batch norms folded into the convs before them.

    It makes the same faces, and can only be run: its parameters are no longer the network's.

    Args:
        network: A network without spectral norm.
    """
    fixed = fast_form(network)
    for parent in list(fixed.modules()):
        if isinstance(parent, ConvNormAct):
            norm = parent.norm if isinstance(parent.norm, nn.BatchNorm2d) else None
            alone = norm is not None or isinstance(parent.norm, nn.Identity)
            fixed_conv = FixedConv(parent.scale_conv, norm, parent.activation if alone else None)
            parent.scale_conv = fixed_conv  # type: ignore[assignment]
            if alone:
                parent.norm, parent.activation = nn.Identity(), nn.Identity()
            continue
        for name, child in list(parent.named_children()):
            if isinstance(child, DoublingConv | BlockConv | ScaleConv) and name != "scale_conv":
                setattr(parent, name, FixedConv(child))
    return fixed


def fast_form(network: GeneratorT) -> GeneratorT:
    """Return a copy of a network that makes the same faces with less work, for inference.

    Its parameters have the names and values of the network's, which stays as it is.

    Args:
        network: A network without spectral norm.
    """
    fast = copy.deepcopy(network).eval()
    for parent in list(fast.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, ScaleConv):
                setattr(parent, name, _fast_conv(child))
    return fast


def _fast_conv(plain: ScaleConv) -> nn.Module:
    if isinstance(plain.upsample, nn.Upsample):
        return DoublingConv(plain)
    if plain.conv.stride == (1, 1) and plain.conv.out_channels in NARROW:
        return BlockConv(plain, NARROW[plain.conv.out_channels])
    return plain
