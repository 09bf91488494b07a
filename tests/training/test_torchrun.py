"""Training that torchrun starts, as docs/scale.md shows: processes on a CPU stand for GPUs and machines."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from sparnet.training.loop import train
from sparnet.training.recipe import recipe_to_toml
from sparnet.training.state import load_newest
from sparnet.weights.seal import check_seal
from tests.training.tiny import step_losses, tiny_recipe, write_faces


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as opened:
        return opened.getsockname()[1]


def torchrun(*words: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "torch.distributed.run", *map(str, words)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="gloo between processes is tried on Linux alone")
@pytest.mark.parametrize("nodes", [1, 2], ids=["one machine", "two machines"])
def test_what_torchrun_starts_trains_as_one_process_does(tmp_path: Path, nodes: int):
    recipe = tiny_recipe(write_faces(tmp_path / "faces"), total_images=16, evaluate_every_images=8)
    (tmp_path / "recipe.toml").write_text(recipe_to_toml(recipe))
    run = tmp_path / "two"
    words = ["-m", "sparnet", "train", tmp_path / "recipe.toml", "-o", run, "--devices", 2 // nodes]
    if nodes == 1:
        started = [torchrun("--standalone", "--nproc-per-node", 2, *words)]
    else:
        meeting = ["--rdzv-backend", "c10d", "--rdzv-endpoint", f"127.0.0.1:{free_port()}"]
        each = ["--nnodes", 2, "--nproc-per-node", 1, "--local-addr", "127.0.0.1", *meeting, *words]
        started = [torchrun(*each, "--nodes", 2) for _ in range(2)]
    try:
        train(recipe, tmp_path / "one")
        said = [process.communicate(timeout=500) for process in started]
    finally:
        for process in started:
            process.kill()
    assert [process.returncode for process in started] == [0] * nodes, said
    assert sum(output.count("done at 16 of 16 images") for output, _ in said) == 1, said
    check_seal(run / "model.onnx")
    losses = [step_losses(tmp_path / name) for name in ("one", "two")]
    assert len(losses[0]) == 4
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    one, two = (load_newest(tmp_path / name)[0].modules["average"] for name in ("one", "two"))
    # Adam makes a whole step of a gradient that is only rounding, so a few weights may differ more.
    differences = torch.cat([(two[key].float() - one[key].float()).abs().flatten() for key in one])
    assert differences.mean() < 2e-5
    assert differences.max() < 4 * recipe.train.learning_rate
