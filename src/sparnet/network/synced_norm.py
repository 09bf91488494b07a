"""Batch norm over the batches of all processes, on any device.

torch has it for GPUs alone; with this one a run on two CPU processes is the run on one.
"""

from typing import Any

import torch
import torch.distributed
from jaxtyping import Float
from torch import Tensor, nn


class SyncedBatchNorm2d(nn.BatchNorm2d):
    """Batch norm whose mean and variance are those of the batches of all processes together.

    Parameters and buffers are those of `nn.BatchNorm2d`; so are its results in evaluation.
    """

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """Return the normalised maps."""
        if not self.training:
            return super().forward(x)
        wide = x.float()
        own = torch.cat([wide.sum((0, 2, 3)), wide.new_tensor([x.numel() / x.shape[1]])])
        total = _sum_over_processes(own)
        count = total[-1]
        mean = total[:-1] / count
        # Squares of what is left of the mean: those of the maps themselves would cancel where it is large.
        centred = wide - mean[:, None, None]
        variance = _sum_over_processes(centred.square().sum((0, 2, 3))) / count
        self._follow(mean.detach(), variance.detach(), float(count.detach()))
        scale = (variance + self.eps).rsqrt() * self.weight
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(x.dtype)

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor, count: float) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        momentum = 0.1 if self.momentum is None else self.momentum
        self.num_batches_tracked += 1
        self.running_mean.lerp_(mean, momentum)
        self.running_var.lerp_(variance * count / max(1.0, count - 1), momentum)


def _sum_over_processes(x: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    return _SumOverProcesses.apply(x)  # type: ignore[no-untyped-call]


class _SumOverProcesses(torch.autograd.Function):
    """Sum a tensor over all processes; its gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone()
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone()
        torch.distributed.all_reduce(total)
        return total


def synchronize_norms(network: nn.Module) -> None:
    """Make every batch norm of `network` one over all processes, in place."""
    for name, module in list(network.named_children()):
        if type(module) is nn.BatchNorm2d:
            synced = SyncedBatchNorm2d(module.num_features, eps=module.eps, momentum=module.momentum)
            synced.load_state_dict(module.state_dict())
            setattr(network, name, synced.to(module.weight.device))
        else:
            synchronize_norms(module)
