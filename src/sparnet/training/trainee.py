"""What is trained, and the two steps that train it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import Float
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn.utils import parametrize

from sparnet.data.batches import Pair
from sparnet.errors import WeightsError
from sparnet.network.build import Generator, build_generator
from sparnet.network.bytes import to_signed
from sparnet.network.config import NetworkConfig
from sparnet.network.discriminator import MultiScaleDiscriminator
from sparnet.network.files import load_network
from sparnet.network.folding import (
    add_outer_units,
    even_squares,
    fold_weights,
    folds_into,
    folds_outer_units,
    keep_inner_units,
    keep_inside,
    reads_another_size,
    without_folding,
)
from sparnet.network.generator import SPARNet, settle_spectral_norm
from sparnet.network.synced_norm import synchronize_norms
from sparnet.network.trunks import load_vgg
from sparnet.training.ema import WeightAverage
from sparnet.training.losses import (
    WHOLE,
    GeneratorLosses,
    PerceptualLoss,
    charbonnier_loss,
    discriminator_loss,
    generator_losses,
    pixel_loss,
    squared_loss,
    wavelet_loss,
)
from sparnet.training.recipe import Recipe
from sparnet.training.state import TrainState, load_newest

ModuleT = TypeVar("ModuleT", bound=nn.Module)


@dataclass
class Critic:
    """The discriminators of a run."""

    network: MultiScaleDiscriminator
    optimizer: torch.optim.Optimizer
    model: Callable[[Tensor], Any]
    """The network as it is called while it is trained: wrapped for devices and precision."""


@dataclass
class Trainee:
    """A network in training, its average, its optimiser, and what judges it beside the pixel loss."""

    network: Generator
    average: WeightAverage[Generator]
    optimizer: torch.optim.Optimizer
    model: Callable[[Tensor], Tensor]
    """The network as it is called while it is trained: wrapped for devices and precision."""
    perceptual: PerceptualLoss | None
    """None where that loss has no weight."""
    critic: Critic | None
    """None where no loss needs discriminators."""

    def state(self, images_seen: int) -> TrainState:
        """Collect everything that changes."""
        return TrainState(images_seen, {name: part.state_dict() for name, part in self._parts().items()})

    def restore(self, state: TrainState) -> None:
        """Go back to a saved state.

        Raises:
            WeightsError: If the state is of another architecture.
        """
        for name, part in self._parts().items():
            try:
                part.load_state_dict(state.modules[name])
            except KeyError:
                raise WeightsError(f"the saved state has no {name}: it is of another recipe") from None
            except (RuntimeError, ValueError) as error:
                first = str(error).splitlines()[0]
                raise WeightsError(f"the saved state does not fit the recipe's {name}: {first}") from None

    def follow(self, recipe: Recipe) -> None:
        """Take from the recipe what a saved state of the optimisers would else keep: their decay rates.

        The learning rates are set at every step.
        """
        optimizers = [(self.optimizer, recipe.train.betas)]
        if self.critic is not None and recipe.adversarial is not None:
            optimizers.append((self.critic.optimizer, recipe.adversarial.betas))
        for optimizer, betas in optimizers:
            for group in optimizer.param_groups:
                group["betas"] = betas

    def _parts(self) -> dict[str, Any]:
        parts: dict[str, Any] = {
            "network": self.network,
            "average": self.average.network,
            "optimizer": self.optimizer,
        }
        if self.critic is not None:
            parts |= {"discriminator": self.critic.network, "discriminator_optimizer": self.critic.optimizer}
        return parts


def build_trainee(
    recipe: Recipe, fabric: Fabric, *, notice: Callable[[str], None], resume: bool = False
) -> Trainee:
    """Make network, average, optimiser and critic on the device, by the recipe.

    Args:
        recipe: The recipe.
        fabric: The device.
        notice: Told what a person should know.
        resume: Whether a saved state follows; the initial weights are not needed then.

    Raises:
        WeightsError: If the initial weights are missing or of another architecture.
    """
    torch.manual_seed(recipe.seed)
    network = build_generator(recipe.network)
    if recipe.initial_weights is not None and not resume:
        take_weights(network, recipe.initial_weights)
    network.checkpointing = recipe.train.checkpointing
    network = _placed(network, recipe, fabric)
    average = WeightAverage(
        network, halflife_images=recipe.train.ema_halflife_images, rampup=recipe.train.ema_rampup
    )
    if fabric.world_size > 1:
        synchronize_norms(network)
    optimizer = torch.optim.Adam(
        network.parameters(), lr=recipe.train.learning_rate, betas=recipe.train.betas, fused=True
    )
    callable_network: Any = torch.compile(network) if recipe.train.compile else network
    model = fabric.setup_module(callable_network)
    perceptual = _build_perceptual(recipe, fabric, notice)
    critic = _build_critic(recipe, fabric, notice, resume=resume)
    return Trainee(network, average, optimizer, model, perceptual, critic)


def _build_perceptual(recipe: Recipe, fabric: Fabric, notice: Callable[[str], None]) -> PerceptualLoss | None:
    if recipe.adversarial is None or recipe.adversarial.weights.perceptual == 0:
        return None
    trunk = load_vgg(prefer=recipe.adversarial.perceptual)
    notice(f"perceptual loss on {trunk.name} features")
    return PerceptualLoss(trunk).to(fabric.device)


def _build_critic(
    recipe: Recipe, fabric: Fabric, notice: Callable[[str], None], *, resume: bool
) -> Critic | None:
    config = recipe.adversarial
    if config is None or not config.weights.needs_discriminators:
        return None
    torch.manual_seed(recipe.seed + 1)  # the same discriminators whatever was made before them
    network = MultiScaleDiscriminator(config.discriminator)
    if config.initial_discriminators is not None and not resume:
        _take_discriminators(network, Path(config.initial_discriminators), notice)
    network = _placed(network, recipe, fabric)
    optimizer = torch.optim.Adam(
        network.parameters(), lr=config.learning_rate, betas=config.betas, fused=True
    )
    return Critic(network, optimizer, fabric.setup_module(network))


def _take_discriminators(network: MultiScaleDiscriminator, run: Path, notice: Callable[[str], None]) -> None:
    """Copy the discriminators of a run's newest sound state."""
    state, refused = load_newest(run)
    for line in refused:
        notice(f"initial_discriminators: {line}; using the state before it")
    try:
        network.load_state_dict(state.modules["discriminator"])
    except KeyError:
        raise WeightsError(f"initial_discriminators {run}: its states have none") from None
    except RuntimeError as error:
        first = str(error).splitlines()[0]
        raise WeightsError(f"initial_discriminators {run} are of another architecture: {first}") from None


def _placed(module: ModuleT, recipe: Recipe, fabric: Fabric) -> ModuleT:
    if recipe.train.channels_last:
        module = module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return module.to(fabric.device)


_NORMS_APART = 1.5
"""Largest spectral norm of a conv, or one over it, in a file of a network trained with spectral norm: the
vectors it was divided by are estimates."""
_PARTS_FROM_0 = {"encoder_skips": "skips.", "refine_channels": "refinement."}
"""What a network may have beyond the one whose weights it takes, and begins without effect."""


def take_weights(network: Generator, name_or_path: str) -> None:
    """Copy the weights of a model file into a network of the same architecture.

    Its sizes may differ, all in one proportion: a network for faces of 256 px with a body of 16 px
    goes on at 512 px with a body of 32 px. And it may be the same network unfolded: one for faces of
    128 px becomes one for faces of 512 px that are folded by 4 (`fold_weights`). Or a smaller one is
    made of its inner units (`keep_inner_units`), or a larger one around them (`add_outer_units`), or one
    that reads larger or smaller faces begins with all but its first units (`keep_inside`). Skips and a
    refinement that the source does not have stay as they begin, which changes nothing of what it does.
    A network with spectral norm begins with weights that have such norms: those of one trained with it.

    Raises:
        WeightsError: If there is no such model, its architecture differs, or `network` has spectral norm
            and the source was trained without.
    """
    source = load_network(name_or_path)
    mine = network.config.model_copy(update={"spectral_norm": False})
    added = {key: part for key, part in _PARTS_FROM_0.items() if not getattr(source.config, key)}
    theirs = mine.model_copy(update={key: getattr(source.config, key) for key in added})
    unfolded = without_folding(theirs)
    if isinstance(source, SPARNet) and folds_outer_units(unfolded, source.config):
        source = add_outer_units(source, unfolded)
    if isinstance(source, SPARNet) and folds_into(source.config, theirs):
        source = fold_weights(source, theirs)
    elif isinstance(source, SPARNet) and folds_outer_units(source.config, theirs):
        source = keep_inner_units(source, theirs)
    elif isinstance(source, SPARNet) and reads_another_size(source.config, theirs):
        source = keep_inside(source, theirs)
    if _scaled(source.config, mine.image_size) != theirs:
        changes = [
            f"{key} is {getattr(source.config, key)!r}, the recipe has {getattr(mine, key)!r}"
            for key in type(mine).model_fields
            if getattr(source.config, key) != getattr(mine, key)
        ]
        raise WeightsError(f"initial_weights {name_or_path} is of another architecture: {'; '.join(changes)}")
    tensors = source.state_dict()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.startswith(tuple(added.values())):
                continue
            parameter.copy_(tensors[name.replace("parametrizations.weight.original", "weight")])
        for name, buffer in network.named_buffers():
            if name in tensors:
                buffer.copy_(tensors[name])
    norms = settle_spectral_norm(network)
    others = [conv for conv, norm in norms.items() if not 1 / _NORMS_APART <= norm <= _NORMS_APART]
    if others:
        raise WeightsError(
            f"initial_weights {name_or_path} was trained without spectral norm: that of {others[0]} is "
            f"{norms[others[0]]:.2g}, which the recipe's network makes 1; set network.spectral_norm = false"
        )


def _scaled(config: NetworkConfig, image_size: int) -> NetworkConfig:
    """Return the same layers for faces of another size."""
    sizes = ("image_size", "input_size", "body_size", "attention_smallest_size")
    changed = {
        name: None if value is None else value * image_size // config.image_size
        for name, value in ((name, getattr(config, name)) for name in sizes)
    }
    return config.model_copy(update=changed)


def generator_step(
    trainee: Trainee, pair: Pair, *, recipe: Recipe, fabric: Fabric, images_seen: int
) -> tuple[dict[str, Tensor], Float[Tensor, "n 3 h w"]]:
    """Move the generator by one batch; return its losses by name, and what it made."""
    lr_up, hr = to_signed(pair.lr_up), to_signed(pair.hr)
    if recipe.train.channels_last:
        lr_up = lr_up.contiguous(memory_format=torch.channels_last)
    # Cached: spectral norms are computed once a step, before checkpointing could do it again.
    with parametrize.cached():
        if trainee.network.checkpointing:
            _normalise_weights(trainee.network)
        sr = trainee.model(lr_up)
        loss, numbers = _judge(trainee, sr, hr, recipe=recipe, fabric=fabric, images_seen=images_seen)
        trainee.optimizer.zero_grad(set_to_none=True)
        fabric.backward(loss)
    trainee.optimizer.step()
    if recipe.train.even_squares and isinstance(trainee.network, SPARNet):
        even_squares(trainee.network)
    return numbers, sr.detach()


def _normalise_weights(network: nn.Module) -> None:
    """Compute the spectrally normalised weights, so that they are in the cache."""
    for module in network.modules():
        if parametrize.is_parametrized(module):
            _ = module.weight


def _judge(
    trainee: Trainee, sr: Tensor, hr: Tensor, *, recipe: Recipe, fabric: Fabric, images_seen: int
) -> tuple[Tensor, dict[str, Tensor]]:
    """Compute the generator's loss, and the losses it is made of."""
    if recipe.adversarial is None:
        match recipe.train.loss:
            case "charbonnier":
                loss = charbonnier_loss(sr, hr)
            case "mse":
                loss = squared_loss(sr, hr)
            case "wavelet":
                loss = wavelet_loss(sr, hr, factor=recipe.upscale_factor or 1)
            case "l1":
                loss = pixel_loss(sr, hr)
        return loss, {"loss/pixel": loss.detach()}
    weights = recipe.adversarial.weights
    if images_seen < recipe.adversarial.start_images:
        weights = weights.model_copy(update={"adversarial": 0.0, "feature_matching": 0.0})
    perceptual_crop, discriminator_crop = (
        _crop(sr, crop, recipe=recipe, images_seen=images_seen)
        for crop in (recipe.adversarial.perceptual_crop, recipe.adversarial.discriminator_crop)
    )
    with fabric.autocast():
        losses: GeneratorLosses = generator_losses(
            sr=sr,
            hr=hr,
            discriminator=None if trainee.critic is None else trainee.critic.network,
            perceptual=trainee.perceptual,
            weights=weights,
            perceptual_crop=perceptual_crop,
            discriminator_crop=discriminator_crop,
        )
    total = losses.total(weights)
    named = {
        f"loss/{name}": value.detach()
        for name in ("pixel", "adversarial", "feature_matching", "perceptual")
        if (value := getattr(losses, name)) is not None
    }
    return total, {"loss/generator": total.detach(), **named}


def _crop(pictures: Tensor, crop: int | None, *, recipe: Recipe, images_seen: int) -> tuple[slice, slice]:
    """Choose the square of this batch that a loss looks at."""
    if crop is None:
        return WHOLE
    return square_at_random(pictures.shape[-1], crop, seed=recipe.seed, images_seen=images_seen)


def square_at_random(side: int, crop: int, *, seed: int, images_seen: int) -> tuple[slice, slice]:
    """Choose rows and columns of a square inside a picture, by chance that a resumed run repeats.

    Args:
        side: Side of the picture, px.
        crop: Side of the square, px; at most `side` is taken.
        seed: Seed of the run.
        images_seen: Images seen before this batch.
    """
    crop = min(crop, side)
    chance = np.random.Generator(np.random.Philox(key=[seed, 2], counter=[0, images_seen, 0, 0]))
    top, left = (int(chance.integers(0, side - crop + 1)) for _ in range(2))
    return slice(top, top + crop), slice(left, left + crop)


def discriminator_step(
    critic: Critic,
    pair: Pair,
    sr: Float[Tensor, "n 3 h w"],
    *,
    recipe: Recipe,
    fabric: Fabric,
    images_seen: int,
) -> dict[str, Tensor]:
    """Move the discriminators by one batch, by the square the generator was judged by; return their loss."""
    crop = recipe.adversarial.discriminator_crop if recipe.adversarial is not None else None
    rows, columns = _crop(sr, crop, recipe=recipe, images_seen=images_seen)
    with parametrize.cached():
        loss = discriminator_loss(
            critic.model, sr=sr[..., rows, columns], hr=to_signed(pair.hr[..., rows, columns])
        )
        critic.optimizer.zero_grad(set_to_none=True)
        fabric.backward(loss)
    critic.optimizer.step()
    return {"loss/discriminator": loss.detach()}


def last_step(trainee: Trainee, pair: Pair, *, recipe: Recipe, fabric: Fabric) -> dict[str, Tensor]:
    """Take a step as at the training's end, discriminators included: the dearest, which forecasts measure.

    Returns:
        The generator's losses by name.
    """
    seen = recipe.train.total_images
    numbers, sr = generator_step(trainee, pair, recipe=recipe, fabric=fabric, images_seen=seen)
    if trainee.critic is not None:
        discriminator_step(trainee.critic, pair, sr, recipe=recipe, fabric=fabric, images_seen=seen)
    return numbers
