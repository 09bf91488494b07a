"""`sparnet reproduce`: a table or figure of the paper, theirs beside ours."""

import enum
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sparnet.cli.options import assignments_option, finite

if TYPE_CHECKING:
    from sparnet.evaluation.reproduce.report import Report

FACES = "-faces"
"""Ends the names of pictures that show people."""


class Recipes(enum.StrEnum):
    """Which recipes the rows are trained by."""

    BUDGET = "budget"
    RELEASE = "release"
    PAPER = "paper"


def reproduce(
    name: Annotated[
        str | None, typer.Argument(metavar="TABLE|FIGURE", help="table1, figure5, ...", show_default=False)
    ] = None,
    *,
    list_all: Annotated[bool, typer.Option("--list", help="List the tables and figures.")] = False,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            metavar="DIR",
            help="Folder of sets: packs, or made by sparnet prepare.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="DIR", help="Folder of reports, runs and results.")
    ] = Path("reproduced"),
    budget_minutes: Annotated[
        float | None,
        typer.Option(
            metavar="M",
            callback=finite,
            help="Train the slowest row for this long, all others on as many images.",
            show_default="in full",
        ),
    ] = None,
    recipes: Annotated[
        Recipes | None,
        typer.Option(help="Recipes of the rows.", show_default="budget, in full release"),
    ] = None,
    assignments: Annotated[
        list[str] | None, assignments_option("Change a value of every recipe; may be repeated.")
    ] = None,
    models: Annotated[
        list[str] | None,
        typer.Option(
            "--models",
            metavar="ROW=FILE",
            help="A model instead of training; may be repeated.",
            show_default=False,
        ),
    ] = None,
    results: Annotated[
        list[str] | None,
        typer.Option(
            "--results",
            metavar="ROW=FOLDER",
            help="Any program's results for a row; may be repeated.",
            show_default=False,
        ),
    ] = None,
    train: Annotated[
        list[Path] | None,
        typer.Option("--train", metavar="DIR", help="Train on these sets instead.", show_default=False),
    ] = None,
    test: Annotated[
        Path | None,
        typer.Option("--test", metavar="DIR", help="Judge on this set instead.", show_default=False),
    ] = None,
    framing: Annotated[
        float | None,
        typer.Option(
            min=0.1,
            max=1.0,
            callback=finite,
            help="Central share of a test face's side that is kept.",
            show_default="0.85 if larger than 128 px",
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(metavar="N", min=2, help="Only the first N test faces.", show_default=False),
    ] = None,
) -> None:
    """Make a table or figure of the paper, its numbers beside ours.

    Trains the rows that are not there yet, judges all on the same faces, and
    writes Markdown, PNG and JSON. A call that was stopped, even killed, goes on
    where it was; later calls with the same output take the models that are there.
    Pictures that show faces are named ...-faces.png.
    """
    from sparnet.errors import SparnetError

    if budget_minutes is not None and budget_minutes <= 0:
        raise typer.BadParameter(f"must be above 0, got {budget_minutes:g}", param_hint="--budget-minutes")
    given_models, given_results = _by_row(models, "--models"), _by_row(results, "--results")
    try:
        from sparnet.evaluation.reproduce import EXPERIMENTS
        from sparnet.evaluation.reproduce.bench import Bench, Options
    except ModuleNotFoundError as error:
        raise SparnetError(
            f"reproduce needs the package {error.name}: pip install 'sparnet[train]'"
        ) from None
    if list_all:
        for known, experiment in EXPERIMENTS.items():
            typer.echo(f"{known:<9} {experiment.about}")
        return
    if name not in EXPERIMENTS:
        wrong = "name a table or figure" if name is None else f"no '{name}'"
        raise typer.BadParameter(f"{wrong}; have: {', '.join(EXPERIMENTS)}", param_hint="TABLE|FIGURE")
    if data is None:
        raise typer.BadParameter("is missing: name the folder of sets", param_hint="--data")
    chosen = recipes or (Recipes.RELEASE if budget_minutes is None else Recipes.BUDGET)
    options = Options(
        data=data,
        output=output,
        budget_minutes=budget_minutes,
        recipes=chosen.value,
        assignments=tuple(assignments or ()),
        models=given_models,
        results=given_results,
        train=tuple(train or ()),
        test=test,
        framing=framing,
        limit=limit,
    )
    experiment = EXPERIMENTS[name]
    with _training_bar() as (notice, progress):
        bench = Bench(options, [row.name for row in experiment.rows], notice=notice, progress=progress)
        report = experiment.make(bench)
    _show(report, report.write(output))


def _by_row(words: Sequence[str] | None, option: str) -> dict[str, Path]:
    """Read ROW=PATH."""
    chosen = {}
    for word in words or ():
        row, equals, path = word.partition("=")
        if not equals or not row or not path:
            raise typer.BadParameter(f"expected ROW=PATH, got '{word}'", param_hint=option)
        if not Path(path).exists():
            raise typer.BadParameter(f"{path}: no such file or folder", param_hint=option)
        chosen[row] = Path(path)
    return chosen


@contextmanager
def _training_bar() -> Iterator[tuple[Callable[[str], None], Callable[[str, int, int], None]]]:
    """Show lines for a person, and a bar for the row in training where there is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    console = Console(stderr=True, highlight=False)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        tasks: dict[str, TaskID] = {}
        shown_at = 0.0

        def notice(line: str) -> None:
            bar.console.print(line, soft_wrap=True, markup=False)

        def progress(row: str, seen: int, total: int) -> None:
            nonlocal shown_at
            if bar.disable or (time.monotonic() - shown_at < 1 and seen < total):
                return
            shown_at = time.monotonic()
            if row not in tasks:
                tasks[row] = bar.add_task(row, total=total)
            bar.update(tasks[row], completed=seen, visible=seen < total)

        yield notice, progress


def _show(report: "Report", files: Sequence[Path]) -> None:
    """Print the report's tables and say where its files are."""
    import sys

    from rich.console import Console
    from rich.table import Table

    from sparnet.image import show_path

    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)
    console.print(report.title, markup=False)
    for one in report.tables:
        table = Table(title=one.caption, title_justify="left", box=None, pad_edge=False)
        # Intervals and origins make lines too long for a terminal; they are in the page.
        kept = [place for place, title in enumerate(one.header) if not title.startswith("where")]
        for place in kept:
            title = one.header[place].replace(" (95 % interval)", "")
            table.add_column(title, justify="right" if place else "left", overflow="fold")
        for row in one.rows:
            table.add_row(*(row[place].split(" (")[0] if place else row[place] for place in kept))
        console.print(table)
    for line in report.differs:
        console.print(f"- {line}", soft_wrap=True, markup=False)
    console.print("  ".join(show_path(path) for path in files), soft_wrap=True, markup=False)
