"""From a network to a model file and back."""

import copy
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, numpy_helper

from sparnet.engine.openvino import OpenvinoEngine
from sparnet.export import export_onnx
from sparnet.network.bytes import to_bytes, to_signed
from sparnet.network.config import NetworkConfig
from sparnet.network.engine import TorchEngine
from sparnet.network.files import load_network, read_model_file
from sparnet.network.generator import SPARNet, without_spectral_norm
from sparnet.weights.info import METADATA_KEY, parse_info
from sparnet.weights.seal import check_seal
from tests.small_models import write_model


@pytest.fixture(scope="module")
def proto(small_model: Path) -> onnx.ModelProto:
    return onnx.load_model_from_string(small_model.read_bytes())


@pytest.fixture(scope="module")
def folded(small_network: SPARNet) -> SPARNet:
    return without_spectral_norm(small_network)


def rounded(network: SPARNet) -> SPARNet:
    """A network with its convs' weights at the precision of the file."""
    result = copy.deepcopy(network)
    with torch.no_grad():
        for parameter in result.parameters():
            if parameter.ndim > 1:
                parameter.copy_(parameter.half().float())
    return result


def faces(n: int, side: int = 128) -> np.ndarray:
    return np.random.default_rng(n).integers(0, 256, (n, side, side, 3), dtype=np.uint8)


def grey_levels_apart(a: np.ndarray, b: np.ndarray) -> int:
    return int(np.abs(a.astype(int) - b).max())


def test_initialisers_carry_the_names_of_the_parameters(proto, folded):
    stored = {tensor.name: tuple(tensor.dims) for tensor in proto.graph.initializer}
    learnt = {name: tuple(parameter.shape) for name, parameter in folded.named_parameters()}
    assert {name: stored.get(name) for name in learnt} == learnt


def test_weights_of_convs_are_half_precision_and_the_rest_is_whole(proto, folded):
    kinds = {tensor.name: tensor.data_type for tensor in proto.graph.initializer}
    for name, parameter in folded.named_parameters():
        assert kinds[name] == (TensorProto.FLOAT16 if parameter.ndim > 1 else TensorProto.FLOAT), name


def test_spectral_norm_is_folded(proto, folded):
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
    assert not any("parametrizations" in name for name in stored)
    weight = folded.get_parameter("stem.conv.weight").detach().half().numpy()
    np.testing.assert_array_equal(stored["stem.conv.weight"], weight)


def test_exporting_leaves_the_network_as_it_was(small_model, small_network):
    assert any("parametrizations" in name for name, _ in small_network.named_parameters())


def test_pictures_go_in_and_come_out_as_bytes_in_any_number(proto):
    (lr_up,), (sr,) = proto.graph.input, proto.graph.output
    assert (lr_up.name, sr.name) == ("lr_up", "sr")
    for value in (lr_up, sr):
        kind = value.type.tensor_type
        assert kind.elem_type == TensorProto.UINT8
        assert [size.dim_value for size in kind.shape.dim] == [0, 128, 128, 3]


def test_the_file_says_what_it_is(small_model, small_network):
    network, info = read_model_file(small_model)
    assert (info.name, info.task, info.upscale_factor, info.license) == ("small", "upscale", 8, "none")
    assert (info.image_size, info.input_size) == (128, 128)
    assert network.config == small_network.config.model_copy(update={"spectral_norm": False})
    assert info.parameters == sum(parameter.numel() for parameter in network.parameters())


def test_the_file_tells_nothing_of_the_machine_it_was_made_on(small_model):
    content = small_model.read_bytes()
    assert str(Path.cwd()).encode() not in content
    assert b"site-packages" not in content


def test_a_file_comes_back_as_the_network_at_its_precision(small_model, folded):
    x = to_signed(torch.from_numpy(faces(2)).permute(0, 3, 1, 2))
    with torch.no_grad():
        assert torch.equal(load_network(small_model)(x), rounded(folded)(x))


def test_a_network_that_came_back_can_be_trained(small_model):
    network = load_network(small_model).train()
    network(torch.zeros(2, 3, 128, 128)).mean().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_weights_of_8_bits_come_back_as_rounded(tmp_path, small_model, folded):
    network, info = read_model_file(small_model)
    path = tmp_path / "m.onnx"
    export_onnx(network, path, info, weights="int8")
    check_seal(path)
    again = load_network(path)
    for name, parameter in network.named_parameters():
        error = (again.get_parameter(name) - parameter).abs().flatten(1) if parameter.ndim > 1 else None
        if error is None:
            assert torch.equal(again.get_parameter(name), parameter), name
        else:  # half a step of each channel's scale
            assert (error.amax(1) <= 0.501 / 127 * parameter.abs().flatten(1).amax(1)).all(), name
    batch = faces(2)
    exact = TorchEngine(path, precision="fp32").run(batch)
    assert grey_levels_apart(OpenvinoEngine(path, precision="fp32", threads=1).run(batch), exact) <= 1


def test_a_channel_of_zeros_is_kept_in_8_bits(tmp_path, small_model):
    network, info = read_model_file(small_model)
    with torch.no_grad():
        network.get_parameter("stem.conv.weight")[0].zero_()
    export_onnx(network, tmp_path / "m.onnx", info, weights="int8")
    weight = load_network(tmp_path / "m.onnx").get_parameter("stem.conv.weight")
    assert (weight[0] == 0).all()
    assert (weight[1] != 0).any()


@pytest.mark.parametrize("n", [1, 3])
def test_the_file_makes_what_the_network_makes(small_model, folded, n):
    batch = faces(n)
    with torch.no_grad():
        sr = to_bytes(folded(to_signed(torch.from_numpy(batch).permute(0, 3, 1, 2))))
    made = OpenvinoEngine(small_model, threads=1).run(batch)
    assert made.std() > 10  # it is a picture, not an even grey
    # fp16 weights and another order of sums move a value by less than one grey level.
    assert grey_levels_apart(made, sr.permute(0, 2, 3, 1).numpy()) <= 1


def test_attention_maps_of_the_file_are_the_network_s(small_model):
    face = faces(1)
    with torch.no_grad():
        wanted = load_network(small_model).attention_maps(
            to_signed(torch.from_numpy(face).permute(0, 3, 1, 2))
        )
    made = OpenvinoEngine(small_model, threads=1).attention_maps(face)
    assert [one.shape for one in made] == [tuple(one.shape[1:]) for one in wanted]
    for a, b in zip(made, wanted, strict=True):
        np.testing.assert_allclose(a, b[0].numpy(), rtol=0, atol=1e-3)


def test_exporting_twice_gives_the_same_bytes(small_model, small_network, tmp_path):
    again = tmp_path / "new folder" / "again.onnx"
    export_onnx(small_network, again, read_model_file(small_model)[1])
    assert again.read_bytes() == small_model.read_bytes()
    assert [path.name for path in again.parent.iterdir()] == ["again.onnx"]
    check_seal(again)


@pytest.mark.parametrize(
    "changes",
    [
        {"input_size": 16, "attention": "channelwise", "norm": "instance"},
        {"input_size": 16, "pixel_unshuffle": 2},
        {"attention": "cbam", "norm": "none", "activation": "prelu"},
        {"attention": "none"},
        {
            "body_size": 8,
            "attention_smallest_size": 4,
            "pixel_unshuffle": 2,
            "global_residual": "detail",
            "encoder_skips": True,
            "refine_channels": 2,
        },
    ],
    ids=["direct", "direct-folded", "cbam", "none", "folded"],
)
def test_other_architectures_go_to_a_file_and_back(tmp_path, changes):
    config = NetworkConfig(
        image_size=32,
        body_size=16,
        body_units=1,
        base_channels=4,
        attention_channels=4,
        attention_smallest_size=8,
    )
    torch.manual_seed(0)
    network = SPARNet(NetworkConfig.model_validate(config.model_dump() | changes)).eval()
    for module in network.modules():  # the initial weights alone would make an even grey
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight)
    path = tmp_path / "model.onnx"
    info = write_model(network, path, name="other")
    assert load_network(path).config == network.config
    batch = faces(2, network.config.reads_px)
    made = OpenvinoEngine(path, threads=1).run(batch)
    assert made.std() > 10
    assert grey_levels_apart(made, TorchEngine(path).run(batch)) <= 1
    entries = onnx.load_model_from_string(path.read_bytes()).metadata_props
    text = next(entry.value for entry in entries if entry.key == METADATA_KEY)
    assert parse_info(text, source=path) == info
