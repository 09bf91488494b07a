"""Model files as torch networks: the starting point of fine-tuning."""

from pathlib import Path

import numpy as np
import onnx
import torch
from google.protobuf.message import DecodeError
from onnx import numpy_helper
from torch import Tensor

from sparnet.config import parse_config
from sparnet.errors import RecipeError, WeightsError
from sparnet.network.build import Generator, build_generator
from sparnet.network.config import NetworkConfig
from sparnet.network.presets import preset
from sparnet.weights.catalog import find_model
from sparnet.weights.info import METADATA_KEY, SCALE_SUFFIX, ModelInfo, parse_info


def build_network(name: str) -> Generator:
    """Make a network of a preset's architecture with random weights.

    Args:
        name: A preset, as in `sparnet.network.presets.PRESETS`.

    Returns:
        The network, taking and giving RGB in [-1, 1], N x 3 x H x W.

    Raises:
        RecipeError: If there is no such preset.
    """
    return build_generator(preset(name))


def load_network(name_or_path: str | Path) -> Generator:
    """Load a model as a torch network, in evaluation mode.

    Args:
        name_or_path: Name of a model of the catalog, or path of a model file.

    Returns:
        The network, taking and giving RGB in [-1, 1], N x 3 x H x W.

    Raises:
        WeightsError: If the file is missing, damaged or not one of sparnet's.
    """
    return read_model_file(find_model(name_or_path))[0]


def read_model_file(path: Path) -> tuple[Generator, ModelInfo]:
    """Read a model file as a network and its description.

    Raises:
        WeightsError: If the file cannot be read, is damaged or not one of sparnet's.
    """
    try:
        model = onnx.load_model_from_string(path.read_bytes())
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror})") from None
    except DecodeError:
        raise WeightsError(f"{path}: not an ONNX file, or a damaged one") from None
    texts = [entry.value for entry in model.metadata_props if entry.key == METADATA_KEY]
    if not texts:
        raise WeightsError(f"{path}: an ONNX file, but not one of sparnet's (its metadata is missing)")
    info = parse_info(texts[0], source=path)
    try:
        config = parse_config(NetworkConfig, info.network, source=str(path))
    except RecipeError as error:
        raise WeightsError(f"{error}") from None
    with torch.device("meta"):
        network = build_generator(config)
    network.load_state_dict(_read_tensors(model, network, path), assign=True)
    return network.eval(), info


def _read_tensors(model: onnx.ModelProto, network: Generator, path: Path) -> dict[str, Tensor]:
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    filled = {}
    for name, tensor in network.state_dict().items():
        if name.endswith("num_batches_tracked"):
            filled[name] = torch.zeros((), dtype=torch.long)
            continue
        if name not in stored:
            raise WeightsError(f"{path}: {name} is missing")
        try:
            values = np.array(numpy_helper.to_array(stored[name]), dtype=np.float32)
            if name + SCALE_SUFFIX in stored:
                values *= numpy_helper.to_array(stored[name + SCALE_SUFFIX])
        except (ValueError, TypeError, onnx.checker.ValidationError):
            raise WeightsError(f"{path}: {name} is damaged") from None
        if values.shape != tuple(tensor.shape):
            raise WeightsError(f"{path}: {name} is {values.shape}, the network has {tuple(tensor.shape)}")
        filled[name] = torch.from_numpy(values)
    return filled
