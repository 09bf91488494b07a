"""Schedule, average, state and log of a run."""

import json
import math

import pytest
import torch
from torch import nn

from sparnet.errors import WeightsError
from sparnet.training.ema import WeightAverage
from sparnet.training.log import RunLog
from sparnet.training.recipe import TrainConfig
from sparnet.training.schedule import learning_rate_at
from sparnet.training.state import KEEP_STATES, TrainState, load_newest, saved_states
from sparnet.training.trainee import square_at_random


def test_a_random_square_lies_inside_and_depends_on_seed_and_time_alone():
    squares = [square_at_random(64, 32, seed=1, images_seen=seen) for seen in range(0, 400, 4)]
    assert len({(rows.start, columns.start) for rows, columns in squares}) > 50
    for rows, columns in squares:
        assert (rows.stop - rows.start, columns.stop - columns.start) == (32, 32)
        assert min(rows.start, columns.start) >= 0
        assert max(rows.stop, columns.stop) <= 64
    again = square_at_random(64, 32, seed=1, images_seen=8)
    assert again == square_at_random(64, 32, seed=1, images_seen=8)
    assert again != square_at_random(64, 32, seed=2, images_seen=8)
    assert square_at_random(24, 32, seed=1, images_seen=8) == (slice(0, 24), slice(0, 24))


def test_a_fixed_learning_rate_stays():
    config = TrainConfig(schedule="fixed", learning_rate=0.5, total_images=100, batch_size=1)
    assert {learning_rate_at(config, images) for images in (0, 50, 100)} == {0.5}


def test_a_cosine_rises_and_falls_to_its_end():
    config = TrainConfig(
        schedule="cosine",
        learning_rate=1.0,
        total_images=1100,
        warmup_images=100,
        batch_size=10,
        final_learning_rate=0.1,
    )
    assert learning_rate_at(config, 0) == pytest.approx(10 / 110)
    assert learning_rate_at(config, 100) == pytest.approx(1.0)
    assert learning_rate_at(config, 600) == pytest.approx(0.1 + 0.9 * 0.5)
    assert learning_rate_at(config, 1100) == pytest.approx(0.1)
    assert learning_rate_at(config, 350) == pytest.approx(0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi / 4)))


def test_the_average_forgets_half_in_a_halflife():
    network = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(network.weight)
    average = WeightAverage(network, halflife_images=100, rampup=1e9)
    nn.init.ones_(network.weight)
    for step in range(10):
        average.update(network, images_seen=10 * (step + 1), batch_size=10)
    assert average.network.weight.item() == pytest.approx(0.5)


def test_a_halflife_of_zero_follows_exactly_and_buffers_are_copied():
    network = nn.BatchNorm2d(2)
    average = WeightAverage(network, halflife_images=0, rampup=0.05)
    nn.init.constant_(network.weight, 3)
    network.get_buffer("running_mean").fill_(7)
    average.update(network, images_seen=4, batch_size=4)
    assert average.network.weight.tolist() == [3, 3]
    assert average.network.get_buffer("running_mean").tolist() == [7, 7]
    assert not average.network.training


def save(run, images_seen: int):
    return TrainState(images_seen, {"network": {"w": torch.full((3,), float(images_seen))}}).save(run)


def test_a_state_survives_being_saved(tmp_path):
    loaded = TrainState.load(save(tmp_path, 5))
    assert loaded.images_seen == 5
    assert torch.equal(loaded.modules["network"]["w"], torch.full((3,), 5.0))
    assert not list(tmp_path.glob(".sparnet-*"))


def test_the_last_states_are_kept_and_older_ones_removed(tmp_path):
    for images_seen in (5, 10, 15, 20):
        save(tmp_path, images_seen)
    assert [path.name for path in saved_states(tmp_path)] == [
        "state-000000000015.pt",
        "state-000000000020.pt",
    ]
    assert KEEP_STATES == 2


def test_a_damaged_last_state_does_not_take_the_place_of_one_to_fall_back_on(tmp_path):
    """A run resumed before it keeps two sound states, as any other does."""
    for images_seen in (10, 20, 12, 14):
        save(tmp_path, images_seen)
    assert [load_newest(tmp_path)[0].images_seen, len(saved_states(tmp_path))] == [14, 2]
    assert TrainState.load(saved_states(tmp_path)[0]).images_seen == 12


@pytest.mark.parametrize("damage", ["cut", "bit", "empty"])
def test_a_damaged_state_is_refused_and_the_one_before_is_used(tmp_path, damage):
    save(tmp_path, 5)
    path = save(tmp_path, 10)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes({"cut": path.read_bytes()[:-7], "bit": bytes(content), "empty": b""}[damage])
    state, refused = load_newest(tmp_path)
    assert state.images_seen == 5
    assert len(refused) == 1
    assert "damaged or half-written" in refused[0]


def test_without_a_sound_state_there_is_nothing_to_resume(tmp_path):
    with pytest.raises(WeightsError, match="no saved state"):
        load_newest(tmp_path)
    save(tmp_path, 5).write_bytes(b"x")
    with pytest.raises(WeightsError, match="damaged"):
        load_newest(tmp_path)


def test_the_log_drops_what_lies_beyond_the_state_and_lines_cut_short(tmp_path):
    path = tmp_path / "log.jsonl"
    first = RunLog(path, images_seen=0)
    for images_seen in (4, 8, 12):
        first.write("step", images_seen, loss=1 / 3)
    first.close()
    with path.open("a") as file:
        file.write('{"kind": "st')
    second = RunLog(path, images_seen=8)
    second.write("step", 12, loss=0.5)
    second.close()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["images_seen"] for line in lines] == [4, 8, 12]
    assert lines[0]["loss"] == 0.333333
    assert lines[2]["loss"] == 0.5
