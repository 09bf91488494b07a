"""Networks of few layers and channels, and their model files."""

from pathlib import Path
from typing import Any

from sparnet.export import describe, export_onnx
from sparnet.network.build import Generator
from sparnet.network.config import NetworkConfig
from sparnet.weights.info import ModelInfo


def small_config(**changes: Any) -> NetworkConfig:
    """A network for faces of 128 px whose export takes a second or two."""
    sizes: dict[str, Any] = {
        "base_channels": 4,
        "max_channels": 8,
        "body_size": 64,
        "body_units": 1,
        "attention_channels": 4,
        "attention_smallest_size": 32,
    }
    return NetworkConfig(**sizes | changes)


def write_model(
    network: Generator,
    path: Path,
    *,
    name: str = "small",
    task: str = "upscale",
    upscale_factor: int | None = 8,
) -> ModelInfo:
    """Write a network's model file; returns what the file says of itself."""
    info = describe(network, name=name, task=task, upscale_factor=upscale_factor, license="none")
    export_onnx(network, path, info)
    return info
