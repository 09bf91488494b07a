"""Wavelet-SRNet, which the paper compares with: a subnet for each band of the wavelet packet transform."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from sparnet.network.config import NetworkConfig


def hadamard_basis(factor: int) -> Float[Tensor, "bands bands2"]:
    """Return the pictures of `factor` x `factor` px that the bands of a Haar packet transform stand for.

    A full packet of log2(factor) Haar levels splits every band again, so that its pictures are all
    products of signs: row b is band b, 1 or -1 at each pixel in row-major order. Band 0 is even.

    Raises:
        ValueError: If `factor` is no power of two from 2.
    """
    if factor < 2 or factor & (factor - 1):
        raise ValueError(f"factor must be a power of two from 2, got {factor}")
    line = torch.ones(1, 1)
    while line.shape[0] < factor:
        line = torch.kron(torch.tensor([[1.0, 1.0], [1.0, -1.0]]), line)
    return torch.kron(line, line)


def wavelet_packet(pictures: Float[Tensor, "n 3 h w"], *, factor: int) -> Float[Tensor, "n 3 bands h2 w2"]:
    """Return the coefficients of pictures in the full Haar packet transform of log2(factor) levels.

    Scaled so that band 0 is the mean of each square of `factor` px, in the range of the pixels.
    """
    basis = hadamard_basis(factor).to(pictures)
    height, width = pictures.shape[2] // factor, pictures.shape[3] // factor
    squares = functional.pixel_unshuffle(pictures, factor).reshape(-1, 3, factor**2, height, width)
    return torch.einsum("bp,ncphw->ncbhw", basis / factor**2, squares)


class InverseWaveletPacket(nn.Module):
    """Put pictures together from their coefficients: the inverse of `wavelet_packet`, nothing to learn.

    Args:
        factor: How much larger the pictures are than their bands.
    """

    basis: Tensor

    def __init__(self, factor: int) -> None:
        super().__init__()
        self.factor = factor
        kernel = hadamard_basis(factor).t()[:, :, None, None].repeat(3, 1, 1, 1)
        self.register_buffer("basis", kernel)

    def forward(self, coefficients: Float[Tensor, "n m h w"]) -> Float[Tensor, "n 3 h2 w2"]:
        """Return the pictures.

        Args:
            coefficients: The bands of red, then those of green, then those of blue.
        """
        squares = functional.conv2d(coefficients, self.basis.to(coefficients.dtype), groups=3)
        return functional.pixel_shuffle(squares, self.factor)


class ResidualBlock(nn.Module):
    """Two 3x3 convs with batch norm, added to the input; several independent ones side by side.

    Args:
        in_channels: Channels read.
        out_channels: Channels made.
        groups: Independent networks that share the channels out evenly among them.
    """

    def __init__(self, in_channels: int, out_channels: int, *, groups: int = 1) -> None:
        super().__init__()
        self.shortcut = (
            nn.Identity()
            if in_channels == out_channels
            else nn.Conv2d(in_channels, out_channels, kernel_size=1, groups=groups, bias=False)
        )
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1, groups=groups, bias=False)
        self.norm1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, groups=groups, bias=False)
        self.norm2 = nn.BatchNorm2d(out_channels)

    def forward(self, x: Float[Tensor, "n i h w"]) -> Float[Tensor, "n o h w"]:
        """Return the sum."""
        branch = self.norm2(self.conv2(self.norm1(self.conv1(x)).relu()))
        return (self.shortcut(x) + branch).relu()


class WaveletSRNet(nn.Module):
    """Predict the wavelet coefficients of the large face from the small one.

    An embedding net makes features of the small face, wider with depth; `factor`^2 parallel subnets
    each predict one band for the three colours; the inverse packet transform makes the face of them.
    Nothing but the input's size and the number of subnets depends on the factor.

    The subnets stand side by side as groups of one convolution, which is the same arithmetic.

    Args:
        config: The architecture, with `architecture = "wavelet"`.

    Source:
        Huang et al., "Wavelet-SRNet", ICCV 2017 (reference 50 of the paper): the three nets, 3x3 convs
        that keep the size, factor^2 subnets. The widths and depths are ours; docs/paper.md.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.checkpointing = False
        """Not used: its features are small."""
        factor = config.image_size // config.reads_px
        bands, hidden = factor**2, config.subnet_channels
        width = config.base_channels
        self.stem = nn.Conv2d(3, width, kernel_size=3, padding=1)
        self.embedding = nn.ModuleList()
        while True:
            self.embedding.extend(ResidualBlock(width, width) for _ in range(config.body_units))
            wider = min(2 * width, config.max_channels)
            if wider == width:
                break
            self.embedding.append(ResidualBlock(width, wider))
            width = wider
        self.split = nn.Conv2d(width, bands * hidden, kernel_size=3, padding=1)
        self.subnets = nn.ModuleList(
            ResidualBlock(bands * hidden, bands * hidden, groups=bands) for _ in range(config.body_units)
        )
        self.output = nn.Conv2d(bands * hidden, bands * 3, kernel_size=3, padding=1, groups=bands)
        self.reconstruction = InverseWaveletPacket(factor)
        self.apply(_init_weights)
        # Even grey at first: high bands of chance alone are noise that takes long to unlearn.
        nn.init.zeros_(self.output.weight)

    @property
    def units(self) -> list[nn.Module]:
        """No unit has attention."""
        return []

    def forward(self, x: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 3 h2 w2"]:
        """Return the super-resolved faces.

        Args:
            x: Low-resolution faces, RGB in [-1, 1], `config.reads_px` a side.
        """
        features = self.stem(x).relu()
        for block in self.embedding:
            features = block(features)
        features = self.split(features).relu()
        for block in self.subnets:
            features = block(features)
        by_band = self.output(features).unflatten(1, (-1, 3))
        return self.reconstruction(by_band.transpose(1, 2).flatten(1, 2))

    def attention_maps(self, x: Float[Tensor, "n 3 h w"]) -> list[Float[Tensor, "..."]]:
        """Return nothing: it has no attention."""
        return self.forward_with_maps(x)[1]

    def forward_with_maps(
        self, x: Float[Tensor, "n 3 h w"]
    ) -> tuple[Float[Tensor, "n 3 h2 w2"], list[Float[Tensor, "..."]]]:
        """Return the super-resolved faces, and no maps."""
        return self(x), []


def _init_weights(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
