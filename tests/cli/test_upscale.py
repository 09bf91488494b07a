"""`sparnet upscale`, `attention` and `models` as a user meets them."""

import json
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest

from sparnet.image import read_image, resize_bicubic, write_image
from sparnet.weights.catalog import shipped_models

FACE = Path(__file__).parents[2] / "examples" / "face16.png"


def face(rows: int = 16, columns: int = 16) -> np.ndarray:
    return resize_bicubic(read_image(FACE), rows, columns)


def huge_png() -> bytes:
    """The header of a PNG of 30,000 x 30,000 px."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b""))
        + chunk(b"IEND", b"")
    )


def test_a_tiny_face_becomes_large(tmp_path, sparnet_cli):
    ended = sparnet_cli("upscale", FACE, "-o", tmp_path, "--compare")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == f"1 face enlarged to {tmp_path}\n"
    made = read_image(tmp_path / "face16.png")
    assert made.shape == (128, 128, 3)
    assert read_image(tmp_path / "face16_compare.png").shape[0] == 128
    bicubic = resize_bicubic(read_image(FACE), 128, 128)
    assert 2 < np.abs(made.astype(int) - bicubic).mean() < 20


@pytest.mark.skipif(sys.platform == "win32", reason="leftovers stay on Windows")
def test_what_a_killed_run_left_is_cleared(tmp_path, sparnet_cli):
    left = tmp_path / ".sparnet-0123456789abcdef.tmp"
    left.write_bytes(b"half a pict")
    assert sparnet_cli("upscale", FACE, "-o", tmp_path).code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["face16.png"]


def test_bad_pictures_are_one_line_each_and_the_good_ones_are_done(tmp_path, sparnet_cli):
    folder = tmp_path / "faces"
    write_image(folder / "good.png", face())
    write_image(folder / "good2.png", face(20, 16))
    (folder / "text.png").write_text("no picture")
    (folder / "empty.png").write_bytes(b"")
    (folder / "cut.jpg").write_bytes(b"")
    write_image(folder / "cut.jpg", face(64, 64))
    (folder / "cut.jpg").write_bytes((folder / "cut.jpg").read_bytes()[:-300])
    write_image(folder / "one.png", np.zeros((1, 1, 3), dtype=np.uint8))
    (folder / "huge.png").write_bytes(huge_png())
    write_image(folder / "big.png", face(129, 129))
    (tmp_path / "nothing").mkdir()
    ended = sparnet_cli(
        "upscale", folder, tmp_path / "nothing", tmp_path / "missing.png", "-o", tmp_path / "out"
    )
    assert ended.code == 1
    assert "Traceback" not in ended.err
    for name in (
        "text.png",
        "empty.png",
        "cut.jpg",
        "one.png",
        "huge.png",
        "big.png",
        "nothing",
        "missing.png",
    ):
        lines = [line for line in ended.errors if name in line]
        assert len(lines) == 1, (name, ended.err)
    assert len(ended.errors) == 9, "eight failures, and a note on the face that is not square"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["good.png", "good2.png"]
    assert "2 faces enlarged" in ended.out
    assert "8 failed" in ended.out


@pytest.mark.parametrize(
    ("rows", "columns", "made", "note"),
    [
        (16, 16, (128, 128), None),
        (20, 20, (128, 128), "20 x 20 px, where 16 x 16 is expected"),
        (24, 16, (128, 85), "not square, padded"),
        (31, 31, (128, 128), "noisy, compressed or blurred: made by sparnet-x4"),
        (65, 65, (128, 128), "it adds little to so large a face"),
    ],
)
def test_a_face_of_another_size_is_done_and_said_so(tmp_path, sparnet_cli, rows, columns, made, note):
    write_image(tmp_path / "f.png", face(rows, columns))
    ended = sparnet_cli("upscale", tmp_path / "f.png", "-o", tmp_path / "out")
    assert ended.code == 0
    assert read_image(tmp_path / "out" / "f.png").shape[:2] == made
    assert (note is None) == (ended.err == "")
    assert note is None or note in ended.err


def test_an_output_that_cannot_be_written_is_one_line(tmp_path, sparnet_cli):
    (tmp_path / "file").write_text("in the way")
    ended = sparnet_cli("upscale", FACE, "-o", tmp_path / "file")
    assert ended.code == 1
    assert len(ended.errors) == 1
    assert "a file is in the way" in ended.err


def test_an_original_is_never_overwritten(tmp_path, sparnet_cli):
    write_image(tmp_path / "f.png", face())
    before = (tmp_path / "f.png").read_bytes()
    ended = sparnet_cli("upscale", tmp_path / "f.png", "-o", tmp_path)
    assert ended.code == 1
    assert "would be overwritten" in ended.err
    assert (tmp_path / "f.png").read_bytes() == before
    assert sparnet_cli("upscale", tmp_path / "f.png", "-o", tmp_path, "--suffix", "_x8").code == 0
    assert (tmp_path / "f_x8.png").is_file()


def test_the_report_in_json_is_all_that_stdout_has(tmp_path, sparnet_cli):
    write_image(tmp_path / "f.png", face())
    ended = sparnet_cli("upscale", tmp_path / "f.png", tmp_path / "g.png", "-o", tmp_path / "out", "--json")
    report = json.loads(ended.out)
    assert [Path(entry["target"]).name for entry in report["done"]] == ["f.png"]
    assert len(report["failed"]) == 1
    assert ended.code == 1


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["-m", "nix"], 1, "no model 'nix'; have: sparnet-hd-light, sparnet-x4, sparnet-x8"),
        (["-m", "nix.onnx"], 1, "nix.onnx: no such model file"),
        (["-s", "16"], 1, "no model enlarges x16"),
        (["-s", "4", "-m", "sparnet-x8"], 1, "sparnet-x8 enlarges x8, not x4"),
        (["-s", "5"], 2, "must be 4, 8 or 16"),
        (["--suffix", "a/b"], 2, "must be part of a name"),
        (["--engine", "tensorflow"], 2, "engine"),
    ],
)
def test_wrong_use_is_told(tmp_path, sparnet_cli, user_cache, options, code, message):
    ended = sparnet_cli("upscale", FACE, "-o", tmp_path / "out", *options)
    assert ended.code == code
    assert message in ended.err.replace("\n", " ")
    assert "Traceback" not in ended.err


def test_folders_patterns_and_odd_names(tmp_path, sparnet_cli):
    for name in ("a/ä ö.png", "a/b.jpg", "a/b.png", "a/deep/c.png"):
        write_image(tmp_path / name, face())
    ended = sparnet_cli("upscale", tmp_path / "a", "-o", tmp_path / "out", "-r")
    assert ended.code == 0, ended.err
    made = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.png")}
    assert made == {"ä ö.png", "b.jpg.png", "b.png.png", "deep/c.png"}
    assert sparnet_cli("upscale", f"{tmp_path}/a/*.png", "-o", tmp_path / "two").code == 0
    assert len(list((tmp_path / "two").iterdir())) == 2


def test_the_python_function_makes_what_the_command_makes(tmp_path, sparnet_cli):
    import sparnet

    sparnet_cli("upscale", FACE, "-o", tmp_path)
    assert np.array_equal(sparnet.upscale(sparnet.read_image(FACE)), read_image(tmp_path / "face16.png"))


def test_attention_draws_a_map_for_each_unit(tmp_path, sparnet_cli):
    ended = sparnet_cli("attention", FACE, "-o", tmp_path, "--json")
    assert ended.code == 0, ended.err
    report = json.loads(ended.out)
    assert [unit["size_px"] for unit in report["units"]] == [16] * 6 + [32, 64]
    assert all(0 < unit["least"] < unit["greatest"] < 1 for unit in report["units"])
    maps = [read_image(Path(unit["file"])) for unit in report["units"]]
    assert all(one.shape == (128, 128, 3) and one.std() > 20 for one in maps)
    assert read_image(Path(report["sheet"])).shape[1] > 512


def test_models_are_listed_shown_and_verified(sparnet_cli, user_cache):
    assert "sparnet-x8" in sparnet_cli("models").out
    listed = json.loads(sparnet_cli("models", "list", "--json").out)
    assert listed["sparnet-x8"]["upscale_factor"] == 8
    shown = sparnet_cli("models", "show", "sparnet-x8").out
    assert "psnr_y" in shown
    assert "research only" in shown
    assert sparnet_cli("models", "verify").out == "".join(f"{name}: sound\n" for name in shipped_models())
    assert sparnet_cli("models", "show", "nix").code == 1


def test_a_released_file_becomes_a_model(tmp_path, sparnet_cli, user_cache):
    import torch

    from sparnet.network.config import NetworkConfig
    from sparnet.network.generator import SPARNet
    from sparnet.network.official import to_official

    torch.manual_seed(0)
    small = NetworkConfig(image_size=32, base_channels=4, max_channels=8, body_units=1, attention_channels=4)
    path = tmp_path / "SPARNet-V16-S4-epoch20.pth"
    torch.save(to_official(SPARNet(small)), path)
    ended = sparnet_cli("models", "import", path)
    assert ended.code == 0, ended.err
    assert "sparnet-v16-s4-epoch20: SPARNet, spatial attention" in ended.out
    assert sparnet_cli("upscale", FACE, "-o", tmp_path / "out", "-m", "sparnet-v16-s4-epoch20").code == 0
    assert sparnet_cli("models", "verify", "sparnet-v16-s4-epoch20").code == 0
    path.write_bytes(b"no tensors")
    ended = sparnet_cli("models", "import", path)
    assert ended.code == 1
    assert len(ended.errors) == 1
