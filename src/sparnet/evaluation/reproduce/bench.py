"""What every table and figure needs: faces, models trained within a budget, and their results."""

import dataclasses
import functools
import hashlib
import json
import logging
import re
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

from sparnet.config import parse_config, set_values
from sparnet.data.faces import FaceSet, read_faces
from sparnet.data.validation import Validation
from sparnet.engine import open_engine
from sparnet.errors import DataError, ImageError, RecipeError, SparnetError, WeightsError
from sparnet.evaluation.evaluate import Judge, MethodScores, run_model
from sparnet.evaluation.testset import TestFace, TestSetOptions, left_out_names, read_named, read_test_set
from sparnet.files import remove_leftovers, replacing, write_whole
from sparnet.image import AnyImage, picture_size, resize_bicubic
from sparnet.metrics.registry import METRICS
from sparnet.network.config import WAVELET_KEYS, NetworkConfig
from sparnet.network.cost import count_gflop
from sparnet.network.presets import PRESETS
from sparnet.training.loop import RECIPE_FILE, load_faces, make_batches, open_fabric, train, validation_of
from sparnet.training.recipe import (
    DataConfig,
    Recipe,
    load_recipe,
    parse_recipe,
    read_extended,
    recipe_to_toml,
)
from sparnet.training.results import MODEL_FILE, SCORES_FILE
from sparnet.training.state import saved_states
from sparnet.training.stop import TIME_IS_UP
from sparnet.training.trainee import build_trainee, last_step

Kind: TypeAlias = Literal["sparnet", "wavelet", "hd"]
"""Which recipe a row starts from."""
RecipeSet: TypeAlias = Literal["budget", "release", "paper"]

RECIPES: dict[RecipeSet, dict[Kind, str]] = {
    "budget": {"sparnet": "budget-128", "wavelet": "budget-wavelet", "hd": "budget-hd"},
    "release": {"sparnet": "release-x8", "wavelet": "wavelet-x8", "hd": "hd-ablation"},
    "paper": {"sparnet": "paper-x8", "wavelet": "wavelet-x8", "hd": "hd-ablation"},
}
"""Names of the recipes, for training as long as there is time and as the release or the text has it."""

_PACE: dict[str, tuple[str, ...]] = {"128": ("s2", "cbam", "wavelet"), "512": ("hd",)}
"""Networks whose speeds are measured for a budget: the slowest of each kind of row."""
_PACE_STEPS = 3
_NOTE_SECONDS = 10.0
TIME_FILE = "time.json"
"""How long a run has taken, over all calls."""
_HELD_OUT = 100
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Row:
    """A method of a table: trained here, plain enlargement, or another's."""

    name: str
    """As the paper has it."""
    kind: Kind | None = None
    """Which recipe it is trained by; None is not trained here."""
    network: str = "sparnet"
    """Preset of its architecture; of it, what differs from `sparnet` changes the recipe's network."""
    changes: tuple[str, ...] = ()
    """Further changes of the recipe, as `--set` has them."""
    variant: str = ""
    """What the name of its recipe ends in, where it has one of its own."""

    @property
    def slug(self) -> str:
        """The name in letters that a file may have."""
        return re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")


@dataclass(frozen=True)
class Options:
    """What a person asks for."""

    data: Path
    """Folder of sets: packs as faces128-train, or folders made by `sparnet prepare`."""
    output: Path
    """Where reports, runs and results go."""
    budget_minutes: float | None = None
    """Minutes of training for the slowest row; all rows see as many images. None is the recipes' length."""
    recipes: RecipeSet = "release"
    """Which recipes."""
    assignments: tuple[str, ...] = ()
    """Changes of every recipe; what Wavelet-SRNet's network has not is passed over for it."""
    models: Mapping[str, Path] = field(default_factory=dict)
    """Model files by row, instead of training."""
    results: Mapping[str, Path] = field(default_factory=dict)
    """Folders of results by row, of any program."""
    train: tuple[Path, ...] = ()
    """Sets to train on; none looks for them in `data`."""
    test: Path | None = None
    """The set to judge on; None looks for it in `data`."""
    framing: float | None = None
    """Central share of each original's side that is kept; None is 0.85 for larger pictures, else 1."""
    limit: int | None = None
    """Only the first so many test faces."""


class Unfinished(SparnetError):  # noqa: N818 - as NoFaceFound
    """A training was stopped; the same command goes on with it."""


@dataclass(eq=False)
class Result:
    """What a row made of the test faces."""

    row: Row
    factor: int | None
    pictures: list[AnyImage] | None
    """In the order of the test set; None where nothing was made of it."""
    origin: str
    """Where it comes from, for a person."""
    model: Path | None = None
    images_seen: int | None = None
    parameters: int | None = None
    gflop: float | None = None
    milliseconds_a_face: float | None = None
    scores: MethodScores | None = None


class Bench:
    """Trains, runs and judges rows for one command.

    Args:
        options: What is asked for.
        rows: Names of all rows, to refuse a --models or --results that means none.
        notice: Called with lines a person should see.
        progress: Called while training with the row's name, images seen and wanted.

    Raises:
        SparnetError: If a model or folder is named for a row that is not there.
    """

    def __init__(
        self,
        options: Options,
        rows: Sequence[str],
        *,
        notice: Callable[[str], None] = lambda _: None,
        progress: Callable[[str, int, int], None] = lambda *_: None,
    ) -> None:
        self.options = options
        self.notice = notice
        self.progress = progress
        self.notes: list[str] = []
        for given, what in ((options.models, "--models"), (options.results, "--results")):
            for name in given:
                if name not in rows:
                    raise SparnetError(f"{what} {name}: no such row; have: {', '.join(rows)}")
        remove_leftovers([options.output], recursive=True)
        self._compared: set[tuple[Any, ...]] = set()
        self._loaded: tuple[str, FaceSet, FaceSet] | None = None
        self._tests: dict[tuple[int | None, int], list[TestFace]] = {}
        self._judges: dict[tuple[int | None, int, tuple[str, ...]], Judge] = {}

    # The faces.

    def training_sets(self, size: int) -> list[Path]:
        """Find the sets to train on.

        Raises:
            DataError: If there is none.
        """
        if self.options.train:
            return [path.resolve() for path in self.options.train]
        data = self.options.data
        family = "faces128" if size <= 128 else "faces512"
        own = [path for path in (data / f"{family}-train", data / f"{family}-extra") if path.is_dir()]
        others = ("celeba128/train", "train") if size <= 128 else ("ffhq512", "train")
        found = own or [path for name in others if (path := data / name).is_dir()][:1]
        if not found:
            raise DataError(
                f"{data}: no faces of {size} px to train on ({family}-train, {', '.join(others)} were looked "
                "for); name them with --train"
            )
        return [path.resolve() for path in found]

    def test_set(self, size: int) -> Path:
        """Find the set to judge on.

        Raises:
            DataError: If there is none.
        """
        if self.options.test is not None:
            return self.options.test
        data = self.options.data
        names = (
            ("faces128-test", "helen128", "celeba128/test", "test")
            if size <= 128
            else ("faces512-test", "celebahq512-test", "ffhq512-test", "test")
        )
        found = next((path for name in names if (path := data / name).is_dir()), None)
        if found is None:
            raise DataError(
                f"{data}: no faces of {size} px to judge on ({', '.join(names)} were looked for); name them "
                "with --test"
            )
        return found

    def natural_set(self) -> Path | None:
        """Find the set of small faces as they are found, which have no originals."""
        path = self.options.data / "natural512"
        return path if path.is_dir() else None

    def test_options(self, factor: int | None, family: int, size: int) -> TestSetOptions:
        """Say how the test faces are made."""
        framing = self.options.framing
        if framing is None:
            sides = _sides(self.test_set(family))
            framing = 0.85 if family <= 128 and min(sides) > family else 1.0
        return TestSetOptions(upscale_factor=factor, framing=framing, size_px=size, limit=self.options.limit)

    def faces(self, factor: int | None, *, family: int = 128, size: int | None = None) -> list[TestFace]:
        """Read the test faces, once.

        Args:
            factor: Bicubic reduction; None degrades by equation 14.
            family: 128 or 512: which set.
            size: Side they are resized to, where it is not `family`.
        """
        side = size or family
        key = (factor, side)
        if key not in self._tests:
            options = self.test_options(factor, family, side)
            self._tests[key] = read_test_set(self.test_set(family), options)
        return self._tests[key]

    # The models.

    def recipe(self, row: Row, factor: int | None) -> Recipe:
        """Resolve the recipe of a row, its length by the budget.

        Raises:
            RecipeError: If the recipe is wrong.
        """
        recipe = self._unlimited(row, factor)
        if self.options.budget_minutes is None:
            return recipe
        images = self._images(factor, hd=row.kind == "hd")
        return _of_length(recipe, images)

    def _unlimited(self, row: Row, factor: int | None) -> Recipe:
        if row.kind is None:
            raise ValueError(f"{row.name} is not trained here")
        path = find_recipe(f"{RECIPES[self.options.recipes][row.kind]}{row.variant}.toml")
        values = read_extended(path)
        network = values["network"]
        values["network"] = ({"preset": network} if isinstance(network, str) else network) | (
            _differences(row.network) if row.kind == "sparnet" else {}
        )
        size = values["network"].get("image_size", PRESETS[values["network"]["preset"]].image_size)
        sets = self.training_sets(128 if row.kind != "hd" else 512)
        people = _people(tuple(sets))
        values["data"] = values["data"] | {"train": [str(path) for path in sets]}
        if values["data"].pop("validation", None) is not None or "holdout_people" in values["data"]:
            values["data"] |= {
                "holdout_people": min(_HELD_OUT, max(1, people // 10)),
                "validation_images": 16,
            }
        values["name"] = f"{row.slug}-x{factor}" if factor else row.slug
        if factor is not None:
            values["upscale_factor"] = factor
        if row.kind == "wavelet":
            values["network"]["input_size"] = size // (factor or 8)
        if factor == 16 and row.kind == "sparnet":
            values["initial_weights"] = str(self.model(row, 8)[0].resolve())
        assignments = [*row.changes, *self.options.assignments]
        if row.kind == "wavelet":
            assignments = [text for text in assignments if _means_something_for_wavelet(text)]
        changed = set_values(values, assignments)
        return parse_recipe(changed, source=f"{path.name}, row {row.name}")

    def _images(self, factor: int | None, *, hd: bool) -> int:
        """Say how many images each row sees in the budget: as many as the slowest can."""
        budget = self.options.budget_minutes or 0.0
        family = "512" if hd else "128"
        sets = self.training_sets(int(family))
        key = json.dumps(
            [family, factor, self.options.recipes, budget, self.options.assignments, [str(s) for s in sets]]
        )
        path = self.options.output / "runs" / "plan.json"
        plan = _read_plan(path)
        if key not in plan:
            speeds = {}
            for name in _PACE[family]:
                row = _pace_row(name)
                recipe = self._unlimited(row, 8 if factor == 16 and row.kind == "sparnet" else factor)
                speeds[name] = self._seconds_an_image(recipe)
            slowest = max(speeds, key=lambda name: speeds[name])
            images = max(1, int(budget * 60 / speeds[slowest]))
            plan = _read_plan(path)  # another call may have measured meanwhile, and train by that
            measured = {"images": images, "slowest": slowest, "seconds_an_image": speeds}
            chosen = plan.setdefault(key, measured)
            write_whole(path, json.dumps(plan, indent=2) + "\n")
            self.notice(
                f"budget: {budget:g} minutes are {chosen['images']} images for the slowest network "
                f"({chosen['slowest']}); every row sees as many"
            )
        return int(plan[key]["images"])

    def _seconds_an_image(self, recipe: Recipe) -> float:
        fabric = open_fabric(recipe)
        faces, _ = self.data(recipe)
        trainee = build_trainee(recipe, fabric, notice=lambda _: None)
        batches = make_batches(recipe, faces, fabric.device)
        size = recipe.train.batch_size
        trainee.network.train()
        times = []
        for step in range(_PACE_STEPS + 1):
            started = time.perf_counter()
            pair = batches.pairs(range(step * size, (step + 1) * size))
            numbers = last_step(trainee, pair, recipe=recipe, fabric=fabric)
            for value in numbers.values():
                float(value)  # on a GPU, waits for the step
            times.append(time.perf_counter() - started)
        return float(np.median(times[1:])) / size

    def data(self, recipe: Recipe) -> tuple[FaceSet, Validation]:
        """Return what `load_data` does; the faces are read once for all rows of the same data."""
        key = repr((recipe.data, recipe.network.image_size))
        if self._loaded is None or self._loaded[0] != key:
            self._loaded = None  # both would not fit into memory
            self._loaded = (key, *load_faces(recipe))
        _, faces, judged = self._loaded
        return faces, validation_of(recipe, judged)

    def model(self, row: Row, factor: int | None) -> tuple[Path, str]:
        """Return a row's model file and where it comes from; trains it if it is not there.

        Raises:
            Unfinished: If the training was stopped.
            WeightsError: If a given model is for another factor.
        """
        given = self.options.models.get(row.name)
        if given is not None:
            return given, f"given: {given.name}"
        recipe = self.recipe(row, factor)
        run = _run_of(recipe, self.options.output / "runs")
        total = recipe.train.total_images
        if not self._finished(run, total):
            self._train(recipe, run, row)
        minutes = _spent(run)
        time_taken = "" if minutes is None else f" in {minutes:.1f} minutes"
        return run / MODEL_FILE, f"trained here: {total:,} images{time_taken}"

    def _note_shared(self, test: Path, data: DataConfig) -> None:
        """Say, once, if faces are both trained and judged on: files that are the same to the bit."""
        key = (test, data.train, data.terms)
        if key in self._compared:
            return
        self._compared.add(key)
        terms = None if data.terms is None else frozenset(data.terms)
        trained = {digest for folder in data.train for digest in _digests(Path(folder), terms)}
        judged = _digests(test)
        shared = sum(digest in trained for digest in judged)
        if shared:
            line = (
                f"{shared} of the {len(judged)} faces of `{test.name}` are in the sets to train on as well; "
                "scores on such say nothing of faces never seen."
            )
            self.notice(line)
            self.note(line)

    def _finished(self, run: Path, total: int) -> bool:
        try:
            seen = json.loads((run / SCORES_FILE).read_text(encoding="utf-8"))["images_seen"]
        except (OSError, ValueError, KeyError):
            return False
        return bool(seen >= total) and (run / MODEL_FILE).is_file()

    def _train(self, recipe: Recipe, run: Path, row: Row) -> None:
        total = recipe.train.total_images
        going_on = (run / RECIPE_FILE).is_file() and bool(saved_states(run))
        self.notice(f"{recipe.name}: {'goes on' if going_on else 'trains'}, {total:,} images")
        before = _spent(run) or 0.0

        noted, first = time.monotonic(), -1

        def note_time(images: int, speed: float) -> None:
            # From the first step on, judging in between included; reading faces and exporting are left out.
            minutes = before + images / speed / 60
            write_whole(run / TIME_FILE, json.dumps({"minutes": minutes}) + "\n")

        def advance(step: Mapping[str, Any]) -> None:
            nonlocal noted, first
            seen = int(step["images_seen"])
            first = seen - recipe.train.batch_size if first < 0 else first
            if time.monotonic() - noted > _NOTE_SECONDS:
                noted = time.monotonic()
                note_time(seen - first, step["images_per_second"])
            self.progress(recipe.name, seen, total)

        outcome = train(
            recipe, run, data=self.data(recipe), resume=going_on, progress=advance, notice=_LOG.info
        )
        if first >= 0:
            note_time(outcome.images_seen - first, outcome.images_per_second)
        if not outcome.finished:
            reason = "its time is up" if outcome.reason == TIME_IS_UP else outcome.reason
            raise Unfinished(f"{recipe.name}: stopped ({reason}); the same command goes on with it")

    # The results.

    def result(self, row: Row, factor: int | None, *, family: int = 128, size: int | None = None) -> Result:
        """Return what a row makes of the test faces.

        Raises:
            DataError: If a folder of results does not pair with the test faces.
        """
        faces = self.faces(factor, family=family, size=size)
        if row.name in ("Bicubic", "Input"):
            return Result(row, factor, [face.lr_up for face in faces], "Pillow")
        folder = self._folder(row, factor)
        if folder is not None:
            left_out = left_out_names(self.test_set(family), self.options.limit)
            wanted = {face.name: face for face in faces}
            named = read_named(folder, wanted, what="result", left_out=left_out)
            return Result(row, factor, [named[face.name] for face in faces], f"folder {folder.name}")
        if row.kind is None and row.name not in self.options.models:
            return Result(row, factor, None, f"not run; --results '{row.name}=FOLDER' scores its results")
        if row.name not in self.options.models:
            self._note_shared(self.test_set(family), self.recipe(row, factor).data)
        path, origin = self.model(row, factor)
        return self._run(row, factor, path, origin, faces)

    def _folder(self, row: Row, factor: int | None) -> Path | None:
        folder = self.options.results.get(row.name)
        if folder is None:
            return None
        inner = folder / f"x{factor}"
        return inner if factor is not None and inner.is_dir() else folder

    def _run(self, row: Row, factor: int | None, path: Path, origin: str, faces: list[TestFace]) -> Result:
        engine = open_engine(path, precision="fp32")
        info = engine.info
        if info.upscale_factor != factor and factor is not None:
            raise WeightsError(f"{path}: is for x{info.upscale_factor}, row {row.name} needs x{factor}")
        config = parse_config(NetworkConfig, info.network, source=str(path))
        pictures, milliseconds = self._cached_run(path, engine, faces)
        return Result(
            row,
            factor,
            pictures,
            origin,
            model=path,
            images_seen=info.images_seen,
            parameters=info.parameters,
            gflop=count_gflop(config),
            milliseconds_a_face=milliseconds,
        )

    def _cached_run(self, path: Path, engine: Any, faces: list[TestFace]) -> tuple[list[AnyImage], float]:
        """Run a model over the test faces, or take what an earlier call made of the same ones."""
        key = hashlib.sha256(b"fp32" + path.read_bytes())
        for face in faces:
            key.update(face.lr.tobytes())
        cached = self.options.output / "cache" / f"{key.hexdigest()[:24]}.npz"
        try:
            with np.load(cached) as saved:
                return list(saved["sr"]), float(saved["milliseconds"])
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            pictures, milliseconds = run_model(engine, faces)
        with replacing(cached) as file:
            np.savez(file, sr=np.stack(pictures), milliseconds=np.array(milliseconds))
        return pictures, milliseconds

    # Faces without originals.

    def natural_results(
        self, rows: Sequence[Row], *, size: int, count: int | None
    ) -> tuple[list[list[AnyImage]], list[str], list[str]]:
        """Restore faces as they are found; where no set of them is, test faces reduced to 32 px.

        Returns:
            By row the pictures (none where nothing was made), its name, and where they come from.
        """
        faces = self._natural_faces(size, count)
        made, names, origins = [], [], []
        for row in rows:
            folder = self._natural_folder(row)
            if folder is not None and not folder.is_dir():
                folder = folder.parent
            if row.name == "Input":
                made.append([face.lr_up for face in faces])
                origins.append("Pillow")
            elif folder is not None:
                made.append(_results(folder, faces))
                origins.append(f"folder {folder.name}")
            elif row.kind is None and row.name not in self.options.models:
                made.append([])
                origins.append(f"not run; --results '{row.name}=FOLDER' shows its results")
            else:
                path, origin = self.model(row, None)
                made.append(run_model(open_engine(path, precision="fp32"), faces)[0])
                origins.append(origin)
            names.append(row.name)
        return made, names, origins

    def natural_faces(self, count: int) -> str:
        """Say in words which faces stand for small ones as they are found."""
        if self.natural_set() is not None:
            return f"{count} small faces of `natural512`"
        return (
            f"{count} faces of `{self.test_set(512).name}` reduced to 32 px (no `natural512` is there; "
            "`sparnet prepare natural` makes it of CelebA)"
        )

    def _natural_faces(self, size: int, count: int | None) -> list[TestFace]:
        folder = self.natural_set()
        if folder is None:
            faces = read_test_set(self.test_set(512), TestSetOptions(None, 1.0, size, limit=count))
            small = [resize_bicubic(face.hr, 32, 32) for face in faces]
        else:
            faces = read_test_set(folder, TestSetOptions(None, 1.0, size, limit=count))
            return [dataclasses.replace(face, lr=face.hr, lr_up=face.hr) for face in faces]
        return [
            dataclasses.replace(face, lr=lr, lr_up=resize_bicubic(lr, size, size))
            for face, lr in zip(faces, small, strict=True)
        ]

    def natural_fid(self, results: Sequence[Result], *, size: int) -> dict[str, float] | None:
        """Return by row the FID of restored small faces against the test set's originals.

        The small faces are those of `natural_results`; what other programs made of them is looked for
        in a folder `natural` inside the row's folder of results.

        Returns:
            FID by the names of the rows; None, with a note, where there is no network to measure with.
        """
        if not self.measurable(("fid_inception2015",)):
            return None
        rows = [
            result.row
            for result in results
            if result.pictures is not None
            and ((folder := self._natural_folder(result.row)) is None or folder.is_dir())
        ]
        made, names, _ = self.natural_results(rows, size=size, count=self.options.limit)
        metric = METRICS["fid_inception2015"]
        measure = metric.load()
        originals = [face.hr for face in self.faces(None, family=512, size=size)]
        reference = measure(originals)
        count = len(made[0])
        self.note(
            f"FID is of {self.natural_faces(count)} against {len(originals)} originals, in the paper of "
            "1,117 against 2,824; the fewer the faces, the larger it is"
        )
        return {
            name: metric.summarise(measure(pictures), reference)
            for name, pictures in zip(names, made, strict=True)
        }

    def _natural_folder(self, row: Row) -> Path | None:
        """Say where another program's results of the small faces would lie, apart from those of Table VI."""
        folder = self.options.results.get(row.name)
        return None if folder is None else folder / "natural"

    # The scores.

    def measurable(self, metrics: Sequence[str]) -> tuple[str, ...]:
        """Keep the metrics whose files are here; note those that are not."""
        kept = []
        for name in metrics:
            try:
                METRICS[name].load()
            except (WeightsError, ModuleNotFoundError) as error:
                self.note(f"`{name}` was not measured: {error}")
            else:
                kept.append(name)
        return tuple(kept)

    def judge(
        self, result: Result, metrics: Sequence[str], *, family: int = 128, size: int | None = None
    ) -> Result:
        """Score a result in place, and return it."""
        if result.pictures is None or not metrics:
            return result
        key = (result.factor, size or family, tuple(metrics))
        if key not in self._judges:
            faces = self.faces(result.factor, family=family, size=size)
            self._judges[key] = Judge(faces, metrics)
            if self._judges[key].without_face:
                self.note(f"no face was found in {self._judges[key].without_face} originals: the "
                          "template's place was taken")  # fmt: skip
        result.scores = self._judges[key].judge(
            result.row.name, result.pictures, milliseconds_a_face=result.milliseconds_a_face
        )
        return result

    def note(self, line: str) -> None:
        """Add a line to the report, once."""
        if line not in self.notes:
            self.notes.append(line)

    @cached_property
    def budget(self) -> str:
        """Say in words how long the rows were trained."""
        minutes = self.options.budget_minutes
        if minutes is None:
            return f"recipes `{self.options.recipes}` at their full length, all rows alike"
        return (
            f"recipes `{self.options.recipes}`; equal images for all rows: as many as the slowest network "
            f"sees in {minutes:g} minutes here"
        )


def _results(folder: Path, faces: Sequence[TestFace]) -> list[AnyImage]:
    """Read the results of some faces out of a folder that may have more."""
    found = read_named(folder, {face.name: face for face in faces}, what="result", left_out=None)
    pictures = list(found.values())
    for face, picture in zip(faces, pictures, strict=True):
        if picture.shape != face.hr.shape:
            raise DataError(
                f"{folder}: {face.name} is {picture.shape[1]} x {picture.shape[0]} px, expected "
                f"{face.hr.shape[1]} x {face.hr.shape[0]}"
            )
    return pictures


def find_recipe(name: str) -> Path:
    """Find a recipe that comes along: in the working folder, the package or the source tree.

    Raises:
        RecipeError: If it is in none.
    """
    package = Path(__file__).parents[2]
    for folder in (Path("recipes"), package / "recipes", package.parents[1] / "recipes"):
        if (folder / name).is_file():
            return folder / name
    raise RecipeError(f"{name}: no such recipe in ./recipes nor beside the package")


def _read_plan(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}


def _means_something_for_wavelet(assignment: str) -> bool:
    """Say whether Wavelet-SRNet has the key: what is set for SPARNet's network is passed over for it."""
    table, _, key = assignment.partition("=")[0].strip().partition(".")
    return table != "network" or key in WAVELET_KEYS


def _differences(name: str) -> dict[str, Any]:
    """Say in which keys a preset differs from `sparnet`."""
    plain = PRESETS["sparnet"].model_dump()
    return {key: value for key, value in PRESETS[name].model_dump().items() if value != plain[key]}


def _of_length(recipe: Recipe, images: int) -> Recipe:
    """Shorten or lengthen a recipe: its warm-up, its average and its saved states go along."""
    batch = recipe.train.batch_size
    # Below two batches the learning rate would not move at all.
    total = max(2 * batch, images // batch * batch)
    changes: dict[str, Any] = {
        "total_images": total,
        "evaluate_every_images": total,
        "save_every_images": max(batch, total // 10),
        "warmup_images": min(recipe.train.warmup_images, total // 10),
        "ema_halflife_images": min(recipe.train.ema_halflife_images, max(1, total // 20)),
    }
    adversarial = recipe.adversarial
    if adversarial is not None:
        adversarial = adversarial.model_copy(
            update={"start_images": min(adversarial.start_images, total // 2)}
        )
    return recipe.model_copy(
        update={"train": recipe.train.model_copy(update=changes), "adversarial": adversarial}
    )


def _pace_row(name: str) -> Row:
    match name:
        case "wavelet":
            return Row("Wavelet-SRNet", "wavelet")
        case "hd":
            return Row("SPARNetHD", "hd")
        case _:
            return Row(name, "sparnet", name)


def _digests(folder: Path, terms: frozenset[str] | None = None) -> list[bytes]:
    return [hashlib.sha256(face.encoded).digest() for face in read_faces(folder, terms=terms)]


@functools.cache
def _people(sets: tuple[Path, ...]) -> int:
    return len({face.identity for path in sets for face in read_faces(path)})


def _sides(folder: Path) -> list[int]:
    """Return the sides of a set's first pictures."""
    try:
        return [min(picture_size(face.encoded)) for face in read_faces(folder)[:50]]
    except ImageError as error:
        raise DataError(f"{folder}: a picture cannot be read: {error}") from None


def _run_of(recipe: Recipe, runs: Path) -> Path:
    """Return the folder of a recipe's run: the one there is, even if it knew fewer settings, or a new one."""
    for run in sorted(runs.glob(f"{recipe.name}-*")):
        try:
            found = load_recipe(run / RECIPE_FILE)
        except (OSError, SparnetError):
            continue
        if found == recipe:
            return run
    digest = hashlib.sha256(recipe_to_toml(recipe).encode()).hexdigest()[:8]
    return runs / f"{recipe.name}-{digest}"


def _spent(run: Path) -> float | None:
    try:
        return float(json.loads((run / TIME_FILE).read_text(encoding="utf-8"))["minutes"])
    except (OSError, ValueError, KeyError):
        return None
