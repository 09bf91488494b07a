"""What the README promises: public names, quick starts, no torch in the runtime half."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from jaxtyping import TypeCheckError

import sparnet
from sparnet.image import resize_bicubic

ROOT = Path(__file__).parents[1]
PUBLIC = [
    "Restoration",
    "Restorer",
    "Upscaler",
    "build_network",
    "degrade",
    "load_network",
    "load_official",
    "psnr_y",
    "read_image",
    "restore",
    "restore_video",
    "ssim_y",
    "upscale",
    "write_image",
]
COMMANDS = [
    "upscale",
    "restore",
    "attention",
    "models",
    "prepare",
    "degrade",
    "train",
    "evaluate",
    "benchmark",
    "serve",
    "reproduce",
]


def python(code: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)


def test_the_checker_is_on():
    """Only the checker refuses this; without it the call returns nonsense."""
    with pytest.raises(TypeCheckError):
        resize_bicubic(np.zeros((4, 4, 3), dtype=np.float32), 8, 8)


def test_the_public_names_are_these():
    assert sorted(sparnet._PUBLIC) == sorted(PUBLIC)
    for name in PUBLIC:
        assert callable(getattr(sparnet, name))
    with pytest.raises(AttributeError, match="nix"):
        _ = sparnet.nix


def test_importing_the_package_loads_nothing_heavy():
    heavy = ["numpy", "torch", "openvino", "cv2", "PIL", "pydantic"]
    ended = python(f"import sparnet, sys; print([name for name in {heavy} if name in sys.modules])")
    assert ended.stdout == "[]\n", ended.stderr


def test_importing_the_package_takes_under_a_tenth_of_a_second():
    code = "import time; start = time.process_time(); import sparnet; print(time.process_time() - start)"
    assert min(float(python(code).stdout) for _ in range(3)) < 0.1


@pytest.mark.skipif(not hasattr(os, "wait4"), reason="Windows does not tell what a child has used")
def test_help_answers_at_once():
    def seconds() -> float:
        """Processor time of the program alone: other programs make it wait, not work."""
        command = [sys.executable, "-m", "sparnet", "--help"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=ROOT) as program:
            _, status, used = os.wait4(program.pid, 0)
            program.returncode = os.waitstatus_to_exitcode(status)
        assert program.returncode == 0
        return used.ru_utime + used.ru_stime

    assert min(seconds() for _ in range(3)) < 0.8


def test_every_command_has_help(sparnet_cli):
    ended = sparnet_cli("--help")
    assert ended.code == 0
    assert all(command in ended.out for command in COMMANDS)
    for command in COMMANDS:
        helped = sparnet_cli(command, "--help")
        assert helped.code == 0
        assert "--help" in helped.out


def test_the_version_is_the_packages(sparnet_cli):
    assert sparnet_cli("--version").out == f"sparnet {sparnet.__version__}\n"


def test_the_runtime_half_works_without_torch(tmp_path):
    """Its commands one after another in one process, where the lab's packages cannot be imported."""
    code = f"""
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in (
            "torch", "onnx", "onnxscript", "onnxruntime", "lightning_fabric", "safetensors", "skimage",
            "scipy", "beartype",
        ):
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Blocked())
from sparnet.cli import main
face, out = "examples/face16.png", {str(tmp_path)!r}
for command in (
    ["upscale", face, "-o", out],
    ["attention", face, "-o", out],
    ["degrade", face, "-o", out + "/bad"],
    ["models", "verify"],
    ["upscale", face, "-o", out, "--engine", "torch"],
):
    try:
        main(command)
    except SystemExit as ending:
        print(command[0], ending.code)
"""
    ended = python(code)
    assert [line for line in ended.stdout.splitlines() if line.split()[-1] in "012"] == [
        "upscale 0",
        "attention 0",
        "degrade 0",
        "models 0",
    ], ended.stderr
    assert "engine torch needs the package torch: pip install 'sparnet[train]'" in ended.stdout
    assert (tmp_path / "face16.png").is_file()


@pytest.mark.parametrize("use", ["build_network", "ssim_y(picture, picture)"])
def test_a_name_of_the_lab_half_says_what_to_install(use):
    code = f"""
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "skimage"):
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Blocked())
import numpy as np
import sparnet
picture = np.zeros((16, 16, 3), dtype=np.uint8)
try:
    sparnet.{use}
except Exception as error:
    print(type(error).__name__, error)
"""
    out = python(code).stdout
    assert "SparnetError" in out
    assert "pip install 'sparnet[train]'" in out


def test_the_readmes_python_runs(tmp_path, monkeypatch):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    code = text.split("```python\n")[1].split("```")[0]
    (tmp_path / "examples").mkdir()
    (tmp_path / "examples" / "face16.png").write_bytes((ROOT / "examples" / "face16.png").read_bytes())
    monkeypatch.chdir(tmp_path)
    exec(code, {})  # noqa: S102 - the README's own lines
    assert sparnet.read_image(tmp_path / "large.png").shape == (128, 128, 3)


def test_the_readme_prints_the_catalogs_scores():
    from sparnet.weights.catalog import shipped_models

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for name, entry in shipped_models().items():
        row = next(line for line in text.splitlines() if line.startswith(f"| `{name}`"))
        scores = {score.metric: score.value for score in entry.info.scores}
        assert f"{scores['psnr_y']:.3f} dB" in row
        assert f"{scores['ssim_y']:.4f}" in row
        assert entry.info.license.split(",")[0] in row
