"""Logging for TensorBoard, where it is installed."""

import pytest

from sparnet.training import loop
from sparnet.training.loop import train
from tests.training.tiny import tiny_recipe, write_faces

pytest.importorskip("tensorboard", reason="needs tensorboard, an optional package")


def test_a_resumed_run_keeps_the_step_it_was_resumed_at(tmp_path, monkeypatch):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.setattr(loop, "write_results", lambda *_, **__: {"psnr_y": 0.0})
    faces = write_faces(tmp_path / "faces")
    train(tiny_recipe(faces, total_images=8), tmp_path / "run", tensorboard=True)
    train(tiny_recipe(faces, total_images=16), tmp_path / "run", tensorboard=True, resume=True)
    log = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    log.Reload()
    assert [event.step for event in log.Scalars("loss/pixel")] == [4, 8, 12, 16]


def test_scalars_and_pictures_are_logged(tmp_path, monkeypatch):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.setattr(loop, "write_results", lambda *_, **__: {"psnr_y": 0.0})
    train(tiny_recipe(write_faces(tmp_path / "faces")), tmp_path / "run", tensorboard=True)
    log = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    log.Reload()
    assert {"loss/pixel", "learning_rate", "images_per_second", "psnr_y"} <= set(log.Tags()["scalars"])
    assert [event.step for event in log.Scalars("loss/pixel")] == list(range(4, 25, 4))
    assert log.Tags()["images"] == ["face 0", "face 1"]
