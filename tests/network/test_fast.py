"""The fast form makes the same faces, of the same parameters."""

import pytest
import torch

from sparnet.network.config import NetworkConfig
from sparnet.network.fast import BlockConv, DoublingConv, FixedConv, fast_form, fixed_form
from sparnet.network.generator import SPARNet, without_spectral_norm
from sparnet.network.layers import ScaleConv


def drawn(conv: ScaleConv) -> ScaleConv:
    """A conv with random weights in double precision, so that rounding cannot hide a mistake."""
    torch.manual_seed(0)
    for parameter in conv.parameters():
        torch.nn.init.normal_(parameter)
    return conv.double()


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("size", [2, 5, 8])
def test_doubling_by_a_transposed_conv_equals_nearest_reflect_and_conv(size, bias):
    plain = drawn(ScaleConv(3, 4, resize="up", bias=bias))
    x = torch.randn(2, 3, size, size, dtype=torch.float64)
    made = DoublingConv(plain).double()(x)
    assert made.shape == (2, 4, 2 * size, 2 * size)
    torch.testing.assert_close(made, plain(x), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("channels", "side"), [(1, 4), (1, 2), (2, 2), (3, 2)])
def test_squares_of_pixels_equal_one_pixel_at_a_time(channels, side):
    plain = drawn(ScaleConv(5, channels))
    x = torch.randn(2, 5, 8, 8, dtype=torch.float64)
    torch.testing.assert_close(BlockConv(plain, side).double()(x), plain(x), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"attention": "channelwise", "norm": "instance"},
        {"input_size": 16, "attention": "cbam"},
        {"input_size": 16, "pixel_unshuffle": 2, "attention": "channelwise"},
        {"activation": "prelu"},
    ],
)
def test_the_fast_form_has_the_same_parameters_and_makes_the_same_faces(changes):
    config = NetworkConfig(image_size=32, base_channels=4, body_units=1, attention_channels=4)
    torch.manual_seed(0)
    network = SPARNet(NetworkConfig.model_validate(config.model_dump() | changes)).eval().double()
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight)
        elif isinstance(module, torch.nn.BatchNorm2d):
            assert module.running_var is not None
            assert module.running_mean is not None
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
            torch.nn.init.normal_(module.running_mean)
            torch.nn.init.normal_(module.weight)
            torch.nn.init.normal_(module.bias)
        elif isinstance(module, torch.nn.PReLU):
            torch.nn.init.uniform_(module.weight, -0.5, 0.5)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    fast = fast_form(network)
    assert list(fast.state_dict()) == list(network.state_dict())
    assert any(isinstance(module, DoublingConv) for module in fast.modules())
    narrow = any(
        isinstance(module, ScaleConv) and module.conv.out_channels <= 3 for module in network.modules()
    )
    assert any(isinstance(module, BlockConv) for module in fast.modules()) == narrow
    x = torch.randn(2, 3, config.image_size, config.image_size, dtype=torch.float64)
    x = x[..., : network.config.reads_px, : network.config.reads_px]
    with torch.no_grad():
        wanted, maps = network.forward_with_maps(x)
        made, fast_maps = fast.forward_with_maps(x)
    assert wanted.std() > 0.1
    torch.testing.assert_close(made, wanted, rtol=1e-10, atol=1e-10)
    for a, b in zip(fast_maps, maps, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)
    fixed = fixed_form(network)
    with torch.no_grad():
        torch.testing.assert_close(fixed(x), wanted, rtol=1e-10, atol=1e-10)
    assert not any(isinstance(module, DoublingConv | BlockConv | ScaleConv) for module in fixed.modules())
    assert not any(isinstance(unit.branch.conv1.norm, torch.nn.BatchNorm2d) for unit in fixed.units)
    assert any(isinstance(module, FixedConv) for module in fixed.modules())
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_spectral_norm_is_taken_out_before():
    config = NetworkConfig(
        image_size=16, body_units=0, base_channels=4, body_size=8, attention="none", spectral_norm=True
    )
    network = SPARNet(config).eval()
    x = torch.randn(1, 3, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(fast_form(without_spectral_norm(network))(x), network(x))
