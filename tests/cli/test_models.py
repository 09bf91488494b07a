"""`sparnet models`: what is there, its terms and hashes, and the released files taken in."""

import hashlib
import json
import os
from pathlib import Path

import pytest
import torch

from sparnet.network.config import NetworkConfig
from sparnet.network.generator import SPARNet
from sparnet.network.official import to_official
from sparnet.weights.catalog import SHIPPED_FOLDER, shipped_models


@pytest.fixture
def released(tmp_path):
    """A file of the released layout, small and random."""
    torch.manual_seed(0)
    config = NetworkConfig(image_size=32, base_channels=4, body_units=0, attention_channels=4)
    path = tmp_path / "My SPARNet (1).pth"
    torch.save(to_official(SPARNet(config)), path)
    return path


def test_an_imported_model_is_listed_shown_and_verified(
    sparnet_cli, user_cache, make_variant, add_to_catalog
):
    add_to_catalog(make_variant(user_cache / "mine.onnx", name="mine"), "mine", license="only mine")
    assert [line.split()[0] for line in sparnet_cli("models").out.splitlines()][-1] == "mine"
    facts = json.loads(sparnet_cli("models", "show", "mine", "--json").out)
    assert (facts["name"], facts["license"], facts["path"]) == (
        "mine",
        "only mine",
        str(user_cache / "mine.onnx"),
    )
    ended = sparnet_cli("models", "verify", "mine")
    assert (ended.code, ended.out) == (0, "mine: sound\n")


def test_a_damaged_and_a_missing_model_are_told_each_in_a_line(
    sparnet_cli, user_cache, make_variant, add_to_catalog
):
    for name in ("cut", "gone", "good"):
        add_to_catalog(make_variant(user_cache / f"{name}.onnx", name=name), name)
    content = (user_cache / "cut.onnx").read_bytes()
    (user_cache / "cut.onnx").write_bytes(content[:-1])
    (user_cache / "gone.onnx").unlink()
    ended = sparnet_cli("models", "verify", "cut", "gone", "good", "nix")
    assert ended.code == 1
    assert ended.out == "good: sound\n"
    cut, gone, unknown = ended.errors
    assert "SHA-256" in cut
    assert "gone: its file gone.onnx is missing" in gone
    assert "no model 'nix'" in unknown
    results = json.loads(sparnet_cli("models", "verify", "cut", "good", "--json").out)
    assert results["good"] == "sound"
    assert "SHA-256" in results["cut"]
    assert "no" in sparnet_cli("models").out.split("gone", 1)[1].splitlines()[0]


def test_a_flipped_bit_of_the_shipped_model_is_refused(sparnet_cli, tmp_path, monkeypatch):
    entry = shipped_models()["sparnet-x8"]
    content = bytearray((SHIPPED_FOLDER / entry.file).read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / entry.file).write_bytes(content)
    monkeypatch.setenv("SPARNET_WEIGHTS", str(tmp_path))
    ended = sparnet_cli("models", "verify", "sparnet-x8")
    assert (ended.code, ended.out, len(ended.errors)) == (1, "", 1)


def test_a_folder_of_weights_that_is_not_there_is_one_line(sparnet_cli, tmp_path, monkeypatch):
    monkeypatch.setenv("SPARNET_WEIGHTS", str(tmp_path / "nix"))
    for words in (["models"], ["models", "show", "sparnet-x8"], ["models", "verify"]):
        ended = sparnet_cli(*words)
        assert (ended.code, len(ended.errors)) == (1, 1)
        assert "SPARNET_WEIGHTS=" in ended.err


def test_a_name_is_asked_for_where_the_file_s_is_none(sparnet_cli, user_cache, released):
    ended = sparnet_cli("models", "import", released)
    assert (ended.code, len(ended.errors)) == (1, 1)
    assert "give a --name of letters" in ended.err
    ended = sparnet_cli("models", "import", released, "--name", "sparnet-x8")
    assert (ended.code, len(ended.errors)) == (1, 1)
    assert "comes with sparnet" in ended.err
    assert not user_cache.exists()


def test_a_released_file_is_taken_in_for_its_factor(sparnet_cli, user_cache, released):
    ended = sparnet_cli("models", "import", released, "--name", "mine", "-s", "4", "--json")
    assert ended.code == 0, ended.err
    facts = json.loads(ended.out)
    assert (facts["name"], facts["upscale_factor"], facts["image_size"]) == ("mine", 4, 32)
    assert "CC BY-NC-SA" in facts["license"]
    assert sorted(path.name for path in user_cache.iterdir()) == ["catalog.json", "mine.onnx"]


def test_a_cache_that_cannot_be_written_is_one_line(sparnet_cli, tmp_path, user_cache, released):
    user_cache.parent.write_text("a file in the way")
    ended = sparnet_cli("models", "import", released, "--name", "mine")
    assert (ended.code, len(ended.errors)) == (1, 1)


def test_a_factor_there_is_not_is_wrong_use(sparnet_cli, released):
    assert sparnet_cli("models", "import", released, "-s", "3").code == 2


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04"])
def test_a_file_that_is_not_a_released_one_is_one_line(sparnet_cli, tmp_path, user_cache, content):
    (tmp_path / "x.pth").write_bytes(content)
    ended = sparnet_cli("models", "import", tmp_path / "x.pth")
    assert (ended.code, len(ended.errors)) == (1, 1)
    assert "x.pth" in ended.err


def test_a_model_file_is_shown_like_a_model_of_the_list(sparnet_cli, small_model):
    facts = json.loads(sparnet_cli("models", "show", small_model, "--json").out)
    assert (facts["name"], facts["path"]) == ("small", str(small_model))
    assert facts["bytes"] == small_model.stat().st_size
    assert facts["sha256"] == hashlib.sha256(small_model.read_bytes()).hexdigest()
    ended = sparnet_cli("models", "show", "nix.onnx")
    assert ended.code == 1
    assert ended.errors == ["sparnet: nix.onnx: no such model file"]


@pytest.mark.parametrize("name", [b"\xff.onnx", b"a:b.onnx"])
def test_a_model_file_of_any_name_is_shown(sparnet_cli, small_model, tmp_path, name):
    path = tmp_path / os.fsdecode(name)
    try:
        path.write_bytes(small_model.read_bytes())
    except OSError:
        pytest.skip("this disk has no such names")
    facts = json.loads(sparnet_cli("models", "show", path, "--json").out)
    assert (facts["name"], facts["path"]) == ("small", str(path))


def test_the_models_beside_the_package_say_what_they_are(sparnet_cli):
    paths = sorted((Path(__file__).parents[2] / "models").glob("*.onnx"))
    assert paths, "models/README.md tells of some"
    told = (paths[0].parent / "README.md").read_text()
    for path in paths:
        facts = json.loads(sparnet_cli("models", "show", path, "--json").out)
        assert facts["name"] == path.stem
        assert facts["license"]
        assert {score["metric"] for score in facts["scores"]} >= {"psnr_y", "ssim_y"}
        assert f"`{path.name}`" in told
