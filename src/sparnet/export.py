"""From a network to a model file: one ONNX that both halves read, its weights in fp16 or 8 bits.

Pictures go in and come out as uint8 N x H x W x RGB, any batch. The initialisers carry the names of
the network's parameters. The attention maps are values of the graph named `attention_map.NN`, not
outputs: an engine that wants them asks for them by name.
"""

import logging
import warnings
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import onnx
import torch
from jaxtyping import Float, Int8, UInt8
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from sparnet.files import write_whole
from sparnet.network.build import Generator
from sparnet.network.bytes import to_bytes, to_signed
from sparnet.network.fast import fast_form
from sparnet.network.generator import without_spectral_norm
from sparnet.weights.info import METADATA_KEY, SCALE_SUFFIX, ModelInfo, dump_info
from sparnet.weights.seal import seal

WeightStorage: TypeAlias = Literal["fp32", "fp16", "int8"]
"""How convs' weights are kept in a file; they are computed with as floats. int8 has one scale a channel."""

OPSET = 18
INPUT, OUTPUT, MAP = "lr_up", "sr", "attention_map"
_WIDE = ".float32"


class _ByteNetwork(nn.Module):
    """A network between 8-bit pictures, its attention maps beside the result."""

    def __init__(self, network: Generator) -> None:
        super().__init__()
        self.network = network

    def forward(self, lr_up: UInt8[Tensor, "n h w 3"]) -> tuple[Tensor, ...]:
        """Return faces clipped and truncated to 8 bits, and the maps."""
        sr, maps = self.network.forward_with_maps(to_signed(lr_up.permute(0, 3, 1, 2)))
        return (to_bytes(sr).permute(0, 2, 3, 1), *maps)


def describe(network: Generator, **facts: object) -> ModelInfo:
    """Describe a network for its model file; `facts` are the fields it cannot know."""
    plain = network.config.model_copy(update={"spectral_norm": False})
    return ModelInfo.model_validate(
        {
            "image_size": plain.image_size,
            "input_size": plain.reads_px,
            "network": plain.model_dump(mode="json"),
            "parameters": sum(parameter.numel() for parameter in network.parameters()),
            **facts,
        }
    )


def export_onnx(network: Generator, path: Path, info: ModelInfo, *, weights: WeightStorage = "fp16") -> None:
    """Write a network as a model file, by rename.

    Args:
        network: The network; it is not changed. Spectral norm is folded.
        path: The file.
        info: What the file says of itself.
        weights: How the convs' weights are stored.
    """
    plain = without_spectral_norm(network).float().eval()
    model = trace(fast_form(plain))
    if weights != "fp32":
        _narrow(model, weights)
    write_model(model, path, info)


def rewrite_info(path: Path, info: ModelInfo) -> None:
    """Write a model file again with another description of itself.

    Args:
        path: A model file.
        info: What it says of itself from now on.
    """
    model = onnx.load_model_from_string(path.read_bytes())
    del model.metadata_props[:]
    write_model(model, path, info)


def write_model(model: onnx.ModelProto, path: Path, info: ModelInfo) -> None:
    """Check a graph, describe it, and write it under its hash."""
    onnx.checker.check_model(model)
    entry = model.metadata_props.add()
    entry.key, entry.value = METADATA_KEY, dump_info(info)
    write_whole(path, seal(model.SerializeToString(deterministic=True)))


def trace(network: Generator) -> onnx.ModelProto:
    """Return a network as an ONNX graph between 8-bit pictures, its layers as they are, weights whole."""
    side = network.config.reads_px
    example = torch.zeros(2, side, side, 3, dtype=torch.uint8)
    # What the exporter says is about its own deprecated calls and packages that are not needed.
    logging.getLogger("torch.onnx._internal.exporter._registration").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            _ByteNetwork(network).eval(),
            (example,),
            dynamo=True,
            optimize=False,  # it would fold the norms into the convs, which training needs apart
            verbose=False,
            opset_version=OPSET,
            input_names=[INPUT],
            dynamic_shapes={"lr_up": {0: torch.export.Dim("n")}},
        )
    if program is None:
        raise RuntimeError("torch.onnx.export returned nothing")
    model = program.model_proto
    _tidy(model)
    return model


def _tidy(model: onnx.ModelProto) -> None:
    """Name the outputs, keep the maps as inner values, drop what the exporter notes for itself."""
    graph = model.graph
    names = {graph.output[0].name: OUTPUT}
    names |= {value.name: f"{MAP}.{index:02d}" for index, value in enumerate(graph.output[1:])}
    names |= {
        tensor.name: tensor.name.removeprefix("network.")
        for tensor in graph.initializer
        if tensor.name.startswith("network.")
    }
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
        node.doc_string = ""
        del node.metadata_props[:]
    for tensor in graph.initializer:
        tensor.name = names.get(tensor.name, tensor.name)
        del tensor.metadata_props[:]
    maps = list(graph.output[1:])
    del graph.output[1:]
    for value in maps:
        value.name = names[value.name]
    del graph.value_info[:]
    graph.value_info.extend(maps)
    graph.output[0].name = OUTPUT
    for value in [*graph.input, *graph.output, *graph.value_info]:
        del value.metadata_props[:]
    del graph.metadata_props[:]
    del model.metadata_props[:]
    used = {name for node in graph.node for name in node.input}
    unused = [tensor for tensor in graph.initializer if tensor.name not in used]
    for tensor in unused:
        graph.initializer.remove(tensor)
    graph.name = "sparnet"
    model.producer_name, model.producer_version = "sparnet", ""


def _narrow(model: onnx.ModelProto, weights: WeightStorage) -> None:
    """Store convs' weights in fp16 or int8, made float32 where they are used; small tensors stay."""
    widening, scales, wide = [], [], set()
    for tensor in model.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or len(tensor.dims) < 2:
            continue
        name, values = tensor.name, numpy_helper.to_array(tensor)
        if weights == "fp16":
            tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), name))
            node = helper.make_node("Cast", [name], [name + _WIDE], name=f"cast.{name}", to=TensorProto.FLOAT)
        else:
            whole, scale = _to_int8(values)
            tensor.CopyFrom(numpy_helper.from_array(whole, name))
            scales.append(numpy_helper.from_array(scale, name + SCALE_SUFFIX))
            # By way of int32, or OpenVINO 2026.4 takes it for a quantised network and crashes in bfloat16.
            widening += [
                helper.make_node(
                    "Cast", [name], [f"{name}.int32"], name=f"widen.{name}", to=TensorProto.INT32
                ),
                helper.make_node(
                    "Cast", [f"{name}.int32"], [f"{name}.whole"], name=f"cast.{name}", to=TensorProto.FLOAT
                ),
            ]
            node = helper.make_node(
                "Mul", [f"{name}.whole", name + SCALE_SUFFIX], [name + _WIDE], name=f"scale.{name}"
            )
        widening.append(node)
        wide.add(name)
    model.graph.initializer.extend(scales)
    for node in model.graph.node:
        node.input[:] = [name + _WIDE if name in wide else name for name in node.input]
    nodes = [*widening, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _to_int8(
    values: Float[np.ndarray, "o *rest"],
) -> tuple[Int8[np.ndarray, "o *rest"], Float[np.ndarray, "o *ones"]]:
    """Round weights to whole multiples of a scale, one for each channel that is made."""
    largest = np.abs(values).reshape(len(values), -1).max(axis=1)
    scale = np.where(largest == 0, 1, largest / 127).astype(np.float32)
    scale = scale.reshape(-1, *[1] * (values.ndim - 1))
    whole = np.rint(values / scale)
    return whole.clip(-127, 127).astype(np.int8), scale
