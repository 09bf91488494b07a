"""What a network costs, counted without running it."""

import torch
from torch.utils.flop_counter import FlopCounterMode

from sparnet.network.build import build_generator
from sparnet.network.config import NetworkConfig


def count_gflop(config: NetworkConfig) -> float:
    """Count the work of one forward pass over one face, in 10^9 operations (2 x MAC)."""
    with torch.device("meta"):
        network = build_generator(config.model_copy(update={"spectral_norm": False})).eval()
        side = config.reads_px
        with FlopCounterMode(display=False) as counter:
            network(torch.zeros(1, 3, side, side))
    return float(counter.get_total_flops()) / 1e9
