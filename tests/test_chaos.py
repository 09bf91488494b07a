"""Disturbed runs: a short version of benchmarks/chaos.py, and of benchmarks/fleet.py."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sparnet.errors import DataError, WeightsError
from sparnet.fleet import Plan, as_uri, restore_by_processes

ROOT = Path(__file__).parents[1]


def run(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env=os.environ,
    )


@pytest.mark.skipif(sys.platform != "linux", reason="forks, and knows the disks of Linux alone")
def test_what_a_disturbed_run_leaves_is_whole_and_a_second_run_completes_it(tmp_path):
    figures = tmp_path / "chaos.json"
    ended = run(
        "benchmarks/chaos.py", "--faults", 20, "--commands", "upscale,prepare", "--json", figures
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert json.loads(figures.read_text())["problems"] == []
    assert "20 faults, 0 problems" in ended.stdout or "full and read-only disks are left out" in ended.stdout


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="forks, and knows the disks of Linux alone")
def test_restoring_and_training_survive_every_fault():
    ended = run("benchmarks/chaos.py", "--faults", 20, "--commands", "restore,train")
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.slow
def test_a_ray_job_that_was_killed_goes_on_where_it_was(make_variant, tmp_path):
    pytest.importorskip("ray", reason="needs the extra [ray]")
    model = make_variant(tmp_path / "small.onnx", task="restore", upscale_factor=None, name="small")
    ended = run("benchmarks/fleet.py", "--photos", 40, "--model", model)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.endswith("all as it should be\n")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for index in range(5):
        pixels = np.full((64, 64, 3), 40 * index, dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.png")
    (folder / "bad.png").write_bytes(b"no picture")
    return folder


def test_two_processes_make_what_one_does_and_name_what_fails(sparnet_cli, make_variant, photos, tmp_path):
    model = make_variant(tmp_path / "small.onnx", task="restore", upscale_factor=None, name="small")
    words = ["restore", photos, "-m", model, "--small-faces", "off"]
    one = sparnet_cli(*words, "-o", tmp_path / "one")
    two = sparnet_cli(*words, "-o", tmp_path / "two", "--engine-workers", 2)
    assert one.code == two.code == 1
    # Which of five equal notes is told, and stands for the others, depends on who was first.
    told = [sorted(re.sub(r"\d\.png and", "one and", line) for line in run.errors) for run in (one, two)]
    assert told[0] == told[1]
    for path in sorted((tmp_path / "one").iterdir()):
        assert (tmp_path / "two" / path.name).read_bytes() == path.read_bytes()
    lines = (tmp_path / "two" / "manifest.jsonl").read_text().splitlines()
    rows = {Path(row["source"]).name: row for row in map(json.loads, lines)}
    assert len(rows) == 6
    assert [name for name, row in rows.items() if row["error"]] == ["bad.png"]


def test_a_line_that_a_killed_run_left_unfinished_is_taken_away(make_variant, photos, tmp_path):
    model = make_variant(tmp_path / "small.onnx", task="restore", upscale_factor=None, name="small")
    manifest = tmp_path / "manifest.jsonl"
    manifest.write_text('{"source": "a"}\n{"sour')
    plan = Plan({"model": str(model), "small_faces": "off"})
    jobs = {photos / "0.png": tmp_path / "out" / "0.png"}
    assert [report["error"] for report in restore_by_processes(jobs, plan, workers=1, manifest=manifest)] == [
        None
    ]
    lines = [json.loads(line) for line in manifest.read_text().splitlines()]
    assert [line["source"] for line in lines] == ["a", str(photos / "0.png")]


def test_a_model_that_is_not_there_is_told_of_once(photos, tmp_path):
    jobs = {photos / "0.png": tmp_path / "0.png"}
    with pytest.raises(WeightsError, match="no such model file"):
        list(restore_by_processes(jobs, Plan({"model": str(tmp_path / "none.onnx")}), workers=2))


def test_a_manifest_that_cannot_be_written_ends_the_run_in_one_line(make_variant, photos, tmp_path):
    model = make_variant(tmp_path / "small.onnx", task="restore", upscale_factor=None, name="small")
    jobs = {photos / "0.png": tmp_path / "0.png"}
    with pytest.raises(DataError, match="cannot be written"):
        list(restore_by_processes(jobs, Plan({"model": str(model)}), workers=1, manifest=tmp_path))


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (Path("s3://bucket/a b"), "s3://bucket/a b"),
        ("s3://bucket/x", "s3://bucket/x"),
        (Path("file:///tmp/x"), "/tmp/x"),  # noqa: S108 - a name, nothing is written
        (Path("photos/2020"), "photos/2020"),
    ],
)
def test_a_uri_survives_being_a_path(given, meant):
    assert as_uri(given) == meant


def test_options_of_one_process_are_refused_with_several(sparnet_cli, photos, tmp_path):
    ended = sparnet_cli("restore", photos, "-o", tmp_path / "out", "--ray", "local", "--save-faces")
    assert ended.code == 2
    assert "does not go with --ray" in ended.err
