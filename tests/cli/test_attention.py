"""`sparnet attention`: the maps of a face as pictures."""

import json
from pathlib import Path

import numpy as np
import pytest

from sparnet.degradation import Noise, add_noise
from sparnet.drawing import draw_map, draw_sheet, mean_map
from sparnet.image import read_image, resize_bicubic, write_image


@pytest.fixture
def attention(sparnet_cli, small_model):
    return lambda *words: sparnet_cli("attention", "-m", small_model, *words)


def face(rows: int = 16, columns: int = 16) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (rows, columns, 3), dtype=np.uint8)


def test_a_picture_for_each_map_and_a_sheet_are_written(tmp_path, attention):
    write_image(tmp_path / "f.png", face())
    ended = attention(tmp_path / "f.png", "-o", tmp_path / "out", "-v")
    assert (ended.code, ended.err) == (0, "")
    made = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert made == [
        "f_attention.png",
        "f_attention_01.png",
        "f_attention_02.png",
        "f_attention_03.png",
    ]
    assert ended.out.splitlines()[-1] == f"3 attention maps of small: {tmp_path / 'out' / 'f_attention.png'}"
    assert "64 px, weights 0." in ended.out


def test_maps_are_of_the_network_that_made_the_result(tmp_path, sparnet_cli):
    """Of the two that share the work of `sparnet upscale`."""
    clean = read_image(Path(__file__).parents[2] / "examples" / "face16.png")
    write_image(tmp_path / "clean.png", clean)
    write_image(tmp_path / "noisy.png", add_noise(clean, Noise(std=20, per_channel=False, seed=0)))
    write_image(tmp_path / "large.png", resize_bicubic(clean, 64, 64))
    told = {}
    for name in ("clean", "noisy", "large"):
        ended = sparnet_cli("attention", tmp_path / f"{name}.png", "-o", tmp_path / "out", "--json")
        told[name] = json.loads(ended.out)
    assert told["clean"]["model"] == "sparnet-x8"
    assert told["noisy"]["model"] == "sparnet-x4"
    assert told["large"]["model"] == "sparnet-x4", "as for sparnet upscale, from 32 px on"
    assert len(told["noisy"]["units"]) == len(told["clean"]["units"]) + 1, "it has an encoder"


@pytest.mark.parametrize(("rows", "columns"), [(16, 16), (512, 512), (300, 200), (24, 16), (8, 8)])
def test_a_face_of_any_size_is_taken(tmp_path, attention, rows, columns):
    write_image(tmp_path / "f.png", face(rows, columns))
    ended = attention(tmp_path / "f.png", "-o", tmp_path / "out", "--json")
    assert ended.code == 0
    assert len(json.loads(ended.out)["units"]) == 3
    assert (ended.err == "") == (rows == columns == 16), "what is unusual is said"
    if max(rows, columns) > 128:
        assert f"{columns} x {rows} px, reduced to " in ended.err, "of the picture that was given"


def test_the_result_lies_in_the_sheet_where_the_input_and_the_maps_have_the_face(tmp_path, attention):
    write_image(tmp_path / "f.png", face(16, 13))
    assert attention(tmp_path / "f.png", "-o", tmp_path / "out").code == 0
    sheet = read_image(tmp_path / "out" / "f_attention.png")
    result = sheet[6 : 6 + 128, 6 + 128 + 6 : 6 + 128 + 6 + 128]
    blank = (result == 255).all(axis=(0, 2))
    assert blank[:8].all(), "1 px of padding before the face"
    assert blank[8 + 13 * 8 :].all(), "and 2 px behind it"
    assert not blank[8 : 8 + 13 * 8].any()


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (4, 400)])
def test_what_is_no_face_is_refused_in_one_line(tmp_path, attention, rows, columns):
    write_image(tmp_path / "f.png", face(rows, columns))
    ended = attention(tmp_path / "f.png", "-o", tmp_path / "out")
    assert ended.code == 1
    assert len(ended.errors) == 1
    assert ended.err.startswith(f"sparnet: {tmp_path / 'f.png'}: ")
    assert "too small" in ended.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["missing.png", "text.png"])
def test_a_bad_picture_is_one_line(tmp_path, attention, name):
    (tmp_path / "text.png").write_text("no picture")
    ended = attention(tmp_path / name, "-o", tmp_path / "out")
    assert (ended.code, len(ended.errors)) == (1, 1)


def test_a_model_without_attention_is_told(tmp_path, sparnet_cli):
    """Through the export of a network without; three layers, so that it takes a moment."""
    import torch

    from sparnet.network.config import NetworkConfig
    from sparnet.network.generator import SPARNet
    from tests.small_models import write_model

    torch.manual_seed(0)
    config = NetworkConfig(image_size=16, body_size=16, body_units=1, base_channels=2, attention="none")
    network = SPARNet(config)
    write_model(network, tmp_path / "plain.onnx", name="plain", upscale_factor=4)
    write_image(tmp_path / "f.png", face())
    ended = sparnet_cli("attention", tmp_path / "f.png", "-o", tmp_path, "-m", tmp_path / "plain.onnx")
    assert (ended.code, len(ended.errors)) == (1, 1)
    assert "plain.onnx: the model has no attention maps" in ended.err


def test_a_network_that_restores_is_looked_into_at_the_face_of_a_photo(tmp_path, sparnet_cli):
    photo = Path(__file__).parents[2] / "examples" / "faces" / "0.webp"
    ended = sparnet_cli("attention", photo, "-o", tmp_path, "-m", "sparnet-hd-light", "--json")
    assert (ended.code, ended.err) == (0, "")
    told = json.loads(ended.out)
    assert told["model"] == "sparnet-hd-light"
    assert [unit["size_px"] for unit in told["units"]] == [64, 32, 16, 16, 32, 64, 128]
    assert read_image(Path(told["units"][0]["file"])).shape == (256, 256, 3)
    write_image(tmp_path / "gray.png", np.full((200, 200, 3), 128, np.uint8))
    ended = sparnet_cli("attention", tmp_path / "gray.png", "-o", tmp_path / "out", "-m", "sparnet-hd-light")
    assert (ended.code, ended.err) == (1, f"sparnet: {tmp_path / 'gray.png'}: no face found\n")
    assert not (tmp_path / "out").exists()


def test_the_maps_of_a_real_face_follow_the_face(tmp_path, real_faces, sparnet_cli):
    """A map of the shipped model is like that of the mirrored face, mirrored: it looks at the face."""
    maps: dict[str, list[np.ndarray]] = {}
    for name, picture in (("f", real_faces[0]), ("mirrored", real_faces[0][:, ::-1])):
        write_image(tmp_path / f"{name}.png", np.ascontiguousarray(picture))
        ended = sparnet_cli("attention", tmp_path / f"{name}.png", "-o", tmp_path, "--json")
        units = json.loads(ended.out)["units"]
        maps[name] = [read_image(Path(unit["file"])).mean(axis=2) for unit in units]
    correlations = [
        np.corrcoef(one.ravel(), other[:, ::-1].ravel())[0, 1]
        for one, other in zip(maps["f"], maps["mirrored"], strict=True)
    ]
    assert np.median(correlations) > 0.5
    assert all(one.std() > 20 for one in maps["f"]), "none is even"


def test_the_least_weight_is_blue_and_the_greatest_red():
    ramp = np.tile(np.linspace(0.4, 0.5, 32, dtype=np.float32), (32, 1))
    drawn = draw_map(ramp, size=32)
    red, _, blue = drawn[16, 0]
    assert blue > 100 > red
    red, _, blue = drawn[16, -1]
    assert red > 100 > blue


def test_an_even_map_is_drawn_in_one_colour():
    drawn = draw_map(np.full((8, 8), 0.5, dtype=np.float32), size=16)
    assert drawn.shape == (16, 16, 3)
    assert drawn.reshape(-1, 3).std(axis=0).max() == 0


def test_maps_of_several_channels_are_averaged():
    maps = np.stack([np.zeros((2, 2)), np.ones((2, 2))]).astype(np.float32)
    assert (mean_map(maps) == 0.5).all()


def test_a_sheet_has_room_for_all():
    picture = np.zeros((32, 32, 3), dtype=np.uint8)
    sheet = draw_sheet([("a", picture)] * 7, columns=3)
    assert sheet.shape[1] == 3 * 38 + 6
    assert (sheet == 0).all(axis=2).sum() >= 7 * 32 * 32
