"""What weights a residual branch."""

import pytest
import torch

from sparnet.network.attention import CbamAttention, ChannelGate, Hourglass, RcanAttention, SpatialAttention


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


ATTENTIONS = {
    "spatial": lambda: SpatialAttention(6, hidden=4, levels=2),
    "channelwise": lambda: SpatialAttention(6, maps=6, hidden=4, levels=2),
    "rcan": lambda: RcanAttention(6),
    "cbam": lambda: CbamAttention(6),
}


@pytest.mark.parametrize("kind", ATTENTIONS)
def test_every_weight_lies_between_0_and_1(kind):
    torch.manual_seed(0)
    attention = ATTENTIONS[kind]().eval()
    weights = attention(random(2, 6, 16, 16))
    assert weights.shape == (2, 1 if kind == "spatial" else 6, 16, 16)
    assert weights.min() > 0
    assert weights.max() < 1


def test_there_is_one_map_or_one_a_channel():
    with pytest.raises(ValueError, match=r"maps must be 1 or channels \(6\), got 3"):
        SpatialAttention(6, maps=3, levels=2)


def test_an_hourglass_has_a_level_at_least():
    with pytest.raises(ValueError, match="levels must be at least 1, got 0"):
        Hourglass(4, 4, levels=0, norm="batch", activation="leaky_relu")


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_an_hourglass_halves_as_often_as_it_has_levels(levels):
    """Four convs a level and one more at the bottom; the smallest maps are 2 ** levels smaller."""
    hourglass = Hourglass(3, 4, levels=levels, norm="batch", activation="leaky_relu")
    sizes: list[int] = []
    convs = [module for module in hourglass.modules() if isinstance(module, torch.nn.Conv2d)]
    for conv in convs:
        conv.register_forward_hook(lambda _module, _inputs, made: sizes.append(made.shape[-1]))
    assert hourglass(random(1, 3, 32, 32)).shape == (1, 4, 32, 32)
    assert len(convs) == 3 * levels + 1
    assert min(sizes) == 32 >> levels


def test_rcan_weights_are_the_same_at_each_pixel():
    weights = RcanAttention(32)(random(1, 32, 8, 8))
    assert torch.equal(weights, weights[:, :, :1, :1].expand_as(weights))


def test_rcan_sees_means_alone():
    torch.manual_seed(0)
    attention, branch = RcanAttention(32), random(1, 32, 8, 8)
    shuffled = branch.flatten(2)[:, :, torch.randperm(64)].reshape(1, 32, 8, 8)
    torch.testing.assert_close(attention(shuffled), attention(branch))


def test_cbam_is_a_weight_a_channel_times_a_weight_a_pixel():
    torch.manual_seed(0)
    weights = CbamAttention(32).eval()(random(1, 32, 8, 8))[0].flatten(1)
    ratios = weights / weights[:1]  # constant along each row, if and only if of rank one
    torch.testing.assert_close(ratios, ratios[:, :1].expand_as(ratios))


def test_the_gate_is_sixteen_times_narrower_but_never_empty():
    assert ChannelGate(64).squeeze.out_channels == 4
    assert ChannelGate(4).squeeze.out_channels == 1
