"""Damaged and hostile files among good ones, given to the program as a shell would."""

import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sparnet.image import read_image, show_path
from tests.hostile import write_good_files, write_hostile_files

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="such names and files are not possible there")

GOOD, HOSTILE = 20, 200
HIGHEST_MEMORY_BYTES = 1.2e9
"""Twice what the program needs for small photos; each of the bombs would take gigabytes."""


@pytest.fixture(scope="module")
def model(make_variant, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("model") / "small.onnx"
    return make_variant(path, task="restore", upscale_factor=None, name="small")


def run(*words: object, cwd: Path) -> tuple[subprocess.CompletedProcess, int]:
    """Run the program whole, in a process of its own; return how it ended and its peak memory."""
    command = [sys.executable, "-m", "sparnet", *map(str, words)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd, timeout=100)
    per_unit = 1 if sys.platform == "darwin" else 1024
    return ended, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * per_unit


def test_200_hostile_files_are_named_and_20_good_ones_among_them_restored(model, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    hostile, good = write_hostile_files(folder, HOSTILE), write_good_files(folder, GOOD)
    assert (len(set(hostile)), len(set(good))) == (HOSTILE, GOOD)
    mixed = sorted([*hostile, *good])
    ended, memory = run("restore", *mixed, "-o", tmp_path / "out", "-m", model, cwd=tmp_path)
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    lines = [line for line in ended.stderr.splitlines() if "no face found" not in line]
    assert all(line.startswith("sparnet: ") for line in lines)
    assert len(lines) == HOSTILE
    for path in hostile:
        reasons = [line for line in lines if line.startswith(f"sparnet: {show_path(path)}: ")]
        assert len(reasons) == 1, show_path(path)
        assert len(reasons[0].removeprefix(f"sparnet: {show_path(path)}: ")) > 5
    assert f"20 photos with 20 faces restored to {show_path(tmp_path / 'out')}, 200 failed" in ended.stdout
    made = {path.name for path in (tmp_path / "out").iterdir()}
    assert made == {path.name for path in good}
    for path in good:
        before, after = read_image(path), read_image(tmp_path / "out" / path.name)
        assert after.shape == before.shape
        assert (np.abs(after.astype(int) - before) > 20).any(), "a face is restored"
    assert not (tmp_path / "owned").exists()
    assert memory < HIGHEST_MEMORY_BYTES


def test_in_a_folder_they_are_named_as_well(model, tmp_path):
    """What is no file, such as a folder named like a photo, is none of the photos of a folder."""
    folder = tmp_path / "photos"
    folder.mkdir()
    hostile, good = write_hostile_files(folder, 60), write_good_files(folder, 2)
    ended, _ = run("restore", "-r", folder, "-o", tmp_path / "out", "-m", model, cwd=tmp_path)
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    for path in hostile:
        assert path.is_dir() or f"sparnet: {show_path(path)}: " in ended.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(path.name for path in good)
