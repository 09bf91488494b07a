"""The same network with less work: what model files hold and the torch engine runs.

Nothing here has weights of its own. Each layer computes from the ScaleConv's weight the kernel of a
cheaper layer that gives the same result up to rounding; in a model file that is a small product of
constants, which engines compute once when they load it.
"""

import copy

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sparnet.network.generator import SPARNet
from sparnet.network.layers import ScaleConv, reflect_pad

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
        spread = torch.zeros(3, 3, 4, 4)
        for row in range(3):
            for column in range(3):
                spread[row, column, 2 - row : 4 - row, 2 - column : 4 - column] = 1
        self.register_buffer("spread", spread.reshape(9, 16).to(plain.conv.weight), persistent=False)

    def forward(self, x: Float[Tensor, "n i h w"]) -> Float[Tensor, "n o h2 w2"]:
        """Return the convolved maps at twice the size."""
        kernel = (self.conv.weight.flatten(2) @ self.spread).unflatten(2, (4, 4)).transpose(0, 1)
        padded = nn.functional.pad(x, (1, 1, 1, 1), mode="replicate")
        return nn.functional.conv_transpose2d(padded, kernel, self.conv.bias, stride=2, padding=3)


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
        spread = torch.zeros(3, 3, side, side, side + 2, side + 2)
        for row in range(3):
            for column in range(3):
                for down in range(side):
                    for right in range(side):
                        spread[row, column, down, right, down + row, right + column] = 1
        self.register_buffer("spread", spread.reshape(9, -1).to(plain.conv.weight), persistent=False)

    def forward(self, x: Float[Tensor, "n i h w"]) -> Float[Tensor, "n o h w"]:
        """Return the convolved maps."""
        weight, side = self.conv.weight, self.side
        made, read = weight.shape[:2]
        kernel = (weight.flatten(2) @ self.spread).reshape(made, read, side**2, side + 2, side + 2)
        kernel = kernel.transpose(1, 2).flatten(0, 1)
        bias = None if self.conv.bias is None else self.conv.bias.repeat_interleave(side**2)
        squares = nn.functional.conv2d(reflect_pad(x), kernel, bias, stride=side)
        return nn.functional.pixel_shuffle(squares, side)


def fast_form(network: SPARNet) -> SPARNet:
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
