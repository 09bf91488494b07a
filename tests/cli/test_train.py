"""`sparnet train` as a user meets it."""

import json
from pathlib import Path

import pytest

from sparnet.training.recipe import recipe_to_toml
from tests.training.tiny import tiny_recipe, write_faces

ROOT = Path(__file__).parents[2]


@pytest.fixture
def recipe(tmp_path):
    """A recipe file of a few steps."""
    path = tmp_path / "r.toml"
    path.write_text(recipe_to_toml(tiny_recipe(write_faces(tmp_path / "faces"))), encoding="utf-8")
    return path


def test_the_smoke_recipe_runs_and_leaves_its_results(tmp_path, sparnet_cli, monkeypatch):
    monkeypatch.chdir(ROOT)
    run = tmp_path / "run"
    ended = sparnet_cli("train", "recipes/smoke.toml", "-o", run)
    assert ended.code == 0, ended.err
    assert "done at 64 of 64 images" in ended.out
    assert str(run / "model.onnx") in ended.out
    for name in ("model.onnx", "recipe.toml", "log.jsonl", "scores.json", "faces.png"):
        assert (run / name).stat().st_size > 0
    assert json.loads((run / "scores.json").read_text())["images_seen"] == 64
    face = tmp_path / "out"
    ended = sparnet_cli("upscale", "examples/face16.png", "-o", face, "-m", run / "model.onnx")
    assert ended.code == 0, ended.err
    assert (face / "face16.png").is_file()


def test_a_dry_run_says_what_a_training_costs_and_leaves_nothing(recipe, sparnet_cli, monkeypatch):
    monkeypatch.chdir(recipe.parent)
    ended = sparnet_cli("train", recipe, "--dry-run")
    assert ended.code == 0, ended.err
    assert "batch_size = 4" in ended.out
    assert "images/s, peak memory" in ended.out
    assert not (recipe.parent / "runs").exists()


def test_a_run_out_of_time_stops_in_good_order_and_goes_on(recipe, sparnet_cli, tmp_path, monkeypatch):
    from sparnet.training import loop

    scores = {"psnr_y": 1.0, "ssim_y": 0.0, "input_psnr_y": 1.0, "input_ssim_y": 0.0}
    monkeypatch.setattr(loop, "write_results", lambda *_, **__: scores)
    run = tmp_path / "run"
    ended = sparnet_cli("train", recipe, "-o", run, "--max-minutes", "0")
    assert ended.code == 0, ended.err
    assert "time is up at 4 of 24 images" in ended.out
    assert f"go on with --resume {run}" in ended.out
    ended = sparnet_cli("train", recipe, "--resume", run)
    assert ended.code == 0, ended.err
    assert "done at 24 of 24 images" in ended.out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--set", "train.learning_rat=1"],
            "unknown key 'train.learning_rat'; did you mean 'learning_rate'?",
        ),
        (["--set", "data.train=['nowhere']"], "data.train: nowhere: no such folder of faces"),
        (["--set", "network.image_size=64"], "smaller than the crop of 64 px; remove it or lower image_size"),
        (["--set", "initial_weights=nowhere.onnx"], "nowhere.onnx: no such model file"),
        (["--resume", "nowhere"], "nowhere: no run to resume"),
        (["--devices", "3"], "train.batch_size must be a multiple of the 3 devices, got 4"),
    ],
)
def test_what_is_wrong_is_told_in_one_line_that_names_the_recipe(
    recipe, sparnet_cli, tmp_path, options, message
):
    output = [] if "--resume" in options else ["-o", tmp_path / "run"]
    ended = sparnet_cli("train", recipe, *output, *options)
    assert ended.code == 1
    assert ended.errors[-1].startswith(f"sparnet: {recipe}: ")
    assert message in ended.errors[-1]
    assert "Traceback" not in ended.err
    assert not (tmp_path / "run").exists()
