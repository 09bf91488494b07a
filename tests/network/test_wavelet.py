"""Wavelet-SRNet: its transform is exact, its subnets are independent, its size grows as the paper says."""

import numpy as np
import pytest
import torch

from sparnet.config import parse_config
from sparnet.errors import RecipeError
from sparnet.network.build import build_generator
from sparnet.network.config import NetworkConfig
from sparnet.network.cost import count_gflop
from sparnet.network.engine import TorchEngine
from sparnet.network.files import read_model_file
from sparnet.network.presets import preset
from sparnet.network.wavelet import InverseWaveletPacket, WaveletSRNet, hadamard_basis, wavelet_packet
from sparnet.training.losses import wavelet_loss
from tests.small_models import write_model

SMALL = NetworkConfig(
    architecture="wavelet",
    image_size=32,
    input_size=8,
    base_channels=4,
    max_channels=8,
    body_units=1,
    subnet_channels=4,
)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("factor", [2, 4, 8, 16])
def test_the_inverse_packet_transform_gives_the_picture_back(factor):
    picture = noise(2, 3, 32, 32)
    coefficients = wavelet_packet(picture, factor=factor)
    made = InverseWaveletPacket(factor)(coefficients.flatten(1, 2))
    assert torch.allclose(made, picture, atol=1e-5)


def test_the_first_band_is_the_mean_and_the_others_of_an_even_picture_are_nothing():
    even = torch.full((1, 3, 16, 16), 0.3)
    bands = wavelet_packet(even, factor=4)
    assert torch.allclose(bands[:, :, 0], torch.tensor(0.3))
    assert bands[:, :, 1:].abs().max() < 1e-6
    picture = noise(1, 3, 16, 16)
    mean = torch.nn.functional.avg_pool2d(picture, 4)
    assert torch.allclose(wavelet_packet(picture, factor=4)[:, :, 0], mean, atol=1e-6)


def test_one_level_is_haars():
    """Sum, and differences across, down and over the diagonal, as in any textbook."""
    a, b, c, d = 1.0, 2.0, 4.0, 8.0
    picture = torch.tensor([[a, b], [c, d]]).expand(1, 3, 2, 2)
    bands = wavelet_packet(picture, factor=2)[0, 0, :, 0, 0]
    expected = [(a + b + c + d) / 4, (a - b + c - d) / 4, (a + b - c - d) / 4, (a - b - c + d) / 4]
    assert torch.allclose(bands, torch.tensor(expected))


def test_bands_are_orthogonal():
    basis = hadamard_basis(8)
    assert torch.equal(basis @ basis.t(), 64 * torch.eye(64))
    with pytest.raises(ValueError, match="power of two"):
        hadamard_basis(6)


def test_each_subnet_makes_its_own_band_alone():
    """Change what the last conv of one subnet learnt, and one band of the result changes."""
    network = WaveletSRNet(SMALL).eval()
    x = noise(1, 3, 8, 8)
    before = wavelet_packet(network(x), factor=4)
    with torch.no_grad():
        network.output.weight[3 * 5 : 3 * 6] += 1.0
    changed = (wavelet_packet(network(x), factor=4) - before).abs().amax(dim=(0, 1, 3, 4)) > 1e-4
    assert changed.nonzero().flatten().tolist() == [5]


def test_untrained_it_makes_even_grey_and_learns_from_the_first_step():
    network = WaveletSRNet(SMALL)
    made = network(noise(2, 3, 8, 8))
    assert made.abs().max() == 0
    wavelet_loss(made, noise(2, 3, 32, 32, seed=1), factor=4).backward()
    assert network.output.weight.grad is not None
    by_band = network.output.weight.grad.unflatten(0, (16, 3)).abs().amax(dim=(1, 2, 3, 4))
    assert by_band.min() > 0


def test_parameters_grow_with_the_factors_square_and_work_as_the_factor_falls():
    sizes, work = [], []
    for name in ("wavelet-x4", "wavelet-x8", "wavelet-x16"):
        with torch.device("meta"):
            network = build_generator(preset(name))
        sizes.append(sum(parameter.numel() for parameter in network.parameters()))
        work.append(count_gflop(preset(name)))
    # Subnets are 16, 64 and 256; what does not depend on the factor is the embedding net.
    assert sizes[2] - sizes[1] == 4 * (sizes[1] - sizes[0])
    assert sizes[0] > 10.5e6
    assert work[0] > work[1] > work[2]


def test_its_model_file_makes_the_same_faces(tmp_path):
    torch.manual_seed(0)
    network = WaveletSRNet(SMALL).eval()
    with torch.no_grad():
        network.output.weight.normal_(0, 0.3)
    path = tmp_path / "wavelet.onnx"
    write_model(network, path, name="wavelet", upscale_factor=4)
    loaded, described = read_model_file(path)
    assert (described.input_size, described.image_size) == (8, 32)
    assert isinstance(loaded, WaveletSRNet)
    x = noise(2, 3, 8, 8)
    # Weights are stored in fp16: errors of some thousandths of values about 16.
    assert torch.allclose(loaded(x), network(x), rtol=2e-3, atol=0.05)
    from sparnet.engine import open_engine

    faces = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)
    made = open_engine(path).run(faces)
    assert made.shape == (3, 32, 32, 3)
    # Truncated to 8 bits by the graph and by torch: a grey level at most.
    assert np.abs(made.astype(int) - TorchEngine(path).run(faces)).max() <= 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"input_size": None}, "give input_size"),
        ({"attention": "rcan"}, "has no attention"),
        ({"spectral_norm": True}, "no spectral_norm"),
    ],
)
def test_what_it_has_not_is_refused(changes, message):
    values = {key: getattr(SMALL, key) for key in SMALL.model_fields_set} | changes
    with pytest.raises(RecipeError, match=message):
        parse_config(NetworkConfig, values, source="r.toml")


def test_its_loss_is_nothing_for_equal_pictures_and_counts_lost_texture():
    hr = noise(2, 3, 16, 16)
    assert wavelet_loss(hr, hr, factor=4) == 0
    blurred = torch.nn.functional.interpolate(torch.nn.functional.avg_pool2d(hr, 4), scale_factor=4)
    # Orthonormal: squared errors of bands and of pixels are one, and all that is lost is texture.
    error = (blurred - hr).square().mean()
    lost = hr.sub(blurred).square().mean() * 16 / 15
    assert wavelet_loss(blurred, hr, factor=4) == pytest.approx(float(1.1 * error + lost), rel=1e-4)
    with pytest.raises(ValueError, match="one shape"):
        wavelet_loss(hr, hr[:1], factor=4)
