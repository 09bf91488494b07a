"""What commands over many pictures share, seen through `sparnet upscale` and a small model."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from sparnet.cli.batch import find_jobs
from sparnet.image import read_image, write_image

SPARNET = [sys.executable, "-m", "sparnet"]


@pytest.fixture
def upscale(sparnet_cli, small_model):
    return lambda *words: sparnet_cli("upscale", "-m", small_model, *words)


def face(rows: int = 16, columns: int = 16, *, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (rows, columns, 3), dtype=np.uint8)


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_result_never_overwrites_another_input(tmp_path, upscale):
    """As when a command is run again in the folder where its results lie."""
    write_image(tmp_path / "a.png", face())
    write_image(tmp_path / "a_x8.png", face(seed=1))
    before = (tmp_path / "a_x8.png").read_bytes()
    ended = upscale(tmp_path, "-o", tmp_path, "--suffix", "_x8")
    assert ended.code == 1
    lost = tmp_path / "a_x8.png"
    assert ended.errors == [
        f"sparnet: {tmp_path / 'a.png'}: {lost} would be overwritten; name another folder by -o"
    ]
    assert lost.read_bytes() == before
    assert (tmp_path / "a_x8_x8.png").is_file()


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_a_link_to_the_folder_of_inputs_does_not_help_to_overwrite_them(tmp_path, upscale):
    write_image(tmp_path / "faces" / "a.png", face())
    (tmp_path / "link").symlink_to(tmp_path / "faces")
    ended = upscale(tmp_path / "faces", "-o", tmp_path / "link")
    assert ended.code == 1
    assert "would be overwritten" in ended.err
    assert read_image(tmp_path / "faces" / "a.png").shape == (16, 16, 3)


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_a_link_that_leads_to_itself_is_one_line(tmp_path, upscale):
    write_image(tmp_path / "a.png", face())
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    ended = upscale(tmp_path / "a.png", "-o", tmp_path / "loop")
    assert (ended.code, len(ended.errors)) == (1, 1)


def test_a_comparison_never_overwrites_a_result(tmp_path, upscale):
    for name in ("a.png", "a_compare.png"):
        write_image(tmp_path / "faces" / name, face())
    ended = upscale(tmp_path / "faces", "-o", tmp_path / "out", "--compare")
    assert ended.code == 1
    assert len(ended.errors) == 1
    assert "a_compare.png too" in ended.err
    assert names(tmp_path / "out") == ["a.png", "a_compare.png"]
    assert read_image(tmp_path / "out" / "a_compare.png").shape[1] > 128


def test_names_that_collide_are_kept_apart(tmp_path):
    for name in ("a.jpg", "a.png", "a.png.png", "b.png"):
        write_image(tmp_path / name, face())
    batch = find_jobs([tmp_path], tmp_path / "out")
    made = [job.target.name for job in batch.jobs]
    assert len(set(made)) == 4
    assert "b.png" in made
    assert not batch.failures


@pytest.mark.parametrize(("first", "second"), [("x", "X"), ("zo\u00eb", "zoe\u0308")])
def test_names_that_some_systems_do_not_tell_apart_are_kept_apart(tmp_path, first, second):
    for name in (f"p/{first}.jpg", f"q/{second}.jpg", f"r/{first}.jpg", f"r/{second}.png"):
        write_image(tmp_path / name, face())
    batch = find_jobs([tmp_path / f"p/{first}.jpg", tmp_path / f"q/{second}.jpg"], tmp_path / "out")
    assert [job.target for job in batch.jobs] == [
        tmp_path / "out" / "p" / f"{first}.png",
        tmp_path / "out" / "q" / f"{second}.png",
    ]
    batch = find_jobs([tmp_path / "r"], tmp_path / "out")
    assert {job.target.name for job in batch.jobs} == {f"{first}.jpg.png", f"{second}.png.png"}
    assert not batch.failures


def test_results_whose_names_differ_in_letter_case_alone_do_not_overwrite_each_other(tmp_path):
    for name in ("p/a/x.jpg", "q/A/x.jpg"):
        write_image(tmp_path / name, face())
    batch = find_jobs([tmp_path / "p", tmp_path / "q"], tmp_path / "out", recursive=True)
    assert [job.source for job in batch.jobs] == [tmp_path / "p/a/x.jpg"]
    assert batch.failures == [
        f"{tmp_path / 'q/A/x.jpg'}: a result of {tmp_path / 'p/a/x.jpg'} is named "
        f"{tmp_path / 'out/A/x.png'} too; do it alone"
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="there letter case does not tell files apart")
def test_names_that_letter_case_tells_apart_among_the_pictures_do_so_among_the_results(tmp_path):
    for name in ("x.jpg", "X.jpg", "a/y.jpg", "A/y.png"):
        write_image(tmp_path / "p" / name, face())
    batch = find_jobs([tmp_path / "p"], tmp_path / "out", recursive=True)
    assert not batch.failures
    made = {job.target.relative_to(tmp_path / "out").as_posix() for job in batch.jobs}
    assert made == {"x.jpg.png", "X.jpg.png", "a/y.png", "A/y.png"}


def test_ctrl_c_while_the_program_is_loaded_is_one_line(monkeypatch, capsys):
    class Interrupter:
        @staticmethod
        def find_spec(name, *_):
            if name == "sparnet.cli.app":
                raise KeyboardInterrupt

    import sparnet.cli.app

    monkeypatch.delattr(sparnet.cli, "app")
    monkeypatch.delitem(sys.modules, "sparnet.cli.app")
    monkeypatch.setattr(sys, "meta_path", [Interrupter, *sys.meta_path])
    with pytest.raises(SystemExit) as ended:
        sparnet.cli.main(["--help"])
    assert ended.value.code == 130
    assert capsys.readouterr().err == "sparnet: interrupted\n"


def test_a_file_named_twice_is_done_once(tmp_path, upscale):
    write_image(tmp_path / "a.png", face())
    ended = upscale(tmp_path / "a.png", tmp_path / "a.png", tmp_path, "-o", tmp_path / "out")
    assert ended.out == f"1 face enlarged to {tmp_path / 'out'}\n"


@pytest.mark.parametrize("output", [("-o", ""), ("--output=",)])
def test_an_empty_word_is_not_taken_for_this_folder(tmp_path, monkeypatch, upscale, output):
    """As `-o "$OUT"` gives where OUT is not set."""
    write_image(tmp_path / "a.png", face())
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    ended = upscale(tmp_path / "a.png", *output)
    assert (ended.code, ended.err) == (
        2,
        "sparnet: an argument is empty; is a variable of the shell not set?\n",
    )
    assert names(tmp_path) == ["a.png"]


@pytest.mark.parametrize("suffix", [("--suffix", ""), ("--suffix=",)])
def test_a_suffix_may_be_empty(tmp_path, upscale, suffix):
    write_image(tmp_path / "a.png", face())
    assert upscale(tmp_path / "a.png", "-o", tmp_path / "out", *suffix).code == 0
    assert names(tmp_path / "out") == ["a.png"]


def test_a_failure_leaves_no_half_written_file(tmp_path, upscale):
    write_image(tmp_path / "a.png", face())
    (tmp_path / "out" / "a.png").mkdir(parents=True)
    ended = upscale(tmp_path / "a.png", "-o", tmp_path / "out")
    assert (ended.code, len(ended.errors)) == (1, 1)
    assert names(tmp_path / "out") == []


def test_a_gray_picture_stays_gray_and_a_transparent_one_transparent(tmp_path, upscale):
    pixels = face()
    Image.fromarray(pixels).convert("L").save(tmp_path / "gray.png")
    opacity = np.zeros((16, 16), dtype=np.uint8)
    opacity[:8] = 255
    Image.fromarray(np.dstack([pixels, opacity])).save(tmp_path / "alpha.png")
    cv2.imwrite(str(tmp_path / "deep.png"), pixels.astype(np.uint16) * 257)
    ended = upscale(tmp_path, "-o", tmp_path / "out", "--compare")
    assert ended.code == 0
    assert ended.errors == [
        f"sparnet: {tmp_path / 'deep.png'}: 16 bits a channel became 8, because the size changed"
    ]
    with Image.open(tmp_path / "out" / "gray.png") as made:
        assert (made.mode, made.size) == ("L", (128, 128))
    with Image.open(tmp_path / "out" / "alpha.png") as made:
        assert (made.mode, made.size) == ("RGBA", (128, 128))
        made_opacity = np.array(made)[..., 3]
    assert (made_opacity[:56] == 255).all()
    assert (made_opacity[72:] == 0).all()
    with Image.open(tmp_path / "out" / "alpha_compare.png") as made:
        assert (made.mode, made.size) == ("RGB", (128 * 3 + 8, 128))


def test_a_colour_profile_goes_along(tmp_path, upscale):
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(face()).save(tmp_path / "a.png", icc_profile=profile)
    upscale(tmp_path / "a.png", "-o", tmp_path / "out")
    with Image.open(tmp_path / "out" / "a.png") as made:
        assert made.info["icc_profile"] == profile


@pytest.mark.parametrize(("extension", "kind"), [("jpg", "JPEG"), ("webp", "WEBP"), ("tiff", "TIFF")])
def test_results_are_written_in_the_format_asked_for(tmp_path, upscale, extension, kind):
    write_image(tmp_path / "a.png", face())
    assert upscale(tmp_path / "a.png", "-o", tmp_path / "out", "--ext", extension).code == 0
    with Image.open(tmp_path / "out" / f"a.{extension}") as made:
        assert (made.format, made.size) == (kind, (128, 128))


def test_more_faces_than_a_batch_are_done_in_order(tmp_path, upscale):
    for index in range(17):
        write_image(tmp_path / f"{index}.png", face(seed=index))
    ended = upscale(tmp_path, "-o", tmp_path / "out", "--json")
    report = json.loads(ended.out)
    assert [Path(entry["source"]).name for entry in report["done"]] == [f"{i}.png" for i in range(17)]
    upscale(tmp_path / "16.png", "-o", tmp_path / "alone")
    alone, among = read_image(tmp_path / "alone" / "16.png"), read_image(tmp_path / "out" / "16.png")
    assert np.abs(alone.astype(int) - among).max() <= 1


def test_a_note_on_many_pictures_is_told_once(tmp_path, upscale):
    for index in range(4):
        write_image(tmp_path / f"{index}.png", face(20, 20, seed=index))
    ended = upscale(tmp_path, "-o", tmp_path / "out", "--json")
    assert len(ended.errors) == 1
    assert f"{tmp_path / '0.png'} and 3 more: 20 x 20 px, where 16 x 16 is expected" in ended.err
    assert all(len(entry["notes"]) == 1 for entry in json.loads(ended.out)["done"])


def test_verbose_says_where_each_result_is(tmp_path, upscale):
    write_image(tmp_path / "ä.png", face())
    ended = upscale(tmp_path / "ä.png", "-o", tmp_path / "out", "-v")
    assert ended.out.splitlines()[0] == f"{tmp_path / 'ä.png'} -> {tmp_path / 'out' / 'ä.png'} (small)"


def test_a_name_that_the_terminal_cannot_write_is_escaped(tmp_path, small_model):
    write_image(tmp_path / "顔.png", face())
    ended = subprocess.run(
        [*SPARNET, "upscale", "顔.png", "-o", "out", "-v", "-m", small_model],
        capture_output=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONIOENCODING": "cp1252", "FORCE_COLOR": "1"},
    )
    assert ended.returncode == 0
    assert rb"\u9854.png ->" in ended.stdout
    assert ended.stderr == b"", "no progress bar in a pipe, whatever FORCE_COLOR says"
    assert (tmp_path / "out" / "顔.png").is_file()


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C is sent in another way there")
@pytest.mark.parametrize(("command", "made_px"), [("upscale", 128), ("restore", 16)])
def test_an_interruption_is_one_line_and_leaves_whole_files(tmp_path, small_model, command, made_px):
    count = 2_000  # so many that it is not done before a busy machine has sent the signal
    write_image(tmp_path / "faces" / "0.png", face())
    for index in range(1, count):
        (tmp_path / "faces" / f"{index}.png").hardlink_to(tmp_path / "faces" / "0.png")
    out = tmp_path / "out"
    program = subprocess.Popen(
        [
            *SPARNET,
            command,
            tmp_path / "faces",
            "-o",
            out,
            *(["-m", small_model] if command == "upscale" else []),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while program.poll() is None and time.monotonic() < deadline and not (out / "0.png").exists():
        time.sleep(0.01)
    program.send_signal(signal.SIGINT)
    stdout, stderr = program.communicate(timeout=30)
    assert (program.returncode, stdout, stderr) == (130, "", "sparnet: interrupted\n")
    made = names(out)
    assert 0 < len(made) < count
    assert all(
        name.endswith(".png") and read_image(out / name).shape == (made_px, made_px, 3) for name in made
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_report_that_cannot_be_printed_is_one_line():
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [*SPARNET, "models", "list", "--json"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert ended.returncode == 1
    assert ended.stderr == "sparnet: No space left on device\n"


def test_an_interruption_while_python_tidies_up_is_not_lost(tmp_path):
    program = """
import sys, time
from sparnet.cli import main
from sparnet.cli.app import app

class Tidied:
    def __del__(self):
        raise KeyboardInterrupt  # as the system's signal does, wherever Python is

@app.command()
def work() -> None:
    Tidied()
    time.sleep(60)
    print("went on")

main(["work"])
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "sparnet: interrupted\n")
