"""`sparnet train`: from folders of faces to a model."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sparnet.cli.options import assignments_option, finite

if TYPE_CHECKING:
    from sparnet.training.loop import Outcome
    from sparnet.training.recipe import Recipe


def train(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE.toml", help="What to train.", show_default=False)],
    *,
    assignments: Annotated[
        list[str] | None, assignments_option("Change a value of the recipe; may be repeated.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="DIR",
            help="Folder of the run.",
            show_default="runs/NAME",
        ),
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN", help="Go on from the last saved state in this folder.", show_default=False
        ),
    ] = None,
    max_minutes: Annotated[
        float | None,
        typer.Option(
            metavar="N",
            min=0,
            callback=finite,
            help="Stop in good order after this time.",
            show_default=False,
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Print the resolved recipe, its cost and its speed; train nothing."),
    ] = False,
    devices: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="GPUs, or processes on a CPU.", show_default="1"),
    ] = None,
    nodes: Annotated[int, typer.Option(metavar="N", min=1, help="Machines, started by torchrun.")] = 1,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Also log for TensorBoard.")] = False,
) -> None:
    """Train a network by a recipe.

    The run's folder gets the resolved recipe, a log (JSON lines), saved states,
    and at the end model.onnx, scores.json and faces.png. Ctrl-C stops in good
    order; --resume goes on, to the bit.
    """
    from sparnet.errors import DataError, RecipeError, SparnetError, WeightsError

    try:
        from sparnet.training.loop import open_fabric
        from sparnet.training.loop import train as run_training
        from sparnet.training.recipe import load_recipe
    except ModuleNotFoundError as error:
        raise SparnetError(f"training needs the package {error.name}: pip install 'sparnet[train]'") from None
    if output is not None and resume is not None and output != resume:
        raise typer.BadParameter(f"the run goes on in {resume}, not in {output}", param_hint="--output")
    loaded = load_recipe(recipe, tuple(assignments or ()))
    try:
        if dry_run:
            _print_forecast(loaded)
            return
        fabric = open_fabric(loaded, devices=devices, nodes=nodes)
        run = resume or output or Path("runs") / loaded.name
        with _progress(loaded.train.total_images, show=fabric.global_rank == 0) as (advance, notice):
            outcome = run_training(
                loaded,
                run,
                fabric=fabric,
                resume=resume is not None,
                max_minutes=max_minutes,
                tensorboard=tensorboard,
                progress=advance,
                notice=notice,
            )
    except (DataError, WeightsError, RecipeError) as error:
        # The run's and the data's mistakes are found by the trainer, which does not know the recipe's file.
        raise RecipeError(f"{recipe}: {error}") from None
    if fabric.global_rank == 0:
        _summarise(outcome, loaded, run)
    if not outcome.finished and outcome.reason.startswith("SIG"):
        raise typer.Exit(1)


def _summarise(outcome: "Outcome", recipe: "Recipe", run: Path) -> None:
    total = recipe.train.total_images
    scores = outcome.scores
    speed = f", {outcome.images_per_second:.2f} images/s" if outcome.images_per_second else ""
    typer.echo(
        f"{recipe.name}: {outcome.reason} at {outcome.images_seen} of {total} images{speed}\n"
        f"psnr_y {scores['psnr_y']:.3f} dB (input {scores['input_psnr_y']:.3f}), "
        f"ssim_y {scores['ssim_y']:.4f} (input {scores['input_ssim_y']:.4f}) on the validation faces\n"
        f"{run / 'model.onnx'}  {run / 'faces.png'}"
    )
    if not outcome.finished:
        typer.echo(f"go on with --resume {run}")


def _print_forecast(recipe: "Recipe") -> None:
    from sparnet.training.dry_run import dry_run
    from sparnet.training.recipe import recipe_to_toml

    typer.echo(recipe_to_toml(recipe))
    forecast = dry_run(recipe, notice=lambda line: typer.echo(line, err=True))
    typer.echo(
        f"# parameters {forecast.parameters / 1e6:.3f} M, {forecast.gflop:.1f} GFLOP a face; "
        f"{forecast.faces} faces\n"
        f"# {forecast.images_per_second:.2f} images/s, peak memory {forecast.memory_gib:.1f} GiB; "
        f"{recipe.train.total_images} images take {forecast.hours:.1f} hours"
    )


@contextmanager
def _progress(
    total: int, *, show: bool
) -> Iterator[tuple[Callable[[dict[str, Any]], None], Callable[[str], None]]]:
    """Show a bar on a terminal; yields what to call after each step and with lines for a person."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True, highlight=False)
    columns = (
        TextColumn("training"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[numbers]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not (show and console.is_terminal)) as bar:
        task = bar.add_task("training", total=total, numbers="")
        shown_at = 0.0

        def advance(step: dict[str, Any]) -> None:
            nonlocal shown_at
            if bar.disable or time.monotonic() - shown_at < 1:
                return
            shown_at = time.monotonic()
            loss = next(float(value) for name, value in step.items() if name.startswith("loss/"))
            psnr = "" if math.isnan(step["psnr_y"]) else f", {step['psnr_y']:.2f} dB"
            numbers = f"{step['images_per_second']:.1f} images/s, loss {loss:.4f}{psnr}"
            bar.update(task, completed=step["images_seen"], numbers=numbers)

        def notice(line: str) -> None:
            if show:
                bar.console.print(line, soft_wrap=True, markup=False)

        yield advance, notice
