"""The discriminators: sizes, parameters, what they return, and who gets gradients."""

import itertools
from collections.abc import Iterator

import pytest
import torch
from jaxtyping import TypeCheckError
from lightning_utilities.core.apply_func import apply_to_collection
from torch import nn
from torch.nn import functional

from sparnet.network.discriminator import (
    DiscriminatorConfig,
    Features,
    Judgement,
    MultiScaleDiscriminator,
    PatchDiscriminator,
    halve,
)

TINY = DiscriminatorConfig(scales=2, halvings=2, base_channels=4, max_channels=8)


def pictures(*, batch: int = 2, side: int = 32) -> torch.Tensor:
    return torch.rand(batch, 3, side, side, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Threads that wait for each other on a busy machine make networks this small a hundred times slower."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def release() -> MultiScaleDiscriminator:
    with torch.device("meta"):
        return MultiScaleDiscriminator(DiscriminatorConfig())


def test_the_three_discriminators_have_the_parameters_of_the_release(release):
    assert sum(parameter.numel() for parameter in release.parameters()) == 11_750_403


def test_the_count_is_that_of_the_convs_and_of_a_scale_and_shift_a_normalised_channel(release):
    widths = [3, 64, 128, 256, 512, 512, 1]
    convs = sum(9 * reads * makes for reads, makes in itertools.pairwise(widths))
    biases, norms = 64 + 1, 2 * (128 + 256 + 512 + 512)
    assert sum(parameter.numel() for parameter in release.parameters()) == 3 * (convs + biases + norms)


def test_a_face_of_512_px_gets_score_maps_of_30_14_and_6(release):
    with torch.device("meta"):
        judgements = release(torch.empty(1, 3, 512, 512))
    assert [tuple(each.logits.shape) for each in judgements] == [(1, 1, 30, 30), (1, 1, 14, 14), (1, 1, 6, 6)]


def test_the_features_are_those_of_every_layer_but_the_last(release):
    with torch.device("meta"):
        features = release(torch.empty(1, 3, 512, 512))[0].features
    assert [(maps.shape[1], maps.shape[2]) for maps in features] == [
        (64, 512),
        (128, 256),
        (256, 128),
        (512, 64),
        (512, 32),
    ]


def test_the_first_and_the_last_conv_have_no_norm_and_the_others_have_one(release):
    discriminator = release.discriminators[0]
    assert isinstance(discriminator, PatchDiscriminator)
    norms = [isinstance(layer.norm, nn.InstanceNorm2d) for layer in discriminator.layers]
    assert norms == [False, True, True, True, True]
    assert isinstance(discriminator.output, nn.Conv2d)


def test_every_conv_has_spectral_norm_one_after_some_training_passes():
    torch.manual_seed(0)
    convs = [module for module in MultiScaleDiscriminator(TINY).modules() if isinstance(module, nn.Conv2d)]
    assert len(convs) == 8
    for conv in convs:
        for _ in range(60):
            weight = conv.weight  # each look is a step of power iteration, as in a training pass
        norm = torch.linalg.matrix_norm(weight.flatten(1), ord=2).item()
        # Power iteration closes in from below; sixty steps leave a percent where two values are close.
        assert norm == pytest.approx(1, abs=0.02)


def test_the_second_discriminator_sees_the_picture_at_half_the_size():
    network = MultiScaleDiscriminator(TINY).eval()
    x = pictures()
    alone = network.discriminators[1](halve(x))
    torch.testing.assert_close(network(x)[1].logits, alone.logits)


def test_halving_keeps_a_constant_and_lets_no_fine_pattern_through():
    constant = torch.full((1, 3, 16, 16), 0.25)
    torch.testing.assert_close(halve(constant), torch.full((1, 3, 8, 8), 0.25))
    stripes = torch.tensor([1.0, -1.0]).repeat(8).expand(1, 3, 16, 16)
    # Interior: at the border the pattern is cut off and its mean is no longer zero.
    assert halve(stripes)[..., 2:-2].abs().max() < 0.02
    plain = functional.interpolate(stripes, scale_factor=0.5, mode="bicubic", align_corners=False)
    assert halve(stripes).shape == plain.shape


def test_each_picture_is_judged_by_itself():
    network = MultiScaleDiscriminator(TINY).eval()
    x = pictures(batch=3)
    both, alone = network(x)[0].logits[1:2], network(x[1:2])[0].logits
    # 1e-5: convolutions of other batch sizes add up in another order.
    torch.testing.assert_close(both, alone, rtol=1e-5, atol=1e-5)


def test_the_smallest_faces_give_one_score_and_smaller_ones_are_refused():
    network = MultiScaleDiscriminator(TINY)
    assert TINY.smallest_size == 24
    assert network(pictures(side=24))[-1].logits.shape == (2, 1, 1, 1)
    with pytest.raises(ValueError, match=r"must have 24 px a side .* got 23 px"):
        network(pictures(side=23))


def test_every_parameter_gets_a_gradient_from_the_scores():
    network = MultiScaleDiscriminator(TINY)
    sum(each.logits.sum() for each in network(pictures())).backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_a_picture_is_not_features():
    with pytest.raises(ValueError, match="has 3 channels: it is a picture"):
        Features([torch.zeros(1, 8, 4, 4), torch.zeros(1, 3, 4, 4)])


def test_one_tensor_is_not_features():
    with pytest.raises((TypeError, TypeCheckError)):
        Features(torch.zeros(2, 8, 4, 4))


def test_no_map_and_flat_maps_are_not_features():
    with pytest.raises(ValueError, match="at least one feature map"):
        Features([])
    with pytest.raises(ValueError, match="must be N x C x H x W"):
        Features([torch.zeros(1, 8)])


def test_detached_features_pass_no_gradient():
    features = Features([torch.ones(1, 8, 2, 2, requires_grad=True)])
    assert features[0].requires_grad
    assert isinstance(features.detach(), Features)
    assert not features.detach()[0].requires_grad


def test_wrappers_for_precision_find_the_tensors_and_keep_the_types():
    """Lightning Fabric walks through what a network returns; a frozen dataclass would stop it."""
    judgements = MultiScaleDiscriminator(TINY)(pictures())
    walked = apply_to_collection(judgements, dtype=torch.Tensor, function=torch.Tensor.double)
    assert all(isinstance(each, Judgement) and isinstance(each.features, Features) for each in walked)
    assert walked[0].logits.dtype == walked[0].features[0].dtype == torch.float64


def test_a_picture_of_four_channels_is_refused():
    with pytest.raises(TypeCheckError):
        MultiScaleDiscriminator(TINY)(torch.zeros(1, 4, 32, 32))
