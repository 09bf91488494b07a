"""From an architecture to a network: SPARNet, or the one it is compared with."""

from typing import TypeAlias

from sparnet.network.config import NetworkConfig
from sparnet.network.generator import SPARNet
from sparnet.network.wavelet import WaveletSRNet

Generator: TypeAlias = SPARNet | WaveletSRNet
"""What turns a low-resolution face into a large one."""


def build_generator(config: NetworkConfig) -> Generator:
    """Make the network of an architecture, with random weights."""
    return WaveletSRNet(config) if config.architecture == "wavelet" else SPARNet(config)
