"""`sparnet models`: the models that are there, their terms and hashes; the released ones taken in."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sparnet.cli.batch import AsJson, print_json

if TYPE_CHECKING:
    from sparnet.weights.catalog import CatalogEntry

models = typer.Typer(
    help="The models that are there; take in the released ones.", invoke_without_command=True
)

if TYPE_CHECKING:
    Context = typer.Context
else:
    Context = typer.Context.__base__  # what typer really gives: the tests' checker would refuse the other
Name = Annotated[str, typer.Argument(metavar="NAME", help="A model of the list.", show_default=False)]


@models.callback()
def _default(context: Context) -> None:
    if context.invoked_subcommand is None:
        list_models(as_json=False)


@models.command("list")
def list_models(*, as_json: AsJson = False) -> None:
    """List the models that are known by name."""
    from rich.console import Console
    from rich.table import Table

    from sparnet.weights.catalog import known_models, locate_model

    known = known_models()
    if as_json:
        print_json({name: _facts(name, entry) for name, entry in known.items()})
        return
    table = Table(box=None, pad_edge=False)
    for title in ("name", "makes", "parameters", "size", "terms", "there"):
        table.add_column(title, justify="right" if title in ("parameters", "size") else "left")
    for name, entry in known.items():
        factor = f"x{entry.info.upscale_factor}, " if entry.info.upscale_factor else ""
        table.add_row(
            name,
            f"{factor}{entry.info.image_size} px",
            f"{entry.info.parameters / 1e6:.2f} M",
            f"{entry.bytes / 1e6:.1f} MB",
            entry.info.license,
            "yes" if locate_model(entry) else "no",
        )
    console = Console()
    console.print(table, width=None if console.is_terminal else 200, soft_wrap=True)


@models.command("show")
def show_model(name: Name, *, as_json: AsJson = False) -> None:
    """Show all that is known of a model: data, recipe, scores with their protocols."""
    from sparnet.errors import WeightsError
    from sparnet.weights.catalog import known_models

    known = known_models()
    if name not in known:
        raise WeightsError(f"no model '{name}'; have: {', '.join(known) or 'none'}")
    facts = _facts(name, known[name])
    if as_json:
        print_json(facts)
        return
    scores = facts.pop("scores")
    network = facts.pop("network")
    for key, value in facts.items():
        typer.echo(f"{key.replace('_', ' ')}: {value}")
    typer.echo(
        "network: " + ", ".join(f"{key} {value}" for key, value in network.items() if value is not None)
    )
    for score in scores:
        beside = "" if score["bicubic"] is None else f" (bicubic {score['bicubic']:g})"
        typer.echo(f"{score['metric']}: {score['value']:g}{beside} on {score['data']}; {score['command']}")


@models.command("verify")
def verify_models(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAMES]...", help="Models; all if none is named.", show_default=False),
    ] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Check that model files are what the catalog says, by their SHA-256."""
    from sparnet.errors import WeightsError
    from sparnet.weights.catalog import find_model, known_models

    results: dict[str, str] = {}
    for name in names or list(known_models()):
        try:
            find_model(name)
            results[name] = "sound"
        except WeightsError as error:
            results[name] = str(error)
            typer.echo(f"sparnet: {error}", err=True)
        else:
            if not as_json:
                typer.echo(f"{name}: sound")
    if as_json:
        print_json(results)
    if any(result != "sound" for result in results.values()):
        raise typer.Exit(1)


@models.command("import")
def import_model(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A released .pth file.", show_default=False)],
    *,
    name: Annotated[
        str | None, typer.Option(help="Name it gets; the file's if none is given.", show_default=False)
    ] = None,
    upscale_factor: Annotated[
        int,
        typer.Option("-s", "--upscale-factor", metavar="4|8|16", help="The factor a 128 px network is for."),
    ] = 8,
    as_json: AsJson = False,
) -> None:
    """Turn one of the authors' released .pth files into a model of ours.

    Needs the lab half (pip install 'sparnet[train]'). The released files are CC BY-NC-SA 4.0.
    """
    from sparnet.errors import SparnetError

    if upscale_factor not in (4, 8, 16):
        raise typer.BadParameter(f"must be 4, 8 or 16, got {upscale_factor}", param_hint="--upscale-factor")
    try:
        from sparnet.importing import import_official
    except ModuleNotFoundError as error:
        raise SparnetError(f"import needs the package {error.name}: pip install 'sparnet[train]'") from None
    entry = import_official(file, name=name or file.stem.lower(), upscale_factor=upscale_factor)
    if as_json:
        print_json(_facts(entry.info.name, entry))
        return
    kind = "SPARNetHD" if entry.info.task == "restore" else "SPARNet"
    attention = entry.info.network["attention"]
    typer.echo(
        f"{entry.info.name}: {kind}, {attention} attention, {entry.info.parameters / 1e6:.2f} M parameters; "
        f"use it with -m {entry.info.name}"
    )


def _facts(name: str, entry: "CatalogEntry") -> dict[str, Any]:
    from sparnet.weights.catalog import locate_model

    path = locate_model(entry)
    facts: dict[str, Any] = {"name": name, "path": None if path is None else str(path)}
    facts |= {"sha256": entry.sha256, "bytes": entry.bytes}
    return facts | {key: value for key, value in entry.info.model_dump(mode="json").items() if key != "name"}
