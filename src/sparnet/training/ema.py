"""A running average of a network's weights, its age given by a half-life in images."""

import copy
from typing import Generic, TypeVar

import torch
from torch import nn

ModuleT = TypeVar("ModuleT", bound=nn.Module)


class WeightAverage(Generic[ModuleT]):
    """Keeps the exponential moving average of a network; buffers are copied.

    Args:
        network: The network to follow.
        halflife_images: Images after which half of an old weight is forgotten; 0 follows exactly.
        rampup: The half-life is at most this share of the images seen.
    """

    def __init__(self, network: ModuleT, *, halflife_images: int, rampup: float) -> None:
        self.network: ModuleT = copy.deepcopy(network).eval().requires_grad_(requires_grad=False)
        self.halflife_images = halflife_images
        self.rampup = rampup

    @torch.no_grad()
    def update(self, network: nn.Module, *, images_seen: int, batch_size: int) -> None:
        """Move the average after a step that ended at `images_seen`."""
        halflife = min(float(self.halflife_images), images_seen * self.rampup)
        keep = 0.5 ** (batch_size / halflife) if halflife > 0 else 0.0
        average: list[torch.Tensor] = list(self.network.parameters())
        current: list[torch.Tensor] = list(network.parameters())
        torch._foreach_lerp_(average, current, 1 - keep)
        for mine, theirs in zip(self.network.buffers(), network.buffers(), strict=True):
            mine.copy_(theirs)
