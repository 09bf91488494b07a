import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path

import torch
from safetensors.torch import load_file

from sparnet.weights.auxiliary import AUXILIARY_FILES
from tests.shared_data import find_shared

SCRIPT = Path(__file__).parents[2] / "scripts" / "metric_files.py"


def published(name: str, folder: Path) -> Path:
    """Write the weights of a shared file as its publisher does: fp32, with what is not kept of them."""
    path = folder / f"{name}-00000000.pth"
    tensors = {
        key: tensor.float()
        for key, tensor in load_file(find_shared(f"models/{name}_features_fp16.safetensors")).items()
    }
    torch.save({**tensors, "classifier.6.bias": torch.zeros(1000)}, path)
    return path


def published_wheel(folder: Path) -> Path:
    """Write the linear layers as the package lpips has them."""
    wheel = folder / "lpips-0.1.4-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for ours, theirs in (("alexnet", "alex"), ("vgg16", "vgg")):
            layers = load_file(find_shared(f"models/lpips_lin_{ours}.safetensors"))
            part = folder / f"{theirs}.pth"
            torch.save(
                {key.replace(".weight", ".model.1.weight"): value for key, value in layers.items()}, part
            )
            archive.write(part, f"lpips/weights/v0.1/{theirs}.pth")
    return wheel


def run(*words: Path | str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, SCRIPT, *words], capture_output=True, text=True, timeout=300, check=False
    )


def test_metric_files_are_made_of_published_ones_to_the_byte(tmp_path: Path) -> None:
    made = tmp_path / "made"
    result = run(
        published("alexnet", tmp_path), published("vgg16", tmp_path), published_wheel(tmp_path), "-o", made
    )
    assert result.returncode == 0, result.stderr
    for key in ("alexnet", "vgg16", "lpips_alex", "lpips_vgg16"):
        file = AUXILIARY_FILES[key]
        assert hashlib.sha256((made / file.name).read_bytes()).hexdigest() == file.sha256


def test_other_weights_are_not_written(tmp_path: Path) -> None:
    path = tmp_path / "alexnet-other.pth"
    torch.save({"features.0.weight": torch.zeros(2, 2)}, path)
    result = run(path, "-o", tmp_path / "made")
    assert result.returncode == 1
    assert "makes another alexnet_features_fp16.safetensors than the one that is known" in result.stderr
    assert list((tmp_path / "made").iterdir()) == []
