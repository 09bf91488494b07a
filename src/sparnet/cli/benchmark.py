"""`sparnet benchmark`: how long the models take on this machine, with each engine that is installed."""

from pathlib import Path
from typing import Annotated, Any

import typer

from sparnet.cli.batch import print_json, progress_bar
from sparnet.cli.options import AsJson


def benchmark(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[MODELS]...", help="Names or files; all known ones if none is named.", show_default=False
        ),
    ] = None,
    *,
    rounds: Annotated[int, typer.Option(min=1, help="Calls of each; the median counts.")] = 5,
    batch: Annotated[
        int, typer.Option("-b", "--batch", metavar="N", min=1, help="Faces of the larger call.")
    ] = 8,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads of the engines; all cores if none.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Time the models on this machine: one face, and many at once, with every engine installed.

    All ways of a model are run in turn, round after round, so that other programs
    disturb them alike. The marked way is the one that is used unless another is
    asked for.
    """
    from sparnet.benchmark import describe_machine, time_model
    from sparnet.errors import WeightsError
    from sparnet.weights.catalog import known_models, locate_model

    known = known_models()
    names = models or [name for name, entry in known.items() if locate_model(entry) is not None]
    if not names:
        raise WeightsError("no model is there; name a model file")
    machine = describe_machine()
    rows = []
    with progress_bar("timing", len(names)) as advance:
        for name in names:
            rows += time_model(name, rounds=rounds, batch=batch, threads=threads)
            advance()
    if as_json:
        print_json({"machine": machine, "batch": batch, "rounds": rounds, "timings": rows})
        return
    typer.echo(f"{machine['processor']}, {machine['cores']} cores, {machine['system']}")
    _print_table(rows, batch)


def _print_table(rows: list[dict[str, Any]], batch: int) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for title in ("model", "engine", "precision", "ms, one face", f"ms a face, {batch} at once", "start, s"):
        table.add_column(
            title, justify="left" if title in ("model", "engine", "precision") else "right", no_wrap=True
        )
    for row in rows:
        if row["problem"] is not None:
            table.add_row(Path(row["model"]).name, row["engine"], row["precision"], row["problem"])
            continue
        mark = " *" if row["is_default"] else ""
        table.add_row(
            Path(row["model"]).name,
            row["engine"],
            f"{row['precision']}{mark}",
            f"{row['milliseconds_one']:.1f}",
            f"{row['milliseconds_many']:.1f}",
            f"{row['start_seconds']:.2f}",
        )
    console = Console()
    console.print(table, width=None if console.is_terminal else 200, soft_wrap=True)
    console.print("* what is used unless another is asked for")
