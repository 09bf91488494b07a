"""The loop: what it leaves, and that stopping and going on changes nothing."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from sparnet.config import read_toml
from sparnet.engine.openvino import OpenvinoEngine
from sparnet.errors import DataError, RecipeError, SparnetError, WeightsError
from sparnet.network.bytes import to_signed
from sparnet.network.discriminator import MultiScaleDiscriminator
from sparnet.network.files import load_network
from sparnet.training import log as training_log
from sparnet.training import loop
from sparnet.training import trainee as trainee_module
from sparnet.training.loop import TrainingDivergedError, train
from sparnet.training.losses import charbonnier_loss, pixel_loss, squared_loss
from sparnet.training.recipe import parse_recipe, recipe_to_toml
from sparnet.training.state import load_newest, saved_states
from sparnet.training.trainee import build_trainee, discriminator_step, generator_step
from sparnet.upscaling import prepare_face
from tests.training.tiny import NETWORK, step_losses, tiny_recipe, tiny_recipe_of, write_faces

ADVERSARIAL = {
    "adversarial": {
        "start_images": 8,
        "weights": {"perceptual": 0.0},
        "discriminator": {"scales": 1, "halvings": 2, "base_channels": 4, "max_channels": 8},
    }
}
TWO_SCALES = {"scales": 2, "halvings": 2, "base_channels": 4, "max_channels": 8}
OVERFITTED = {
    "image_size": 64,
    "body_size": 8,
    "body_units": 2,
    "base_channels": 8,
    "max_channels": 32,
    "attention_channels": 8,
    "attention_smallest_size": 4,
}
BLIND = {"upscale_factor": None, "degradation": {"blur_probability": 1.0}}


@pytest.fixture
def faces(tmp_path):
    return write_faces(tmp_path / "faces")


@pytest.fixture
def no_results(monkeypatch):
    """Leave out the model file: exporting takes seconds, and is tested below."""
    monkeypatch.setattr(loop, "write_results", lambda *_, **__: {"psnr_y": 0.0})


@pytest.fixture
def first_model(tmp_path, faces, monkeypatch) -> Path:
    """The model file of a short run; runs after it leave theirs out."""
    train(tiny_recipe(faces, total_images=4), tmp_path / "first")
    monkeypatch.setattr(loop, "write_results", lambda *_, **__: {"psnr_y": 0.0})
    return tmp_path / "first" / "model.onnx"


def final_state(run: Path) -> dict:
    return load_newest(run)[0].modules


def assert_equal_states(first: Path, second: Path) -> None:
    a, b = final_state(first), final_state(second)
    assert a.keys() == b.keys()
    for part in a:
        flat_a, flat_b = _flat(a[part]), _flat(b[part])
        assert flat_a.keys() == flat_b.keys()
        for name, value in flat_a.items():
            other = flat_b[name]
            if isinstance(value, torch.Tensor):
                apart = (value.double() - other.double()).abs().max().item() if value.numel() else 0.0
                assert torch.equal(value, other), f"{part}.{name} is up to {apart:g} apart"
            else:
                assert value == other, f"{part}.{name}"


def _flat(tree, prefix: str = "") -> dict:
    items = (
        tree.items()
        if isinstance(tree, dict)
        else enumerate(tree)
        if isinstance(tree, list | tuple)
        else None
    )
    if items is None:
        return {prefix: tree}
    return {key: value for name, inner in items for key, value in _flat(inner, f"{prefix}.{name}").items()}


def test_a_run_leaves_model_recipe_log_scores_and_faces(tmp_path, faces):
    recipe = tiny_recipe(faces)
    outcome = train(recipe, tmp_path / "run")
    run = tmp_path / "run"
    assert outcome.finished
    assert {"model.onnx", "recipe.toml", "log.jsonl", "scores.json", "faces.png"} <= {
        path.name for path in run.iterdir()
    }
    assert not list(run.glob(".sparnet-*"))
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    steps = [line for line in lines if line["kind"] == "step"]
    evaluations = [line for line in lines if line["kind"] == "evaluation"]
    assert [line["images_seen"] for line in steps] == list(range(4, 25, 4))
    assert [line["images_seen"] for line in evaluations] == [12, 24]
    assert {"loss/pixel", "learning_rate", "images_per_second"} <= steps[0].keys()
    scores = json.loads((run / "scores.json").read_text())
    assert scores["validation"] == outcome.scores
    assert scores["validation"]["psnr_y"] == pytest.approx(evaluations[-1]["psnr_y"], abs=1e-3)
    network = load_network(run / "model.onnx")
    assert network.config == recipe.network
    average = final_state(run)["average"]
    weight = average["stem.conv.weight"].half().float()
    assert torch.equal(network.get_parameter("stem.conv.weight"), weight)


@pytest.mark.usefixtures("no_results")
@pytest.mark.parametrize(
    "values",
    [
        {},
        {**BLIND, **ADVERSARIAL},
        {**BLIND, "adversarial": {**ADVERSARIAL["adversarial"], "discriminator_crop": 16}},
        {**ADVERSARIAL, "network": {**NETWORK, "spectral_norm": True, "norm": "instance"}},
    ],
    ids=["pixel", "adversarial, blind", "adversarial, by squares", "adversarial, spectral norm"],
)
def test_a_stopped_run_ends_where_an_unbroken_one_does(tmp_path, faces, values):
    recipe = tiny_recipe_of(faces, values)
    train(recipe, tmp_path / "unbroken")
    stopped = tmp_path / "stopped"
    seen = []
    for attempt in range(3):
        outcome = train(recipe, stopped, resume=attempt > 0, max_minutes=0.0)
        seen.append(outcome.images_seen)
        assert outcome.reason == "time is up"
    assert seen == [4, 8, 12]
    assert train(recipe, stopped, resume=True).finished
    assert train(recipe, stopped, resume=True).finished, "a finished run has nothing left to do"
    assert_equal_states(tmp_path / "unbroken", stopped)
    logs = [
        [
            {key: value for key, value in json.loads(line).items() if key != "images_per_second"}
            for line in (run / "log.jsonl").read_text().splitlines()
            if '"step"' in line
        ]
        for run in (tmp_path / "unbroken", stopped)
    ]
    assert logs[0] == logs[1]


@pytest.mark.usefixtures("no_results")
def test_training_learns(tmp_path, faces):
    losses = []
    train(
        tiny_recipe(faces, total_images=400, learning_rate=3e-3, warmup_images=20, save_every_images=400),
        tmp_path / "run",
        progress=lambda step: losses.append(float(step["loss/pixel"])),
    )
    assert sum(losses[-10:]) < 0.7 * sum(losses[:10])


@pytest.mark.usefixtures("no_results")
def test_squares_are_kept_even_where_the_recipe_says_so(tmp_path, faces):
    uneven = []
    for even in (False, True):
        run = tmp_path / str(even)
        network = {**NETWORK, "pixel_unshuffle": 2, "body_size": 8}
        train(tiny_recipe_of(faces, {"network": network}, even_squares=even), run)
        for part in ("network", "average"):
            weight = load_newest(run)[0].modules[part]["output.conv.weight"]
            answers = weight.sum(dim=(2, 3)).view(3, 4, -1)
            uneven.append(float(answers.std(dim=1).mean()))
    assert min(uneven[:2]) > 0.01
    assert uneven[2] < 1e-6
    assert uneven[3] < 0.5 * uneven[1], "the average forgets how it began"


@pytest.mark.parametrize("network", [NETWORK, {**NETWORK, "pixel_unshuffle": 2, "spectral_norm": True}])
def test_even_squares_need_squares(faces, network):
    with pytest.raises(RecipeError, match="even_squares needs a network with pixel_unshuffle, without"):
        tiny_recipe_of(faces, {"network": network}, even_squares=True)


@pytest.mark.usefixtures("no_results")
def test_discriminators_can_judge_squares(tmp_path, faces, monkeypatch):
    judged = []
    forward = MultiScaleDiscriminator.forward

    def looks(network, pictures):
        judged.append(pictures.detach().clone())
        return forward(network, pictures)

    monkeypatch.setattr(MultiScaleDiscriminator, "forward", looks)
    originals = []

    def keeps(critic, pair, made, **options):
        originals.append(to_signed(pair.hr))
        return discriminator_step(critic, pair, made, **options)

    monkeypatch.setattr(loop, "discriminator_step", keeps)
    values = {**BLIND, "adversarial": {**ADVERSARIAL["adversarial"], "discriminator_crop": 16}}
    train(tiny_recipe_of(faces, values), tmp_path / "run")
    assert len(judged) == 4 * len(originals) > 0
    places = set()
    for batch, hr in enumerate(originals):
        made, original, original_again, made_again = judged[4 * batch : 4 * batch + 4]
        assert torch.equal(made, made_again), "the generator and the discriminators look at one square"
        assert torch.equal(original, original_again)
        side = hr.shape[-1] - 16 + 1
        found = [
            (top, left)
            for top in range(side)
            for left in range(side)
            if torch.equal(hr[..., top : top + 16, left : left + 16], original)
        ]
        assert len(found) == 1
        places.update(found)
    assert len(places) > 1


def test_a_square_too_small_for_the_discriminators_is_refused(faces):
    config = {**ADVERSARIAL["adversarial"], "discriminator": TWO_SCALES, "discriminator_crop": 16}
    with pytest.raises(RecipeError, match="discriminator_crop must be at least 24 px for 2 scales, got 16"):
        tiny_recipe_of(faces, {**BLIND, "adversarial": config})


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.usefixtures("no_results")
def test_adversarial_losses_are_finite_and_logged_by_name(tmp_path, faces, precision):
    values = {**BLIND, "adversarial": {**ADVERSARIAL["adversarial"], "discriminator": TWO_SCALES}}
    train(tiny_recipe_of(faces, values, precision=precision), tmp_path / "run")
    steps = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    steps = [step for step in steps if step["kind"] == "step"]
    assert "loss/adversarial" not in steps[0]
    named = {
        "loss/generator",
        "loss/pixel",
        "loss/adversarial",
        "loss/feature_matching",
        "loss/discriminator",
    }
    assert named <= steps[-1].keys()
    assert all(abs(steps[-1][name]) < 1e6 for name in named)


@pytest.mark.usefixtures("no_results")
def test_checkpointing_changes_nothing_but_memory(tmp_path, faces):
    values = {"network": {**NETWORK, "norm": "instance", "spectral_norm": True}}
    for name, checkpointing in (("plain", False), ("again", True)):
        train(tiny_recipe_of(faces, values, checkpointing=checkpointing), tmp_path / name)
    assert_equal_states(tmp_path / "plain", tmp_path / "again")


@pytest.mark.usefixtures("no_results")
@pytest.mark.parametrize(
    ("name", "loss"), [("l1", pixel_loss), ("charbonnier", charbonnier_loss), ("mse", squared_loss)]
)
def test_a_recipe_names_its_pixel_loss(tmp_path, faces, monkeypatch, name, loss):
    expected: list[float] = []

    def judged(trainee, pair, **options):
        numbers, sr = step(trainee, pair, **options)
        expected.append(float(loss(sr, to_signed(pair.hr))))
        return numbers, sr

    step = generator_step
    monkeypatch.setattr(loop, "generator_step", judged)
    train(tiny_recipe(faces, loss=name, total_images=8), tmp_path / "run")
    assert step_losses(tmp_path / "run") == pytest.approx(expected, rel=1e-4)


@pytest.mark.usefixtures("no_results")
def test_a_loss_that_is_no_number_stops_the_run_and_keeps_the_last_good_state(tmp_path, faces, monkeypatch):
    def poisoned(trainee, pair, **options):
        numbers, sr = step(trainee, pair, **options)
        if options["images_seen"] >= 8:
            numbers["loss/pixel"] = torch.tensor(float("nan"))
        return numbers, sr

    step = generator_step
    monkeypatch.setattr(loop, "generator_step", poisoned)
    with pytest.raises(TrainingDivergedError, match="loss/pixel is nan"):
        train(tiny_recipe(faces), tmp_path / "run")
    assert load_newest(tmp_path / "run")[0].images_seen == 8


@pytest.mark.usefixtures("no_results")
@pytest.mark.parametrize("size", [float("inf"), 1e30])
def test_weights_that_make_no_pictures_are_not_saved(tmp_path, faces, monkeypatch, size):
    """The loss of a step is that of the weights before it, and says nothing of those that are saved."""

    def bursts(trainee, pair, **options):
        done = step(trainee, pair, **options)
        if options["images_seen"] >= 8:
            with torch.no_grad():
                trainee.network.get_parameter("output.conv.weight").fill_(size)
                trainee.network.get_parameter("stem.conv.weight").fill_(size)
        return done

    step = generator_step
    monkeypatch.setattr(loop, "generator_step", bursts)
    with pytest.raises(TrainingDivergedError, match="before image 12: a weight or a pixel made is nan"):
        train(tiny_recipe(faces), tmp_path / "run")
    assert load_newest(tmp_path / "run")[0].images_seen == 8
    monkeypatch.setattr(loop, "generator_step", step)
    assert train(tiny_recipe(faces), tmp_path / "run", resume=True).finished


@pytest.mark.usefixtures("no_results")
def test_changed_decay_rates_hold_for_a_run_that_goes_on(tmp_path, faces):
    values = {**BLIND, **ADVERSARIAL}
    train(tiny_recipe_of(faces, values, total_images=12), tmp_path / "run")
    values["adversarial"] = {**ADVERSARIAL["adversarial"], "betas": [0.3, 0.7]}
    train(tiny_recipe_of(faces, values, total_images=16, betas=[0.5, 0.9]), tmp_path / "run", resume=True)
    state = final_state(tmp_path / "run")
    assert [tuple(group["betas"]) for group in state["optimizer"]["param_groups"]] == [(0.5, 0.9)]
    groups = state["discriminator_optimizer"]["param_groups"]
    assert [tuple(group["betas"]) for group in groups] == [(0.3, 0.7)]


def test_a_run_starts_from_other_weights(tmp_path, faces, first_model):
    values = {"initial_weights": str(first_model)}
    train(tiny_recipe_of(faces, values, total_images=4, learning_rate=1e-12), tmp_path / "second")
    started = final_state(tmp_path / "second")["network"]["stem.conv.weight"]
    torch.testing.assert_close(started, load_network(first_model).get_parameter("stem.conv.weight"))
    other = {**values, "network": {**NETWORK, "body_units": 2}}
    with pytest.raises(WeightsError, match="another architecture: body_units is 1, the recipe has 2"):
        train(tiny_recipe_of(faces, other), tmp_path / "third")


def test_a_network_with_spectral_norm_starts_as_the_one_whose_weights_it_takes(tmp_path, faces):
    """Its estimates of the norms are of the weights it takes, not of those that chance gave it."""
    spectral = {**NETWORK, "spectral_norm": True, "norm": "instance"}
    train(tiny_recipe_of(faces, {"network": spectral}, total_images=8), tmp_path / "first")
    path = tmp_path / "first" / "model.onnx"
    values = {"network": spectral, "initial_weights": str(path)}
    recipe = tiny_recipe_of(faces, values)
    trainee = build_trainee(recipe, loop.open_fabric(recipe), notice=lambda _: None)
    source, x = load_network(path), torch.rand(2, 3, 32, 32) * 2 - 1
    for network in (trainee.network, trainee.average.network):
        with torch.no_grad():
            made, wanted = network.eval()(x), source.eval()(x)
        # The file's weights were divided by estimates of their norms, these by the norms themselves.
        torch.testing.assert_close(made, wanted, rtol=0, atol=0.05 * wanted.abs().max().item())


def test_weights_that_have_no_spectral_norm_are_refused_where_the_network_has_it(faces, first_model):
    values = {"network": {**NETWORK, "spectral_norm": True}, "initial_weights": str(first_model)}
    recipe = tiny_recipe_of(faces, values)
    with pytest.raises(WeightsError, match=r"was trained without spectral norm: that of .* is 0\.\d+"):
        build_trainee(recipe, loop.open_fabric(recipe), notice=lambda _: None)


def test_a_run_goes_on_without_the_weights_it_began_with(tmp_path, faces, first_model):
    recipe = tiny_recipe_of(faces, {"initial_weights": str(first_model)}, total_images=4)
    train(recipe, tmp_path / "second")
    first_model.unlink()
    longer = recipe.model_copy(update={"train": recipe.train.model_copy(update={"total_images": 8})})
    assert train(longer, tmp_path / "second", resume=True).images_seen == 8
    with pytest.raises(WeightsError, match="no such model file"):
        train(longer, tmp_path / "third")


@pytest.mark.usefixtures("no_results")
def test_what_a_run_began_with_stays_in_its_recipe(tmp_path, faces):
    told: list[str] = []
    train(tiny_recipe(faces, total_images=4), tmp_path / "run")
    other = tiny_recipe_of(faces, {"initial_weights": "no/such/model.onnx"}, total_images=8)
    train(other, tmp_path / "run", resume=True, notice=told.append)
    assert read_toml(tmp_path / "run" / "recipe.toml").get("initial_weights") is None
    assert "initial_weights" not in "".join(told)


@pytest.mark.usefixtures("no_results")
def test_a_run_that_stops_where_it_was_judged_is_judged_once(tmp_path, faces):
    train(tiny_recipe(faces, total_images=12, evaluate_every_images=4), tmp_path / "whole")
    train(tiny_recipe(faces, evaluate_every_images=4), tmp_path / "stopped", max_minutes=0.0)
    for run, wanted in (("whole", [4, 8, 12]), ("stopped", [4])):
        lines = [json.loads(line) for line in (tmp_path / run / "log.jsonl").read_text().splitlines()]
        assert [line["images_seen"] for line in lines if line["kind"] == "evaluation"] == wanted


def test_a_run_starts_from_the_inner_units_of_a_larger_network(tmp_path, faces, first_model):
    inner = {"pixel_unshuffle": 2, "base_channels": 4, "body_units": 3}
    values = {"initial_weights": str(first_model), "network": {**NETWORK, **inner}}
    train(tiny_recipe_of(faces, values, total_images=4, learning_rate=1e-12), tmp_path / "second")
    started = final_state(tmp_path / "second")["network"]["body.0.branch.conv1.scale_conv.conv.weight"]
    origin = load_network(first_model).get_parameter("body.0.branch.conv1.scale_conv.conv.weight")
    torch.testing.assert_close(started, origin)


def test_a_run_starts_from_a_network_of_folded_pixels_and_folds_again(tmp_path, faces, monkeypatch):
    """As a network for faces of 512 px begins with one that reads them at 16 px."""
    inner = {"pixel_unshuffle": 2, "base_channels": 4, "body_units": 3}
    train(tiny_recipe_of(faces, {"network": {**NETWORK, **inner}}, total_images=4), tmp_path / "inner")
    monkeypatch.setattr(loop, "write_results", lambda *_, **__: {"psnr_y": 0.0})
    folded = {"image_size": 64, "pixel_unshuffle": 2, "encoder_skips": True, "global_residual": "detail"}
    values = {
        "initial_weights": str(tmp_path / "inner" / "model.onnx"),
        "network": {**NETWORK, **folded},
        "data": {"train": [str(write_faces(tmp_path / "large", px=80))], "holdout_people": 1},
    }
    train(tiny_recipe_of(faces, values, total_images=4, learning_rate=1e-12), tmp_path / "outer")
    made = final_state(tmp_path / "outer")["network"]
    origin = final_state(tmp_path / "inner")["average"]
    for unit in ("body.0", "decoder.0", "encoder.1"):
        name = f"{unit}.branch.conv1.scale_conv.conv.weight"
        theirs = name.replace("encoder.1", "encoder.0")
        torch.testing.assert_close(made[name], origin[theirs], rtol=0, atol=1e-4)
    assert "body.1.branch.conv1.scale_conv.conv.weight" not in made


def test_a_network_may_read_faces_enlarged_to_less_than_their_full_size(tmp_path, faces):
    values = {"network": {**NETWORK, "input_size": 16}}
    train(tiny_recipe_of(faces, values, total_images=4), tmp_path / "run")
    engine = OpenvinoEngine(tmp_path / "run" / "model.onnx", threads=1)
    assert (engine.info.input_size, engine.info.upscale_factor) == (16, 4)
    prepared = prepare_face(np.full((8, 8, 3), 90, dtype=np.uint8), engine.info)
    assert engine.run(prepared.lr_up[None]).shape == (1, 32, 32, 3)
    scores = json.loads((tmp_path / "run" / "scores.json").read_text())
    assert np.isfinite(scores["validation"]["psnr_y"])


def test_a_network_that_enlarges_may_learn_from_bad_tiny_faces(tmp_path, faces):
    bad = {"lr_size_px": (64, 128), "jpeg_probability": 1.0, "grayscale_probability": 0.0}
    plain, worse = (
        train(tiny_recipe_of(faces, values), tmp_path / name).scores
        for name, values in (("plain", {}), ("bad", {"degradation": bad}))
    )
    engine = OpenvinoEngine(tmp_path / "bad" / "model.onnx", threads=1)
    assert (engine.info.task, engine.info.upscale_factor) == ("upscale", 4)
    assert worse["input_psnr_y"] < plain["input_psnr_y"] - 0.5


def test_a_run_starts_from_a_network_for_smaller_faces(tmp_path, first_model):
    large = write_faces(tmp_path / "large", px=80)
    twice = {"image_size": 64, "body_size": 16, "attention_smallest_size": 8}
    values = {
        "initial_weights": str(first_model),
        "network": {**NETWORK, **twice},
        "data": {"train": [str(large)], "validation": str(large), "validation_images": 2},
    }
    train(tiny_recipe_of(large, values, total_images=4, learning_rate=1e-12), tmp_path / "second")
    first, second = (
        final_state(tmp_path / run)["average"]["stem.conv.weight"] for run in ("first", "second")
    )
    torch.testing.assert_close(first, second, rtol=0, atol=1e-4)  # the file holds half precision
    values["network"] = {**NETWORK, **twice, "encoder_skips": True}
    train(tiny_recipe_of(large, values, total_images=4, learning_rate=1e-12), tmp_path / "skipping")
    skipping = final_state(tmp_path / "skipping")["average"]
    torch.testing.assert_close(skipping["stem.conv.weight"], second)
    assert skipping["skips.0.weight"].abs().max() < 1e-6
    folded = {"image_size": 64, "pixel_unshuffle": 2, "refine_channels": 2}
    values["network"] = {**NETWORK, **folded}
    train(tiny_recipe_of(large, values, total_images=4, learning_rate=1e-12), tmp_path / "refining")
    refining = final_state(tmp_path / "refining")["average"]
    assert refining["refinement.conv1.conv.weight"].abs().max() > 0
    assert refining["refinement.conv2.conv.weight"].abs().max() < 1e-6
    values["network"] = {**NETWORK, **twice, "body_size": 8}
    with pytest.raises(WeightsError, match="another architecture: image_size is 32"):
        train(tiny_recipe_of(large, values), tmp_path / "third")


@pytest.mark.usefixtures("no_results")
def test_a_run_starts_from_the_discriminators_of_another(tmp_path, faces):
    train(tiny_recipe_of(faces, {**BLIND, **ADVERSARIAL}), tmp_path / "first")
    first = final_state(tmp_path / "first")["discriminator"]
    values = {**ADVERSARIAL["adversarial"], "initial_discriminators": str(tmp_path / "first")}
    values |= {"start_images": 0, "learning_rate": 1e-12}
    recipe = tiny_recipe_of(faces, {**BLIND, "adversarial": values}, total_images=4)
    train(recipe, tmp_path / "second")
    taken = final_state(tmp_path / "second")["discriminator"]
    assert taken.keys() == first.keys()
    for name, tensor in taken.items():
        if not name.endswith(("._u", "._v")):  # spectral normalisation moves its vectors in each step
            torch.testing.assert_close(tensor, first[name], rtol=0, atol=1e-6)
    other = {**values, "discriminator": TWO_SCALES}
    with pytest.raises(WeightsError, match="are of another architecture"):
        train(tiny_recipe_of(faces, {**BLIND, "adversarial": other}), tmp_path / "third")
    train(tiny_recipe(faces, total_images=4), tmp_path / "plain")
    other = {**values, "initial_discriminators": str(tmp_path / "plain")}
    with pytest.raises(WeightsError, match="plain: its states have none"):
        train(tiny_recipe_of(faces, {**BLIND, "adversarial": other}), tmp_path / "third")
    other = {**values, "initial_discriminators": str(tmp_path / "nowhere")}
    with pytest.raises(WeightsError, match="nowhere: no saved state"):
        train(tiny_recipe_of(faces, {**BLIND, "adversarial": other}), tmp_path / "third")


@pytest.mark.usefixtures("no_results")
def test_damaged_discriminators_are_told_of(tmp_path, faces):
    train(tiny_recipe_of(faces, {**BLIND, **ADVERSARIAL}), tmp_path / "first")
    saved_states(tmp_path / "first")[-1].write_bytes(b"x")
    values = {**ADVERSARIAL["adversarial"], "initial_discriminators": str(tmp_path / "first")}
    told: list[str] = []
    recipe = tiny_recipe_of(faces, {**BLIND, "adversarial": values})
    build_trainee(recipe, loop.open_fabric(recipe), notice=told.append)
    assert len(told) == 1
    assert "damaged or half-written" in told[0]
    assert told[0].startswith("initial_discriminators: ")
    assert told[0].endswith("using the state before it")


@pytest.mark.usefixtures("no_results")
def test_discriminators_that_no_loss_needs_are_not_trained(tmp_path, faces):
    values = ADVERSARIAL["adversarial"] | {"start_images": 0}
    values["weights"] = {"perceptual": 0.0, "adversarial": 0.0, "feature_matching": 0.0}
    recipe = tiny_recipe_of(faces, {**BLIND, "adversarial": values}, total_images=8)
    assert train(recipe, tmp_path / "run").finished
    assert final_state(tmp_path / "run").keys() == {"network", "average", "optimizer"}
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    losses = [{key for key in line if key.startswith("loss/")} for line in lines if line["kind"] == "step"]
    assert losses == [{"loss/generator", "loss/pixel"}] * 2


def test_discriminators_begin_alike_whatever_judges_beside_them(faces, monkeypatch):
    """Rows of Table VI that differ in a loss must not differ in chance as well."""

    class Features(torch.nn.Conv2d):
        name = "vgg16"

    monkeypatch.setattr(trainee_module, "load_vgg", lambda **_: Features(3, 4, 3))
    begun = []
    for perceptual in (0.0, 1.0):
        values = ADVERSARIAL["adversarial"] | {"weights": {"perceptual": perceptual}}
        recipe = tiny_recipe_of(faces, {**BLIND, "adversarial": values})
        trainee = build_trainee(recipe, loop.open_fabric(recipe), notice=lambda _: None)
        assert (trainee.perceptual is not None) == (perceptual > 0)
        assert trainee.critic is not None
        begun.append(trainee.critic.network.state_dict())
    for name, tensor in begun[0].items():
        assert torch.equal(tensor, begun[1][name]), name


@pytest.mark.slow
@pytest.mark.usefixtures("no_results")
def test_the_adversarial_recipe_overfits_one_batch(tmp_path, faces):
    """Two faces at 64 px, degraded, again and again: what comes out must come close to them."""
    large = write_faces(tmp_path / "large", count=2, px=64)
    values = {
        "upscale_factor": None,
        "degradation": {"blur_probability": 1.0, "grayscale_probability": 0.0},
        "network": {"preset": "sparnet-hd-light", **OVERFITTED},
        "data": {
            "train": [str(large)],
            "validation": str(large),
            "validation_images": 2,
            "validation_framing": 1.0,
            "augment": {"flip": False, "zoom": [1.0, 1.0]},
        },
        "adversarial": {
            "start_images": 200,
            "weights": {"perceptual": 0.0},
            "discriminator": {"scales": 2, "halvings": 3, "base_channels": 8, "max_channels": 32},
        },
    }
    steps: list[dict] = []
    recipe = tiny_recipe_of(
        large,
        values,
        total_images=1200,
        batch_size=2,
        learning_rate=2e-3,
        warmup_images=20,
        log_every_images=1200,
        evaluate_every_images=1200,
        save_every_images=1200,
    )
    train(recipe, tmp_path / "run", progress=steps.append)
    pixel = [float(step["loss/pixel"]) for step in steps]
    matching = [float(step["loss/feature_matching"]) for step in steps if "loss/feature_matching" in step]
    assert sum(pixel[-20:]) < 0.35 * sum(pixel[:20])
    assert sum(matching[-20:]) < sum(matching[:20])


@pytest.mark.usefixtures("no_results")
def test_a_run_is_neither_overwritten_nor_resumed_as_another(tmp_path, faces):
    run = tmp_path / "run"
    train(tiny_recipe(faces, total_images=4), run)
    with pytest.raises(RecipeError, match="holds a run already"):
        train(tiny_recipe(faces), run)
    with pytest.raises(RecipeError, match="another 'network'"):
        train(tiny_recipe_of(faces, {"network": {**NETWORK, "body_units": 2}}), run, resume=True)
    with pytest.raises(RecipeError, match="no run to resume"):
        train(tiny_recipe(faces), tmp_path / "nothing", resume=True)
    with pytest.raises(RecipeError, match=r"has seen 4 images already, train\.total_images is 2"):
        train(tiny_recipe(faces, total_images=2), run, resume=True)
    assert parse_recipe(read_toml(run / "recipe.toml"), source="run").train.total_images == 4


@pytest.mark.usefixtures("no_results")
def test_what_a_resumed_run_was_until_then_stays_in_its_log(tmp_path, faces):
    run = tmp_path / "run"
    told: list[str] = []
    train(tiny_recipe(faces, total_images=8), run)
    train(tiny_recipe(faces, total_images=8), run, resume=True, notice=told.append)
    assert not any("another recipe" in line for line in told)
    train(tiny_recipe(faces, total_images=12, loss="mse"), run, resume=True, notice=told.append)
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    (found,) = [line for line in lines if line["kind"] == "recipe"]
    assert found["images_seen"] == 8
    assert found["was"] == {"train.total_images": 8, "train.loss": "l1"}
    assert any("train.loss = 'mse' (was 'l1')" in line for line in told)


@pytest.mark.usefixtures("no_results")
@pytest.mark.skipif(sys.platform == "win32", reason="folders cannot be locked")
def test_a_folder_that_another_training_writes_to_is_refused(tmp_path, faces):
    run = tmp_path / "run"
    refused: list[int] = []

    def start_another(_):
        if not refused:
            with pytest.raises(RecipeError, match="run: another training writes to it"):
                train(tiny_recipe(faces, total_images=4), run)
            refused.append(1)

    train(tiny_recipe(faces, total_images=8, save_every_images=100), run, progress=start_another)
    assert refused
    assert len(step_losses(run)) == 2, "the log is the first one's"
    assert train(tiny_recipe(faces, total_images=12), run, resume=True).images_seen == 12


def test_faces_that_are_judged_by_and_trained_on_are_told_of(tmp_path, faces):
    """A folder to judge on that lies in the one trained on is read with it."""
    write_faces(faces / "val", count=1)
    write_faces(tmp_path / "others", count=3, px=44)
    told: list[str] = []
    for judged in (faces / "val", tmp_path / "others"):
        data = {"train": [str(faces)], "validation": str(judged)}
        loop.load_data(tiny_recipe_of(faces, {"data": data}), notice=told.append)
    assert len(told) == 1
    assert told[0].startswith("1 of the 1 faces to judge by are trained on as well")
    loop.load_data(tiny_recipe_of(faces, {"data": {"train": [str(faces)], "holdout_people": 2}}))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"data": {"train": ["nowhere"], "holdout_people": 1}}, "data.train: nowhere: no such folder"),
        ({"network": {**NETWORK, "image_size": 64}}, "smaller than the crop of 64 px"),
    ],
)
def test_wrong_data_is_refused_before_training(tmp_path, faces, values, message):
    with pytest.raises(DataError, match=message):
        train(tiny_recipe_of(faces, values), tmp_path / "run")
    assert not (tmp_path / "run").exists()


PROGRAM = """
import sys
import time
from pathlib import Path
from sparnet.training import loop
from sparnet.training.recipe import load_recipe
import torch
torch.set_num_threads(1)
loop.write_results = lambda *_, **__: {"psnr_y": 0.0}
run = Path(sys.argv[2])
fabric = loop.open_fabric(load_recipe(Path(sys.argv[1])), devices=int(sys.argv[3]))
def wait(step):
    if step["images_seen"] >= int(sys.argv[4]):
        time.sleep(600)
print("ready", flush=True)
resume = bool(loop.saved_states(run))
outcome = loop.train(load_recipe(Path(sys.argv[1])), run, fabric=fabric, resume=resume, progress=wait)
print(outcome.reason, outcome.images_seen, flush=True)
"""


def start(tmp_path: Path, recipe, run: Path, *, devices: int = 1, until: int = 10**9) -> subprocess.Popen:
    """Run the loop in a process of its own, resuming whatever state there is.

    After `until` images it waits to be killed.
    """
    toml, program = tmp_path / "tiny.toml", tmp_path / "program.py"
    toml.write_text(recipe_to_toml(recipe), encoding="utf-8")
    program.write_text(PROGRAM, encoding="utf-8")
    command = [sys.executable, str(program), str(toml), str(run), str(devices), str(until)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )


@pytest.mark.usefixtures("no_results")
def test_a_killed_run_ends_where_an_unbroken_one_does(tmp_path, faces):
    recipe = tiny_recipe(faces, total_images=400, save_every_images=4)
    train(recipe, tmp_path / "unbroken")
    run = tmp_path / "killed"
    for kill in range(3):
        process = start(tmp_path, recipe, run, until=300)
        before = len(_images(run))
        deadline = time.monotonic() + 120
        while _images(run) == [] or len(_images(run)) < before or _newest(run) < 60 * (kill + 1):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.kill()
        process.communicate()
        assert _newest(run) < 400
    process = start(tmp_path, recipe, run)
    assert "done 400" in process.communicate(timeout=240)[0]
    assert_equal_states(tmp_path / "unbroken", run)


def _images(run: Path) -> list[int]:
    return [int(path.stem.split("-")[1]) for path in saved_states(run)]


def _newest(run: Path) -> int:
    return max(_images(run), default=0)


def test_sigterm_saves_and_stops(tmp_path, faces):
    recipe = tiny_recipe(faces, total_images=100_000, save_every_images=100_000, log_every_images=4)
    run = tmp_path / "run"
    process = start(tmp_path, recipe, run)
    log = run / "log.jsonl"
    deadline = time.monotonic() + 120
    while not log.exists() or log.stat().st_size == 0:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    output = process.communicate(timeout=60)[0]
    assert "SIGTERM" in output
    assert _newest(run) > 0
    assert f"SIGTERM {_newest(run)}" in output


@pytest.mark.parametrize(
    "values",
    [
        {},
        {**BLIND, **ADVERSARIAL},
        {**ADVERSARIAL, "network": {**NETWORK, "spectral_norm": True, "norm": "instance"}},
    ],
    ids=["pixel", "adversarial, blind", "adversarial, spectral norm"],
)
def test_two_processes_train_as_one_does(tmp_path, faces, values, no_results):
    recipe = tiny_recipe_of(faces, values, batch_size=4, total_images=16, evaluate_every_images=8)
    train(recipe, tmp_path / "one")
    process = start(tmp_path, recipe, tmp_path / "two", devices=2)
    output, errors = process.communicate(timeout=240)
    assert "done 16" in output, errors
    losses = [step_losses(tmp_path / name) for name in ("one", "two")]
    assert len(losses[0]) == 4
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    one, two = final_state(tmp_path / "one"), final_state(tmp_path / "two")
    assert one.keys() == two.keys()
    assert ("discriminator" in one) == (recipe.adversarial is not None)
    for part in {"average", "discriminator"} & one.keys():
        assert one[part].keys() == two[part].keys()
        # Adam makes a whole step of a gradient that is only rounding, so a few weights may differ more.
        differences = torch.cat(
            [(two[part][name].float() - value.float()).abs().flatten() for name, value in one[part].items()]
        )
        assert differences.mean() < 2e-5
        assert differences.max() < 4 * recipe.train.learning_rate


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_told_of_with_the_name_of_the_run(tmp_path, faces, monkeypatch):
    run = tmp_path / "run"
    run.mkdir()
    (run / "log.jsonl").symlink_to("/dev/full")
    monkeypatch.setattr(training_log, "read_json_lines", lambda _: [])  # the device never ends
    monkeypatch.setattr(training_log, "write_whole", lambda *_: None)  # it would take the device's place
    with pytest.raises(SparnetError, match=r"run: cannot be written \(No space left on device\)"):
        train(tiny_recipe(faces), run)


def test_a_batch_that_cannot_be_shared_out_is_refused(faces):
    with pytest.raises(RecipeError, match=r"train\.batch_size must be a multiple of the 3 devices, got 4"):
        loop.open_fabric(tiny_recipe(faces), devices=3)
