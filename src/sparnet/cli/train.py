"""`sparnet train`: from folders of faces to a model."""

from pathlib import Path
from typing import Annotated

import typer


def train(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE.toml", help="What to train.", show_default=False)],
    *,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a value of the recipe.", show_default=False),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="DIR",
            help="Folder of the run.  [default: runs/NAME]",
            show_default=False,
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last saved state.")] = False,
    max_minutes: Annotated[
        float | None,
        typer.Option("--max-minutes", help="Stop in good order after this time.", show_default=False),
    ] = None,
) -> None:
    """Train a network by a recipe."""
    from sparnet.errors import SparnetError

    try:
        from sparnet.training.loop import train as run_training
        from sparnet.training.recipe import load_recipe
    except ModuleNotFoundError as error:
        raise SparnetError(f"training needs the package {error.name}: pip install 'sparnet[train]'") from None
    loaded = load_recipe(recipe, tuple(assignments or ()))
    run = output or Path("runs") / loaded.name
    outcome = run_training(
        loaded, run, resume=resume, max_minutes=max_minutes, notice=lambda line: typer.echo(line, err=True)
    )
    typer.echo(
        f"{run}: {outcome.reason} at {outcome.images_seen} images; psnr_y {outcome.psnr_y:.3f} dB "
        f"(bicubic {outcome.bicubic_psnr_y:.3f})"
    )
    if not outcome.finished and outcome.reason != "time is up":
        raise typer.Exit(1)
