"""The losses against hand-computed cases, and where their gradients flow."""

import math
import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch
from jaxtyping import TypeCheckError
from torch import Tensor, nn

from sparnet.network.discriminator import DiscriminatorConfig, Features, MultiScaleDiscriminator
from sparnet.training.losses import (
    GeneratorLosses,
    LossWeights,
    PerceptualLoss,
    charbonnier_loss,
    discriminator_loss,
    feature_matching_loss,
    frozen,
    generator_losses,
    hinge_discriminator_loss,
    hinge_generator_loss,
    perceptual_loss,
    pixel_loss,
    squared_loss,
)


class Trunk(nn.Module):
    """Two fixed layers of features: four times the mean of the channels, then that pooled."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, kernel_size=1, bias=False)
        nn.init.constant_(self.conv.weight, 1 / 3)

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = self.conv(x)
        return [maps, nn.functional.avg_pool2d(maps, 2)]


class PictureTrunk(nn.Module):
    """What the released code amounted to at first: the picture itself as its only feature."""

    def forward(self, x: Tensor) -> list[Tensor]:
        return [x]


def grey(value: float, *, side: int = 4) -> Tensor:
    return torch.full((2, 3, side, side), value)


def random_pictures(seed: int, *, side: int = 32) -> Tensor:
    return torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def features(*values: float, channels: int = 4) -> Features:
    return Features(torch.full((2, channels, 4, 4), value) for value in values)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Threads that wait for each other on a busy machine make networks this small a hundred times slower."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def discriminator() -> MultiScaleDiscriminator:
    torch.manual_seed(0)
    return MultiScaleDiscriminator(DiscriminatorConfig(scales=2, halvings=2, base_channels=4, max_channels=8))


def test_the_pixel_loss_is_the_mean_absolute_difference():
    sr = torch.tensor([0.5, -0.5, 0.0, 1.0]).reshape(1, 1, 2, 2)
    hr = torch.tensor([0.0, 0.0, 0.0, -1.0]).reshape(1, 1, 2, 2)
    assert pixel_loss(sr, hr).item() == pytest.approx((0.5 + 0.5 + 0 + 2) / 4)


def test_other_pixel_losses_are_their_formulas():
    sr = torch.tensor([0.5, -0.5, 0.0, 1.0]).reshape(1, 1, 2, 2)
    hr = torch.tensor([0.0, 0.0, 0.0, -1.0]).reshape(1, 1, 2, 2)
    assert squared_loss(sr, hr).item() == pytest.approx((0.25 + 0.25 + 0 + 4) / 4)
    roots = [math.sqrt(square + 1e-6) for square in (0.25, 0.25, 0, 4)]
    assert charbonnier_loss(sr, hr).item() == pytest.approx(sum(roots) / 4)


def test_the_pixel_loss_of_a_picture_against_itself_is_zero():
    assert pixel_loss(grey(0.3), grey(0.3)).item() == 0


def test_pictures_of_other_shapes_are_refused():
    with pytest.raises((ValueError, TypeCheckError)):
        pixel_loss(grey(0), grey(0, side=1))
    with pytest.raises((ValueError, TypeCheckError)):
        squared_loss(grey(0), grey(0, side=1))


def test_the_hinge_loss_of_an_undecided_discriminator_is_one():
    zero = [torch.zeros(2, 1, 3, 3)]
    assert hinge_discriminator_loss(hr_logits=zero, sr_logits=zero).item() == 1


def test_a_discriminator_that_is_sure_and_right_has_no_loss():
    loss = hinge_discriminator_loss(
        hr_logits=[torch.full((1, 1, 2, 2), 1.5)], sr_logits=[torch.full((1, 1, 2, 2), -1.0)]
    )
    assert loss.item() == 0


def test_the_hinge_loss_is_halved_and_averaged_over_discriminators_whatever_their_size():
    hr_logits = [torch.full((2, 1, 30, 30), 0.5), torch.full((2, 1, 6, 6), 2.0)]
    sr_logits = [torch.full((2, 1, 30, 30), 0.0), torch.full((2, 1, 6, 6), 3.0)]
    first, second = 0.5 * (0.5 + 1.0), 0.5 * (0.0 + 4.0)
    loss = hinge_discriminator_loss(hr_logits=hr_logits, sr_logits=sr_logits)
    assert loss.item() == pytest.approx((first + second) / 2)


def test_the_generator_wants_high_scores():
    logits = [torch.full((2, 1, 30, 30), 0.5), torch.full((2, 1, 6, 6), -2.0)]
    assert hinge_generator_loss(sr_logits=logits).item() == pytest.approx(-(0.5 - 2.0) / 2)


def test_scores_of_other_numbers_of_discriminators_are_refused():
    with pytest.raises(ValueError, match="discriminators must match one to one, got 1 and 2"):
        hinge_discriminator_loss(hr_logits=[torch.zeros(1)], sr_logits=[torch.zeros(1), torch.zeros(1)])


def test_feature_matching_sums_over_layers_and_averages_over_discriminators():
    sr = [features(1.0, 2.0), features(0.0, 0.0)]
    hr = [features(0.5, 4.0), features(1.0, 0.0)]
    assert feature_matching_loss(sr=sr, hr=hr).item() == pytest.approx(((0.5 + 2.0) + 1.0) / 2)


def test_feature_matching_takes_the_mean_of_each_layer_whatever_its_size():
    small = Features([torch.full((2, 4, 1, 1), 1.0)])
    large = Features([torch.full((2, 64, 8, 8), 1.0)])
    zeros = [Features(torch.zeros_like(maps) for maps in each) for each in (small, large)]
    assert feature_matching_loss(sr=[small], hr=zeros[:1]) == feature_matching_loss(sr=[large], hr=zeros[1:])


def test_the_originals_features_get_no_gradient():
    hr_maps = torch.ones(1, 4, 2, 2, requires_grad=True)
    sr_maps = torch.zeros(1, 4, 2, 2, requires_grad=True)
    torch.autograd.backward(feature_matching_loss(sr=[Features([sr_maps])], hr=[Features([hr_maps])]))
    torch.autograd.backward(perceptual_loss(sr=Features([sr_maps]), hr=Features([hr_maps])))
    assert sr_maps.grad is not None
    assert hr_maps.grad is None


def test_layers_of_other_numbers_or_shapes_are_refused():
    with pytest.raises(ValueError, match="layers must match one to one, got 1 and 2"):
        perceptual_loss(sr=features(0.0), hr=features(0.0, 0.0))
    with pytest.raises(ValueError, match="must have one shape"):
        perceptual_loss(sr=features(0.0), hr=features(0.0, channels=1))


def test_the_perceptual_loss_sums_the_layers_with_weight_one():
    loss = perceptual_loss(sr=features(1.0, 2.0, 3.0), hr=features(0.0, 0.0, 0.0))
    assert loss.item() == pytest.approx(6.0)


def test_layers_can_be_weighted():
    loss = perceptual_loss(sr=features(1.0, 2.0), hr=features(0.0, 0.0), layer_weights=(0.5, 0.25))
    assert loss.item() == pytest.approx(1.0)
    with pytest.raises(ValueError, match="layer weights must match one to one, got 1 and 2"):
        perceptual_loss(sr=features(1.0, 2.0), hr=features(0.0, 0.0), layer_weights=(1.0,))


def test_the_perceptual_loss_of_pictures_is_that_of_their_features():
    # Both layers of the trunk keep a grey picture's value.
    assert PerceptualLoss(Trunk())(grey(0.5), grey(-0.25)).item() == pytest.approx(2 * 0.75)


def test_the_perceptual_loss_moves_the_generators_pictures_alone():
    loss = PerceptualLoss(Trunk())
    sr, hr = grey(0.5).requires_grad_(), grey(0.0).requires_grad_()
    torch.autograd.backward(loss(sr, hr))
    assert sr.grad is not None
    assert hr.grad is None
    assert all(parameter.grad is None for parameter in loss.parameters())


def test_a_trunk_that_hands_back_the_pictures_is_refused():
    with pytest.raises(ValueError, match="it is a picture, not features"):
        PerceptualLoss(PictureTrunk())(grey(0.5), grey(0.0))


def test_pictures_are_refused_where_features_belong():
    with pytest.raises((TypeError, TypeCheckError)):
        perceptual_loss(sr=grey(0.5), hr=grey(0.0))  # type: ignore[arg-type]
    with pytest.raises((TypeError, TypeCheckError)):
        feature_matching_loss(sr=[grey(0.5)], hr=[grey(0.0)])  # type: ignore[list-item]


def test_pictures_are_refused_where_features_belong_without_the_checker_too():
    program = """
import torch
from sparnet.training.losses import feature_matching_loss, perceptual_loss
pictures = torch.zeros(2, 3, 4, 4)
for call in (
    lambda: perceptual_loss(sr=pictures, hr=pictures),
    lambda: perceptual_loss(sr=[pictures], hr=[pictures]),
    lambda: feature_matching_loss(sr=[pictures], hr=[pictures]),
):
    try:
        call()
    except TypeError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "this loss compares Features, got Tensor",
        "this loss compares Features, got list",
        "this loss compares Features, got Tensor",
    ]


def test_the_generators_loss_is_the_weighted_sum_of_equation_12():
    one = torch.tensor(1.0)
    losses = GeneratorLosses(
        pixel=0.1 * one, adversarial=-2 * one, feature_matching=0.5 * one, perceptual=3 * one
    )
    assert losses.total(LossWeights()).item() == pytest.approx(100 * 0.1 - 2 + 10 * 0.5 + 3)


def test_a_loss_of_weight_zero_is_left_out_and_one_with_a_weight_must_be_there():
    losses = GeneratorLosses(pixel=torch.tensor(0.1))
    pixel_only = LossWeights(adversarial=0.0, feature_matching=0.0, perceptual=0.0)
    assert losses.total(pixel_only).item() == pytest.approx(10)
    with pytest.raises(ValueError, match="the adversarial loss has weight 1 but was not computed"):
        losses.total(LossWeights())
    with pytest.raises(ValueError, match="nothing to train on"):
        losses.total(pixel_only.model_copy(update={"pixel": 0.0}))


def test_losses_are_named_for_the_log():
    losses = GeneratorLosses(pixel=torch.tensor(0.5), perceptual=torch.tensor(2.0))
    assert losses.named() == {"loss/pixel": 0.5, "loss/perceptual": 2.0}


def test_the_generators_step_gives_the_discriminator_no_gradient(discriminator):
    sr = random_pictures(0).requires_grad_()
    losses = generator_losses(
        sr=sr,
        hr=random_pictures(1),
        discriminator=discriminator,
        perceptual=PerceptualLoss(Trunk()),
        weights=LossWeights(),
    )
    torch.autograd.backward(losses.total(LossWeights()))
    assert sr.grad is not None
    assert sr.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in discriminator.parameters())
    assert all(parameter.requires_grad for parameter in discriminator.parameters())


def test_the_generators_losses_are_what_the_single_losses_say(discriminator):
    sr, hr = random_pictures(0), random_pictures(1)
    discriminator.eval()  # no power iteration between the passes
    losses = generator_losses(
        sr=sr, hr=hr, discriminator=discriminator, perceptual=PerceptualLoss(Trunk()), weights=LossWeights()
    )
    sr_judged, hr_judged = discriminator(sr), discriminator(hr)
    assert losses.pixel == pixel_loss(sr, hr)
    assert losses.adversarial == hinge_generator_loss(sr_logits=[each.logits for each in sr_judged])
    assert losses.feature_matching == feature_matching_loss(
        sr=[each.features for each in sr_judged], hr=[each.features for each in hr_judged]
    )
    assert losses.perceptual == PerceptualLoss(Trunk())(sr, hr)


def test_the_perceptual_loss_can_look_at_a_part_of_the_pictures(discriminator):
    sr, hr = random_pictures(0), random_pictures(1)
    crop = (slice(2, 34), slice(4, 36))
    perceptual = PerceptualLoss(Trunk())
    losses = generator_losses(
        sr=sr,
        hr=hr,
        discriminator=discriminator,
        perceptual=perceptual,
        weights=LossWeights(),
        perceptual_crop=crop,
    )
    assert losses.perceptual == perceptual(sr[:, :, 2:34, 4:36], hr[:, :, 2:34, 4:36])
    assert losses.perceptual != perceptual(sr, hr)
    assert losses.pixel == pixel_loss(sr, hr)


def test_the_discriminators_can_judge_a_part_of_the_pictures(discriminator):
    sr, hr = random_pictures(0, side=48), random_pictures(1, side=48)
    crop = (slice(2, 34), slice(4, 36))
    weights = LossWeights(perceptual=0.0)
    part, whole = (
        generator_losses(
            sr=made,
            hr=original,
            discriminator=discriminator.eval(),
            perceptual=None,
            weights=weights,
            **options,
        )
        for made, original, options in (
            (sr[:, :, 2:34, 4:36], hr[:, :, 2:34, 4:36], {}),
            (sr, hr, {"discriminator_crop": crop}),
        )
    )
    torch.testing.assert_close(part.adversarial, whole.adversarial)
    torch.testing.assert_close(part.feature_matching, whole.feature_matching)
    assert part.pixel != whole.pixel
    assert whole.pixel == pixel_loss(sr, hr)


def test_a_perfect_generator_has_only_an_adversarial_loss(discriminator):
    hr = random_pictures(1)
    losses = generator_losses(
        sr=hr,
        hr=hr,
        discriminator=discriminator.eval(),
        perceptual=PerceptualLoss(Trunk()),
        weights=LossWeights(),
    ).named()
    assert losses["loss/pixel"] == losses["loss/feature_matching"] == losses["loss/perceptual"] == 0
    assert losses["loss/adversarial"] != 0


def test_what_has_no_weight_is_not_computed_and_needs_no_network():
    weights = LossWeights(adversarial=0.0, feature_matching=0.0, perceptual=0.0)
    losses = generator_losses(
        sr=grey(0.5), hr=grey(0.0), discriminator=None, perceptual=None, weights=weights
    )
    assert losses.named() == {"loss/pixel": 0.5}


def test_what_has_a_weight_needs_its_network(discriminator):
    with pytest.raises(ValueError, match="need a discriminator"):
        generator_losses(
            sr=grey(0.5),
            hr=grey(0.0),
            discriminator=None,
            perceptual=None,
            weights=LossWeights(perceptual=0.0),
        )
    with pytest.raises(ValueError, match="needs a network to make features"):
        generator_losses(
            sr=grey(0.5),
            hr=grey(0.0),
            discriminator=None,
            perceptual=None,
            weights=LossWeights(adversarial=0.0, feature_matching=0.0),
        )


def test_the_discriminators_step_gives_the_generator_no_gradient(discriminator):
    generator = nn.Conv2d(3, 3, kernel_size=1)
    loss = discriminator_loss(discriminator, sr=generator(random_pictures(0)), hr=random_pictures(1))
    torch.autograd.backward(loss)
    assert all(parameter.grad is None for parameter in generator.parameters())
    assert all(parameter.grad is not None for parameter in discriminator.parameters())


def test_the_discriminator_learns_to_tell_two_kinds_of_pictures_apart(discriminator):
    optimiser = torch.optim.Adam(discriminator.parameters(), lr=4e-3, betas=(0.5, 0.99))
    hr, sr = random_pictures(1), random_pictures(0) * 0.2
    first = discriminator_loss(discriminator, sr=sr, hr=hr).item()
    for _ in range(12):
        optimiser.zero_grad()
        loss = discriminator_loss(discriminator, sr=sr, hr=hr)
        torch.autograd.backward(loss)
        optimiser.step()
    assert first == pytest.approx(1.0, abs=0.2)
    assert loss.item() < 0.8 * first


def test_a_frozen_module_is_as_before_afterwards():
    module = nn.Linear(2, 2)
    module.bias.requires_grad = False
    with frozen(module):
        assert not any(parameter.requires_grad for parameter in module.parameters())
    assert module.weight.requires_grad
    assert not module.bias.requires_grad


def test_a_module_is_freed_again_after_an_error():
    module = nn.Linear(2, 2)
    with pytest.raises(RuntimeError), frozen(module):
        module(torch.zeros(1, 3))
    assert module.weight.requires_grad


def test_a_negative_weight_is_refused():
    with pytest.raises(ValueError, match="greater than or equal to 0"):
        LossWeights(pixel=-1.0)


def test_losses_of_half_precision_are_computed_in_single():
    half = torch.full((1, 4, 2, 2), 0.1, dtype=torch.bfloat16)
    loss = perceptual_loss(sr=Features([half]), hr=Features([half * 2]))
    assert loss.dtype == torch.float32
