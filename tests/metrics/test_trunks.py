import hashlib
import logging
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sparnet.errors import WeightsError
from sparnet.network.trunks import PERCEPTUAL_TAPS, Trunk, TrunkName, load_trunk, load_vgg
from sparnet.weights.auxiliary import AUXILIARY_FILES


@pytest.fixture
def empty_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let no file of weights be found; files may be put into the folder that is returned."""
    folder = tmp_path / "weights"
    folder.mkdir()
    monkeypatch.setenv("SPARNET_WEIGHTS", str(folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return folder


def write_vgg19(folder: Path) -> str:
    """Write a file that has torchvision's keys and shapes, all zeros; return its hash."""
    with torch.device("meta"):
        shapes = {name: value.shape for name, value in Trunk("vgg19", taps=(0,)).state_dict().items()}
    # A stored value of size 1, repeated: the file stays small.
    state = {name: torch.zeros(1).expand(shape) for name, shape in shapes.items()}
    state["classifier.0.weight"] = torch.zeros(1).expand(4096, 25088)
    path = folder / AUXILIARY_FILES["vgg19"].name
    torch.save(state, path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("name", "parameters"), [("alexnet", 2_469_696), ("vgg16", 14_714_688), ("vgg19", 20_024_384)]
)
def test_trunks_have_the_parameters_of_torchvisions(name: TrunkName, parameters: int):
    with torch.device("meta"):
        trunk = Trunk(name, taps=(0,))
    assert sum(parameter.numel() for parameter in trunk.parameters()) == parameters
    assert all(key.startswith("features.") for key in trunk.state_dict())


@pytest.mark.parametrize("name", ["vgg16", "vgg19"])
def test_the_perceptual_taps_end_the_five_stages(name):
    """The conv before the last ReLU of each stage: full size, then half of the stage before."""
    with torch.device("meta"):
        trunk = Trunk(name, taps=PERCEPTUAL_TAPS[name])
        maps = trunk(torch.zeros(2, 3, 64, 48))
    assert [tuple(each.shape) for each in maps] == [
        (2, 64, 64, 48),
        (2, 128, 32, 24),
        (2, 256, 16, 12),
        (2, 512, 8, 6),
        (2, 512, 4, 3),
    ]
    for tap in PERCEPTUAL_TAPS[name]:
        assert isinstance(trunk.features[tap], torch.nn.Conv2d)
        assert isinstance(trunk.features[tap + 2], torch.nn.MaxPool2d)


def test_the_statistics_of_imagenet_are_applied_inside():
    """What is ImageNet's mean in [0, 1] becomes 0; a standard deviation above it becomes 1."""
    trunk = Trunk("alexnet", taps=(0,))
    first = trunk.features[0]
    assert isinstance(first, torch.nn.Conv2d)
    assert isinstance(first.bias, torch.Tensor)
    with torch.no_grad():
        first.weight.fill_(0)
        first.weight[:3, :, 5, 5] = torch.eye(3)
        first.bias.fill_(0)
        mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        picture = (2 * (mean + std) - 1).view(1, 3, 1, 1).expand(1, 3, 31, 31)
        (values,) = trunk(picture)
    torch.testing.assert_close(values[0, :3, 3, 3], torch.ones(3), rtol=0, atol=1e-5)


@pytest.mark.parametrize("taps", [(), (3, 2), (2, 2), (0, 13), (-1,)])
def test_taps_that_do_not_rise_within_the_network_are_refused(taps):
    with pytest.raises(ValueError, match="taps must rise and lie in 0 to 12 for alexnet"):
        Trunk("alexnet", taps=taps)


def test_a_loaded_trunk_is_frozen_and_lets_gradients_through(auxiliary_weights):
    trunk = load_trunk("alexnet", taps=(1, 4))
    picture = torch.zeros(1, 3, 64, 64, requires_grad=True)
    trunk(picture)[1].sum().backward()
    assert picture.grad is not None
    assert picture.grad.abs().sum() > 0
    assert not any(parameter.requires_grad for parameter in trunk.parameters())
    assert not trunk.training


def test_vgg16_stands_in_for_vgg19_and_says_so(auxiliary_weights, caplog, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    if (auxiliary_weights / AUXILIARY_FILES["vgg19"].name).exists():
        pytest.skip("the shared folder has VGG19")
    with caplog.at_level(logging.WARNING):
        trunk = load_vgg()
    assert trunk.name == "vgg16"
    assert trunk.taps == PERCEPTUAL_TAPS["vgg16"]
    assert "vgg19-dcbb9e9d.pth not found" in caplog.text


def test_vgg19_is_taken_from_torchvisions_file(empty_folders, monkeypatch):
    file = replace(AUXILIARY_FILES["vgg19"], sha256=write_vgg19(empty_folders)[:8])
    monkeypatch.setitem(AUXILIARY_FILES, "vgg19", file)
    trunk = load_vgg()
    assert trunk.name == "vgg19"
    assert all(parameter.abs().sum() == 0 for parameter in trunk.parameters())


def test_a_file_that_is_not_vgg19_is_refused_and_not_passed_over(empty_folders):
    write_vgg19(empty_folders)
    with pytest.raises(WeightsError, match=r"vgg19-dcbb9e9d\.pth: expected .* begins with dcbb9e9d, got"):
        load_vgg()


def test_missing_vgg19_is_named_with_its_address(empty_folders):
    with pytest.raises(WeightsError, match=r"fetch it from https://download\.pytorch\.org/models/vgg19"):
        load_trunk("vgg19", taps=(2,))
