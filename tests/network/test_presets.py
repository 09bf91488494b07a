"""Architectures by name: sizes and costs against what the paper and the release say."""

import functools
import re
from typing import NamedTuple

import pytest
import torch
from torch.nn.utils.parametrize import is_parametrized
from torch.utils.flop_counter import FlopCounterMode

from sparnet.config import parse_config
from sparnet.errors import RecipeError
from sparnet.network.build import build_generator
from sparnet.network.config import NetworkConfig
from sparnet.network.files import build_network
from sparnet.network.generator import SPARNet
from sparnet.network.presets import PRESETS, preset


class Measured(NamedTuple):
    """What a network is and costs."""

    parameters: int
    flops: int
    units: int
    makes: tuple[int, ...]


@functools.cache
def measure(config: NetworkConfig) -> Measured:
    """Build a network without memory and run it without arithmetic."""
    with torch.device("meta"):
        network = build_generator(config.model_copy(update={"spectral_norm": False})).eval()
    with FlopCounterMode(display=False) as counter:
        made = network(torch.zeros(1, 3, config.reads_px, config.reads_px, device="meta"))
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return Measured(parameters, counter.get_total_flops(), len(network.units), tuple(made.shape))


@pytest.mark.parametrize(
    ("name", "millions"),
    [
        ("sparnet", 10.519),
        ("sparnet-3d", 11.562),
        ("sparnet-light", 5.242),
        ("s2", 12.29),
        ("s4", 10.52),
        ("s8", 8.74),
        ("s16", 5.74),
        ("sparnet-hd", 85.79),
    ],
)
def test_parameters_are_as_many_as_published(name, millions):
    digits = len(str(millions).partition(".")[2])
    assert round(measure(PRESETS[name]).parameters / 1e6, digits) == millions


@pytest.mark.parametrize(
    ("name", "gflop"),
    [("sparnet", 14.3), ("sparnet-light", 13.8), ("sparnet-fast", 5.7), ("sparnet-hd", 1447)],
)
def test_flops_are_as_many_as_published(name, gflop):
    # Twice the multiplications of the convs.
    assert measure(PRESETS[name]).flops / 1e9 == pytest.approx(gflop, abs=0.5 if gflop > 100 else 0.05)


# The ablation's v*, which differ in which of the same units have attention, would take seconds more.
@pytest.mark.parametrize("name", [name for name in PRESETS if not re.fullmatch(r"v\d+", name)])
def test_every_preset_makes_faces_of_its_size(name):
    size = PRESETS[name].image_size
    assert measure(PRESETS[name]).makes == (1, 3, size, size)


@pytest.mark.parametrize(("name", "units"), [("sparnet", 16), ("sparnet-light", 7), ("sparnet-hd", 17)])
def test_units_are_as_many_as_published(name, units):
    assert measure(PRESETS[name]).units == PRESETS[name].units == units


def test_the_papers_network_differs_from_the_released_one_in_its_activation_alone():
    assert preset("sparnet-paper") == preset("sparnet").model_copy(update={"activation": "prelu"})


def test_v16_and_s4_are_the_paper_s_network():
    assert preset("s4") == preset("sparnet")
    assert preset("v16").attention_units == preset("sparnet").units


def test_the_large_network_has_spectral_norm_on_every_conv():
    assert preset("sparnet-hd").spectral_norm
    network = SPARNet(NetworkConfig(image_size=16, body_size=8, body_units=0, spectral_norm=True))
    convs = [module for module in network.modules() if isinstance(module, torch.nn.Conv2d)]
    assert all(is_parametrized(conv, "weight") for conv in convs)


def test_an_unknown_preset_is_refused_with_those_there_are():
    with pytest.raises(RecipeError, match=r"no preset 'sparnett'; have: sparnet, sparnet-paper"):
        build_network("sparnett")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_size": 100}, "n: image_size must be a power of two from 16, got 100"),
        ({"image_size": 8}, "n: image_size must be a power of two from 16, got 8"),
        ({"image_size": -128}, "n: image_size must be a power of two from 16, got -128"),
        ({"body_size": 24}, "n: body_size must be a power of two from 2, got 24"),
        ({"body_size": 256}, "n: body_size must lie between 2 and image_size (128), got 256"),
        ({"body_size": 1}, "n: body_size must lie between 2 and image_size (128), got 1"),
        ({"input_size": 8}, "n: input_size must lie between body_size (16) and image_size (128), got 8"),
        ({"input_size": 100}, "n: input_size must be a power of two from 2, got 100"),
        ({"attention_smallest_size": 3}, "n: attention_smallest_size must be a power of two from 2, got 3"),
        ({"pixel_unshuffle": 3}, "n: pixel_unshuffle must be a power of two from 1, got 3"),
        (
            {"pixel_unshuffle": 16},
            "n: body_size must lie between 2 and image_size / pixel_unshuffle (8), got 16",
        ),
        (
            {"input_size": 64, "pixel_unshuffle": 4},
            "n: input_size must lie between body_size (16) and image_size / pixel_unshuffle (32), got 64",
        ),
        (
            {"input_size": 16, "encoder_skips": True},
            "n: encoder_skips needs an encoder as deep as the decoder, not a smaller input_size",
        ),
        (
            {"global_residual": "detail"},
            "n: global_residual detail needs pixel_unshuffle above 1: without it there is none",
        ),
        (
            {"refine_channels": 8},
            "n: refine_channels needs pixel_unshuffle above 1: without it nothing is unfolded",
        ),
        (
            {"input_size": 16, "global_residual": "input"},
            "n: global_residual needs an input of image_size",
        ),
        ({"attention_units": 17}, "n: attention_units must be at most the network's 16 units, got 17"),
        (
            {"attention": "3d"},
            "n: attention must be one of spatial, channelwise, none, rcan, cbam, got '3d'",
        ),
        ({"base_channels": "32"}, "n: base_channels must be a whole number, got '32'"),
        ({"base_chanels": 32}, "n: unknown key 'base_chanels'; did you mean 'base_channels'?"),
        ({"body_units": -1}, "n: body_units: input should be greater than or equal to 0, got -1"),
    ],
    ids=str,
)
def test_a_wrong_architecture_is_refused_in_one_line(changes, message):
    with pytest.raises(RecipeError) as refused:
        parse_config(NetworkConfig, changes, source="n")
    assert str(refused.value) == message


def test_an_architecture_survives_json():
    for config in PRESETS.values():
        assert NetworkConfig.model_validate_json(config.model_dump_json()) == config


def test_the_shipped_restorer_is_the_small_network_folded_and_under_the_budget_of_a_light_one():
    folded, light = measure(PRESETS["sparnet-hd-folded"]), measure(PRESETS["sparnet-light"])
    assert round(folded.parameters / 1e6, 3) == 5.290
    assert light.flops < folded.flops < 1.1 * light.flops
    assert folded.parameters < 12e6
