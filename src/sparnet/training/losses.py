"""The losses of the paper: of pixels, of features, and of the game against the discriminators.

Each is a mean over the batch, a number at least 0 but for the generator's adversarial loss.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from sparnet.config import Config
from sparnet.network.discriminator import Features, Judgement
from sparnet.network.wavelet import wavelet_packet

FirstT = TypeVar("FirstT")
SecondT = TypeVar("SecondT")
WHOLE = (slice(None), slice(None))
"""Rows and columns of a whole picture."""


class LossWeights(Config):
    """What each loss of the generator counts for in its sum.

    Source:
        Equation 12. The values are the released code's; the paper's text lost them.
    """

    pixel: float = Field(default=100.0, ge=0)
    """Weight of the pixel loss."""
    adversarial: float = Field(default=1.0, ge=0)
    """Weight of the adversarial loss."""
    feature_matching: float = Field(default=10.0, ge=0)
    """Weight of the feature matching loss."""
    perceptual: float = Field(default=1.0, ge=0)
    """Weight of the perceptual loss."""

    @property
    def needs_discriminators(self) -> bool:
        """Whether a loss that discriminators compute has a weight."""
        return self.adversarial > 0 or self.feature_matching > 0


def pixel_loss(sr: Float[Tensor, "n c h w"], hr: Float[Tensor, "n c h w"]) -> Float[Tensor, ""]:
    """Return `mean |sr - hr|`.

    Raises:
        ValueError: If the shapes differ; broadcasting would train in silence on nonsense.

    Source:
        Equations 1, 6 and 7.
    """
    return _mean_absolute_difference(sr, hr)


def charbonnier_loss(sr: Float[Tensor, "n c h w"], hr: Float[Tensor, "n c h w"]) -> Float[Tensor, ""]:
    """Return `mean sqrt((sr - hr)^2 + 1e-6)`: as the pixel loss, but smooth at 0.

    Raises:
        ValueError: If the shapes differ.

    Source:
        Lai et al., "Deep Laplacian Pyramid Networks for Fast and Accurate Super-Resolution", 2017.
    """
    return (_difference(sr, hr).square() + 1e-6).sqrt().mean()


def squared_loss(sr: Float[Tensor, "n c h w"], hr: Float[Tensor, "n c h w"]) -> Float[Tensor, ""]:
    """Return `mean (sr - hr)^2`, whose least value has the highest PSNR.

    Raises:
        ValueError: If the shapes differ.
    """
    return _difference(sr, hr).square().mean()


def wavelet_loss(
    sr: Float[Tensor, "n 3 h w"], hr: Float[Tensor, "n2 3 h2 w2"], *, factor: int
) -> Float[Tensor, ""]:
    """Return what Wavelet-SRNet minimises: squared error of bands, lost texture, squared error of pixels.

    With coefficients c of the original and p of the picture, orthonormally scaled, and means over
    all: `mean (p - c)^2 + mean_bands max(0, mean c^2 - mean p^2) + 0.1 mean (sr - hr)^2`; the middle
    term, over all bands but the even one, keeps details from fading to nothing.

    Args:
        sr: What the network made; its bands are those the network predicted.
        hr: Originals.
        factor: Side of the squares that the bands describe.

    Raises:
        ValueError: If the shapes differ.

    Source:
        Huang et al. 2017, the three terms; their weights and slack are ours.
    """
    if sr.shape != hr.shape:
        raise ValueError(f"sr is {tuple(sr.shape)}, hr {tuple(hr.shape)}; they must be of one shape")
    made = factor * wavelet_packet(sr.float(), factor=factor)
    wanted = factor * wavelet_packet(hr, factor=factor)
    energy_lost = wanted.square().mean(dim=(3, 4)) - made.square().mean(dim=(3, 4))
    texture = energy_lost[:, :, 1:].relu().mean()
    return (made - wanted).square().mean() + texture + 0.1 * (sr.float() - hr).square().mean()


def hinge_discriminator_loss(
    *, hr_logits: Sequence[Float[Tensor, "..."]], sr_logits: Sequence[Float[Tensor, "..."]]
) -> Float[Tensor, ""]:
    """Return `0.5 * (mean relu(1 - hr_logits) + mean relu(1 + sr_logits))`, mean over discriminators.

    Args:
        hr_logits: What each discriminator says of originals.
        sr_logits: What each says of the generator's pictures.

    Raises:
        ValueError: If the two come from different numbers of discriminators.

    Source:
        Equations 8, 9 and 13; hinge, and the factor 0.5, as in the released code.
    """
    losses = [
        0.5 * (functional.relu(1 - hr.float()).mean() + functional.relu(1 + sr.float()).mean())
        for hr, sr in _pairs("discriminators", hr_logits, sr_logits)
    ]
    return torch.stack(losses).mean()


def hinge_generator_loss(*, sr_logits: Sequence[Float[Tensor, "..."]]) -> Float[Tensor, ""]:
    """Return `-mean sr_logits`, mean over discriminators.

    Source:
        Equations 8 and 9, as in the released code.
    """
    return -torch.stack([logits.float().mean() for logits in sr_logits]).mean()


def feature_matching_loss(*, sr: Sequence[Features], hr: Sequence[Features]) -> Float[Tensor, ""]:
    """Return `mean |sr - hr|` of each layer, summed over layers, mean over discriminators.

    Args:
        sr: Each discriminator's features of the generator's pictures.
        hr: Each discriminator's features of the originals; no gradient flows into them.

    Raises:
        TypeError: If one is not features, but pictures for instance.
        ValueError: If layers or shapes differ.

    Source:
        Equation 10.
    """
    losses = [_feature_loss(made, original) for made, original in _pairs("discriminators", sr, hr)]
    return torch.stack(losses).mean()


def perceptual_loss(
    *, sr: Features, hr: Features, layer_weights: Sequence[float] | None = None
) -> Float[Tensor, ""]:
    """Return `mean |sr - hr|` of each layer, weighted and summed over layers.

    Args:
        sr: A fixed network's features of the generator's pictures.
        hr: Its features of the originals; no gradient flows into them.
        layer_weights: What each layer counts for; None is 1 each, as in the release.

    Raises:
        TypeError: If one is not features, but pictures for instance.
        ValueError: If layers or shapes differ.

    Source:
        Equation 11. Paper: features. Released code: pictures, by mistake, at first. Here: features.
    """
    return _feature_loss(sr, hr, layer_weights)


class PerceptualLoss(nn.Module):
    """Compare pictures by the features that a fixed network makes of them.

    It takes pictures and makes the features itself, in `Features`, so that nothing else can be
    compared.

    Args:
        trunk: The network: pictures in [-1, 1] to a list of feature maps. It is frozen here.
        layer_weights: What each layer counts for; None is 1 each, as in the release.

    Source:
        Equation 11.
    """

    def __init__(self, trunk: nn.Module, *, layer_weights: Sequence[float] | None = None) -> None:
        super().__init__()
        self.trunk = trunk.eval().requires_grad_(requires_grad=False)
        self.layer_weights = None if layer_weights is None else tuple(layer_weights)

    def forward(self, sr: Float[Tensor, "n 3 h w"], hr: Float[Tensor, "n 3 h w"]) -> Float[Tensor, ""]:
        """Return the perceptual loss of `sr` against `hr`; gradients flow into `sr` only."""
        with torch.no_grad():
            hr_features = Features(self.trunk(hr))
        return perceptual_loss(sr=Features(self.trunk(sr)), hr=hr_features, layer_weights=self.layer_weights)


@dataclass(frozen=True)
class GeneratorLosses:
    """The four losses of the generator, each before its weight; None where it was not asked for."""

    pixel: Float[Tensor, ""] | None = None
    adversarial: Float[Tensor, ""] | None = None
    feature_matching: Float[Tensor, ""] | None = None
    perceptual: Float[Tensor, ""] | None = None

    def total(self, weights: LossWeights) -> Float[Tensor, ""]:
        """Return the weighted sum, what the generator is trained on.

        Raises:
            ValueError: If a loss with a weight above 0 is missing, or all weights are 0.

        Source:
            Equation 12.
        """
        terms = []
        for name, weight in weights.model_dump().items():
            loss = getattr(self, name)
            if weight == 0:
                continue
            if loss is None:
                raise ValueError(f"the {name} loss has weight {weight:g} but was not computed")
            terms.append(weight * loss)
        if not terms:
            raise ValueError("every loss of the generator has weight 0: there is nothing to train on")
        return torch.stack(terms).sum()

    def named(self) -> dict[str, float]:
        """Return the losses that there are by their names in the log, as numbers."""
        return {
            f"loss/{name}": loss.item()
            for name in LossWeights.model_fields
            if (loss := getattr(self, name)) is not None
        }


def generator_losses(
    *,
    sr: Float[Tensor, "n 3 h w"],
    hr: Float[Tensor, "n 3 h w"],
    discriminator: nn.Module | None,
    perceptual: PerceptualLoss | None,
    weights: LossWeights,
    perceptual_crop: tuple[slice, slice] = WHOLE,
    discriminator_crop: tuple[slice, slice] = WHOLE,
) -> GeneratorLosses:
    """Compute the losses of the generator that have a weight; gradients flow into `sr` only.

    The discriminator's parameters get no gradient: it is frozen while it judges.

    Args:
        sr: The generator's pictures, RGB around [-1, 1].
        hr: The originals.
        discriminator: A `MultiScaleDiscriminator`, bare: a data-parallel wrapper would wait for
            gradients that never come. None if neither of its losses has a weight.
        perceptual: None if the loss has no weight.
        weights: Those of the sum; a loss of weight 0 is not computed.
        perceptual_crop: Rows and columns that the perceptual loss looks at.
        discriminator_crop: Those that the discriminators judge.

    Raises:
        ValueError: If what a loss needs is None.
    """
    adversarial = feature_matching = None
    if weights.needs_discriminators:
        if discriminator is None:
            raise ValueError("the adversarial and feature matching losses need a discriminator")
        rows, columns = discriminator_crop
        with frozen(discriminator):
            sr_judgements: list[Judgement] = discriminator(sr[..., rows, columns])
            if weights.feature_matching > 0:
                with torch.no_grad():
                    hr_judgements: list[Judgement] = discriminator(hr[..., rows, columns])
                feature_matching = feature_matching_loss(
                    sr=[each.features for each in sr_judgements], hr=[each.features for each in hr_judgements]
                )
            if weights.adversarial > 0:
                adversarial = hinge_generator_loss(sr_logits=[each.logits for each in sr_judgements])
    if weights.perceptual > 0 and perceptual is None:
        raise ValueError("the perceptual loss needs a network to make features")
    rows, columns = perceptual_crop
    return GeneratorLosses(
        pixel=pixel_loss(sr, hr) if weights.pixel > 0 else None,
        adversarial=adversarial,
        feature_matching=feature_matching,
        perceptual=perceptual(sr[..., rows, columns], hr[..., rows, columns])
        if weights.perceptual > 0 and perceptual is not None
        else None,
    )


def discriminator_loss(
    discriminator: Callable[[Tensor], list[Judgement]],
    *,
    sr: Float[Tensor, "n 3 h w"],
    hr: Float[Tensor, "n 3 h w"],
) -> Float[Tensor, ""]:
    """Let the discriminators judge both pictures and return their loss.

    `sr` is detached: nothing flows into the generator.

    Source:
        Equation 13.
    """
    return hinge_discriminator_loss(
        hr_logits=[each.logits for each in discriminator(hr)],
        sr_logits=[each.logits for each in discriminator(sr.detach())],
    )


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """Keep gradients from the parameters of `module` in what is computed meanwhile."""
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    for parameter in trained:
        parameter.requires_grad = False
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad = True


def _feature_loss(
    sr: Features, hr: Features, layer_weights: Sequence[float] | None = None
) -> Float[Tensor, ""]:
    for features in (sr, hr):
        if not isinstance(features, Features):
            raise TypeError(f"this loss compares Features, got {type(features).__name__}")
    losses = [
        _mean_absolute_difference(made, original) for made, original in _pairs("layers", sr, hr.detach())
    ]
    if layer_weights is None:
        return torch.stack(losses).sum()
    weighted = [weight * loss for weight, loss in _pairs("layer weights", layer_weights, losses)]
    return torch.stack(weighted).sum()


def _mean_absolute_difference(sr: Tensor, hr: Tensor) -> Tensor:
    _require_one_shape(sr, hr)
    return functional.l1_loss(sr.float(), hr.float())


def _difference(sr: Tensor, hr: Tensor) -> Tensor:
    _require_one_shape(sr, hr)
    return sr.float() - hr.float()


def _require_one_shape(sr: Tensor, hr: Tensor) -> None:
    if sr.shape != hr.shape:
        raise ValueError(f"sr and hr must have one shape, got {tuple(sr.shape)} and {tuple(hr.shape)}")


def _pairs(what: str, first: Sequence[FirstT], second: Sequence[SecondT]) -> Iterable[tuple[FirstT, SecondT]]:
    if len(first) != len(second):
        raise ValueError(f"{what} must match one to one, got {len(first)} and {len(second)}")
    return zip(first, second, strict=True)
