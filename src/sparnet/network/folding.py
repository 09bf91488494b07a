"""A network for small faces as the start of one for large faces that are folded into channels."""

import torch

from sparnet.network.config import NetworkConfig
from sparnet.network.generator import SPARNet


def folds_into(config: NetworkConfig, larger: NetworkConfig) -> bool:
    """Say whether a network of `larger` is one of `config` with folded pixels."""
    unfolded = {
        "image_size": larger.inner_size,
        "pixel_unshuffle": 1,
        "global_residual": "none",
    }
    return larger.pixel_unshuffle > 1 and larger.model_copy(update=unfolded) == config


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
