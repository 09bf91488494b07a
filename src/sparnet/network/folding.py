"""A network as the start of another: one of folded pixels, or one that reads faces of another size."""

from typing import Any

import torch
from torch import nn

from sparnet.network.config import NetworkConfig
from sparnet.network.generator import SPARNet


def folds_into(config: NetworkConfig, larger: NetworkConfig) -> bool:
    """Say whether a network of `larger` is one of `config` with folded pixels."""
    return larger.input_fold > 1 and without_folding(larger) == config


def without_folding(config: NetworkConfig) -> NetworkConfig:
    """Return the same units for faces whose pixels are the squares that a network of `config` folds."""
    return config.model_copy(
        update={"image_size": config.inner_size, "pixel_unshuffle": 1, "global_residual": "none"}
    )


def fold_weights(source: SPARNet, config: NetworkConfig) -> SPARNet:
    """Return a network of folded pixels that begins where `source` stands.

    It sees the mean of each square of `config.pixel_unshuffle` pixels and does what `source` does
    with it, in the same units; what it makes fills the square, and the detail of the input is added
    if `config.global_residual` says so. Where the whole input is added, its output is 0 at first, and
    only its features are those of `source`.

    Args:
        source: A network for faces of `config.inner_size`.
        config: The same architecture for larger faces.

    Raises:
        ValueError: If the two do not belong together.
    """
    if not folds_into(source.config, config):
        raise ValueError("the network is not the folded one's own, unfolded")
    squares = config.pixel_unshuffle**2
    tensors = source.state_dict()
    tensors["stem.conv.weight"] = tensors["stem.conv.weight"].repeat_interleave(squares, dim=1) / squares
    for name in ("output.conv.weight", "output.conv.bias"):
        made = tensors[name].repeat_interleave(squares, dim=0)
        tensors[name] = torch.zeros_like(made) if config.global_residual == "input" else made
    folded = SPARNet(config)
    folded.load_state_dict(tensors)
    return folded.train(source.training)


def folds_outer_units(config: NetworkConfig, folded: NetworkConfig) -> bool:
    """Say whether a network of `folded` has the inner units of one of `config`.

    That is the same network with its pixels folded in place of its outermost units, and perhaps with
    a longer body or a smaller input.
    """
    unfolded = {
        "pixel_unshuffle": 1,
        "base_channels": folded.base_channels // folded.pixel_unshuffle,
        "input_size": None,
        "body_units": config.body_units,
    }
    return (
        config.architecture == "sparnet"
        and config.input_size is None
        and config.attention_units is None
        and folded.pixel_unshuffle > 1
        and folded.base_channels % folded.pixel_unshuffle == 0
        and folded.body_units >= config.body_units
        and folded.model_copy(update=unfolded) == config
    )


def keep_inner_units(source: SPARNet, config: NetworkConfig) -> SPARNet:
    """Return a network of folded pixels whose inner units begin where those of `source` stand.

    Stem and output, which meet other channels than those of `source`, begin anew; units that the
    body of `source` does not have begin as the identity.

    Args:
        source: A network for faces of the same size, whose outermost units are left out.
        config: The same architecture with folded pixels; `folds_outer_units` says whether it is.

    Raises:
        ValueError: If the two do not belong together.
    """
    if not folds_outer_units(source.config, config):
        raise ValueError("the network has other inner units than the folded one")
    folded = SPARNet(config)
    _take_inner_units(folded, source)
    for unit in folded.body[len(source.body) :]:
        conv: Any = unit.get_submodule("branch.conv2")
        last: nn.Module = conv.scale_conv if config.norm == "none" else conv.norm
        for parameter in last.parameters():
            nn.init.zeros_(parameter)
    return folded.train(source.training)


def add_outer_units(source: SPARNet, config: NetworkConfig) -> SPARNet:
    """Return a network whose inner units begin where those of `source`, a network of folded pixels, stand.

    The way back from `keep_inner_units`: the outer units that folding had replaced begin anew, as stem
    and output do, and units of the body that `config` does not have are left out.

    Args:
        source: A network of folded pixels.
        config: The same architecture, not folded; `folds_outer_units(config, source.config)` says whether
            it is.

    Raises:
        ValueError: If the two do not belong together.
    """
    if not folds_outer_units(config, source.config):
        raise ValueError("the network has other inner units than the folded one")
    made = SPARNet(config)
    _take_inner_units(made, source)
    return made.train(source.training)


def _take_inner_units(network: SPARNet, source: SPARNet) -> None:
    """Copy the weights of the units that both have: of the same sizes, and of the body the first ones."""
    for mine, theirs in (
        (reversed(network.encoder), reversed(source.encoder)),
        (network.body, source.body),
        (network.decoder, source.decoder),
    ):
        for unit, origin in zip(mine, theirs, strict=False):
            unit.load_state_dict(origin.state_dict())


def reads_another_size(config: NetworkConfig, other: NetworkConfig) -> bool:
    """Say whether two networks differ only in the size of the faces that they read."""
    return (
        config.architecture == "sparnet"
        and config.attention_units is None
        and config.input_size != other.input_size
        and config.model_copy(update={"input_size": other.input_size}) == other
    )


def keep_inside(source: SPARNet, config: NetworkConfig) -> SPARNet:
    """Return a network that reads faces of another size and is the same behind its first units.

    Body, decoder and output begin where those of `source` stand, and so do the encoder's units of
    sizes that both have; the stem and the encoder's other units begin anew.

    Args:
        source: A network.
        config: The same architecture but for `input_size`; `reads_another_size` says whether it is.

    Raises:
        ValueError: If the two differ in more.
    """
    if not reads_another_size(source.config, config):
        raise ValueError("the networks differ in more than the size of the faces that they read")
    made = SPARNet(config)
    for mine, theirs in (
        *zip(reversed(made.encoder), reversed(source.encoder), strict=False),
        (made.body, source.body),
        (made.decoder, source.decoder),
        (made.output, source.output),
    ):
        mine.load_state_dict(theirs.state_dict())
    return made.train(source.training)


def even_squares(network: SPARNet) -> None:
    """Change the output conv so that, where its features are the same all around, so are the pixels it makes.

    Each of its filters makes one pixel of a square; what all filters of a square and colour answer to a
    constant becomes their mean, by the least change of their weights. Filters that answer differently
    draw a grid over the picture, with the square's side. A network that folds nothing stays as it is.

    Source:
        The condition is that of Sugawara et al., "Super-Resolution Using Convolutional Neural Networks
        Without Any Checkerboard Artifacts", 2018, met by projection instead of a smoothing layer.
    """
    weight, bias = network.output.conv.weight, network.output.conv.bias
    colours, squares = 3, network.config.pixel_unshuffle**2
    with torch.no_grad():
        answers = weight.sum(dim=(2, 3)).view(colours, squares, -1)
        excess = (answers - answers.mean(dim=1, keepdim=True)).view(len(weight), -1)
        weight -= (excess / weight[0, 0].numel())[:, :, None, None]
        if bias is not None:
            bias.copy_(bias.view(colours, squares).mean(dim=1, keepdim=True).expand(-1, squares).reshape(-1))
