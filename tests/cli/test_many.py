"""Many photos in one process, killed and run again: the benchmark's program with few photos."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_a_killed_run_goes_on_and_none_of_its_results_is_half_written(make_variant, tmp_path):
    model = make_variant(tmp_path / "small.onnx", task="restore", upscale_factor=None, name="small")
    command = [sys.executable, "benchmarks/photos.py", "--photos", "16", "--model", str(model)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=os.environ)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "16 photos of 4 to 30 faces" in ended.stdout
    assert "left alone" in ended.stdout
    assert ended.stdout.endswith("all as it should be\n")
