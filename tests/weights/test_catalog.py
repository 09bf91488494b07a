"""The catalog: what is shipped is there and sound, and what is damaged or missing is told."""

import hashlib
from pathlib import Path

import pytest

from sparnet.errors import WeightsError
from sparnet.weights import catalog
from sparnet.weights.catalog import SHIPPED_FOLDER, find_model, known_models, model_for_factor, shipped_models


def test_every_shipped_model_is_what_the_catalog_says():
    assert "sparnet-x8" in shipped_models()
    for name, entry in shipped_models().items():
        content = (SHIPPED_FOLDER / entry.file).read_bytes()
        assert hashlib.sha256(content).hexdigest() == entry.sha256
        assert len(content) == entry.bytes
        assert entry.info.name == name
        assert entry.info.scores, "a model is shipped with its scores"
        assert all(score.command and score.data for score in entry.info.scores)


def test_the_default_beats_bicubic():
    scores = {score.metric: score for score in shipped_models()["sparnet-x8"].info.scores}
    bicubic = scores["psnr_y"].bicubic or 0.0
    assert bicubic == pytest.approx(23.685, abs=1e-3)
    assert scores["psnr_y"].value > bicubic + 1.2


def test_a_file_in_the_named_folder_wins_and_is_verified(tmp_path, monkeypatch):
    entry = shipped_models()["sparnet-x8"]
    content = bytearray((SHIPPED_FOLDER / entry.file).read_bytes())
    copy = tmp_path / entry.file
    copy.write_bytes(content)
    monkeypatch.setenv("SPARNET_WEIGHTS", str(tmp_path))
    assert find_model("sparnet-x8") == copy
    content[1000] ^= 4
    copy.write_bytes(content)
    with pytest.raises(WeightsError, match="SHA-256"):
        find_model("sparnet-x8")


def test_an_imported_model_is_known_by_name(user_cache, make_variant, add_to_catalog):
    path = make_variant(user_cache / "mine.onnx", name="mine", upscale_factor=4)
    add_to_catalog(path, "mine", upscale_factor=4)
    assert list(known_models())[-1] == "mine"
    assert find_model("mine") == path
    assert model_for_factor(4) == "sparnet-x4"
    path.unlink()
    with pytest.raises(WeightsError, match="import it again"):
        find_model("mine")


def test_an_imported_file_does_not_stand_in_for_a_shipped_one_of_its_name(user_cache, make_variant):
    make_variant(user_cache / "sparnet-x4.onnx", name="sparnet-x4", upscale_factor=4)
    assert find_model("sparnet-x4") == SHIPPED_FOLDER / "sparnet-x4.onnx"


@pytest.mark.parametrize("name", ["file", "n" * 300])
def test_a_cache_folder_that_cannot_be_reached_leaves_the_shipped_models(name, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / name))
    monkeypatch.delenv("SPARNET_WEIGHTS", raising=False)
    assert known_models() == shipped_models()
    assert find_model("sparnet-x8").parent == SHIPPED_FOLDER


def test_what_is_not_there_is_told(user_cache, tmp_path):
    with pytest.raises(WeightsError, match="no model 'nix'; have: sparnet-hd-light, sparnet-x4, sparnet-x8"):
        find_model("nix")
    with pytest.raises(WeightsError, match="no such model file"):
        find_model(tmp_path / "nix.onnx")
    with pytest.raises(WeightsError, match=r"^~nosuchuser/m\.onnx: no such user"):
        find_model("~nosuchuser/m.onnx")
    with pytest.raises(WeightsError, match=r"name its file, models/sparnet-x16\.onnx, as"):
        model_for_factor(16)
    assert (Path(__file__).parents[2] / "models" / "sparnet-x16.onnx").is_file()
    with pytest.raises(WeightsError, match=r"enlarges x16; have: sparnet-x4 \(x4\), sparnet-x8 \(x8\)"):
        model_for_factor(16)


def test_a_damaged_catalog_is_told(user_cache):
    user_cache.mkdir(parents=True)
    (user_cache / catalog.CATALOG_FILE).write_text("{", encoding="utf-8")
    with pytest.raises(WeightsError, match=r"catalog\.json: damaged"):
        known_models()
