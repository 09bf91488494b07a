"""SPARNet and the generator of SPARNetHD, small and random."""

import pytest
import torch
from torch import nn

from sparnet.network.config import NetworkConfig
from sparnet.network.cost import count_gflop
from sparnet.network.generator import FaceAttentionUnit, SPARNet, without_spectral_norm
from sparnet.network.layers import Resize, reflect_pad

SMALL = NetworkConfig(base_channels=4, max_channels=8, body_units=1, attention_channels=4)
TINY = SMALL.model_copy(update={"image_size": 32, "body_size": 8, "attention_smallest_size": 4})


def changed(config: NetworkConfig, **changes: object) -> NetworkConfig:
    return NetworkConfig.model_validate(config.model_dump() | changes)


def build(config: NetworkConfig, seed: int = 0) -> SPARNet:
    torch.manual_seed(seed)
    return SPARNet(config).eval()


def faces(config: NetworkConfig, n: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(7)
    return torch.rand(n, 3, config.reads_px, config.reads_px, generator=generator) * 2 - 1


def set_maps(unit: FaceAttentionUnit, value: float) -> None:
    """Make a unit's attention map even: the sigmoid of `value`."""
    assert unit.attention is not None
    output = unit.attention.get_submodule("output.conv")
    with torch.no_grad():
        output.get_parameter("weight").zero_()
        output.get_parameter("bias").fill_(value)


@pytest.mark.parametrize("resize", ["none", "down", "up"])
def test_closed_attention_passes_the_input_through(resize):
    torch.manual_seed(0)
    unit = FaceAttentionUnit(8, 8, size=16, resize=resize, config=SMALL).eval()
    set_maps(unit, -200)  # whose sigmoid is 0 in float32
    x = torch.randn(2, 8, 16, 16)
    with torch.no_grad():
        assert torch.equal(unit(x), unit.shortcut(x))
        if resize == "none":
            assert torch.equal(unit(x), x)


def test_open_attention_is_a_plain_residual_unit():
    torch.manual_seed(0)
    unit = FaceAttentionUnit(8, 8, size=16, config=SMALL).eval()
    set_maps(unit, 200)
    x = torch.randn(1, 8, 16, 16)
    with torch.no_grad():
        assert torch.equal(unit(x), x + unit.branch(x))


def test_a_unit_is_its_shortcut_plus_its_weighted_branch():
    torch.manual_seed(0)
    unit = FaceAttentionUnit(4, 8, size=8, resize="down", config=SMALL).eval()
    x = torch.randn(1, 4, 16, 16)
    with torch.no_grad():
        y, attention_map = unit.forward_with_map(x)
        torch.testing.assert_close(y, unit.shortcut(x) + attention_map * unit.branch(x))


def test_the_shortcut_is_the_identity_only_where_nothing_changes():
    assert isinstance(FaceAttentionUnit(8, 8, size=16, config=SMALL).shortcut, nn.Identity)
    changing: list[tuple[int, Resize]] = [(4, "none"), (8, "down"), (8, "up")]
    for width, resize in changing:
        shortcut = FaceAttentionUnit(width, 8, size=16, resize=resize, config=SMALL).shortcut
        assert not isinstance(shortcut, nn.Identity)


def test_a_down_unit_halves_in_its_second_conv_and_an_up_unit_doubles_before_its_first():
    down = FaceAttentionUnit(4, 8, size=16, resize="down", config=SMALL).branch
    assert (down.conv1.scale_conv.conv.stride, down.conv2.scale_conv.conv.stride) == ((1, 1), (2, 2))
    up = FaceAttentionUnit(8, 4, size=16, resize="up", config=SMALL).branch
    assert up.conv1(torch.zeros(1, 8, 16, 16)).shape[-1] == 32
    assert up.conv2.scale_conv.conv.stride == (1, 1)


def test_maps_come_in_order_of_depth_at_the_sizes_of_their_units():
    maps = build(SMALL).attention_maps(faces(SMALL))
    assert [one.shape for one in maps] == [(1, 1, s, s) for s in (64, 32, 16, 16, 32, 64, 128)]
    assert all(one.min() > 0 and one.max() < 1 for one in maps)


def test_channelwise_maps_are_as_many_as_the_unit_s_channels():
    config = changed(TINY, attention="channelwise")
    maps = build(config).attention_maps(faces(config))
    assert [one.shape[1] for one in maps] == [8, 8, 8, 8, 4]


@pytest.mark.parametrize("last", [0, 1, 2, 4])
def test_attention_of_the_last_units_is_counted_from_the_output(last):
    config = changed(TINY, attention_units=last)
    network = build(config)
    having = [unit.attention is not None for unit in network.units]
    assert having == [False] * (len(having) - last) + [True] * last
    assert [one.shape[-1] for one in network.attention_maps(faces(config))] == [16, 8, 8, 16, 32][5 - last :]


def test_units_as_small_as_the_smallest_map_have_no_attention():
    """S16: the last encoder unit and the whole body are plain residual units."""
    network = SPARNet(changed(SMALL, attention_smallest_size=16))
    having = [unit.attention is not None for unit in network.units]
    assert having == [True, True, False, False, True, True, True]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"attention": "channelwise"},
        {"attention": "rcan"},
        {"attention": "cbam"},
        {"attention": "none"},
        {"input_size": 8},
        {"input_size": 16, "attention": "channelwise"},
        {"norm": "instance", "spectral_norm": True},
        {"norm": "none"},
        {"activation": "prelu", "attention_activation": "prelu_shared"},
        {"body_units": 0},
        {"body_size": 32},
        {"pixel_unshuffle": 2},
        {"pixel_unshuffle": 2, "input_size": 8},
        {"global_residual": "input"},
        {"encoder_skips": True},
        {"pixel_unshuffle": 4, "global_residual": "detail"},
        {"pixel_unshuffle": 2, "refine_channels": 2},
    ],
    ids=str,
)
def test_every_variant_runs_and_its_maps_are_those_of_the_pass(changes):
    config = changed(TINY, **changes)
    network, x = build(config), faces(config, 2)
    with torch.no_grad():
        sr, maps = network.forward_with_maps(x)
        assert sr.shape == (2, 3, 32, 32)
        assert torch.equal(network(x), sr)
        again = network.attention_maps(x)
    assert len(maps) == len(again) == sum(unit.attention is not None for unit in network.units)
    assert all(torch.equal(a, b) for a, b in zip(maps, again, strict=True))
    assert all(one.min() > 0 and one.max() < 1 for one in maps)


def test_folding_pixels_keeps_the_layers_and_cuts_their_work():
    config = changed(TINY, image_size=64, body_size=16)
    folded = changed(config, pixel_unshuffle=2, body_size=8)
    assert [type(unit) for unit in build(folded).units] == [type(unit) for unit in build(config).units]
    assert count_gflop(folded) < count_gflop(config) / 3
    with torch.no_grad():
        maps = build(folded).attention_maps(faces(folded))
    assert maps[-1].shape[-2:] == (32, 32)


def test_a_smaller_input_is_not_folded():
    network = build(changed(TINY, pixel_unshuffle=2, input_size=8))
    assert network.stem.conv.in_channels == 3
    assert network.output.conv.out_channels == 3 * 2 * 2


def test_a_network_of_differences_starts_as_the_identity():
    config = changed(TINY, pixel_unshuffle=2, global_residual="input")
    x = faces(config, 2)
    with torch.no_grad():
        assert torch.equal(build(config)(x), x)


def test_a_network_of_differences_learns_from_the_first_step():
    config = changed(TINY, global_residual="input")
    network = build(config).train()
    network(faces(config)).square().mean().backward()
    gradient = network.get_parameter("output.conv.weight").grad
    assert gradient is not None
    assert gradient.abs().max() > 0


def test_skips_start_as_nothing_and_then_carry_the_encoders_features():
    torch.manual_seed(0)
    plain, x = build(TINY), faces(TINY)
    network = build(changed(TINY, encoder_skips=True))
    network.load_state_dict(
        plain.state_dict() | {n: p for n, p in network.named_parameters() if "skips" in n}
    )
    with torch.no_grad():
        assert torch.equal(network(x), plain(x))
        network.get_parameter("skips.1.bias").fill_(1.0)
        shifted = network.output(torch.ones(1, 4, 32, 32)) - network.output(torch.zeros(1, 4, 32, 32))
        torch.testing.assert_close(network(x), plain(x) + shifted, rtol=0, atol=1e-5)
        network.get_parameter("skips.1.weight").copy_(torch.eye(4)[:, :, None, None])
        carried = network.stem(x) + 1
    network.output.register_forward_pre_hook(lambda _, read: seen.append(read[0]))
    plain.output.register_forward_pre_hook(lambda _, read: seen.append(read[0]))
    seen: list[torch.Tensor] = []
    with torch.no_grad():
        network(x)
        plain(x)
    torch.testing.assert_close(seen[0], seen[1] + carried, rtol=0, atol=1e-5)


def test_a_refinement_starts_as_nothing_learns_and_then_blends_squares():
    folded = changed(TINY, pixel_unshuffle=4, global_residual="detail")
    plain, x = build(folded), faces(TINY)
    network = build(changed(folded, refine_channels=2))
    theirs = plain.state_dict()
    network.load_state_dict(
        theirs | {name: value for name, value in network.state_dict().items() if name not in theirs}
    )
    with torch.no_grad():
        expected = plain(x)
        assert torch.equal(network(x), expected)
    network.train()(x).square().mean().backward()
    gradient = network.get_parameter("refinement.conv2.conv.weight").grad
    assert gradient is not None
    assert gradient.abs().max() > 0
    network.eval()
    with torch.no_grad():  # a mean of 3 x 3 pixels in place of each, whatever the squares' borders
        for name, parameter in network.named_parameters():
            if name.startswith("refinement."):
                parameter.zero_()
        conv1 = network.get_parameter("refinement.conv1.conv.weight")
        conv2 = network.get_parameter("refinement.conv2.conv.weight")
        conv1[0, 0, 1, 1] = 1.0
        conv2[0, 0] = 1 / 9
        conv2[0, 0, 1, 1] -= 1.0
        shift = 10.0  # where the activation is the identity
        network.get_parameter("refinement.conv1.conv.bias")[0] = shift
        network.load_state_dict(theirs, strict=False)
        blended = nn.functional.avg_pool2d(reflect_pad(expected), 3, stride=1)
        torch.testing.assert_close(network(x)[:, 0], blended[:, 0], rtol=0, atol=1e-4)
        assert torch.equal(network(x)[:, 1:], expected[:, 1:])


@pytest.mark.parametrize(
    "changes",
    [
        {"encoder_skips": True},
        {"global_residual": "input"},
        {"pixel_unshuffle": 2, "refine_channels": 2},
    ],
    ids=str,
)
def test_convs_that_begin_at_0_have_no_spectral_norm(changes):
    network = build(changed(TINY, spectral_norm=True, **changes)).train()
    made = network(faces(TINY, 2))
    assert made.isfinite().all()
    made.square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
    plain = without_spectral_norm(network).eval()
    with torch.no_grad():
        torch.testing.assert_close(plain(faces(TINY)), network.eval()(faces(TINY)), rtol=0, atol=1e-5)


def test_a_face_does_not_depend_on_its_batch():
    network, x = build(TINY), faces(TINY, 3)
    with torch.no_grad():
        torch.testing.assert_close(network(x)[1:2], network(x[1:2]), rtol=0, atol=1e-5)


def test_every_parameter_learns():
    network = build(TINY).train()
    network(faces(TINY, 2)).abs().mean().backward()
    without = [name for name, parameter in network.named_parameters() if parameter.grad is None]
    assert without == []


def test_weights_are_drawn_from_the_released_distribution():
    network = build(changed(TINY, base_channels=32, max_channels=64))
    convs = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    weights = torch.cat([conv.weight.detach().flatten() for conv in convs])
    assert len(weights) > 100_000
    # Standard errors: 0.02 / sqrt(n) of the mean, 0.02 / sqrt(2 n) of the spread; four of them.
    assert abs(weights.mean()) < 4 * 0.02 / len(weights) ** 0.5
    assert abs(weights.std() - 0.02) < 4 * 0.02 / (2 * len(weights)) ** 0.5
    assert all(conv.bias is None or not conv.bias.any() for conv in convs)


def test_folding_spectral_norm_keeps_the_output():
    config = changed(TINY, norm="instance", spectral_norm=True)
    network, x = build(config), faces(config)
    network.train()(x)  # moves the vectors of the power iteration
    network.eval()
    names = set(SPARNet(changed(config, spectral_norm=False)).state_dict())
    with torch.no_grad():
        before = network(x)
        folded = without_spectral_norm(network)
        torch.testing.assert_close(folded(x), before, rtol=0, atol=1e-6)
        assert torch.equal(network(x), before), "the network itself is as it was"
    assert set(folded.state_dict()) == names


def test_a_normalised_weight_has_spectral_norm_one():
    conv = build(changed(TINY, norm="instance", spectral_norm=True)).train().output.conv
    with torch.no_grad():
        for _ in range(100):  # each look at the weight is a step of the power iteration
            weight = conv.weight
    assert torch.linalg.matrix_norm(weight.flatten(1), ord=2) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_computing_units_again_changes_neither_gradients_nor_running_statistics(norm):
    """Batch norms must not see a batch twice, though they compute it twice."""
    config = changed(TINY, norm=norm)
    results = []
    for again in (False, True):
        network = build(config).train()
        network.checkpointing = again
        network(faces(config, 2)).square().mean().backward()
        gradients = {name: parameter.grad for name, parameter in network.named_parameters()}
        results.append([*gradients.items(), *network.named_buffers()])
    for (name, once), (_, twice) in zip(*results, strict=True):
        assert once is not None
        assert twice is not None
        assert torch.equal(once, twice), name
    assert all(module.momentum == 0.1 for module in network.modules() if isinstance(module, nn.BatchNorm2d))
