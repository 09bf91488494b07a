"""The convolutions that everything is built of."""

import pytest
import torch
from torch.nn.functional import pad

from sparnet.network.layers import (
    ConvNormAct,
    ScaleConv,
    build_activation,
    build_norm,
    layout_of,
    reflect_pad,
)


def random(*shape: int, seed: int = 0, **options) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(**options)


@pytest.mark.parametrize("size", [(2, 2), (2, 5), (3, 2), (4, 4), (7, 6)], ids=str)
def test_padding_while_training_is_torch_s_own(size):
    x = random(2, 3, *size)
    assert torch.equal(reflect_pad(x.clone().requires_grad_()), pad(x, (1, 1, 1, 1), mode="reflect"))
    assert torch.equal(reflect_pad(x), pad(x, (1, 1, 1, 1), mode="reflect"))


@pytest.mark.parametrize("size", [(2, 2), (2, 5), (3, 2), (4, 4), (7, 6)], ids=str)
def test_its_gradient_is_torch_s_own(size):
    above = random(2, 3, size[0] + 2, size[1] + 2, seed=1)
    gradients = []
    for padding in (reflect_pad, lambda x: pad(x, (1, 1, 1, 1), mode="reflect")):
        x = random(2, 3, *size).requires_grad_()
        padding(x).backward(above)
        gradients.append(x.grad)
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-5)  # sums of up to nine, in another order


@pytest.mark.parametrize("size", [(2, 2), (3, 4)], ids=str)
def test_its_gradient_is_that_of_differences(size):
    x = random(1, 2, *size, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(reflect_pad, (x,))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
def test_padding_keeps_type_and_layout_both_ways(dtype, layout):
    x = random(2, 4, 6, 6, dtype=dtype).to(memory_format=layout).requires_grad_()
    padded = reflect_pad(x)
    assert padded.dtype == dtype
    assert padded.is_contiguous(memory_format=layout)
    (gradient,) = torch.autograd.grad(padded.sum(), x)
    assert gradient.dtype == dtype
    assert gradient.is_contiguous(memory_format=layout)


def test_a_gradient_of_another_layout_gives_that_of_the_input():
    x = random(2, 4, 5, 5).to(memory_format=torch.channels_last).requires_grad_()
    (gradient,) = torch.autograd.grad(reflect_pad(x), x, torch.ones(2, 4, 7, 7))
    assert layout_of(gradient) == torch.channels_last


def test_up_is_nearest_before_the_conv():
    """The middle of a kernel that sums what lies to the left: by hand on one row of two pixels."""
    conv = ScaleConv(1, 1, resize="up", bias=False)
    with torch.no_grad():
        conv.conv.weight.zero_()
        conv.conv.weight[0, 0, 1, 0] = 1.0  # the left neighbour
        made = conv(torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]]))
    # Doubled: 1 1 2 2; its left neighbours, mirrored at the border: 1 1 1 2.
    assert made[0, 0].tolist() == [[1, 1, 1, 2], [1, 1, 1, 2], [3, 3, 3, 4], [3, 3, 3, 4]]


def test_down_takes_every_second_pixel():
    conv = ScaleConv(1, 1, resize="down", bias=False)
    with torch.no_grad():
        conv.conv.weight.zero_()
        conv.conv.weight[0, 0, 1, 1] = 1.0
        made = conv(torch.arange(16.0).reshape(1, 1, 4, 4))
    assert made[0, 0].tolist() == [[0, 2], [8, 10]]


@pytest.mark.parametrize(("resize", "side"), [("none", 8), ("down", 4), ("up", 16)])
def test_sizes_are_kept_halved_or_doubled(resize, side):
    assert ScaleConv(3, 5, resize=resize)(random(2, 3, 8, 8)).shape == (2, 5, side, side)


def test_a_conv_before_a_norm_has_no_bias():
    names = dict(ConvNormAct(2, 3, norm="batch", activation=None).named_parameters())
    assert set(names) == {"scale_conv.conv.weight", "norm.weight", "norm.bias"}
    names = dict(ConvNormAct(2, 3, norm="none", activation=None).named_parameters())
    assert set(names) == {"scale_conv.conv.weight", "scale_conv.conv.bias"}


def test_leaky_relu_has_the_released_slope():
    x = torch.tensor([-1.0, 2.0])
    torch.testing.assert_close(build_activation("leaky_relu", 1)(x), torch.tensor([-0.2, 2.0]))


def test_prelu_has_a_slope_a_channel_or_one_shared():
    assert build_activation("prelu", 6).get_parameter("weight").numel() == 6
    assert build_activation("prelu_shared", 6).get_parameter("weight").numel() == 1


def test_instance_norm_has_a_learnt_scale_and_shift():
    names = {name for name, _ in build_norm("instance", 4).named_parameters()}
    assert names == {"weight", "bias"}
