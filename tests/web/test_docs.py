"""What docs/web.md shows: its lines are run against a server."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from sparnet.image import Photo, encode_photo, read_image
from sparnet.web.settings import Settings

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "web.md").read_text(encoding="utf-8")
ADDRESS = "http://127.0.0.1:7860"


@pytest.fixture
def folder(photo, tmp_path, monkeypatch) -> Path:
    (tmp_path / "old.jpg").write_bytes(photo.read_bytes())
    tiny = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    (tmp_path / "tiny.png").write_bytes(encode_photo(Photo(tiny), ".png"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def block(language: str, server) -> str:
    code = TEXT.split(f"```{language}\n")[1].split("```")[0]
    assert ADDRESS in code
    return code.replace(ADDRESS, server.address)


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_the_lines_for_curl_run(server, folder):
    script = "set -e\n" + block("bash", server)
    ended = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False, cwd=folder)
    assert ended.returncode == 0, ended.stderr
    assert read_image(folder / "new.jpg").shape == read_image(folder / "new.png").shape == (192, 384, 3)
    assert read_image(folder / "large.png").shape == (128, 128, 3)
    assert '"restoring"' in ended.stdout


def test_the_lines_for_python_run(server, folder, capsys):
    exec(block("python", server), {})  # noqa: S102 - the document's own lines
    assert capsys.readouterr().out.splitlines()[0].endswith("restored")
    assert read_image(folder / "new.jpg").shape == (192, 384, 3)


def test_every_option_and_limit_named_is_there(sparnet_cli, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    helped = sparnet_cli("serve", "--help").out
    options = (
        "--auth-token", "--allow-host", "--insecure", "--max-megabytes", "--max-megapixels", "--max-faces",
        "--max-waiting", "--workers", "--time-limit", "--remember",
    )  # fmt: skip
    for option in options:
        assert option in helped
        assert option in TEXT
    usual = Settings()
    assert f"{usual.max_bytes / 1e6:g} MB" in TEXT
    assert f"{usual.max_pixels / 1e6:g} million, results {usual.max_result_pixels / 1e6:g} million" in TEXT
    assert f"the {usual.max_faces} largest" in TEXT
    assert f"{usual.workers} and {usual.max_waiting}" in TEXT
    assert f"{usual.time_limit_seconds:g} s" in TEXT
    assert (
        f"{usual.body_bytes_per_second / 1000:g} kB/s after the first {usual.body_grace_seconds:g} s" in TEXT
    )
