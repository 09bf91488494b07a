"""Judge a model, or a folder of results, over a test set."""

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from sparnet.engine import Engine
from sparnet.errors import DataError, SparnetError
from sparnet.evaluation.testset import TestFace
from sparnet.image import AnyImage
from sparnet.metrics.faces import FaceFinder
from sparnet.metrics.registry import METRICS, mean

RESAMPLES = 2000
"""Bootstrap resamples of an interval."""
_BATCH = 8


@dataclass(frozen=True)
class Interval:
    """A score over a test set."""

    value: float
    """The metric's own summary: the mean for most."""
    median: float | None = None
    """Over the pictures, where the metric has a number a picture."""
    low: float | None = None
    """Lower end of the 95 % bootstrap interval of `value`."""
    high: float | None = None
    """Its upper end."""


@dataclass(frozen=True)
class MethodScores:
    """What a method's results are worth."""

    method: str
    """A model's name, a folder's, or `bicubic` / `input`."""
    scores: dict[str, Interval]
    """By metric."""
    per_picture: dict[str, list[float]]
    """By metric, in the order of the test set; metrics over whole sets have none."""
    people: tuple[str, ...]
    """Who each picture shows, whom intervals draw."""
    milliseconds_a_face: float | None = None
    """Median time of the engine for one face, or None where no model was run."""


def run_model(engine: Engine, faces: Sequence[TestFace]) -> tuple[list[AnyImage], float]:
    """Return a model's results for the bad faces of a test set, and its median time for one face in ms.

    Raises:
        DataError: If the model makes faces of another size than the originals.
    """
    size = engine.info.image_size
    for face in faces:
        if face.hr.shape[0] != size:
            raise DataError(
                f"{face.name}: the original is {face.hr.shape[0]} px, {engine.info.name} makes {size} px; "
                "name --size, or another model"
            )
    inputs = [face.at(engine.info.input_size) for face in faces]
    made: list[AnyImage] = []
    for start in range(0, len(inputs), _BATCH):
        made.extend(engine.run(np.stack(inputs[start : start + _BATCH])))
    times = []
    for one in inputs[:5]:
        started = time.perf_counter()
        engine.run(one[None])
        times.append(time.perf_counter() - started)
    return made, 1000 * float(np.median(times))


class Judge:
    """Metrics loaded once, for several methods over one test set.

    Args:
        faces: The test set.
        metrics: Names in `METRICS`.

    Raises:
        SparnetError: If there is no such metric.
        WeightsError: If a metric's files are missing.
    """

    def __init__(self, faces: Sequence[TestFace], metrics: Sequence[str]) -> None:
        unknown = [name for name in metrics if name not in METRICS]
        if unknown:
            raise SparnetError(f"no metric '{unknown[0]}'; have: {', '.join(METRICS)}")
        self.faces = faces
        self.loaded: dict[str, Callable[..., Any]] = {name: METRICS[name].load() for name in metrics}
        needed = any(METRICS[name].takes == "face" for name in metrics)
        finder = FaceFinder() if needed else None
        self._found = [finder(face.hr) for face in faces] if finder is not None else []
        self._hr_features = {
            name: measure([face.hr for face in faces])
            for name, measure in self.loaded.items()
            if METRICS[name].takes == "sets"
        }

    @property
    def without_face(self) -> int:
        """Originals in which no face was found, where a metric looked for one."""
        return sum(not found.found for found in self._found)

    def judge(
        self,
        method: str,
        results: Sequence[AnyImage],
        *,
        milliseconds_a_face: float | None = None,
        advance: Callable[[], None] = lambda: None,
    ) -> MethodScores:
        """Score one method's results, in the order of the test set.

        Raises:
            DataError: If a result is not of its original's size, or the pictures are too small or too few
                for a metric.
        """
        for face, sr in zip(self.faces, results, strict=True):
            if sr.shape != face.hr.shape:
                raise DataError(
                    f"{method}: {face.name} is {sr.shape[1]} x {sr.shape[0]} px, its original "
                    f"{face.hr.shape[1]} x {face.hr.shape[0]}"
                )
        per_picture: dict[str, list[float]] = {
            name: [] for name in self.loaded if METRICS[name].takes != "sets"
        }
        for index, (face, sr) in enumerate(zip(self.faces, results, strict=True)):
            for name, values in per_picture.items():
                extra = (self._found[index],) if METRICS[name].takes == "face" else ()
                try:
                    values.append(float(self.loaded[name](sr, face.hr, *extra)))
                except ValueError as error:
                    raise DataError(f"{method}: {face.name}: {name}: {error}") from None
            advance()
        people = tuple(face.identity for face in self.faces)
        scores = {name: _summary(name, values, people) for name, values in per_picture.items()}
        for name, original in self._hr_features.items():
            try:
                scores[name] = Interval(METRICS[name].summarise(self.loaded[name](list(results)), original))
            except ValueError as error:
                raise DataError(f"{method}: {name}: {error}") from None
        return MethodScores(method, scores, per_picture, people, milliseconds_a_face)


def interval(
    values: Sequence[float], summarise: Callable[..., float], people: Sequence[str] | None = None
) -> Interval:
    """Summarise numbers of pictures with a 95 % bootstrap interval (percentile, fixed seed).

    People are drawn, each with all their pictures, since pictures of one person are alike: the interval
    is for other people's faces. Infinite numbers (the PSNR of equal pictures) make an infinite mean and
    no interval, and one person none either.

    Args:
        values: A number a picture.
        summarise: Makes the score of such numbers.
        people: Who each picture shows; by default each shows somebody else.
    """
    numbers = np.asarray(values, dtype=np.float64)
    pictures: dict[str, list[int]] = {}
    for index in range(len(numbers)):
        pictures.setdefault(str(index) if people is None else people[index], []).append(index)
    groups = [np.array(indices) for indices in pictures.values()]
    median = float(np.median(numbers))
    if len(groups) < 2 or not np.isfinite(numbers).all():
        return Interval(float(summarise(values)), median)
    if len(set(values)) == 1:
        return Interval(float(summarise(values)), median, float(summarise(values)), float(summarise(values)))
    ends = stats.bootstrap(
        (np.arange(len(groups)),),
        lambda drawn: summarise(numbers[np.concatenate([groups[index] for index in drawn])].tolist()),
        vectorized=False,
        n_resamples=RESAMPLES,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return Interval(float(summarise(values)), median, float(ends.low), float(ends.high))


def _summary(name: str, values: Sequence[float], people: Sequence[str]) -> Interval:
    """Summarise a metric's numbers of pictures; one whose score is not their mean has no median of scores."""
    found = interval(values, METRICS[name].summarise, people)
    is_mean = METRICS[name].summarise is mean
    return found if is_mean else dataclasses.replace(found, median=None)


def number_name(metric: str) -> str:
    """Name a metric's number of a picture: under `landmark_auc` that is its error, where lower is better."""
    return metric.replace("landmark_auc", "landmark_nme")


def compare(first: MethodScores, second: MethodScores) -> dict[str, Interval]:
    """Return the mean of `first - second` over the pictures, with its paired interval.

    By the names of `number_name`.
    """
    return {
        number_name(name): interval(
            [a - b for a, b in zip(values, second.per_picture[name], strict=True)],
            lambda sample: float(np.mean(sample)),
            first.people,
        )
        for name, values in first.per_picture.items()
    }
