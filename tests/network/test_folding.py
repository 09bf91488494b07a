"""A network as the start of one whose pixels are folded."""

import functools

import pytest
import torch
from torch.nn import functional

from sparnet.network.config import NetworkConfig
from sparnet.network.folding import (
    add_outer_units,
    even_squares,
    fold_weights,
    folds_into,
    folds_outer_units,
    keep_inner_units,
    keep_inside,
    reads_another_size,
)
from sparnet.network.generator import SPARNet

SMALL = NetworkConfig(
    image_size=32, body_size=8, body_units=1, base_channels=4, max_channels=8, attention_channels=4
)
FOLDED = SMALL.model_copy(update={"image_size": 64, "pixel_unshuffle": 2})
INNER = SMALL.model_copy(update={"pixel_unshuffle": 2, "base_channels": 8, "body_units": 3})
DIRECT = INNER.model_copy(update={"input_size": 8})


@pytest.fixture
def small() -> SPARNet:
    torch.manual_seed(0)
    network = SPARNet(SMALL)
    network.train()(torch.rand(4, 3, 32, 32))  # running statistics that are not those of the start
    return network.eval()


def test_a_folded_network_does_to_the_reduced_face_what_the_small_one_does(small):
    x = torch.rand(2, 3, 64, 64) * 2 - 1
    with torch.no_grad():
        reduced = functional.avg_pool2d(x, 2)
        expected = small(reduced).repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
        torch.testing.assert_close(fold_weights(small, FOLDED)(x), expected, rtol=0, atol=1e-5)


def test_one_of_differences_starts_as_the_identity_with_the_small_ones_features(small):
    folded = fold_weights(small, FOLDED.model_copy(update={"global_residual": "input"}))
    x = torch.rand(1, 3, 64, 64) * 2 - 1
    with torch.no_grad():
        assert torch.equal(folded(x), x)
        maps = zip(folded.attention_maps(x), small.attention_maps(functional.avg_pool2d(x, 2)), strict=True)
        for made, expected in maps:
            torch.testing.assert_close(made, expected, rtol=0, atol=1e-5)


def test_the_inputs_detail_is_passed_on(small):
    plain = fold_weights(small, FOLDED)
    detailed = fold_weights(small, FOLDED.model_copy(update={"global_residual": "detail"}))
    x = torch.rand(1, 3, 64, 64) * 2 - 1
    with torch.no_grad():
        means = functional.avg_pool2d(x, 2).repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
        torch.testing.assert_close(detailed(x), plain(x) + x - means, rtol=0, atol=1e-5)


def test_other_networks_are_refused(small):
    other = FOLDED.model_copy(update={"body_units": 2})
    assert not folds_into(SMALL, other)
    assert not folds_into(SMALL, SMALL)
    with pytest.raises(ValueError, match="not the folded"):
        fold_weights(small, other)


@pytest.mark.parametrize("config", [INNER, DIRECT], ids=["folded", "direct"])
def test_inner_units_are_kept_and_new_ones_begin_as_the_identity(small, config):
    inner = keep_inner_units(small, config)
    features = torch.rand(2, 8, 8, 8)
    with torch.no_grad():
        expected = small.body[0](features)
        made = inner.body[2](inner.body[1](inner.body[0](features)))
        torch.testing.assert_close(made, expected, rtol=0, atol=1e-6)
        torch.testing.assert_close(inner.decoder[0](made), small.decoder[0](expected), rtol=0, atol=1e-6)
        side = 32 if config is INNER else 8
        assert inner(torch.rand(1, 3, side, side)).shape == (1, 3, 32, 32)
    assert (len(inner.encoder), len(inner.decoder)) == ((1, 1) if config is INNER else (0, 1))


@pytest.mark.parametrize("config", [INNER, DIRECT], ids=["folded", "direct"])
def test_outer_units_are_added_around_the_inner_ones(small, config):
    inner = keep_inner_units(small, config)
    back = add_outer_units(inner, SMALL)
    assert (len(back.encoder), len(back.body), len(back.decoder)) == (2, 1, 2)
    same = [(back.body[0], small.body[0]), (back.decoder[0], small.decoder[0])]
    if config is INNER:
        same.append((back.encoder[1], small.encoder[1]))
    for mine, theirs in same:
        torch.testing.assert_close(dict(mine.state_dict()), dict(theirs.state_dict()), rtol=0, atol=0)
    with pytest.raises(ValueError, match="other inner units"):
        add_outer_units(inner, SMALL.model_copy(update={"max_channels": 16}))


def test_units_that_began_as_the_identity_learn(small):
    inner = keep_inner_units(small, DIRECT).train()
    inner(torch.rand(2, 3, 8, 8)).square().mean().backward()
    gradient = inner.get_parameter("body.2.branch.conv2.norm.weight").grad
    assert gradient is not None
    assert gradient.abs().max() > 0


def test_networks_with_other_inner_units_are_refused(small):
    for changes in ({"max_channels": 16}, {"attention": "none"}, {"body_units": 0}, {"image_size": 64}):
        assert not folds_outer_units(SMALL, INNER.model_copy(update=changes))
    with pytest.raises(ValueError, match="other inner units"):
        keep_inner_units(small, INNER.model_copy(update={"max_channels": 16}))


def test_a_network_that_reads_another_size_is_the_same_behind_its_first_units(small):
    direct = keep_inner_units(small, DIRECT)
    other = DIRECT.model_copy(update={"input_size": 16})
    assert reads_another_size(DIRECT, other)
    larger = keep_inside(direct, other)
    assert (len(direct.encoder), len(larger.encoder)) == (0, 1)
    features = torch.rand(2, 8, 8, 8)
    with torch.no_grad():
        made, expected = (
            functools.reduce(lambda x, part: part(x), (*one.body, *one.decoder, one.output), features)
            for one in (larger, direct)
        )
        torch.testing.assert_close(made, expected, rtol=0, atol=0)
        assert larger(torch.rand(1, 3, 16, 16)).shape == (1, 3, 32, 32)
    back = keep_inside(larger, other.model_copy(update={"input_size": 8}))
    torch.testing.assert_close(dict(back.body.state_dict()), dict(direct.body.state_dict()))


def test_encoder_units_of_sizes_that_both_have_are_kept(small):
    half = keep_inside(small, SMALL.model_copy(update={"input_size": 16}))
    assert (len(small.encoder), len(half.encoder)) == (2, 1)
    torch.testing.assert_close(dict(half.encoder[0].state_dict()), dict(small.encoder[1].state_dict()))


def test_networks_that_differ_in_more_are_refused(small):
    assert not reads_another_size(SMALL, SMALL)
    other = SMALL.model_copy(update={"input_size": 16, "body_units": 2})
    assert not reads_another_size(SMALL, other)
    with pytest.raises(ValueError, match="differ in more"):
        keep_inside(small, other)


def even_features(network: SPARNet) -> torch.Tensor:
    """Features of one value a channel, as in a smooth part of a face."""
    channels = network.output.conv.in_channels
    return torch.randn(2, channels, 1, 1, generator=torch.Generator().manual_seed(0)).expand(-1, -1, 12, 12)


@pytest.mark.parametrize("fold", [2, 4])
def test_even_features_make_even_pixels_once_squares_are_even(fold):
    torch.manual_seed(0)
    network = SPARNet(NetworkConfig(image_size=64, body_size=8, base_channels=8, pixel_unshuffle=fold))
    assert network.output.conv.bias is not None
    torch.nn.init.normal_(network.output.conv.bias)
    features = even_features(network)
    with torch.no_grad():
        before = network.unfold(network.output(features))
        even_squares(network)
        after = network.unfold(network.output(features))
        even_squares(network)
        again = network.unfold(network.output(features))
    assert before.std(dim=(2, 3)).min() > 0.1
    assert after.std(dim=(2, 3)).max() < 1e-5
    torch.testing.assert_close(after.mean(dim=(2, 3)), before.mean(dim=(2, 3)))
    torch.testing.assert_close(again, after)


def test_squares_of_one_pixel_are_even_already(small):
    before = {name: tensor.clone() for name, tensor in small.state_dict().items()}
    even_squares(small)
    for name, tensor in small.state_dict().items():
        torch.testing.assert_close(tensor, before[name])
