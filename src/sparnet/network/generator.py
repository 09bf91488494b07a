"""SPARNet and the generator of SPARNetHD: units of a residual branch under attention."""

import functools
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations, parametrize
from torch.utils.checkpoint import checkpoint

from sparnet.network.attention import CbamAttention, RcanAttention, SpatialAttention
from sparnet.network.config import NetworkConfig
from sparnet.network.layers import ConvNormAct, Resize, ScaleConv, build_activation, build_norm

NetworkT = TypeVar("NetworkT", bound=nn.Module)


class FeatureBranch(nn.Module):
    """The residual branch of a unit: pre-activation, two convs, a norm at the end.

    The size doubles before the first conv and halves in the second.

    Args:
        in_channels: Channels read.
        out_channels: Channels made.
        resize: Change of size.
        config: Kinds of norm and activation.

    Source:
        Equation 2. The norm after the second conv is the released code's.
    """

    def __init__(self, in_channels: int, out_channels: int, *, resize: Resize, config: NetworkConfig) -> None:
        super().__init__()
        self.norm = build_norm(config.norm, in_channels)
        self.activation = build_activation(config.activation, in_channels)
        self.conv1 = ConvNormAct(
            in_channels,
            out_channels,
            resize="up" if resize == "up" else "none",
            norm=config.norm,
            activation=config.activation,
        )
        self.conv2 = ConvNormAct(
            out_channels,
            out_channels,
            resize="down" if resize == "down" else "none",
            norm=config.norm,
            activation=None,
        )

    def forward(self, x: Float[Tensor, "n i h w"]) -> Float[Tensor, "n o h2 w2"]:
        """Return the branch, not yet weighted."""
        return self.conv2(self.conv1(self.activation(self.norm(x))))


class FaceAttentionUnit(nn.Module):
    """Add to the input a residual branch weighted by its own attention map.

    `x + attention(f(x)) * f(x)`; where size or width change, a scale conv takes the place of `x`.

    Args:
        in_channels: Channels read.
        out_channels: Channels made.
        size: Side of the maps it makes, in px; sets the levels of the hourglass.
        resize: Change of size.
        attention: Whether this unit has attention (the kind is the configuration's).
        config: The network's configuration.

    Source:
        Equations 2 to 5, Figures 3 and 4.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        size: int,
        resize: Resize = "none",
        attention: bool = True,
        config: NetworkConfig,
    ) -> None:
        super().__init__()
        same = resize == "none" and in_channels == out_channels
        self.shortcut = nn.Identity() if same else ScaleConv(in_channels, out_channels, resize=resize)
        self.branch = FeatureBranch(in_channels, out_channels, resize=resize, config=config)
        self.attention = _build_attention(config, out_channels, size) if attention else None

    def forward(self, x: Float[Tensor, "n i h w"]) -> Float[Tensor, "n o h2 w2"]:
        """Return the unit's output."""
        return self.forward_with_map(x)[0]

    def forward_with_map(
        self, x: Float[Tensor, "n i h w"]
    ) -> tuple[Float[Tensor, "n o h2 w2"], Float[Tensor, "n m h2 w2"] | None]:
        """Return the unit's output and its attention map, None where it has no attention."""
        branch = self.branch(x)
        if self.attention is None:
            return self.shortcut(x) + branch, None
        attention_map = self.attention(branch)
        return self.shortcut(x) + attention_map * branch, attention_map


class Refinement(nn.Module):
    """Blend an unfolded picture: two convs at its full size, whose output is added to it.

    They read the picture and the network's last features, unfolded like it. At first what they add is 0.

    Args:
        in_channels: Channels of the last features.
        config: The network's configuration; `refine_channels` is how many the convs have.
    """

    def __init__(self, in_channels: int, config: NetworkConfig) -> None:
        super().__init__()
        channels, squares = config.refine_channels, config.pixel_unshuffle**2
        self.features = ScaleConv(in_channels, channels * squares)
        self.unfold = nn.PixelShuffle(config.pixel_unshuffle)
        self.conv1 = ScaleConv(channels + 3, channels)
        self.activation = build_activation(config.activation, channels)
        self.conv2 = ScaleConv(channels, 3)

    def forward(
        self, picture: Float[Tensor, "n 3 h w"], features: Float[Tensor, "n c h2 w2"]
    ) -> Float[Tensor, "n 3 h w"]:
        """Return the refined picture."""
        read = torch.cat([picture, self.unfold(self.features(features))], dim=1)
        return picture + self.conv2(self.activation(self.conv1(read)))


class SPARNet(nn.Module):
    """Turn an enlarged low-resolution face into a detailed one of the same size.

    Units that halve the size, units at the smallest size, units that double it again.

    Args:
        config: The architecture.

    Source:
        Figure 2; SPARNetHD is the same plan, wider and with instance norm (section III-C).
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.checkpointing = False
        """Whether training keeps only what lies between units and computes the rest again."""
        widths = config.channels_at
        size = config.reads_px // config.input_fold
        self.fold = nn.PixelUnshuffle(config.input_fold)
        self.stem = ScaleConv(3 * config.input_fold**2, widths(size))
        self.encoder = nn.ModuleList()
        self.body = nn.ModuleList()
        self.decoder = nn.ModuleList()
        for index in range(config.units):
            stage, resize, made = self._stage(index, size)
            stage.append(
                FaceAttentionUnit(
                    widths(size),
                    widths(made),
                    size=made,
                    resize=resize,
                    attention=self._has_attention(index),
                    config=config,
                )
            )
            size = made
        self.skips = nn.ModuleList(_skips(config) if config.encoder_skips else [])
        self.output = ScaleConv(widths(size), 3 * config.pixel_unshuffle**2)
        self.unfold = nn.PixelShuffle(config.pixel_unshuffle)
        self.refinement = Refinement(widths(size), config) if config.refine_channels else None
        self.apply(init_weights)
        from_0 = [skip for skip in self.skips if isinstance(skip, nn.Conv2d)]
        if config.global_residual == "input":
            from_0.append(self.output.conv)
        if self.refinement is not None:
            from_0.append(self.refinement.conv2.conv)
        for conv in from_0:
            nn.init.zeros_(conv.weight)
        if config.spectral_norm:
            apply_spectral_norm(self, leave=from_0)

    def _stage(self, index: int, size: int) -> tuple[nn.ModuleList, Resize, int]:
        if index < self.config.encoder_units:
            return self.encoder, "down", size // 2
        if index < self.config.encoder_units + self.config.body_units:
            return self.body, "none", size
        return self.decoder, "up", size * 2

    def _has_attention(self, index: int) -> bool:
        last = self.config.attention_units
        return last is None or index >= self.config.units - last

    @property
    def units(self) -> list[FaceAttentionUnit]:
        """The units in order of depth."""
        return [unit for stage in (self.encoder, self.body, self.decoder) for unit in stage]  # type: ignore[misc]

    def forward(self, x: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 3 h2 w2"]:
        """Return the super-resolved faces.

        Args:
            x: Enlarged low-resolution faces, RGB in [-1, 1], `config.reads_px` a side.

        Returns:
            Faces of `config.image_size`, RGB around [-1, 1], not clamped.
        """
        if not (self.checkpointing and self.training):
            return self.forward_with_maps(x)[0]
        passed = [self.stem(self.fold(x))]
        for index, unit in enumerate(self.units):
            passed.append(self._joined(_checkpointed(unit, passed[-1]), passed, index))
        return self._finished(passed[-1], x)

    def attention_maps(self, x: Float[Tensor, "n 3 h w"]) -> list[Float[Tensor, "..."]]:
        """Return the attention map of each unit that has one, in order of depth.

        Each is N x M x H x W, in (0, 1), at the size of its unit's output; M is 1 for spatial
        attention and the unit's channels otherwise.
        """
        return self.forward_with_maps(x)[1]

    def forward_with_maps(
        self, x: Float[Tensor, "n 3 h w"]
    ) -> tuple[Float[Tensor, "n 3 h2 w2"], list[Float[Tensor, "..."]]]:
        """Return the super-resolved faces and the attention maps of one pass."""
        maps = []
        passed = [self.stem(self.fold(x))]
        for index, unit in enumerate(self.units):
            features, attention_map = unit.forward_with_map(passed[-1])
            passed.append(self._joined(features, passed, index))
            if attention_map is not None:
                maps.append(attention_map)
        return self._finished(passed[-1], x), maps

    def _joined(
        self, features: Float[Tensor, "n c h2 w2"], passed: list[Float[Tensor, "..."]], index: int
    ) -> Float[Tensor, "n c h2 w2"]:
        """Add the encoder's features of the same size to those of unit `index`, if it is a decoder's.

        Args:
            features: What the unit made.
            passed: What the stem and each unit before it made, already joined.
            index: Its place among all units.
        """
        stage = index - len(self.encoder) - len(self.body)
        if stage < 0 or not self.skips:
            return features
        return features + self.skips[stage](passed[len(self.encoder) - 1 - stage])

    def _finished(
        self, features: Float[Tensor, "n c h2 w2"], x: Float[Tensor, "n 3 h w"]
    ) -> Float[Tensor, "n 3 h3 w3"]:
        """Turn the last features into a picture."""
        made = self.unfold(self.output(features))
        match self.config.global_residual:
            case "none":
                pass
            case "input":
                made = made + x
            case "detail":
                side = self.config.pixel_unshuffle
                means = nn.functional.avg_pool2d(x, side)
                made = made + x - nn.functional.interpolate(means, scale_factor=float(side), mode="nearest")
        return made if self.refinement is None else self.refinement(made, features)


def _skips(config: NetworkConfig) -> list[nn.Module]:
    """Make a 1x1 conv for each unit of the decoder."""
    sizes = [config.body_size * 2 ** (stage + 1) for stage in range(config.decoder_units)]
    return [nn.Conv2d(config.channels_at(size), config.channels_at(size), kernel_size=1) for size in sizes]


def _checkpointed(unit: nn.Module, features: Tensor) -> Tensor:
    """Compute a unit, and in the backward pass again, with what is inside it forgotten in between."""
    if any(isinstance(module, nn.BatchNorm2d) for module in unit.modules()):
        contexts = functools.partial(_first_and_second_pass, unit)
        return checkpoint(unit, features, use_reentrant=False, context_fn=contexts)
    return checkpoint(unit, features, use_reentrant=False)


def _first_and_second_pass(
    unit: nn.Module,
) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    return nullcontext(), _still_statistics(unit)


@contextmanager
def _still_statistics(unit: nn.Module) -> Iterator[None]:
    """Leave the running statistics of batch norms as they are: they have seen this batch already."""
    norms = [module for module in unit.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    seen = [norm.num_batches_tracked for norm in norms]
    counts = [None if count is None else count.clone() for count in seen]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum, count, before in zip(norms, momenta, seen, counts, strict=True):
            norm.momentum = momentum
            if count is not None and before is not None:
                count.copy_(before)


def _build_attention(config: NetworkConfig, channels: int, size: int) -> nn.Module | None:
    match config.attention:
        case "none":
            return None
        case "rcan":
            return RcanAttention(channels)
        case "cbam":
            return CbamAttention(channels)
        case "spatial" | "channelwise" as kind:
            levels = config.hourglass_levels(size)
            if levels == 0:
                return None
            return SpatialAttention(
                channels,
                maps=1 if kind == "spatial" else channels,
                hidden=config.attention_channels,
                levels=levels,
                norm=config.norm,
                activation=config.attention_activation or config.activation,
            )


def init_weights(module: nn.Module) -> None:
    """Draw the weights of a conv from N(0, 0.02) and set its bias to 0.

    Source:
        The released code. Norms start as torch makes them: scale 1, shift 0.
    """
    if isinstance(module, nn.Conv2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def apply_spectral_norm(network: nn.Module, *, leave: Sequence[nn.Module] = ()) -> None:
    """Divide the weight of every conv in `network` by its spectral norm from now on.

    Args:
        network: The network.
        leave: Convs that stay as they are: those that begin at 0 have no norm to be divided by.
    """
    for module in list(network.modules()):
        if isinstance(module, nn.Conv2d) and all(module is not one for one in leave):
            parametrizations.spectral_norm(module)


@torch.no_grad()
def settle_spectral_norm(network: nn.Module) -> dict[str, float]:
    """Take the vectors of every spectral norm from its conv's weight as it is now.

    They follow the weight by one step of power iteration each time they are used in training; after the
    weight was replaced, they would be those of another for dozens of steps.

    Returns:
        The spectral norm of each conv's own weight, by the conv's name.
    """
    norms: dict[str, float] = {}
    for name, module in network.named_modules():
        if not parametrize.is_parametrized(module, "weight"):
            continue
        parametrization: Any = module.parametrizations
        held: Any = parametrization.weight
        matrix = held.original.double().flatten(1)
        square, vectors = torch.linalg.eigh(matrix @ matrix.T)  # rising; far fewer rows than columns
        norms[name] = float(square[-1].clamp(min=0).sqrt())
        held[0]._u.copy_(vectors[:, -1])
        held[0]._v.copy_(functional.normalize(matrix.T @ vectors[:, -1], dim=0, eps=held[0].eps))
    return norms


def without_spectral_norm(network: NetworkT) -> NetworkT:
    """Return a copy of plain convs whose weights are the normalised ones; `network` stays as it is."""
    config: Any = network.config
    plain = type(network)(config.model_copy(update={"spectral_norm": False}))
    was_training = network.training
    network.eval()  # reading a normalised weight while training would move its vectors
    with torch.no_grad():
        for name, tensor in plain.state_dict().items():
            path, _, leaf = name.rpartition(".")
            tensor.copy_(getattr(network.get_submodule(path), leaf))
    network.train(was_training)
    return plain.train(was_training)
