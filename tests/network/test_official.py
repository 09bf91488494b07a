"""The released files' names and shapes, with random weights: none of the files is here."""

import pickle
from pathlib import Path

import pytest
import torch

from sparnet.errors import WeightsError
from sparnet.network.config import NetworkConfig
from sparnet.network.generator import SPARNet
from sparnet.network.official import load_official, to_official
from sparnet.network.presets import PRESETS

SMALL = NetworkConfig(base_channels=4, max_channels=8, body_units=2, attention_channels=4)
SMALL_HD = SMALL.model_copy(
    update={"image_size": 512, "body_size": 32, "norm": "instance", "attention_smallest_size": 16}
)


def random_network(config: NetworkConfig, seed: int = 0) -> SPARNet:
    """A network whose every tensor is random, running statistics too."""
    network = SPARNet(config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if tensor.is_floating_point():
                low = 0.5 if "running_var" in name else 0.0
                tensor.copy_(low + 0.2 * torch.randn(tensor.shape, generator=generator).abs())
    return network.eval()


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"attention": "channelwise"},
        {"attention": "channelwise", "body_units": 1},
        {"activation": "prelu"},
        {"activation": "prelu_shared"},
        {"activation": "prelu", "attention_activation": "leaky_relu"},
        {"attention": "none"},
        {"attention_units": 3},
        {"attention_units": 0, "attention": "none"},
        {"attention_smallest_size": 2},
        {"attention_smallest_size": 16},
    ],
    ids=str,
)
def test_a_released_layout_gives_the_network_it_came_from(changes):
    network = random_network(SMALL.model_copy(update=changes))
    loaded = load_official(to_official(network))
    x = torch.rand(1, 3, 128, 128, generator=torch.Generator().manual_seed(1)) * 2 - 1
    with torch.no_grad():
        assert torch.equal(loaded(x), network(x))
        mine, theirs = network.attention_maps(x), loaded.attention_maps(x)
    assert len(mine) == len(theirs)
    assert all(torch.equal(a, b) for a, b in zip(mine, theirs, strict=True))


@pytest.mark.parametrize(
    ("preset", "tensors"), [("sparnet", 1154), ("sparnet-light", 605), ("sparnet-3d", 1154)]
)
def test_the_released_architectures_are_found_with_their_number_of_tensors(preset, tensors):
    with torch.device("meta"):
        released = to_official(SPARNet(PRESETS[preset]))
    assert len(released) == tensors
    assert released["encoder.0.conv2d.weight"].shape == (32, 3, 3, 3)
    empty = {name: torch.zeros(tensor.shape, dtype=tensor.dtype) for name, tensor in released.items()}
    found = load_official(empty).config
    assert found.model_copy(update={"attention_activation": None}) == PRESETS[preset]


def spectral_layout(network: SPARNet) -> dict[str, torch.Tensor]:
    """The tensors as an old-style spectral norm stores them: weight_orig, weight_u, weight_v."""
    stored: dict[str, torch.Tensor] = {}
    for name, tensor in to_official(network).items():
        if name.endswith("conv2d.weight"):
            flat = tensor.reshape(len(tensor), -1)
            u = torch.nn.functional.normalize(flat.sum(1), dim=0)
            v = torch.nn.functional.normalize(flat.T @ u, dim=0)
            stored |= {f"{name}_orig": tensor, f"{name}_u": u, f"{name}_v": v}
        else:
            stored[name] = tensor
    return stored


def test_spectral_norm_is_folded_with_the_stored_vectors():
    network = random_network(SMALL_HD)
    stored = spectral_layout(network)
    loaded = load_official(stored)
    assert loaded.config.image_size == 512
    assert loaded.config.norm == "instance"
    weight = stored["res_layers.1.conv2.conv2d.weight_orig"]
    u = stored["res_layers.1.conv2.conv2d.weight_u"]
    v = stored["res_layers.1.conv2.conv2d.weight_v"]
    by_hand = weight / (u @ (weight.reshape(len(weight), -1) @ v))
    folded = loaded.get_parameter("body.1.branch.conv2.scale_conv.conv.weight")
    torch.testing.assert_close(folded, by_hand)


def test_the_hd_file_has_892_tensors_and_its_architecture_is_found():
    with torch.device("meta"):
        network = SPARNet(PRESETS["sparnet-hd"].model_copy(update={"spectral_norm": False}))
    stored = {name: torch.zeros(t.shape) for name, t in spectral_layout(_ones(network)).items()}
    assert len(stored) == 892
    found = load_official({name: _nonzero(name, t) for name, t in stored.items()}).config
    assert (
        found.model_copy(update={"attention_activation": None, "spectral_norm": True})
        == PRESETS["sparnet-hd"]
    )


def _ones(network: SPARNet) -> SPARNet:
    return network.to_empty(device="cpu").apply(_fill_with_ones)


def _fill_with_ones(module: torch.nn.Module) -> None:
    with torch.no_grad():
        for tensor in module.parameters(recurse=False):
            tensor.fill_(1)


def _nonzero(name: str, tensor: torch.Tensor) -> torch.Tensor:
    return torch.ones_like(tensor) if "weight_" in name else tensor


def test_a_module_prefix_is_accepted():
    tensors = to_official(random_network(SMALL))
    assert load_official({f"module.{key}": value for key, value in tensors.items()}).config.body_units == 2


def test_a_file_is_read_as_its_state_dict_is(tmp_path: Path):
    network = random_network(SMALL)
    path = tmp_path / "SPARNet-V16-S4-epoch20.pth"
    torch.save(to_official(network), path)
    loaded = load_official(path)
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), loaded.parameters(), strict=True))


def test_what_does_not_fit_is_named_in_one_line():
    tensors = to_official(random_network(SMALL))
    del tensors["res_layers.0.conv2.conv2d.weight"]
    tensors["gate.bias"] = torch.zeros(3)
    tensors["out_conv.conv2d.bias"] = torch.zeros(5)
    with pytest.raises(WeightsError) as refused:
        load_official(tensors)
    message = str(refused.value)
    assert "\n" not in message
    assert "1 missing (res_layers.0.conv2.conv2d.weight)" in message
    assert "1 not in the network (gate.bias)" in message
    assert "out_conv.conv2d.bias is (5,), the network has (3,)" in message


@pytest.mark.parametrize(
    "tensors",
    [{}, {"a": torch.zeros(1)}, {"encoder.0.conv2d.weight": torch.zeros(4, 3, 3, 3)}],
    ids=["empty", "foreign", "stem only"],
)
def test_anything_else_is_refused(tensors):
    with pytest.raises(WeightsError, match="state dict"):
        load_official(tensors)


def test_a_checkpoint_that_is_no_dict_of_tensors_is_refused(tmp_path: Path):
    path = tmp_path / "x.pth"
    torch.save({"epoch": 3}, path)
    with pytest.raises(WeightsError, match="epoch is no tensor"):
        load_official(path)
    for key in (("two\n", "lines"), "two\nlines"):
        torch.save({key: torch.zeros(1)}, path)
        with pytest.raises(WeightsError, match="a key that is no name") as refused:
            load_official(path)
        assert "\n" not in str(refused.value)
    torch.save([torch.zeros(1)], path)
    with pytest.raises(WeightsError, match="got list"):
        load_official(path)


class _Malicious:
    def __reduce__(self):
        return (Path.touch, (Path("pwned"),))


def test_a_pickle_with_code_is_refused_and_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "evil.pth"
    torch.save({"weight": _Malicious()}, path)
    with pytest.raises(WeightsError, match="refused"):
        load_official(path)
    path.write_bytes(pickle.dumps(_Malicious()))
    with pytest.raises(WeightsError, match=r"evil\.pth"):
        load_official(path)
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("content", [b"", b"not a file of tensors", b"PK\x03\x04 cut"])
def test_a_damaged_file_is_refused(tmp_path: Path, content: bytes):
    path = tmp_path / "x.pth"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"x\.pth"):
        load_official(path)


def test_a_missing_file_is_refused():
    with pytest.raises(WeightsError, match="no such file"):
        load_official("nowhere.pth")
