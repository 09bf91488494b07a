"""`sparnet prepare` from the outside: what it writes, says and returns, also when it is killed."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PillowImage
from typer.testing import CliRunner, Result

from sparnet.cli.prepare import prepare
from sparnet.data.faces import load_face_set, read_faces
from sparnet.image import read_image, write_image
from tests.shared_data import find_shared

PROGRAM = [sys.executable, "-c", "from sparnet.cli import main; main()", "prepare"]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(prepare, [str(argument) for argument in arguments])


def records(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_text(encoding="utf-8").splitlines()]


def tree(folder: Path) -> dict[str, bytes]:
    """Read all files of a folder, those that begin with a dot and the settings aside."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(".") and path.name != "prepare.json"
    }


def write_faces(folder: Path, count: int) -> Path:
    for number in range(count):
        rng = np.random.default_rng(number)
        write_image(folder / f"{number:05d}.png", rng.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    return folder


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    """Forty square pictures of 64 px."""
    return write_faces(tmp_path / "faces", 40)


@pytest.fixture
def many_faces(tmp_path: Path) -> Path:
    """Enough pictures that a run is not over before it can be killed."""
    return write_faces(tmp_path / "many", 300)


# What it says


def test_the_report_counts_what_was_made_and_why_not(faces, tmp_path):
    (faces / "00003.png").write_bytes(b"no picture")
    write_image(faces / "00004.png", np.zeros((8, 8, 3), dtype=np.uint8))
    result = run("ffhq", faces, "-o", tmp_path / "out", "--set", "size_px=32", "--workers", 1)
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        f"40 photos: 38 faces to {tmp_path / 'out'}",
        "  1 dropped: too small",
        "  1 failed",
    ]
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"sparnet: {faces / '00003.png'}: not a picture that can be read")


def test_the_json_report_is_all_that_stdout_has(faces, tmp_path):
    (tmp_path / "parts.txt").write_text("".join(f"{n:05d}.jpg {n % 3}\n" for n in range(30)))
    for name in ("00001.png", "00031.png"):
        (faces / name).write_bytes(b"")
    result = run(
        *("celeba", faces, "-o", tmp_path / "out", "--json", "-v", "--workers", 1),
        *("--partition", tmp_path / "parts.txt"),
    )
    assert result.exit_code == 1
    assert json.loads(result.stdout) == {
        "output": str(tmp_path / "out"),
        "photos": 40,
        "kept": {},
        "dropped": {"no face": 29, "in no split": 10},
        "failed": ["00001.png: the file is empty"],
        "tars": 0,
    }


def test_a_photo_without_a_face_is_no_failure(tmp_path):
    write_image(tmp_path / "photos" / "wall.png", np.full((60, 60, 3), 128, dtype=np.uint8))
    result = run("natural", tmp_path / "photos", "-o", tmp_path / "out", "-v")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "wall.png dropped, no face",
        "1 photo: 0 faces",
        "  1 dropped: no face",
    ]


def test_packs_are_what_training_reads(faces, tmp_path):
    result = run(
        *("ffhq", faces, "-o", tmp_path / "out", "--set", "size_px=32", "--workers", 1),
        *("--pack", "--terms", "mine", "--filter", "bicubic"),
    )
    assert result.exit_code == 0
    assert result.stdout == f"40 photos: 40 faces to {tmp_path / 'out'} in 1 tar\n"
    loaded = load_face_set([tmp_path / "out"], smallest_px=32, largest_px=32, terms=frozenset({"mine"}))
    original = PillowImage.open(faces / "00007.png")
    expected = np.asarray(original.resize((32, 32), PillowImage.Resampling.BICUBIC))
    np.testing.assert_array_equal(loaded.picture(loaded.names.index("00007.png")), expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--set", "size_pix=32"), "--set: unknown key 'size_pix'; did you mean 'size_px'?"),
        (("--set", "size_px=big"), "--set: size_px must be a whole number, got 'big'"),
        (("--set", "size_px"), "--set size_px: expected key=value"),
    ],
)
def test_a_wrong_number_is_told_in_one_line(faces, tmp_path, arguments, message):
    result = run("ffhq", faces, "-o", tmp_path / "out", *arguments)
    assert result.exit_code == 1
    assert str(result.exception).startswith(message)
    assert not (tmp_path / "out").exists()


def test_wrong_use_exits_with_2(faces, tmp_path):
    assert run("ffhq", faces).exit_code == 2
    assert run("ffhq", faces, "-o", tmp_path / "out", "--filter", "nearest").exit_code == 2
    assert run("ffhq", faces, "-o", tmp_path / "out", "--workers", 0).exit_code == 2
    assert run("ffhq", faces, "-o", tmp_path / "out", "--terms", "mine").exit_code == 2
    assert run("celeba", faces, "-o", tmp_path / "out", "--identities", faces / "00000.png").exit_code == 2
    assert not (tmp_path / "out").exists()


def test_hostile_files_fail_alone_and_in_one_line_each(faces, tmp_path):
    sound = (faces / "00000.png").read_bytes()
    huge = bytearray(sound)
    huge[16:24] = (200_000).to_bytes(4, "big") * 2
    noise = np.random.default_rng(0).integers(0, 256, 5000, dtype=np.uint8).tobytes()
    hostile = {
        "empty.jpg": b"",
        "text.jpg": b"not a picture",
        "cut.png": sound[: len(sound) // 2],
        "huge.png": bytes(huge),
        "noise.png": sound[:33] + noise,
        "two\nlines.jpg": b"x",
        "\x1b[2Jclears.jpg": b"x",
    }
    for name, content in hostile.items():
        (faces / name).write_bytes(content)
    expected = len(hostile)
    (faces / "folder.png").mkdir()
    (faces / "loop").symlink_to(faces)
    (faces / "dangling.png").symlink_to(faces / "nothing.png")
    expected += 1
    if sys.platform == "linux":
        Path(os.fsdecode(os.fsencode(faces) + b"/\xff.png")).write_bytes(sound)
        os.mkfifo(faces / "pipe.png")
        expected += 2
    result = run("ffhq", faces, "-o", tmp_path / "out", "--set", "size_px=32", "--workers", 1, "--json")
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == expected
    assert all(
        line.startswith(f"sparnet: {faces}") and line.isprintable() for line in result.stderr.splitlines()
    )
    report = json.loads(result.stdout)
    assert report["kept"] == {"all": 40}
    assert len(report["failed"]) == expected
    assert len(read_faces(tmp_path / "out")) == 40


# Killed


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Start the program in a group of its own, which ends with the test."""
    started: list[subprocess.Popen[str]] = []

    def start_program(*arguments: object) -> "subprocess.Popen[str]":
        started.append(
            subprocess.Popen(
                [*PROGRAM, *map(str, arguments)],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
        )
        return started[-1]

    yield start_program
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, "nothing happened for two minutes"
        time.sleep(0.002)


def lines_of(output: Path) -> int:
    manifest = output / "manifest.jsonl"
    return manifest.read_bytes().count(b"\n") if manifest.exists() else 0


def living_members(group: int) -> list[int]:
    """List the processes of a group that run still; one that is dead but not yet reaped does not."""
    members = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rsplit(")", 1)[1].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            members.append(int(entry.parent.name))
    return members


def test_a_run_killed_halfway_goes_on_and_ends_as_an_unbroken_one(many_faces, tmp_path, start):
    options = ("--set", "size_px=32", "--pack")
    assert run("ffhq", many_faces, "-o", tmp_path / "whole", *options, "--workers", 1).exit_code == 0
    output = tmp_path / "out"
    process = start("ffhq", many_faces, "-o", output, *options, "--workers", 2)
    wait_for(lambda: lines_of(output) >= 5)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    done = lines_of(output)
    assert 5 <= done < 300
    for path in output.glob("*.png"):
        assert read_image(path).shape == (32, 32, 3)
    if sys.platform == "linux":  # its workers do not wait for photos forever
        wait_for(lambda: not living_members(process.pid))
    result = run("ffhq", many_faces, "-o", output, *options, "--workers", 1, "-v")
    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) - 1 == 300 - done
    assert tree(output) == tree(tmp_path / "whole")
    assert not list(output.glob(".sparnet-*.tmp"))


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C is sent to a group of processes by a signal")
def test_ctrl_c_ends_the_run_in_one_line_and_in_good_order(many_faces, tmp_path, start):
    output = tmp_path / "out"
    process = start("ffhq", many_faces, "-o", output, "--set", "size_px=32", "--workers", 2)
    wait_for(lambda: lines_of(output) >= 5)
    os.killpg(process.pid, signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert stdout == ""
    assert stderr.split() == ["sparnet:", "interrupted"]
    assert 5 <= lines_of(output) < 300
    assert run("ffhq", many_faces, "-o", output, "--set", "size_px=32", "--workers", 1).exit_code == 0
    assert len(read_faces(output)) == 300


# Real photos


def test_photos_in_the_wild_become_crops(tmp_path):
    photos = find_shared("photos")
    names = ["00.jpg", "03.jpg", "Blake_Lively.jpg", "group-old-colour.jpg", "aligned512/0342.png"]
    for name in names:
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / name).write_bytes((photos / name).read_bytes())
    result = run("celeba", tmp_path / "photos", "-o", tmp_path / "out", "--workers", 1)
    assert result.exit_code == 0
    told = {str(record["source"]): record for record in records(tmp_path / "out")}
    assert told.keys() == set(names)
    assert told["00.jpg"]["reason"] == "too small"
    kept = [record for record in told.values() if record["outcome"] == "kept"]
    assert len(kept) == 4
    for record in kept:
        left, top, right, bottom = record["square"]
        photo = PillowImage.open(tmp_path / "photos" / str(record["source"])).convert("RGB")
        expected = photo.crop((left, top, right, bottom)).resize((128, 128), PillowImage.Resampling.BICUBIC)
        np.testing.assert_array_equal(
            read_image(tmp_path / "out" / str(record["file"])), np.asarray(expected)
        )
    # the middle one of three people
    box = told["group-old-colour.jpg"]["box"]
    assert 440 < box[0] < box[2] < 640


def test_of_a_group_photo_the_small_faces_are_kept_as_natural_ones(tmp_path):
    photo = read_image(find_shared("photos") / "group-1927.jpg")
    height, width = photo.shape[:2]
    reduced = PillowImage.fromarray(photo).resize(
        (width * 2 // 5, height * 2 // 5), PillowImage.Resampling.BICUBIC
    )
    write_image(tmp_path / "photos" / "group.png", np.asarray(reduced))
    result = run("natural", tmp_path / "photos", "-o", tmp_path / "out", "--set", "smaller_than_px=40")
    assert result.exit_code == 0
    found = records(tmp_path / "out")
    assert len(found) == 29
    for record in found:
        left, top, right, bottom = record["box"]
        small = max(right - left, bottom - top) < 40
        assert record["outcome"] == ("kept" if small else "dropped")
    kept = [record for record in found if record["outcome"] == "kept"]
    assert 5 < len(kept) < 29
    assert len(read_faces(tmp_path / "out")) == len(kept)
    assert read_image(tmp_path / "out" / str(kept[0]["file"])).shape == (512, 512, 3)


def test_aligned_faces_of_a_pack_are_made_smaller_with_the_papers_filter(tmp_path):
    shared = find_shared("faces/faces512-test")
    with (shared / "index.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))[:3]
    (tmp_path / "faces").mkdir()
    with tarfile.open(next(shared.glob("*-00.tar"))) as tar:
        for row in rows:
            member = tar.extractfile(row["file"])
            assert member is not None
            (tmp_path / "faces" / row["file"]).write_bytes(member.read())
    result = run("ffhq", tmp_path / "faces", "-o", tmp_path / "out", "--set", "size_px=256", "--workers", 1)
    assert result.exit_code == 0
    for row in rows:
        encoded = (tmp_path / "faces" / row["file"]).read_bytes()
        original = PillowImage.open(io.BytesIO(encoded)).convert("RGB")
        expected = original.resize((256, 256), PillowImage.Resampling.BILINEAR)
        made = read_image(tmp_path / "out" / Path(row["file"]).with_suffix(".png"))
        np.testing.assert_array_equal(made, np.asarray(expected))
