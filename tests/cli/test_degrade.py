"""`sparnet degrade` from the outside: what it writes, says and returns."""

import json
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner, Result

from sparnet.cli.degrade import MANIFEST, Preset, degrade
from sparnet.degradation import DEGRADATIONS, DegradationParameters, apply_degradation
from sparnet.image import read_image, write_image

app = typer.Typer()
app.command()(degrade)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def manifest(folder: Path) -> dict[str, dict[str, object]]:
    lines = (folder / MANIFEST).read_text(encoding="utf-8").splitlines()
    return {record["file"]: record for record in map(json.loads, lines)}


def manifest_line(folder: Path, file: str) -> str:
    lines = (folder / MANIFEST).read_text(encoding="utf-8").splitlines()
    return next(line for line in lines if f'"file": "{file}"' in line)


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    folder = tmp_path / "faces"
    for seed, name in enumerate(("anna.png", "bert.jpg", "zoë.webp")):
        rng = np.random.default_rng(seed)
        write_image(folder / name, rng.integers(0, 256, (64, 48, 3), dtype=np.uint8))
    return folder


def test_each_picture_becomes_a_png_of_its_size(faces, tmp_path):
    result = run(faces, "-o", tmp_path / "bad")
    assert result.exit_code == 0
    assert sorted(path.name for path in (tmp_path / "bad").iterdir()) == sorted(
        ["anna.png", "bert.png", MANIFEST, "zoë.png"]
    )
    assert read_image(tmp_path / "bad" / "anna.png").shape == (64, 48, 3)
    assert "3 pictures degraded to" in result.stdout


def test_the_manifest_says_how_to_make_the_same_bytes_again(faces, tmp_path):
    run(faces, "-o", tmp_path / "bad", "--preset", "paper")
    records = manifest(tmp_path / "bad")
    assert list(records) == ["anna.png", "bert.png", "zoë.png"]
    for file, record in records.items():
        parameters = DegradationParameters.model_validate_json(json.dumps(record["parameters"]))
        again = apply_degradation(read_image(str(record["source"])), parameters)
        np.testing.assert_array_equal(again, read_image(tmp_path / "bad" / file))


def test_a_later_call_adds_to_what_the_manifest_says(faces, tmp_path):
    run(faces / "anna.png", faces / "bert.jpg", "-o", tmp_path / "bad", "--preset", "paper")
    (tmp_path / "bad" / "bert.png").unlink()
    with (tmp_path / "bad" / MANIFEST).open("a", encoding="utf-8") as file:
        file.write("cut short {\n[1]\n")
    first = manifest_line(tmp_path / "bad", "anna.png")
    run(faces / "zoë.webp", "-o", tmp_path / "bad", "--seed", 3)
    records = manifest(tmp_path / "bad")
    assert list(records) == ["anna.png", "zoë.png"], "of the one that is gone nothing is said"
    assert manifest_line(tmp_path / "bad", "anna.png") == first
    assert [(one["seed"], one["preset"]) for one in records.values()] == [(0, "paper"), (3, "release")]
    run(faces / "anna.png", "-o", tmp_path / "bad")
    assert {name: one["preset"] for name, one in manifest(tmp_path / "bad").items()} == {
        "zoë.png": "release",
        "anna.png": "release",
    }


def test_a_pictures_chance_depends_on_its_name_and_the_seed_alone(faces, tmp_path):
    run(faces, "-o", tmp_path / "all")
    run(faces / "zoë.webp", "-o", tmp_path / "alone")
    run(faces / "zoë.webp", "-o", tmp_path / "other", "--seed", 1)
    everything, alone, other = (manifest(tmp_path / name)["zoë.png"] for name in ("all", "alone", "other"))
    assert everything == alone
    assert other["parameters"] != alone["parameters"]
    assert (tmp_path / "all" / "zoë.png").read_bytes() == (tmp_path / "alone" / "zoë.png").read_bytes()


def test_a_bad_picture_is_named_in_one_line_and_the_others_are_done(faces, tmp_path):
    (faces / "broken.png").write_bytes(b"no picture")
    result = run(faces, tmp_path / "nothing.png", "-o", tmp_path / "bad")
    assert result.exit_code == 1
    first, second = result.stderr.splitlines()
    assert "nothing.png" in first
    assert "broken.png" in second
    assert len(manifest(tmp_path / "bad")) == 3
    assert not (tmp_path / "bad" / "broken.png").exists()


def test_a_picture_too_long_for_a_jpeg_is_named_and_the_others_are_done(faces, tmp_path):
    write_image(faces / "long.png", np.zeros((1, 800_000, 3), dtype=np.uint8))
    result = run(faces, "-o", tmp_path / "bad", "--preset", "paper")
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"sparnet: {faces / 'long.png'}: it would be a JPEG of ")
    assert len(manifest(tmp_path / "bad")) == 3


def test_an_original_is_never_overwritten(faces):
    before = (faces / "anna.png").read_bytes()
    result = run(faces, "-o", faces)
    assert result.exit_code == 1
    assert result.stderr.splitlines() == [
        f"sparnet: {faces / 'anna.png'}: would be overwritten; name another folder by -o"
    ]
    assert (faces / "anna.png").read_bytes() == before
    assert (faces / "bert.png").exists()


def test_pictures_that_differ_in_suffix_alone_are_kept_apart(faces, tmp_path):
    for name in ("anna.jpg", "bert.jpg.png"):
        write_image(faces / name, np.zeros((32, 32, 3), dtype=np.uint8))
    run(faces, "-o", tmp_path / "bad")
    sources = {file: Path(str(record["source"])).name for file, record in manifest(tmp_path / "bad").items()}
    assert sources == {
        "anna.jpg.png": "anna.jpg",
        "anna.png.png": "anna.png",
        "bert.png": "bert.jpg",
        "bert.jpg.png": "bert.jpg.png",
        "zoë.png": "zoë.webp",
    }


def test_a_name_with_a_suffix_inside_does_not_collide_with_one_that_keeps_its_suffix(faces, tmp_path):
    for name in ("anna.jpg", "anna.jpg.png"):
        write_image(faces / name, np.zeros((32, 32, 3), dtype=np.uint8))
    assert run(faces, "-o", tmp_path / "bad").exit_code == 0
    assert len(manifest(tmp_path / "bad")) == 5


def test_equal_names_from_two_folders_go_to_two_folders(faces, tmp_path):
    write_image(tmp_path / "more" / "anna.png", np.zeros((32, 32, 3), dtype=np.uint8))
    assert run(faces / "anna.png", tmp_path / "more", "-o", tmp_path / "bad").exit_code == 0
    assert list(manifest(tmp_path / "bad")) == ["faces/anna.png", "more/anna.png"]


def test_the_json_report_is_all_that_stdout_has(faces, tmp_path):
    (faces / "broken.png").write_bytes(b"no picture")
    result = run(faces, "-o", tmp_path / "bad", "--json", "--seed", 7)
    report = json.loads(result.stdout)
    assert (report["seed"], report["preset"]) == (7, "release")
    assert [record["file"] for record in report["done"]] == ["anna.png", "bert.png", "zoë.png"]
    assert len(report["failed"]) == 1
    assert result.exit_code == 1


def test_a_folder_that_cannot_be_written_fails_in_one_line(faces, tmp_path, sparnet_cli):
    (tmp_path / "file").write_text("in the way")
    ended = sparnet_cli("degrade", faces, "-o", tmp_path / "file")
    assert ended.code == 1
    assert ended.errors == [f"sparnet: {tmp_path / 'file'}: a file is in the way; name another folder by -o"]


def test_wrong_use_exits_with_2(faces, tmp_path):
    assert run(faces, "-o", tmp_path, "--preset", "papper").exit_code == 2
    assert run(faces).exit_code == 2
    assert run(faces, "-o", tmp_path, "--seed", -1).exit_code == 2


def test_every_preset_can_be_chosen():
    assert [preset.value for preset in Preset] == list(DEGRADATIONS)
