"""`sparnet restore` from the outside: what it writes, says and returns."""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sparnet import restoration
from sparnet.faces.align import invert, template
from sparnet.faces.detect import Face
from sparnet.files import write_whole
from sparnet.fleet import FleetSummary
from sparnet.image import Photo, read_image, read_photo, write_image, write_photo
from sparnet.weights.info import ModelInfo

no_locks = pytest.mark.skipif(sys.platform == "win32", reason="leftovers stay on Windows")


def face_at(x, y, square_px):
    """A face whose aligned square has its middle at (x, y) and this side in px of the photo."""
    scale = 512 / square_px
    transform = np.array([[scale, 0, 255.5 - scale * x], [0, scale, 255.5 - scale * y]])
    back = invert(transform)
    half = square_px / 4
    return Face((x - half, y - half, x + half, y + half), 0.99, template(512) @ back[:, :2].T + back[:, 2])


class StubEngine:
    """Makes faces lighter."""

    info = ModelInfo(
        name="stub", task="restore", image_size=64, input_size=64, network={}, parameters=1, license="none"
    )

    def __init__(self):
        self.batches: list[int] = []

    def run(self, faces):
        self.batches.append(len(faces))
        return np.minimum(faces, 205) + np.uint8(50)


class StubDetector:
    """Finds as many faces as the first value of the picture says."""

    def detect(self, image):
        return [face_at(60.0 + 70 * n, 80.0, 80 - n) for n in range(round(image[0, 0, 0] / 20))]


@pytest.fixture(autouse=True)
def engine(monkeypatch):
    """Stand in for the model and the detector."""
    stub = StubEngine()
    monkeypatch.setattr(restoration, "open_engine", lambda *_, **__: stub)
    monkeypatch.setattr(restoration, "open_detector", lambda *_, **__: StubDetector())
    return stub


def picture(*, faces=0, seed=0, height=150, width=300):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    pixels[:16, :16] = 20 * faces  # whole blocks, for JPEG
    return pixels


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    write_image(folder / "anna.png", picture(faces=1))
    write_image(folder / "bert.webp", picture(faces=0, seed=1))
    write_image(folder / "zoë und max.tif", picture(faces=2, seed=2))
    return folder


@pytest.fixture
def restore(sparnet_cli):
    return lambda *arguments: sparnet_cli("restore", *arguments, "-m", "stub.onnx")


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_photos_are_restored_in_their_own_formats(photos, restore, tmp_path):
    ended = restore(photos, "-o", tmp_path / "out")
    assert ended.code == 0
    assert names(tmp_path / "out") == ["anna.png", "bert.webp", "zoë und max.tif"]
    assert read_photo(tmp_path / "out" / "zoë und max.tif").format == "TIFF"
    before, after = read_image(photos / "anna.png"), read_image(tmp_path / "out" / "anna.png")
    assert (before != after).any()
    np.testing.assert_array_equal(before[:, 120:], after[:, 120:])
    assert ended.out == f"3 photos with 3 faces restored to {tmp_path / 'out'}\n"


def test_a_photo_without_a_face_is_copied_to_the_byte_and_told_of(photos, restore, tmp_path):
    ended = restore(photos / "bert.webp", "-o", tmp_path / "out")
    assert ended.code == 0
    assert (tmp_path / "out" / "bert.webp").read_bytes() == (photos / "bert.webp").read_bytes()
    assert ended.errors == [
        f"sparnet: {photos / 'bert.webp'}: no face found; copied as it is",
        "sparnet: faces smaller than 20 px are looked for with --min-face 12",
    ]
    assert ended.out.startswith("1 photo with 0 faces restored")


def test_who_has_said_how_small_faces_may_be_is_not_told_how(photos, restore, tmp_path):
    ended = restore(photos, "-o", tmp_path / "out", "--min-face", "12")
    assert ended.errors == [f"sparnet: {photos / 'bert.webp'}: no face found; copied as it is"]


def test_a_photo_without_a_face_keeps_its_pixels_in_another_format(photos, restore, tmp_path):
    restore(photos / "bert.webp", "-o", tmp_path / "out", "--ext", "png")
    before, after = read_image(photos / "bert.webp"), read_photo(tmp_path / "out" / "bert.png")
    assert after.format == "PNG"
    np.testing.assert_array_equal(after.pixels, before)


def test_a_file_is_written_in_the_format_that_its_name_says(photos, restore, tmp_path):
    (photos / "bert.webp").rename(photos / "bert.png")
    restore(photos / "bert.png", "-o", tmp_path / "out")
    assert read_photo(tmp_path / "out" / "bert.png").format == "PNG"


def test_formats_that_cannot_hold_a_photo_become_png(restore, tmp_path):
    write_image(tmp_path / "one.gif", picture(faces=1))
    (tmp_path / "one.gif").rename(tmp_path / "two.apng")
    write_image(tmp_path / "one.gif", picture(faces=1))
    write_image(tmp_path / "three.png", picture(faces=1))
    (tmp_path / "three.png").rename(tmp_path / "three")
    restore(tmp_path / "one.gif", tmp_path / "two.apng", tmp_path / "three", "-o", tmp_path / "out")
    assert names(tmp_path / "out") == ["one.png", "three.png", "two.png"]


def test_a_folder_of_results_inside_that_of_photos_is_gone_on_with(photos, restore):
    out = photos / "out"
    assert restore(photos, "-r", "-o", out).code == 0
    before = {name: (out / name).stat().st_mtime_ns for name in names(out)}
    ended = restore(photos, "-r", "-o", out, "--skip-existing")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.splitlines()[0] == "3 there already, left alone"
    assert {name: (out / name).stat().st_mtime_ns for name in names(out)} == before
    again = restore(photos, "-r", "-o", out)
    assert again.code == 0
    assert names(out) == list(before)


@pytest.mark.parametrize("folder", ["out", "."])
def test_saved_faces_are_not_taken_for_photos_by_the_next_call(photos, restore, folder):
    words = (photos, "-r", "-o", photos / folder, "--save-faces")
    ended = restore(*words)
    assert ended.code == 0
    there = names(photos)
    assert restore(*words) == ended
    assert names(photos) == there


def test_pictures_of_boxes_beside_their_photos_are_told_from_photos(photos, restore):
    words = (photos, "-o", photos, "--suffix", "_r", "--draw-boxes", "--skip-existing")
    assert restore(*words).code == 0
    there = names(photos)
    assert len(there) == 9
    for _ in range(2):
        ended = restore(*words)
        assert (ended.code, ended.err) == (0, "")
        assert ended.out.splitlines()[0] == "3 there already, left alone"
        assert names(photos) == there


@pytest.mark.parametrize(
    ("words", "overwrites"), [([], False), (["--skip-existing"], False), (["--overwrite"], True)]
)
def test_a_cluster_goes_on_unless_told_to_overwrite(
    photos, restore, tmp_path, monkeypatch, words, overwrites
):
    told = []

    def restore_on_ray(*_, overwrite, **__):
        told.append(overwrite)
        return FleetSummary()

    monkeypatch.setattr("sparnet.fleet.restore_on_ray", restore_on_ray)
    assert restore(photos, "-o", tmp_path / "out", "--ray", "local", *words).code == 0
    assert told == [overwrites]


def test_results_beside_their_photos_are_told_from_photos(photos, restore):
    assert restore(photos, "-o", photos, "--suffix", "_r").code == 0
    there = names(photos)
    assert len(there) == 6
    ended = restore(photos, "-o", photos, "--suffix", "_r", "--skip-existing")
    assert (ended.code, ended.err) == (0, "")
    assert names(photos) == there
    overwriting = restore(photos, "-o", photos, "--suffix", "_r")
    assert overwriting.code == 1, "whether they are results cannot be known, and nothing is lost"
    assert "anna_r.png would be overwritten" in overwriting.err


def test_a_photo_that_must_not_be_read_stops_no_other(photos, restore, tmp_path, monkeypatch):
    def refuses(path: Path, *arguments: Any, **options: Any) -> Any:
        if path.name == "bert.webp":
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *arguments, **options)

    opened, allowed = Path.open, os.access
    monkeypatch.setattr(Path, "open", refuses)
    monkeypatch.setattr(
        os, "access", lambda path, mode, **options: "bert" not in str(path) and allowed(path, mode, **options)
    )
    ended = restore(photos / "anna.png", photos / "bert.webp", "-o", tmp_path / "out")
    assert ended.code == 1
    assert ended.errors == [f"sparnet: {photos / 'bert.webp'}: cannot be read (Permission denied)"]
    assert names(tmp_path / "out") == ["anna.png"]


@pytest.mark.parametrize("value", ["inf", "nan"])
def test_numbers_that_are_none_are_refused(photos, restore, tmp_path, value):
    for option in ("--min-face", "-w"):
        ended = restore(photos, "-o", tmp_path / "out", option, value)
        assert ended.code == 2
        assert "Traceback" not in ended.err


def test_many_results_that_are_there_are_passed_over_quickly(restore, tmp_path):
    """Photos were looked up in a list once: 3,000 took 1.5 s, 12,000 a minute."""
    for folder in ("photos", "out"):
        (tmp_path / folder).mkdir()
        for index in range(1500):
            (tmp_path / folder / f"{index}.png").touch()
    started = time.process_time()
    ended = restore(tmp_path / "photos", "-o", tmp_path / "out", "--skip-existing")
    assert ended.out.startswith("1500 there already")
    taken = time.process_time() - started
    for folder in ("photos", "out"):
        for index in range(1500, 6000):
            (tmp_path / folder / f"{index}.png").touch()
    started = time.process_time()
    assert restore(tmp_path / "photos", "-o", tmp_path / "out", "--skip-existing").code == 0
    assert time.process_time() - started < 8 * taken, "four times as many"


def test_the_whole_photo_is_enlarged(photos, restore, tmp_path):
    ended = restore(photos, "-o", tmp_path / "out", "-s", 2)
    assert read_image(tmp_path / "out" / "anna.png").shape == (300, 600, 3)
    assert read_image(tmp_path / "out" / "bert.webp").shape == (300, 600, 3)
    assert "no face found; enlarged only" in ended.err


def test_full_fidelity_changes_nothing(photos, restore, tmp_path):
    restore(photos / "anna.png", "-o", tmp_path / "out", "-w", 1)
    np.testing.assert_array_equal(read_image(tmp_path / "out" / "anna.png"), read_image(photos / "anna.png"))


def test_transparency_and_sixteen_bits_go_through_the_program(restore, tmp_path):
    deep = np.random.default_rng(0).integers(0, 65536, (150, 300, 3), dtype=np.uint16)
    deep[:16, :16] = 20 * 257
    pixels = (deep // 257 + (deep % 257 > 128)).astype(np.uint8)
    alpha = np.random.default_rng(1).integers(0, 256, (150, 300), dtype=np.uint8)
    write_photo(tmp_path / "in.png", Photo(pixels, deep=deep, alpha=alpha))
    restore(tmp_path / "in.png", "-o", tmp_path / "out")
    after = read_photo(tmp_path / "out" / "in.png")
    assert after.deep is not None
    np.testing.assert_array_equal(after.alpha, alpha)
    np.testing.assert_array_equal(after.deep[:, 120:], deep[:, 120:])
    assert (after.deep[60:100, 40:80] != deep[60:100, 40:80]).any()


def test_an_aligned_face_is_written_at_the_models_size(restore, tmp_path):
    write_image(tmp_path / "face.png", picture(height=100, width=100))
    ended = restore(tmp_path / "face.png", "-o", tmp_path / "out", "--aligned", "--json")
    assert read_image(tmp_path / "out" / "face.png").shape == (64, 64, 3)
    assert json.loads(ended.out)["done"][0]["width"] == 64


@pytest.mark.parametrize(
    ("options", "skipped"),
    [
        (["--faces", "2"], {1: "not among the faces asked for (2)"}),
        (["--max-faces", "1"], {2: "not among the 1 largest"}),
        (["--min-face", "39.75"], {2: "40 px, smaller than 39.75 px"}),
        (["--only-center-face"], {1: "not the face nearest to the middle"}),
    ],
)
def test_faces_left_as_they_are_are_told_of(photos, restore, tmp_path, options, skipped):
    ended = restore(photos / "zoë und max.tif", "-o", tmp_path / "out", "--json", *options)
    assert ended.code == 0
    faces = json.loads(ended.out)["done"][0]["faces"]
    assert {face["number"]: face["skipped"] for face in faces if face["skipped"]} == skipped
    ((number, reason),) = skipped.items()
    assert ended.errors == [
        f"sparnet: {photos / 'zoë und max.tif'}: 1 of 2 faces left as they are: face {number} ({reason})"
    ]


def test_faces_left_for_one_reason_are_told_of_together(restore, tmp_path):
    write_image(tmp_path / "row.png", picture(faces=4))
    ended = restore(tmp_path / "row.png", "-o", tmp_path / "out", "--faces", "3")
    assert ended.err.endswith(
        "3 of 4 faces left as they are: faces 1, 2, 4 (not among the faces asked for (3))\n"
    )


def test_the_report_says_all_of_each_face(photos, restore, tmp_path):
    ended = restore(photos, "-o", tmp_path / "out", "--json")
    report = json.loads(ended.out)
    assert report["model"] == "stub"
    assert report["failed"] == report["existing"] == []
    assert [len(entry["faces"]) for entry in report["done"]] == [1, 0, 2]
    entry = report["done"][0]
    assert (entry["source"], entry["target"]) == (
        str(photos / "anna.png"),
        str(tmp_path / "out" / "anna.png"),
    )
    assert (entry["width"], entry["height"]) == (300, 150)
    assert entry["seconds"] > 0
    face = entry["faces"][0]
    assert (face["number"], face["box"], face["score"], face["size_px"]) == (1, [40, 60, 80, 100], 0.99, 40)
    assert np.array(face["points"]).shape == (5, 2)
    assert face["seconds"] > 0
    assert face["skipped"] is None
    assert face["identity"] is None


def test_a_person_is_told_the_same(photos, restore, tmp_path):
    ended = restore(photos, "-o", tmp_path / "out", "-v", "--max-faces", 1)
    assert "anna.png: 1 of 1 faces restored" in ended.out
    assert "  face 1: 40 px at 40,60-80,100, score 0.990" in ended.out
    assert "left as it is: not among the 1 largest" in ended.out


def test_faces_of_several_photos_share_batches(photos, restore, engine, tmp_path):
    restore(photos, "-o", tmp_path / "out", "--batch-size", 2)
    assert engine.batches == [2, 1]


def test_boxes_are_drawn_beside_the_result(photos, restore, tmp_path):
    restore(photos / "anna.png", "-o", tmp_path / "out", "--draw-boxes", "-s", 2)
    assert names(tmp_path / "out") == ["anna.png", "anna_boxes.png"]
    plain, drawn = (read_image(tmp_path / "out" / name) for name in ("anna.png", "anna_boxes.png"))
    assert (plain[120:200, 80] != drawn[120:200, 80]).any()
    np.testing.assert_array_equal(plain[:, 200:], drawn[:, 200:])


def test_boxes_on_a_gray_photo_are_in_colour(restore, tmp_path):
    write_photo(tmp_path / "gray.png", Photo(picture(faces=1)[:, :, :1].repeat(3, axis=2), is_gray=True))
    restore(tmp_path / "gray.png", "-o", tmp_path / "out", "--draw-boxes", "--save-faces")
    assert read_photo(tmp_path / "out" / "restored_imgs" / "gray.png").is_gray
    assert not read_photo(tmp_path / "out" / "restored_imgs" / "gray_boxes.png").is_gray
    assert read_photo(tmp_path / "out" / "restored_faces" / "gray_01.png").is_gray


@no_locks
def test_what_a_killed_run_left_is_cleared_where_results_are_written_and_nowhere_else(
    photos, restore, tmp_path
):
    left = [
        tmp_path / "out" / folder / ".sparnet-0123456789abcdef.tmp"
        for folder in ("restored_imgs", "cmp", "cropped_faces", "restored_faces", "other")
    ]
    for path in left:
        write_whole(path, b"half a pict")
    restore(photos, "-o", tmp_path / "out", "--save-faces")
    assert [path.parent.name for path in left if path.exists()] == ["other"]


@no_locks
def test_two_processes_clear_what_a_killed_run_left(sparnet_cli, make_variant, tmp_path):
    write_image(tmp_path / "plain.png", picture())
    left = tmp_path / "out" / ".sparnet-0123456789abcdef.tmp"
    write_whole(left, b"half a pict")
    model = make_variant(tmp_path / "small.onnx", task="restore", upscale_factor=None, name="small")
    words = ["restore", tmp_path / "plain.png", "-o", tmp_path / "out", "-m", model, "--small-faces", "off"]
    assert sparnet_cli(*words, "--engine-workers", 2).code == 0
    assert not left.exists()


def test_faces_are_saved_under_the_names_that_others_use(photos, restore, tmp_path):
    write_image(photos / "anna.jpg", picture(faces=1, seed=5))
    restore(photos, "-o", tmp_path / "out", "--save-faces", "--suffix", "_new")
    faces = ["anna_new.jpg_01.png", "anna_new.png_01.png", "zoë und max_new_01.png", "zoë und max_new_02.png"]
    assert names(tmp_path / "out") == sorted(
        [f"{folder}/{face}" for folder in ("cmp", "cropped_faces", "restored_faces") for face in faces]
        + [f"restored_imgs/{name}_new.{ext}" for name, ext in (
            ("anna", "jpg"), ("anna", "png"), ("bert", "webp"), ("zoë und max", "tif"))]
    )  # fmt: skip
    folder = tmp_path / "out"
    before, after, both = (
        read_image(folder / name / "zoë und max_new_02.png")
        for name in ("cropped_faces", "restored_faces", "cmp")
    )
    np.testing.assert_array_equal(after, np.minimum(before, 205) + 50)
    np.testing.assert_array_equal(both, np.concatenate([before, after], axis=1))


def test_bad_files_are_named_in_one_line_each_and_the_others_are_done(photos, restore, tmp_path):
    (photos / "empty.jpg").touch()
    (photos / "text.png").write_text("not a picture")
    (photos / "cut.png").write_bytes((photos / "anna.png").read_bytes()[:1000])
    (photos / "folder.png").mkdir()
    ended = restore(photos, photos / "gone.png", "-o", tmp_path / "out")
    assert ended.code == 1
    assert names(tmp_path / "out") == ["anna.png", "bert.webp", "zoë und max.tif"]
    failures = [line for line in ended.errors if f"{photos}" in line and "no face found" not in line]
    assert len(failures) == 4
    for name in ("gone.png", "cut.png", "empty.jpg", "text.png"):
        assert sum(f"{name}: " in line for line in failures) == 1
    assert ended.out.endswith(", 4 failed\n")


def test_a_number_that_a_photo_does_not_have_fails_for_this_photo(photos, restore, tmp_path):
    ended = restore(photos, "-o", tmp_path / "out", "--faces", "2", "--json")
    assert ended.code == 1
    report = json.loads(ended.out)
    assert report["failed"] == [
        f"{photos / 'anna.png'}: face 2 was asked for, the photo shows 1 face",
        f"{photos / 'bert.webp'}: face 2 was asked for, the photo shows no face",
    ]
    assert len(report["done"]) == 1


def test_only_missing_results_are_made_on_request(photos, restore, engine, tmp_path):
    out = tmp_path / "out"
    write_image(out / "anna.png", picture(seed=9))
    before = (out / "anna.png").read_bytes()
    ended = restore(photos, "-o", out, "--skip-existing")
    assert (out / "anna.png").read_bytes() == before
    assert ended.code == 0
    assert ended.out.startswith("1 there already, left alone\n2 photos with 2 faces restored")
    assert engine.batches == [2]
    again = restore(photos, "-o", out, "--skip-existing", "--json")
    assert json.loads(again.out)["done"] == []
    assert len(json.loads(again.out)["existing"]) == 3
    assert engine.batches == [2]
    restore(photos, "-o", out)
    assert (out / "anna.png").read_bytes() != before


def test_an_original_is_never_overwritten(photos, restore):
    before = (photos / "anna.png").read_bytes()
    ended = restore(photos / "anna.png", "-o", photos)
    assert ended.code == 1
    assert "would be overwritten; name another folder by -o" in ended.err
    assert (photos / "anna.png").read_bytes() == before


def test_a_face_never_overwrites_an_original(photos, restore, tmp_path):
    folder = tmp_path / "out" / "cropped_faces"
    write_image(folder / "anna.png", picture(faces=1))
    write_image(folder / "anna_01.png", picture(faces=1, seed=3))
    before = (folder / "anna_01.png").read_bytes()
    ended = restore(folder, "-o", tmp_path / "out", "--save-faces")
    assert ended.code == 1
    assert (folder / "anna_01.png").read_bytes() == before
    assert any("anna_01.png would be overwritten" in line for line in ended.errors)


def test_equal_names_in_one_format_are_kept_apart(photos, restore, tmp_path):
    write_image(photos / "anna.jpg", picture(faces=1, seed=4))
    write_image(photos / "more" / "anna.png", picture(faces=1, seed=5))
    ended = restore(photos, "-r", "-o", tmp_path / "out", "--ext", "png")
    assert ended.code == 0
    assert names(tmp_path / "out") == [
        "anna.jpg.png", "anna.png.png", "bert.png", "more/anna.png", "zoë und max.png"
    ]  # fmt: skip


def test_a_result_that_cannot_be_written_fails_alone(photos, restore, tmp_path):
    (tmp_path / "out" / "anna.png").mkdir(parents=True)
    (tmp_path / "out" / "bert.webp").mkdir()
    ended = restore(photos, "-o", tmp_path / "out")
    assert ended.code == 1
    assert len([line for line in ended.errors if "anna.png: " in line or "bert.webp: " in line]) == 2
    assert names(tmp_path / "out") == ["zoë und max.tif"]


@pytest.mark.parametrize(
    "options",
    [
        ["-s", "9"], ["-w", "1.5"], ["--faces", "0"], ["--faces", "a"], ["--max-faces", "0"],
        ["--batch-size", "0"], ["--ext", "gif"], ["--suffix", "a/b"], ["--min-face", "-1"],
        ["--aligned", "-s", "2"], ["--aligned", "--faces", "1"], ["--aligned", "--detector", "x.onnx"],
    ],
)  # fmt: skip
def test_wrong_use_ends_with_2(photos, restore, tmp_path, options):
    assert restore(photos, "-o", tmp_path / "out", *options).code == 2
    assert not (tmp_path / "out").exists()


def test_a_missing_default_model_is_one_line(photos, sparnet_cli, tmp_path, monkeypatch):
    monkeypatch.setattr(restoration, "known_models", dict)
    ended = sparnet_cli("restore", photos, "-o", tmp_path / "out")
    assert ended.code == 1
    assert ended.errors == [
        "sparnet: the model sparnet-hd-light is not here; models that restore photos: none; "
        "name one of them, or any model file"
    ]
    assert not (tmp_path / "out").exists()


def test_identity_is_measured_on_request(photos, restore, tmp_path, monkeypatch):
    from sparnet.metrics import identity

    class Cosine:
        def embedding(self, image, points):
            assert points.shape == (5, 2)
            return np.array([image.mean() / 255, 1.0])

    monkeypatch.setattr(identity, "IdentityCosine", Cosine)
    ended = restore(photos / "anna.png", "-o", tmp_path / "out", "--identity", "--json")
    assert json.loads(ended.out)["done"][0]["faces"][0]["identity"] > 1


def test_a_smaller_quality_makes_a_smaller_file(photos, restore, tmp_path):
    sizes = []
    for quality in (30, 95):
        restore(photos / "anna.png", "-o", tmp_path / str(quality), "--ext", "jpg", "--quality", quality)
        sizes.append((tmp_path / str(quality) / "anna.jpg").stat().st_size)
    assert sizes[0] < sizes[1] / 2
    assert restore(photos, "-o", tmp_path / "no", "--quality", 0).code == 2


def test_an_animated_gif_gives_its_first_frame_and_says_so(restore, tmp_path):
    from PIL import Image

    frames = [Image.fromarray(picture(faces=1, seed=seed)) for seed in (1, 2)]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    ended = restore(tmp_path / "moving.gif", "-o", tmp_path / "out")
    assert ended.code == 0
    assert ended.errors == [f"sparnet: {tmp_path / 'moving.gif'}: animated: only the first frame is used"]
    assert names(tmp_path / "out") == ["moving.png"]
    with Image.open(tmp_path / "moving.gif") as moving:
        first = np.array(moving.convert("RGB"))
    np.testing.assert_array_equal(read_image(tmp_path / "out" / "moving.png")[:, 150:], first[:, 150:])


def test_heic_goes_through_the_program(restore, tmp_path):
    pytest.importorskip("pillow_heif", reason="needs the extra [heic]")
    smooth = np.full((150, 300, 3), 90, dtype=np.uint8)
    smooth[:32, :32] = 21
    write_image(tmp_path / "phone.heic", smooth)
    ended = restore(tmp_path / "phone.heic", "-o", tmp_path / "out", "--json")
    assert ended.code == 0, ended.err
    made = read_photo(tmp_path / "out" / "phone.heic")
    assert made.format == "HEIF"
    assert len(json.loads(ended.out)["done"][0]["faces"]) == 1
    assert made.pixels[80, 60].mean() > 100
    assert np.abs(made.pixels[:, 150:].astype(int) - 90).max() <= 2
