"""`sparnet evaluate`: what a model, or anyone's folder of results, is worth on a test set."""

import csv
import dataclasses
import enum
import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sparnet.cli.batch import progress_bar
from sparnet.cli.options import UPSCALE_FACTORS, Framing, Model, fidelity_option, upscale_factor_option

if TYPE_CHECKING:
    from sparnet.evaluation.evaluate import Interval, MethodScores
    from sparnet.evaluation.testset import TestFace
    from sparnet.image import Image

FACES_ON_A_PAGE = 6


class Protocol(enum.StrEnum):
    """Which PSNR and SSIM are meant where none is named by --metrics."""

    SPARNET = "sparnet"
    DIC = "dic"


class Degrade(enum.StrEnum):
    """How the bad faces are made if not by bicubic reduction."""

    BLIND = "blind"


_DEFAULT_METRICS = {Protocol.SPARNET: ("psnr_y", "ssim_y"), Protocol.DIC: ("psnr_y_dic", "ssim_y_dic")}


def evaluate(
    *,
    model: Model = None,
    sr: Annotated[
        Path | None,
        typer.Option("--sr", metavar="DIR", help="Results of any program instead.", show_default=False),
    ] = None,
    hr: Annotated[
        Path, typer.Option("--hr", metavar="DIR", help="Originals: a folder or a pack.", show_default=False)
    ],
    lr: Annotated[
        Path | None,
        typer.Option(
            "--lr", metavar="DIR", help="Bad faces, if they are not to be made.", show_default=False
        ),
    ] = None,
    upscale_factor: Annotated[
        int | None, upscale_factor_option("Bicubic reduction.", show_default="the model's")
    ] = None,
    degrade: Annotated[
        Degrade | None, typer.Option(help="Make bad faces by equation 14 instead.", show_default=False)
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the degradations.")] = 0,
    framing: Framing = 1.0,
    size: Annotated[
        int | None,
        typer.Option(metavar="PX", min=16, help="Resize originals to this.", show_default="the model's"),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Only the first N faces.", show_default=False)
    ] = None,
    protocol: Annotated[
        Protocol, typer.Option(help="Which psnr_y and ssim_y, unless metrics are named.")
    ] = Protocol.SPARNET,
    metrics: Annotated[
        str | None,
        typer.Option(metavar="A,B", help="Metrics, or 'all'.", show_default="psnr and ssim"),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL", help="Another model to compare with, pair by pair.", show_default=False
        ),
    ] = None,
    fidelity: Annotated[
        float, fidelity_option("Share of the bad face in a model's result, as in restore.")
    ] = 0.0,
    json_file: Annotated[
        Path | None,
        typer.Option(
            "--json", metavar="FILE", help="Write a report; - for standard output.", show_default=False
        ),
    ] = None,
    csv_file: Annotated[
        Path | None,
        typer.Option("--csv", metavar="FILE", help="Write the numbers of each picture.", show_default=False),
    ] = None,
    faces_file: Annotated[
        Path | None,
        typer.Option(
            "--faces", metavar="FILE", help="Draw the worst and the best faces.", show_default=False
        ),
    ] = None,
    every: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="With --faces: draw every Nth face.", show_default=False),
    ] = None,
) -> None:
    """Score a model or a folder of results on a test set, plain enlargement always beside it."""
    from sparnet.errors import SparnetError

    if (model is None) == (sr is None):
        raise typer.BadParameter("give either a model (-m) or a folder of results (--sr)")
    if every is not None and faces_file is None:
        raise typer.BadParameter("needs --faces FILE to draw to", param_hint="--every")
    if upscale_factor is not None and (degrade is not None or upscale_factor not in UPSCALE_FACTORS):
        raise typer.BadParameter(
            "must be 4, 8 or 16, and not beside --degrade", param_hint="--upscale-factor"
        )
    try:
        from sparnet.evaluation.evaluate import Judge, compare, run_model
        from sparnet.evaluation.testset import (
            TestSetOptions,
            left_out_names,
            read_named,
            read_test_set,
        )
        from sparnet.metrics.registry import METRICS
    except ModuleNotFoundError as error:
        raise SparnetError(f"evaluate needs the package {error.name}: pip install 'sparnet[train]'") from None
    from sparnet.engine import open_engine
    from sparnet.files import to_json
    from sparnet.restoration import mix

    engines = {name: open_engine(name, precision="fp32") for name in (model, against) if name is not None}
    info = next(iter(engines.values())).info if engines else None
    blind = degrade is not None or (upscale_factor is None and info is not None and info.task == "restore")
    factor = None if blind else upscale_factor or (info.upscale_factor if info else None) or 8
    options = TestSetOptions(
        upscale_factor=factor,
        framing=framing,
        size_px=size or (info.image_size if info else None),
        seed=seed,
        limit=limit,
    )
    chosen = (
        tuple(METRICS)
        if metrics == "all"
        else tuple(name.strip() for name in metrics.split(","))
        if metrics
        else _DEFAULT_METRICS[protocol]
    )
    if faces_file is not None and all(METRICS[name].takes == "sets" for name in chosen if name in METRICS):
        raise typer.BadParameter("needs a metric that has a number for each face", param_hint="--faces")
    faces = read_test_set(hr, options, lr=lr)
    judge = Judge(faces, chosen)
    plain = "input" if blind else "bicubic"
    results: dict[str, tuple[list[Image], float | None]] = {plain: ([face.lr_up for face in faces], None)}
    for name, engine in engines.items():
        largest, side = max(face.lr.shape[0] for face in faces), engine.info.input_size
        if largest > side:
            typer.echo(
                f"sparnet: {name} reads faces of {side} px: those of {largest} px are reduced for it",
                err=True,
            )
        made, milliseconds = run_model(engine, faces)
        pictures = [mix(face.lr_up, picture, fidelity) for face, picture in zip(faces, made, strict=True)]
        results[name] = (pictures, milliseconds)
    judged = model or str(sr)
    if sr is not None:
        judged = f"{sr}/" if str(sr) == plain else judged  # a folder named as plain enlargement is
        wanted = {face.name: face for face in faces}
        named = read_named(sr, wanted, what="result", left_out=left_out_names(hr, limit))
        results[judged] = ([named[face.name] for face in faces], None)
    with progress_bar("judging", len(faces) * len(results)) as advance:
        scored = [
            judge.judge(name, pictures, milliseconds_a_face=taken, advance=advance)
            for name, (pictures, taken) in results.items()
        ]
    main = next(scores for scores in scored if scores.method == judged)
    differences = {
        f"{main.method} - {other.method}": compare(main, other) for other in scored if other is not main
    }
    report = {
        "hr": str(hr),
        "faces": len(faces),
        "people": len({face.identity for face in faces}),
        "made": "given by --lr" if lr is not None else options.description,
        "without_face": judge.without_face,
        "fidelity": fidelity,
        "methods": [_described(scores, engines) for scores in scored],
        "differences": {
            title: {name: dataclasses.asdict(value) for name, value in by_metric.items()}
            for title, by_metric in differences.items()
        },
    }
    if csv_file is not None:
        _write(csv_file, _table_of_pictures(faces, scored).encode())
    if faces_file is not None:
        _draw_faces(faces_file, faces, results[main.method][0], main, every)
    if json_file is not None and str(json_file) != "-":
        _write(json_file, to_json(report).encode())
    if json_file is not None and str(json_file) == "-":
        sys.stdout.write(to_json(report))
        return
    _print_report(report, scored, differences)


def _described(scores: "MethodScores", engines: dict[str, Any]) -> dict[str, Any]:
    described: dict[str, Any] = {"method": scores.method}
    described["scores"] = {name: dataclasses.asdict(value) for name, value in scores.scores.items()}
    if scores.method in engines:
        from sparnet.config import parse_config
        from sparnet.network.config import NetworkConfig
        from sparnet.network.cost import count_gflop

        info = engines[scores.method].info
        config = parse_config(NetworkConfig, info.network, source=info.name)
        described["parameters"] = info.parameters
        described["gflop"] = round(count_gflop(config), 3)
        described["milliseconds_a_face"] = scores.milliseconds_a_face
    return described


def _print_report(
    report: dict[str, Any], scored: "list[MethodScores]", differences: "dict[str, dict[str, Interval]]"
) -> None:
    from rich.console import Console
    from rich.table import Table

    from sparnet.metrics.registry import METRICS

    console = Console(width=None if sys.stdout.isatty() else 140, highlight=False)
    console.print(
        f"{report['faces']} faces of {report['hr']}: {report['made']}", soft_wrap=True, markup=False
    )
    if report["people"] < report["faces"]:
        console.print(f"They show {report['people']} people; intervals draw people, with all their faces.")
    if report["fidelity"]:
        console.print(f"{report['fidelity']:g} of the bad face is mixed into what models make (-w)")
    if report["without_face"]:
        console.print(
            f"no face was found in {report['without_face']} originals: the template's place was taken"
        )
    table = Table(box=None, pad_edge=False)
    for title in ("method", "metric", "mean", "95 % interval", "median"):
        table.add_column(title, justify="left" if title in ("method", "metric") else "right")
    for scores in scored:
        for name, value in scores.scores.items():
            arrow = "↑" if METRICS[name].direction == "higher" else "↓"
            table.add_row(scores.method, f"{name} {arrow}", *_columns(name, value))
    console.print(table)
    for title, by_metric in differences.items():
        for name, value in by_metric.items():
            mean, ends, _ = _columns(name, value)
            console.print(f"{title}: {name} {mean} ({ends})", soft_wrap=True, markup=False)
    for method in report["methods"]:
        if "gflop" in method:
            console.print(
                f"{method['method']}: {method['parameters'] / 1e6:.2f} M parameters, "
                f"{method['gflop']:.1f} GFLOP "
                f"and {method['milliseconds_a_face']:.0f} ms a face here",
                soft_wrap=True,
                markup=False,
            )


def _columns(name: str, value: "Interval") -> tuple[str, str, str]:
    digits = 3 if name.startswith("psnr") else 2 if name in ("landmark_auc", "fid_inception2015") else 4
    ends = (
        ""
        if value.low is None or value.high is None
        else f"{value.low:.{digits}f} to {value.high:.{digits}f}"
    )
    median = "" if value.median is None else f"{value.median:.{digits}f}"
    return f"{value.value:.{digits}f}", ends, median


def _table_of_pictures(faces: "list[TestFace]", scored: "list[MethodScores]") -> str:
    from sparnet.evaluation.evaluate import number_name

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    columns = [(scores, name) for scores in scored for name in scores.per_picture]
    writer.writerow(["name", *(f"{scores.method} {number_name(name)}" for scores, name in columns)])
    for index, face in enumerate(faces):
        writer.writerow([face.name, *(scores.per_picture[name][index] for scores, name in columns)])
    return text.getvalue()


def _draw_faces(
    path: Path, faces: "list[TestFace]", results: "list[Image]", scores: "MethodScores", every: int | None
) -> None:
    """Draw the worst and the best faces by the first metric, or every Nth: input, result, original."""
    import numpy as np

    from sparnet.drawing import draw_sheet
    from sparnet.evaluation.evaluate import number_name
    from sparnet.image import write_image
    from sparnet.metrics.registry import METRICS

    metric, values = next(iter(scores.per_picture.items()))
    name = number_name(metric)
    rises = METRICS[metric].direction == "higher" and name == metric
    order = np.argsort(values if rises else [-value for value in values])
    if every is not None:
        shown = list(range(0, len(faces), every))
    elif len(order) > 2 * FACES_ON_A_PAGE:
        shown = [*order[:FACES_ON_A_PAGE], *order[-FACES_ON_A_PAGE:]]
    else:
        shown = list(order)
    strips = []
    for index in shown:
        strips += [
            (f"{faces[index].name}", faces[index].lr_up),
            (f"{name} {values[index]:.3f}", results[index]),
            ("original", faces[index].hr),
        ]
    write_image(path, draw_sheet(strips, columns=6))


def _write(path: Path, content: bytes) -> None:
    """Write a file by rename; a failure is one line."""
    from sparnet.errors import SparnetError
    from sparnet.files import write_whole
    from sparnet.image import show_path

    try:
        write_whole(path, content)
    except OSError as error:
        raise SparnetError(f"{show_path(path)}: cannot be written ({error.strerror})") from None
