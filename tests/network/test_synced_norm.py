"""Batch norm over all processes: on one it is torch's own."""

import pytest
import torch
from torch import nn

from sparnet.network.synced_norm import SyncedBatchNorm2d, synchronize_norms


@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (3.0, 0.1), (200.0, 0.05)])
def test_on_one_process_it_is_batch_norm(monkeypatch, mean, std):
    """Also where the mean is so large that the mean of squares has no digits left for the variance."""
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda _: None)
    torch.manual_seed(0)
    plain = nn.Sequential(nn.BatchNorm2d(3))
    for parameter in plain.parameters():
        nn.init.uniform_(parameter)
    synced = nn.Sequential(nn.BatchNorm2d(3))
    synced.load_state_dict(plain.state_dict())
    synchronize_norms(synced)
    assert type(synced[0]) is SyncedBatchNorm2d
    x = (mean + std * torch.randn(4, 3, 16, 16)).requires_grad_()
    y = x.detach().clone().requires_grad_()
    weights = torch.randn(4, 3, 16, 16)
    results = [norm(values) for norm, values in ((plain, x), (synced, y))]
    for result in results:
        (result * weights).sum().backward()
    torch.testing.assert_close(results[1], results[0], rtol=0, atol=2e-3)  # 200 / 0.05 roundings of float32
    torch.testing.assert_close(y.grad, x.grad, rtol=0, atol=2e-3 / std)
    buffers, wanted = dict(synced.named_buffers()), dict(plain.named_buffers())
    torch.testing.assert_close(buffers["0.running_var"], wanted["0.running_var"], rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(buffers["0.running_mean"], wanted["0.running_mean"])
