"""`sparnet prepare`: faces to train and to judge on, made of photos as the paper did."""

import dataclasses
import enum
import os
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sparnet.cli.batch import print_json, progress_bar
from sparnet.cli.options import AsJson, OutputFolder, Verbose, assignments_option

if TYPE_CHECKING:
    from sparnet.data.prepare import Preparation, PrepareConfig, Summary

PHOTOS_WORTH_A_WORKER = 8
"""Photos for which a further process, which takes a second or two to start, is worth it."""

prepare = typer.Typer(
    help="Make faces to train and to judge on out of photos, as the paper did.", no_args_is_help=True
)


class Filter(enum.StrEnum):
    """Pillow's filters for making faces smaller."""

    BILINEAR = "bilinear"
    BICUBIC = "bicubic"


Source = Annotated[
    Path, typer.Argument(metavar="SRC", help="Folder of photos; those below it too.", show_default=False)
]
Assignments = Annotated[list[str] | None, assignments_option("Change a number; docs/data.md has them.")]
Workers = Annotated[
    int | None,
    typer.Option("--workers", metavar="N", min=1, help="Processes.", show_default="one a core"),
]
Pack = Annotated[bool, typer.Option("--pack", help="Put the pictures into tars of 14 MiB with an index.")]
Terms = Annotated[
    str | None, typer.Option("--terms", help="Terms of use, for the index of a pack.", show_default=False)
]


@prepare.command("celeba")
def prepare_celeba(
    source: Source,
    output: OutputFolder,
    *,
    partition: Annotated[
        Path | None,
        typer.Option(
            "--partition",
            metavar="FILE",
            help="list_eval_partition.txt: writes to train, val and test.",
            show_default=False,
        ),
    ] = None,
    identities: Annotated[
        Path | None,
        typer.Option(
            "--identities",
            metavar="FILE",
            help="identity_CelebA.txt: who is shown, for the index of a pack.",
            show_default=False,
        ),
    ] = None,
    assignments: Assignments = None,
    workers: Workers = None,
    pack: Pack = False,
    terms: Terms = None,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Photos in the wild to rough crops of 128 px, for SPARNet.

    The square about the face is cut out without alignment, kept if larger than 128 px, and resized.
    """
    if identities is not None and not pack:
        raise typer.BadParameter(
            "needs --pack: a plain folder has no room for who is shown", param_hint="--identities"
        )
    from sparnet.config import parse_config, set_values
    from sparnet.data.prepare import CelebaConfig

    config = parse_config(CelebaConfig, set_values({}, assignments or ()), source="--set")
    options = _Options(workers, pack, terms, as_json, verbose)
    _prepare(source, output, config, options, partition=partition, identities=identities)


@prepare.command("ffhq")
def prepare_ffhq(
    source: Source,
    output: OutputFolder,
    *,
    resampling: Annotated[
        Filter, typer.Option("--filter", help="How faces are made smaller; bilinear is the paper's.")
    ] = Filter.BILINEAR,
    assignments: Assignments = None,
    workers: Workers = None,
    pack: Pack = False,
    terms: Terms = None,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """FFHQ's faces of 1024 px to 512 px, for SPARNetHD. Folders stay as they are."""
    from sparnet.config import parse_config, set_values
    from sparnet.data.prepare import FfhqConfig

    values = set_values({"filter": resampling.value}, assignments or ())
    config = parse_config(FfhqConfig, values, source="--set")
    _prepare(source, output, config, _Options(workers, pack, terms, as_json, verbose))


@prepare.command("natural")
def prepare_natural(
    source: Source,
    output: OutputFolder,
    *,
    assignments: Assignments = None,
    workers: Workers = None,
    pack: Pack = False,
    terms: Terms = None,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Small faces as they are found, under 48 px, to judge SPARNetHD on.

    Each is aligned by its five points as FFHQ's are, and enlarged bicubically to 512 px.
    """
    from sparnet.config import parse_config, set_values
    from sparnet.data.prepare import NaturalConfig

    config = parse_config(NaturalConfig, set_values({}, assignments or ()), source="--set")
    _prepare(source, output, config, _Options(workers, pack, terms, as_json, verbose))


@dataclass(frozen=True)
class _Options:
    """What all kinds of preparation are told."""

    workers: int | None
    pack: bool
    terms: str | None
    as_json: bool
    verbose: bool


def _prepare(
    source: Path,
    output: Path,
    config: "PrepareConfig",
    options: _Options,
    *,
    partition: Path | None = None,
    identities: Path | None = None,
) -> None:
    from sparnet.data.prepare import open_preparation

    if options.terms is not None and not options.pack:
        raise typer.BadParameter("needs --pack: a plain folder has no room for terms", param_hint="--terms")
    with open_preparation(source, output, config, partition=partition, identities=identities) as preparation:
        for problem in preparation.problems:
            typer.echo(f"sparnet: {problem}", err=True)
        _run(preparation, source, options)
        tars = preparation.pack(terms=options.terms) if options.pack or preparation.is_packed else 0
        summary = preparation.summary()
    _report(summary, output, tars, as_json=options.as_json)
    if summary.failed:
        raise typer.Exit(1)


def _run(preparation: "Preparation", source: Path, options: _Options) -> None:
    """Do what is to be done, with a progress bar; each photo that fails is a line on stderr."""
    from sparnet.data.prepare import explain
    from sparnet.image import show_path

    pending = preparation.pending
    photos = preparation.run(workers=options.workers or _workers_for(pending))
    with progress_bar("preparing", pending) as advance, closing(photos):
        for records in photos:
            for record in records:
                if record.outcome == "failed":
                    typer.echo(f"sparnet: {show_path(source / record.source)}: {explain(record)}", err=True)
                elif options.verbose and not options.as_json:
                    what = f"-> {record.file}" if record.file else f"dropped, {explain(record)}"
                    typer.echo(show_path(f"{record.source} {what}"))
            advance()


def _workers_for(photos: int) -> int:
    """Return the number of cores, or fewer where processes would not be worth their start."""
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return max(1, min(cores, photos // PHOTOS_WORTH_A_WORKER))


def _report(summary: "Summary", output: Path, tars: int, *, as_json: bool) -> None:
    from sparnet.image import show_path

    if as_json:
        print_json({"output": str(output), **dataclasses.asdict(summary), "tars": tars})
        return
    faces = sum(summary.kept.values())
    parts = ""
    if summary.kept.keys() - {"all"}:
        parts = " (" + ", ".join(f"{split} {number:,}" for split, number in summary.kept.items()) + ")"
    where = f" to {show_path(output)}" if summary.kept else ""
    packed = f" in {_counted(tars, 'tar')}" if tars else ""
    typer.echo(f"{_counted(summary.photos, 'photo')}: {_counted(faces, 'face')}{parts}{where}{packed}")
    for reason, number in sorted(summary.dropped.items(), key=lambda item: -item[1]):
        typer.echo(f"  {number:,} dropped: {reason}")
    if summary.failed:
        typer.echo(f"  {len(summary.failed):,} failed")


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
