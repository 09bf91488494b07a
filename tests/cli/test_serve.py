"""`sparnet serve` as a program: it starts, answers without torch, and ends when it is told to."""

import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

ROOT = Path(__file__).parents[2]
WITHOUT_TORCH = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "onnx", "onnxscript", "skimage", "scipy"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Blocked())
from sparnet.cli import main
main(["serve", "--port", "0", "--threads", "1"])
"""


def test_it_serves_the_page_and_ends_by_a_signal():
    server = subprocess.Popen(
        [sys.executable, "-c", WITHOUT_TORCH],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    with server:
        try:
            assert server.stdout is not None
            told = server.stdout.readline()
            found = re.search(r"^sparnet serves .* and sparnet-x4 at (http://127\.0\.0\.1:\d+) ", told)
            assert found, told
            with urllib.request.urlopen(found.group(1), timeout=20) as answer:  # noqa: S310 - our own address
                assert b"<title>sparnet" in answer.read()
        finally:
            server.send_signal(signal.SIGTERM)
            _, errors = server.communicate(timeout=30)
    assert "Traceback" not in errors


def test_without_its_packages_it_says_what_to_install():
    code = WITHOUT_TORCH.replace('("torch",', '("fastapi", "torch",')
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert ended.returncode == 1
    assert ended.stderr == "sparnet: the page needs the package fastapi: pip install 'sparnet[web]'\n"
