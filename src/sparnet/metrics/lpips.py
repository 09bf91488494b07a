"""LPIPS v0.1: distance of two pictures in the features of AlexNet or VGG16."""

from collections.abc import Iterator
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, UInt8
from safetensors.torch import load_file
from torch import Tensor

from sparnet.metrics.pairs import check_pair
from sparnet.network.trunks import Trunk, TrunkName, load_trunk
from sparnet.weights.auxiliary import find_auxiliary

LpipsVariant = Literal["alex", "vgg16"]

# The ReLUs after AlexNet's five convs, and after the last conv of VGG16's five stages.
_TAPS: dict[LpipsVariant, tuple[int, ...]] = {"alex": (1, 4, 7, 9, 11), "vgg16": (3, 8, 15, 22, 29)}
_TRUNKS: dict[LpipsVariant, TrunkName] = {"alex": "alexnet", "vgg16": "vgg16"}
# Below these a pooling layer is left with nothing.
_SMALLEST_PX: dict[LpipsVariant, int] = {"alex": 31, "vgg16": 16}
# As in the released code of LPIPS: keeps a pixel without any feature from dividing by 0.
_EPSILON = 1e-10


class Lpips:
    """Measure how far two pictures lie apart for a network that knows ImageNet.

    At each of five layers: features of unit length over channels, their squared difference,
    weighted by channel, mean over pixels; summed over layers. Loaded once, used often.

    Args:
        variant: Which network. The two have scales of their own and are not comparable.
        device: Where to compute, for instance "cuda".

    Raises:
        WeightsError: If a file is missing, damaged or another one.

    Source:
        Zhang et al. 2018, v0.1, linear layers "lin"; trunks stored in fp16.
    """

    def __init__(self, variant: LpipsVariant, *, device: str | torch.device = "cpu") -> None:
        self.variant: LpipsVariant = variant
        self.device = torch.device(device)
        self.trunk: Trunk = load_trunk(_TRUNKS[variant], taps=_TAPS[variant]).to(self.device)
        state = load_file(find_auxiliary(f"lpips_{variant}"))
        self.weights = [state[f"lin{i}.weight"].float().to(self.device) for i in range(len(self.trunk.taps))]

    def __call__(self, sr: UInt8[np.ndarray, "h w 3"], hr: UInt8[np.ndarray, "h2 w2 3"]) -> float:
        """Return the distance of two pictures.

        Args:
            sr: A picture.
            hr: Its original; the two may be exchanged.

        Returns:
            At least 0, lower is better; 0 for equal pictures.

        Raises:
            ValueError: If the sizes differ or are too small for the network.
        """
        check_pair(sr, hr)
        return float(self.distances(sr[None], hr[None])[0])

    def distances(
        self, sr: UInt8[np.ndarray, "n h w 3"], hr: UInt8[np.ndarray, "n2 h2 w2 3"]
    ) -> Float[np.ndarray, "n"]:
        """Return the distance of each of `sr` to its original in `hr`, computed together.

        Raises:
            ValueError: If numbers or sizes differ, or are too small for the network.
        """
        if sr.shape != hr.shape:
            raise ValueError(f"sr and hr must have one shape, got {sr.shape} and {hr.shape}")
        height, width = sr.shape[1:3]
        if min(height, width) < (smallest := _SMALLEST_PX[self.variant]):
            raise ValueError(f"lpips_{self.variant} needs {smallest} px, got {width} x {height} px")
        with torch.inference_mode():
            total = torch.zeros(len(sr), device=self.device)
            for weight, first, second in zip(
                self.weights, self._unit_features(sr), self._unit_features(hr), strict=True
            ):
                total += ((first - second).square() * weight).sum(dim=1).mean(dim=(1, 2))
        return total.cpu().numpy()

    def _unit_features(self, images: UInt8[np.ndarray, "n h w 3"]) -> Iterator[Tensor]:
        pictures = torch.tensor(images, device=self.device).permute(0, 3, 1, 2).float() / 127.5 - 1
        for features in self.trunk(pictures):
            yield features / (features.square().sum(dim=1, keepdim=True).sqrt() + _EPSILON)
