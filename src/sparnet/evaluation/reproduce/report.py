"""What a table or figure of the paper leaves behind: Markdown, numbers in JSON, pictures."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sparnet.evaluation.evaluate import Interval, compare
from sparnet.evaluation.reproduce.bench import Bench, Result
from sparnet.files import to_json, write_whole
from sparnet.image import AnyImage, write_image
from sparnet.metrics.registry import METRICS

SMALL_BUDGET = (
    "The paper trains for 3.6 million faces (SPARNet) or 100,000 steps (SPARNetHD), at full width: **a small "
    "budget shows that the path works, not which method is better**."
)
NONE = "-"
"""What stands where there is no number."""


@dataclass
class Table:
    """A table of a report, its cells ready to be printed."""

    caption: str
    header: Sequence[str]
    rows: list[list[str]]

    @property
    def markdown(self) -> str:
        """The table as Markdown: the first column to the left, numbers to the right."""
        lines = [
            f"**{self.caption}**",
            "",
            f"| {' | '.join(self.header)} |",
            f"|---|{'---:|' * (len(self.header) - 1)}",
            *(f"| {' | '.join(row)} |" for row in self.rows),
        ]
        return "\n".join(lines)


@dataclass
class Report:
    """All of a table or figure."""

    name: str
    title: str
    tables: list[Table] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)
    numbers: dict[str, Any] = field(default_factory=dict)
    """Further numbers, for the JSON file."""
    differs: list[str] = field(default_factory=list)
    """How this differs from the paper, a line each."""
    plots: dict[str, bytes] = field(default_factory=dict)
    """Plots of numbers as PNG, by suffix; the empty suffix is the report's own picture."""
    sheets: dict[str, AnyImage] = field(default_factory=dict)
    """Pictures of faces, by suffix; they show people, and are named apart from plots."""

    def write(self, folder: Path) -> list[Path]:
        """Write all files into a folder, each whole or not at all, and return them."""
        written = []
        for suffix, content in self.plots.items():
            path = folder / f"{self.name}{suffix}.png"
            write_whole(path, content)
            written.append(path)
        for suffix, picture in self.sheets.items():
            path = folder / f"{self.name}{suffix}.png"
            folder.mkdir(parents=True, exist_ok=True)
            write_image(path, picture)
            written.append(path)
        described = {
            "name": self.name,
            "title": self.title,
            "methods": [_as_numbers(result) for result in self.results],
            "differs": self.differs,
            **self.numbers,
        }
        numbers = folder / f"{self.name}.json"
        write_whole(numbers, to_json(described))
        page = folder / f"{self.name}.md"
        write_whole(page, self.markdown([path.name for path in written]))
        return [page, *written, numbers]

    def markdown(self, pictures: Sequence[str]) -> str:
        """The page: tables, pictures, and what differs from the paper."""
        parts = [f"# {self.title}", *(table.markdown for table in self.tables)]
        parts += [f"![{Path(name).stem}]({name})" for name in pictures]
        parts.append("## What differs from the paper\n\n" + "\n".join(f"- {line}" for line in self.differs))
        return "\n\n".join(parts) + "\n"


@dataclass(frozen=True)
class TestData:
    """Faces that the paper tests on."""

    __test__ = False
    """It is none of pytest's, whatever its name."""
    name: str
    """What they are called in a sentence."""
    folder: str | None = None
    """What their folder is called, if `sparnet reproduce` would find it; else they are named."""


HELEN = TestData("Helen's test set", "helen128")
CELEBAHQ = TestData("CelebAHQ-Test", "celebahq512-test")

TITLES = {
    "psnr_y": "PSNR, dB",
    "ssim_y": "SSIM",
    "psnr_y_dic": "PSNR (dic), dB",
    "ssim_y_dic": "SSIM (dic)",
    "landmark_auc": "landmark AUC, %",
    "identity_cosine": "identity",
    "lpips_alex": "LPIPS (alex)",
    "lpips_vgg16": "LPIPS (vgg16)",
    "fid_inception2015": "FID",
}
"""Metrics as columns are headed."""


def number(metric: str, value: float | None) -> str:
    """Print a score with the digits that its metric is worth."""
    if value is None:
        return NONE
    if math.isinf(value):
        return "∞"
    digits = 2 if metric in ("landmark_auc", "fid_inception2015") else 3 if metric.startswith("psnr") else 4
    return f"{value:.{digits}f}"


def with_interval(metric: str, value: Interval | None) -> str:
    """Print a score and its 95 % interval."""
    if value is None:
        return NONE
    shown = number(metric, value.value)
    if value.low is None or value.high is None:
        return shown
    return f"{shown} ({number(metric, value.low)} to {number(metric, value.high)})"


def scores_table(
    caption: str,
    results: Sequence[Result],
    metrics: Sequence[str],
    published: Mapping[str, Mapping[str, float]],
    *,
    under: Mapping[str, str] | None = None,
    against: str | None = None,
    cost: bool = True,
) -> Table:
    """Lay scores out, a method a row, the paper's number before ours.

    Args:
        caption: What stands above.
        results: The methods, judged.
        metrics: Columns.
        published: The paper's numbers by row and metric.
        under: For metrics whose name is another in `published`.
        against: A method whose gain over each other one, pair by pair, is a column of the first metric.
        cost: Whether parameters, GFLOP and origin are columns.
    """
    header = ["method"]
    for metric in metrics:
        header += [f"{TITLES[metric]}: paper", "ours (95 % interval)"]
    main = next((result for result in results if result.row.name == against), None)
    if main is not None:
        header.append(f"{against} above it, {TITLES[metrics[0]]}")
    if cost:
        header += ["parameters", "GFLOP", "where ours is from"]
    rows = []
    for result in results:
        row = [result.row.name]
        theirs = published.get(result.row.name, {})
        for metric in metrics:
            key = (under or {}).get(metric, metric)
            ours = None if result.scores is None else result.scores.scores.get(metric)
            row += [number_as_printed(key, theirs.get(key)), with_interval(metric, ours)]
        if main is not None:
            row.append(_gain(main, result, metrics[0]))
        if cost:
            row += [
                NONE if result.parameters is None else f"{result.parameters / 1e6:.3f} M",
                NONE if result.gflop is None else f"{result.gflop:.1f}",
                result.origin,
            ]
        rows.append(row)
    return Table(caption, header, rows)


def number_as_printed(metric: str, value: float | None) -> str:
    """Print a number of the paper as it stands there."""
    if value is None:
        return NONE
    if metric == "fid":
        return f"{value:g}"
    digits = 4 if metric in ("ssim_y", "identity_cosine") else 3 if metric == "seconds" else 2
    return f"{value:.{digits}f}"


def _gain(main: Result, other: Result, metric: str) -> str:
    if other is main or main.scores is None or other.scores is None:
        return NONE
    if metric not in main.scores.per_picture:
        return NONE
    return with_interval(metric, compare(main.scores, other.scores).get(metric))


def what_differs(
    bench: Bench,
    results: Sequence[Result],
    *,
    data: str,
    test: TestData,
    sizes: Sequence[tuple[int | None, int]],
) -> list[str]:
    """Say in lines how our numbers came about, where the paper's came about otherwise.

    Args:
        bench: Has the budget and the sets.
        results: The rows.
        data: What the paper tests and trains on.
        test: What the paper tests on, to say where another set stands in for it.
        sizes: Factors and sides of the test faces that were used.
    """
    lines = [f"Paper: {data}."]
    for factor, side in sizes:
        family = 128 if factor is not None else 512
        options = bench.test_options(factor, family, side)
        count = len(bench.faces(factor, family=family, size=side))
        lines.append(
            f"Ours is judged on {count} faces of `{bench.test_set(family).name}`: {options.description}."
        )
    folder = bench.test_set(128 if sizes[0][0] is not None else 512)
    if bench.options.test is None and folder.name != test.folder:
        lines.append(f"**`{folder.name}` stands in for {test.name}**; `--test` names another set.")
    trained = [result for result in results if result.origin.startswith("trained here")]
    if trained:
        families = sorted({512 if result.row.kind == "hd" else 128 for result in trained})
        sets = " and ".join(f"`{path.name}`" for family in families for path in bench.training_sets(family))
        lines.append(f"Ours is trained on {sets}; {bench.budget}.")
        if bench.options.budget_minutes is not None:
            lines.append(SMALL_BUDGET)
    missing = [result.row.name for result in results if result.pictures is None]
    if missing:
        lines.append(
            f"Not run here, only the paper's numbers are shown: {', '.join(dict.fromkeys(missing))}. "
            "`--results NAME=FOLDER` scores what their programs wrote."
        )
    return lines + bench.notes


def _as_numbers(result: Result) -> dict[str, Any]:
    scores = {} if result.scores is None else result.scores.scores
    return {
        "method": result.row.name,
        "upscale_factor": result.factor,
        "origin": result.origin,
        "images_seen": result.images_seen,
        "parameters": result.parameters,
        "gflop": result.gflop,
        "milliseconds_a_face": result.milliseconds_a_face,
        "scores": {name: dataclasses.asdict(value) for name, value in scores.items()},
    }


def better(metric: str) -> str:
    """Say which way a metric is better, for the axis of a plot."""
    return f"{TITLES[metric]}: {METRICS[metric].direction} is better"
