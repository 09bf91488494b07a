"""Evaluation: pairs by name, refuses what does not match, and says what closed forms say."""

import csv
import dataclasses
import json
import math
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from sparnet import drawing
from sparnet.errors import DataError, SparnetError
from sparnet.evaluation.evaluate import Judge, compare, interval
from sparnet.evaluation.testset import TestSetOptions, read_named, read_test_set
from sparnet.image import read_image, resize_bicubic, write_image
from sparnet.metrics.registry import METRICS, Metric
from sparnet.metrics.y_sparnet import psnr_y


def pictures(folder: Path, *, count: int = 4, px: int = 64) -> Path:
    """Write smooth random squares."""
    chance = np.random.default_rng(5)
    for index in range(count):
        coarse = PillowImage.fromarray(chance.integers(0, 256, (9, 9, 3), dtype=np.uint8))
        smooth = coarse.resize((px, px), PillowImage.Resampling.BICUBIC)
        write_image(folder / f"face{index}.png", np.array(smooth))
    return folder


def write_pack(folder: Path, loose: Path, *, people: list[str]) -> None:
    """Pack a folder of pictures, saying whom each shows."""
    folder.mkdir()
    rows = ["file,shard,source,identity,terms,px"]
    with tarfile.open(folder / "faces-00.tar", "w") as tar:
        for path, person in zip(sorted(loose.iterdir()), people, strict=True):
            tar.add(path, path.name)
            rows.append(f"{path.name},0,made,{person},public-domain,64")
    (folder / "index.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")


def test_bad_faces_are_originals_reduced_and_enlarged_by_pillow(tmp_path):
    (face, *_) = read_test_set(pictures(tmp_path), TestSetOptions(upscale_factor=8))
    assert face.lr.shape == (8, 8, 3)
    assert np.array_equal(face.lr, resize_bicubic(face.hr, 8, 8))
    assert np.array_equal(face.lr_up, resize_bicubic(face.lr, 64, 64))


def test_framing_keeps_the_middle(tmp_path):
    folder = pictures(tmp_path, px=160)
    (face, *_) = read_test_set(folder, TestSetOptions(framing=0.85, size_px=128))
    whole = read_image(folder / "face0.png")
    assert np.array_equal(face.hr, resize_bicubic(np.ascontiguousarray(whole[12:148, 12:148]), 128, 128))


def test_degraded_faces_depend_on_seed_and_name_alone(tmp_path):
    folder = pictures(tmp_path)
    blind = TestSetOptions(upscale_factor=None, seed=1)
    first, again = read_test_set(folder, blind), read_test_set(folder, blind)
    (folder / "face0.png").unlink()
    fewer = read_test_set(folder, blind)
    other = read_test_set(folder, TestSetOptions(upscale_factor=None, seed=2))
    assert all(np.array_equal(a.lr_up, b.lr_up) for a, b in zip(first, again, strict=True))
    assert all(np.array_equal(a.lr_up, b.lr_up) for a, b in zip(first[1:], fewer, strict=True))
    assert not any(np.array_equal(a.lr_up, b.lr_up) for a, b in zip(fewer, other, strict=True))


def test_names_that_do_not_pair_are_refused(tmp_path):
    folder = pictures(tmp_path / "sr")
    names = {f"face{index}": None for index in range(4)}
    assert list(read_named(folder, names, what="result")) == list(names)
    (folder / "face1.png").rename(folder / "other.png")
    with pytest.raises(DataError) as refused:
        read_named(folder, names, what="result")
    assert "1 originals have no result (face1)" in str(refused.value)
    assert "1 results have no original (other)" in str(refused.value)
    write_image(folder / "face0.jpg", np.zeros((8, 8, 3), dtype=np.uint8))
    with pytest.raises(DataError, match="two pictures are named face0"):
        read_named(folder, names, what="result")


def test_originals_that_could_be_mistaken_for_each_other_are_refused(tmp_path):
    folder = pictures(tmp_path)
    write_image(folder / "face0.bmp", np.zeros((64, 64, 3), dtype=np.uint8))
    with pytest.raises(DataError, match="two pictures are named face0; which one is meant"):
        read_test_set(folder, TestSetOptions())


def test_originals_are_read_as_results_are(tmp_path):
    """Turned upright by their EXIF: a file is equal to itself."""
    face = PillowImage.fromarray(read_image(pictures(tmp_path / "smooth", count=1) / "face0.png"))
    exif = face.getexif()
    exif[0x0112] = 6
    (tmp_path / "hr").mkdir()
    face.save(tmp_path / "hr" / "face.png", exif=exif)
    (original,) = read_test_set(tmp_path / "hr", TestSetOptions())
    assert np.array_equal(original.hr, read_named(tmp_path / "hr", {"face": None}, what="result")["face"])
    assert not np.array_equal(original.hr, np.asarray(face))


def test_a_limit_leaves_out_results_too(tmp_path, sparnet_cli):
    folder = pictures(tmp_path)
    faces = read_test_set(folder, TestSetOptions(limit=2), lr=folder)
    assert [face.name for face in faces] == ["face0", "face1"]
    ended = sparnet_cli("evaluate", "--hr", folder, "--sr", folder, "--limit", "2", "--json", "-")
    assert ended.code == 0, ended.err
    report = json.loads(ended.out, parse_constant=pytest.fail)
    assert report["faces"] == 2
    assert report["methods"][1]["scores"]["psnr_y"]["value"] is None, "infinite, for which JSON has no word"


def test_a_score_that_is_no_mean_has_no_median_and_its_numbers_their_own_name(
    tmp_path, monkeypatch, sparnet_cli
):
    """The numbers of pictures under `landmark_auc` are errors: the lowest is the best."""

    def error(sr: np.ndarray, hr: np.ndarray) -> float:
        return float(np.abs(sr.astype(float) - hr).mean()) / 100

    metric = METRICS["landmark_auc"]
    fake = dataclasses.replace(metric, load=lambda: error, takes="pair", needs=())
    monkeypatch.setitem(METRICS, "landmark_auc", fake)
    hr, sr = pictures(tmp_path / "hr", count=9), tmp_path / "sr"
    for index, face in enumerate(read_test_set(hr, TestSetOptions())):
        write_image(sr / f"{face.name}.png", np.clip(face.hr.astype(int) + index, 0, 255).astype(np.uint8))
    drawn: list[str] = []

    def remember(strips: list[tuple[str, np.ndarray]], *, columns: int) -> np.ndarray:
        drawn.extend(text for text, _ in strips)
        return strips[0][1]

    monkeypatch.setattr(drawing, "draw_sheet", remember)
    written = ["--json", tmp_path / "r.json", "--csv", tmp_path / "r.csv", "--faces", tmp_path / "f.png"]
    ended = sparnet_cli("evaluate", "--hr", hr, "--sr", sr, "--metrics", "landmark_auc", *written)
    assert ended.code == 0, ended.err
    mine = json.loads((tmp_path / "r.json").read_text())["methods"][1]
    assert mine["scores"]["landmark_auc"]["median"] is None
    rows = list(csv.DictReader((tmp_path / "r.csv").read_text().splitlines()))
    assert float(rows[8][f"{sr} landmark_nme"]) > float(rows[1][f"{sr} landmark_nme"])
    assert drawn[0] == "face8", "the worst face is shown first"
    assert drawn[1].startswith("landmark_nme 0.0")


def test_results_of_another_size_are_refused_never_scored(tmp_path):
    faces = read_test_set(pictures(tmp_path), TestSetOptions())
    judge = Judge(faces, ["psnr_y"])
    results = [face.hr for face in faces[:-1]] + [resize_bicubic(faces[-1].hr, 32, 32)]
    with pytest.raises(DataError, match="face3 is 32 x 32 px, its original 64 x 64"):
        judge.judge("mine", results)


def test_two_swapped_results_show_in_the_score(tmp_path):
    faces = read_test_set(pictures(tmp_path), TestSetOptions())
    judge = Judge(faces, ["psnr_y"])
    right = judge.judge("right", [face.lr_up for face in faces])
    swapped = judge.judge("swapped", [faces[1].lr_up, faces[0].lr_up, *(face.lr_up for face in faces[2:])])
    assert swapped.scores["psnr_y"].value < right.scores["psnr_y"].value - 1


def test_scores_are_means_of_the_pictures_numbers(tmp_path):
    faces = read_test_set(pictures(tmp_path), TestSetOptions())
    scored = Judge(faces, ["psnr_y", "ssim_y"]).judge("bicubic", [face.lr_up for face in faces])
    by_hand = [psnr_y(face.lr_up, face.hr) for face in faces]
    assert scored.per_picture["psnr_y"] == by_hand
    assert scored.scores["psnr_y"].value == pytest.approx(np.mean(by_hand))
    assert scored.scores["psnr_y"].median == pytest.approx(np.median(by_hand))
    low, high = scored.scores["psnr_y"].low, scored.scores["psnr_y"].high
    assert low is not None
    assert high is not None
    assert min(by_hand) <= low <= high <= max(by_hand)


def test_equal_pictures_are_infinitely_good_and_have_no_interval(tmp_path):
    faces = read_test_set(pictures(tmp_path), TestSetOptions())
    scored = Judge(faces, ["psnr_y"]).judge("perfect", [face.hr for face in faces])
    assert math.isinf(scored.scores["psnr_y"].value)
    assert scored.scores["psnr_y"].low is None


def test_an_interval_of_normal_numbers_is_the_textbooks():
    values = np.random.default_rng(0).normal(10, 2, 400).tolist()
    found = interval(values, lambda sample: float(np.mean(sample)))
    half = 1.96 * np.std(values) / 20
    assert found.low == pytest.approx(np.mean(values) - half, abs=0.03)
    assert found.high == pytest.approx(np.mean(values) + half, abs=0.03)


def test_more_pictures_of_the_same_people_make_no_interval_narrower():
    """Ten equal pictures of each person say no more of other people than one of each does."""
    once = np.random.default_rng(0).normal(10, 2, 30).tolist()
    often = np.repeat(once, 10).tolist()
    people = [str(index) for index in range(30) for _ in range(10)]
    alone, drawn = interval(once, np.mean), interval(often, np.mean, people)
    assert drawn.low == pytest.approx(alone.low)
    assert drawn.high == pytest.approx(alone.high)
    by_pictures = interval(often, np.mean)
    assert by_pictures.low is not None
    assert drawn.low is not None
    assert by_pictures.low > drawn.low + 0.3


def test_one_person_has_no_interval():
    found = interval([1.0, 2.0, 3.0], np.mean, ["x", "x", "x"])
    assert (found.value, found.median, found.low, found.high) == (2, 2, None, None)


def test_people_of_a_pack_are_drawn_and_counted(tmp_path, sparnet_cli):
    hr = tmp_path / "pack"
    write_pack(hr, pictures(tmp_path / "loose"), people=["x", "x", "x", "y"])
    ended = sparnet_cli("evaluate", "--hr", hr, "--sr", tmp_path / "loose", "--json", "-")
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["people"] == 2
    faces = read_test_set(hr, TestSetOptions())
    assert [face.identity for face in faces] == ["x", "x", "x", "y"]
    scored = Judge(faces, ["psnr_y"]).judge("bicubic", [face.lr_up for face in faces])
    values = scored.per_picture["psnr_y"]
    ends = sorted((np.mean(values[:3]), values[3]))
    assert (scored.scores["psnr_y"].low, scored.scores["psnr_y"].high) == pytest.approx(ends)


def test_a_paired_comparison_sees_a_small_steady_difference(tmp_path):
    faces = read_test_set(pictures(tmp_path, count=6), TestSetOptions())
    judge = Judge(faces, ["psnr_y"])
    plain = [face.lr_up for face in faces]
    better = [
        ((lr_up.astype(int) * 3 + face.hr) // 4).astype(np.uint8)
        for lr_up, face in zip(plain, faces, strict=True)
    ]
    gain = compare(judge.judge("better", better), judge.judge("plain", plain))["psnr_y"]
    assert gain.low is not None
    assert gain.low > 1.5
    assert gain.value == pytest.approx(20 * math.log10(4 / 3), abs=0.4)


def test_an_unknown_metric_is_refused(tmp_path):
    with pytest.raises(SparnetError, match="no metric 'psnr'; have: psnr_y"):
        Judge(read_test_set(pictures(tmp_path), TestSetOptions()), ["psnr"])


def test_the_command_scores_anyones_results(tmp_path, sparnet_cli):
    hr, sr = pictures(tmp_path / "hr"), tmp_path / "sr"
    for face in read_test_set(hr, TestSetOptions(upscale_factor=4)):
        write_image(sr / f"{face.name}.png", face.lr_up)
    options = ["--hr", str(hr), "--sr", str(sr), "-s", "8"]
    written = [
        "--json",
        str(tmp_path / "r.json"),
        "--csv",
        str(tmp_path / "r.csv"),
        "--faces",
        str(tmp_path / "f.png"),
    ]
    ended = sparnet_cli("evaluate", *options, *written)
    assert ended.code == 0, ended.err
    assert "bicubic" in ended.out
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["made"] == "bicubic 1/8"
    plain, mine = report["methods"]
    assert (plain["method"], mine["method"]) == ("bicubic", str(sr))
    gain = report["differences"][f"{sr} - bicubic"]["psnr_y"]
    assert gain["value"] == pytest.approx(
        mine["scores"]["psnr_y"]["value"] - plain["scores"]["psnr_y"]["value"]
    )
    assert gain["low"] > 0
    rows = list(csv.DictReader((tmp_path / "r.csv").read_text().splitlines()))
    assert [row["name"] for row in rows] == [f"face{index}" for index in range(4)]
    assert float(rows[0]["bicubic psnr_y"]) < float(rows[0][f"{sr} psnr_y"])
    page = read_image(tmp_path / "f.png")
    assert page.shape[1] > 100
    every = ["--faces", str(tmp_path / "f.png"), "--every", "3"]
    assert sparnet_cli("evaluate", *options, *every).code == 0
    assert read_image(tmp_path / "f.png").shape[0] < page.shape[0], "two of four faces, one line less"


def test_a_folder_named_as_plain_enlargement_is_scored_beside_it(tmp_path, sparnet_cli, monkeypatch):
    hr = pictures(tmp_path / "hr")
    for face in read_test_set(hr, TestSetOptions(upscale_factor=4)):
        write_image(tmp_path / "bicubic" / f"{face.name}.png", face.lr_up)
    monkeypatch.chdir(tmp_path)
    ended = sparnet_cli("evaluate", "--hr", hr, "--sr", "bicubic", "-s", "8", "--json", "r.json")
    assert ended.code == 0, ended.err
    report = json.loads((tmp_path / "r.json").read_text())
    assert [method["method"] for method in report["methods"]] == ["bicubic", "bicubic/"]
    assert report["differences"]["bicubic/ - bicubic"]["psnr_y"]["low"] > 0


def test_results_are_looked_for_in_the_folders_their_originals_lie_in(tmp_path):
    hr = tmp_path / "hr"
    for folder in ("anna", "ben"):
        pictures(hr / folder, count=2)
    faces = {face.name: face for face in read_test_set(hr, TestSetOptions())}
    assert list(faces) == ["anna/face0", "anna/face1", "ben/face0", "ben/face1"]
    found = read_named(hr, faces, what="result")
    assert all(np.array_equal(found[name], face.hr) for name, face in faces.items())
    (hr / "ben" / "face1.png").unlink()
    with pytest.raises(DataError, match=r"1 originals have no result \(ben/face1\)"):
        read_named(hr, faces, what="result")


@pytest.mark.parametrize(
    ("metric", "message"),
    [("ssim_y_dic", "mine: face0: ssim_y_dic: SSIM's window needs 11 px"), ("two", "mine: two: too few")],
)
def test_pictures_that_a_metric_cannot_measure_are_told_in_one_line(tmp_path, monkeypatch, metric, message):
    def too_few(*_):
        raise ValueError("too few")

    sets = Metric(load=lambda: list, takes="sets", direction="lower", unit="", summarise=too_few)
    monkeypatch.setitem(METRICS, "two", sets)
    faces = read_test_set(pictures(tmp_path, px=24), TestSetOptions())
    with pytest.raises(DataError, match=message):
        Judge(faces, [metric]).judge("mine", [face.hr for face in faces])


def test_the_papers_bicubic_row_comes_out(shared):
    faces = read_test_set(shared / "faces" / "faces128-test", TestSetOptions(framing=0.85, size_px=128))
    scored = Judge(faces, ["psnr_y"]).judge("bicubic", [face.lr_up for face in faces])
    assert scored.scores["psnr_y"].value == pytest.approx(23.685, abs=5e-4)


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["-m", "a", "--sr", "b"],
        ["--sr", "b", "-s", "5"],
        ["--sr", "b", "-s", "8", "--degrade", "blind"],
        ["--sr", "b", "--every", "2"],
        ["--sr", "b", "--metrics", "fid_inception2015", "--faces", "f.png"],
    ],
)
def test_wrong_use_exits_with_2(options, tmp_path, sparnet_cli):
    assert sparnet_cli("evaluate", "--hr", tmp_path, *options).code == 2


def test_the_bad_face_can_be_mixed_in_as_restore_does(sparnet_cli):
    reports = []
    for fidelity in ("0", "0.5", "1"):
        ended = sparnet_cli(
            "evaluate",
            "-m",
            "sparnet-x8",
            "--hr",
            "examples/faces",
            "--limit",
            "1",
            "-w",
            fidelity,
            "--json",
            "-",
        )
        assert ended.code == 0, ended.err
        reports.append(json.loads(ended.out))
    plain, made = zip(
        *([method["scores"]["psnr_y"]["value"] for method in report["methods"]] for report in reports),
        strict=True,
    )
    assert plain[0] == plain[1] == plain[2] == made[2]
    assert made[2] < made[1] < made[0] + 1
    assert made[1] != made[0]


@pytest.mark.parametrize(("factor", "told"), [(4, True), (8, False)])
def test_a_model_that_reads_smaller_faces_than_it_is_given_is_told_of(tmp_path, sparnet_cli, factor, told):
    hr = pictures(tmp_path, count=2, px=128)
    ended = sparnet_cli("evaluate", "-m", "sparnet-x8", "-s", factor, "--hr", hr, "--metrics", "psnr_y")
    assert ended.code == 0, ended.err
    note = "sparnet: sparnet-x8 reads faces of 16 px: those of 32 px are reduced for it"
    assert (note in ended.errors) == told
