"""Networks trained on ImageNet that losses and metrics look through: AlexNet, VGG16, VGG19."""

import logging
from collections.abc import Sequence
from itertools import islice
from typing import Literal

import torch
from jaxtyping import Float
from safetensors.torch import load_file
from torch import Tensor, nn

from sparnet.weights.auxiliary import AUXILIARY_FILES, find_auxiliary
from sparnet.weights.folders import locate_weights_file

TrunkName = Literal["alexnet", "vgg16", "vgg19"]
VggName = Literal["vgg16", "vgg19"]

PERCEPTUAL_TAPS: dict[VggName, tuple[int, ...]] = {
    "vgg19": (2, 7, 16, 25, 34),
    "vgg16": (2, 7, 14, 21, 28),
}
"""Layers the perceptual loss reads: the last conv of each of the five stages, before its ReLU.

The released code's slices of VGG19 end after these; VGG16's are at the same depths.
"""

_POOL = 0
_VGG_WIDTHS: dict[VggName, tuple[int, ...]] = {
    "vgg16": (64, 64, _POOL, 128, 128, _POOL, *(256,) * 3, _POOL, *(512,) * 3, _POOL, *(512,) * 3, _POOL),
    "vgg19": (64, 64, _POOL, 128, 128, _POOL, *(256,) * 4, _POOL, *(512,) * 4, _POOL, *(512,) * 4, _POOL),
}

_logger = logging.getLogger(__name__)


class Trunk(nn.Module):
    """Return the feature maps of some layers of a network trained on ImageNet.

    The statistics of ImageNet are applied inside. Parameters are named as in torchvision's files
    (`features.N.weight`), so that those load as they are.

    Args:
        name: Which network.
        taps: Indices of the layers of `features` whose output is returned, in rising order.

    Raises:
        ValueError: If `taps` is empty, does not rise, or names layers the network has not.

    Source:
        AlexNet: Krizhevsky 2014, one tower. VGG: Simonyan and Zisserman 2015, columns D and E.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, name: TrunkName, *, taps: Sequence[int]) -> None:
        super().__init__()
        self.name: TrunkName = name
        self.taps = tuple(taps)
        self.features = _alexnet_layers() if name == "alexnet" else _vgg_layers(_VGG_WIDTHS[name])
        last = len(self.features) - 1
        if not self.taps or self.taps != tuple(sorted({tap for tap in self.taps if 0 <= tap <= last})):
            raise ValueError(f"taps must rise and lie in 0 to {last} for {name}, got {self.taps}")
        # ImageNet's (.485, .456, .406) and (.229, .224, .225) of [0, 1], taken to [-1, 1].
        self.register_buffer("mean", torch.tensor([-0.030, -0.088, -0.188]).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor([0.458, 0.448, 0.450]).view(3, 1, 1), persistent=False)

    def forward(self, x: Float[Tensor, "n 3 h w"]) -> list[Float[Tensor, "n _ _ _"]]:
        """Return the tapped maps of pictures in [-1, 1], in the order of the layers."""
        maps = []
        x = (x - self.mean) / self.std
        for index, layer in enumerate(islice(self.features, self.taps[-1] + 1)):
            x = layer(x)
            if index in self.taps:
                maps.append(x)
        return maps


def load_trunk(name: TrunkName, *, taps: Sequence[int]) -> Trunk:
    """Load a trunk from its file, frozen, in float32 on the CPU.

    Args:
        name: Which network.
        taps: As for `Trunk`.

    Raises:
        WeightsError: If its file is missing, damaged or another one.
        ValueError: If `taps` does not fit the network.
    """
    trunk = Trunk(name, taps=taps)
    path = find_auxiliary(name)
    if path.suffix == ".safetensors":
        state = load_file(path)
    else:
        state = torch.load(path, map_location="cpu", weights_only=True)
        # torchvision's files hold the classifier too.
        state = {key: value for key, value in state.items() if key.startswith("features.")}
    trunk.load_state_dict(state)
    return trunk.eval().requires_grad_(requires_grad=False)


def load_vgg(*, prefer: VggName = "vgg19") -> Trunk:
    """Load the network of the perceptual loss; its `name` says which one it is.

    Where VGG19 is preferred and its file is absent, VGG16 at the same depths is taken, and a
    warning is logged. A file that is there but damaged is an error.

    Args:
        prefer: Which one to look for first.

    Raises:
        WeightsError: If neither file is there, or the one found is not what its name says.

    Source:
        Equation 11. Paper and released code: VGG19. Here: VGG16 where VGG19 is absent.
    """
    name = prefer
    missing = AUXILIARY_FILES["vgg19"]
    if prefer == "vgg19" and locate_weights_file(missing.name) is None:
        name = "vgg16"
        _logger.warning(
            "%s not found: the perceptual loss takes VGG16 at the same depths; for VGG19 fetch %s",
            missing.name,
            missing.address,
        )
    return load_trunk(name, taps=PERCEPTUAL_TAPS[name])


def _alexnet_layers() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 64, kernel_size=11, stride=4, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(kernel_size=3, stride=2),
        nn.Conv2d(64, 192, kernel_size=5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(kernel_size=3, stride=2),
        nn.Conv2d(192, 384, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.Conv2d(384, 256, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.Conv2d(256, 256, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(kernel_size=3, stride=2),
    )


def _vgg_layers(widths: Sequence[int]) -> nn.Sequential:
    layers: list[nn.Module] = []
    channels = 3
    for width in widths:
        if width == _POOL:
            layers.append(nn.MaxPool2d(kernel_size=2, stride=2))
        else:
            layers += [nn.Conv2d(channels, width, kernel_size=3, padding=1), nn.ReLU()]
            channels = width
    return nn.Sequential(*layers)
