"""Figures 5 to 10 and 12 to 14 of the paper."""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import torch
from jaxtyping import Float

from sparnet.drawing import draw_map, draw_sheet
from sparnet.errors import WeightsError
from sparnet.evaluation.analysis import (
    REGIONS,
    ErrorMaps,
    RegionPsnr,
    error_maps,
    evenly_spread,
    find_faces,
    gain_by_region,
    mean_aligned,
)
from sparnet.evaluation.reproduce import published
from sparnet.evaluation.reproduce.bench import Bench, Result, Row
from sparnet.evaluation.reproduce.plots import (
    OURS,
    PAPER,
    MapRow,
    draw_map_into,
    new_figure,
    plot_curves,
    plot_maps,
    plot_scores,
    to_png,
)
from sparnet.evaluation.reproduce.report import (
    CELEBAHQ,
    HELEN,
    NONE,
    SMALL_BUDGET,
    Report,
    Table,
    number_as_printed,
    scores_table,
    what_differs,
    with_interval,
)
from sparnet.evaluation.reproduce.tables import (
    BASELINE,
    BICUBIC,
    CBAM,
    HD_ROWS,
    INPUT,
    SPARNET,
    TABLE1_ROWS,
    WAVELET,
    hd_size,
    score_panels,
)
from sparnet.evaluation.testset import TestFace
from sparnet.image import AnyImage
from sparnet.metrics.faces import HrFace
from sparnet.metrics.landmarks import landmark_curve
from sparnet.network.bytes import to_signed
from sparnet.network.files import load_network

V1 = Row("SPARNet-V1", "sparnet", "v1")
V_ROWS = (
    Row("Baseline", "sparnet", "baseline"),
    V1,
    *(Row(f"SPARNet-V{count}", "sparnet", f"v{count}") for count in (2, 4, 8)),
    SPARNET,
)
V_COUNTS = (0, 1, 2, 4, 8, 16)
S_ROWS = (
    *(Row(f"SPARNet-S{size}", "sparnet", f"s{size}") for size in (16, 8)),
    SPARNET,
    Row("SPARNet-S2", "sparnet", "s2"),
)
S_SIZES = (16, 8, 4, 2)
FIGURE5_ROWS = (BICUBIC, BASELINE, V1, SPARNET)
FIGURE9_ROWS = (BICUBIC, CBAM, SPARNET)
FIGURE10_ROWS = (BICUBIC, WAVELET, SPARNET)
FIGURE12_ROWS = (INPUT, *HD_ROWS)
FIGURE13_ROWS = (INPUT, Row("ESRGAN"), Row("Pix2PixHD"), Row("SFTGAN"), HD_ROWS[0])
FACES_ON_A_SHEET = 6
_BATCH = 16
_MAPS_A_LINE = 8
_LAST_MAPS = 6


def figure5(bench: Bench) -> Report:
    """Figure 5: what attention is worth, the landmarks' curve, and where in the face it helps."""
    wanted = ("psnr_y", "ssim_y", "landmark_auc")
    metrics = bench.measurable(wanted)
    faces = bench.faces(8)
    results = [bench.judge(bench.result(row, 8), metrics) for row in FIGURE5_ROWS]
    report = Report("figure5", "Figure 5: what spatial attention is worth")
    report.results = results
    report.tables.append(
        scores_table("(a) quality, 16 to 128 px", results, wanted, published.TABLE1, against="SPARNet")
    )
    report.plots["a"] = plot_scores(score_panels(results, wanted, published.TABLE1))
    if "landmark_auc" in metrics:
        report.plots["b"] = _landmark_curves(results)
    places = find_faces(faces)
    maps = {result.row.name: error_maps(faces, _made(result), places) for result in results}
    report.plots["c"] = _error_map_plot(maps)
    report.tables.append(_mean_error_table(maps))
    report.numbers["aligned_faces"] = maps["SPARNet"].faces
    try:
        by_region = RegionPsnr(faces, places)
    except WeightsError as error:
        bench.note(f"PSNR by region was not measured: {error}")
    else:
        regions = {result.row.name: by_region(_made(result)) for result in results}
        report.tables.append(_region_table(regions))
        report.numbers["psnr_y_by_region"] = regions
    report.differs = what_differs(
        bench,
        results,
        data="trained on CelebA, tested on Helen's test set; its curves and maps are only drawn, and the AUC "
        "beside ours are Table I's",
        test=HELEN,
        sizes=[(8, 128)],
    )
    report.differs.append(
        "Error maps are over the faces that MTCNN finds in the originals; landmarks are a "
        "MobileFaceNet's, not FAN's"
    )
    return report


def _made(result: Result) -> list[AnyImage]:
    if result.pictures is None:
        raise ValueError(f"{result.row.name} made no pictures")
    return result.pictures


def _landmark_curves(results: Sequence[Result]) -> bytes:
    figure, axes = new_figure(width=5.6, height=4.0)
    axis = axes[0, 0]
    curves = {}
    for result in results:
        if result.scores is None:
            continue
        errors, share = landmark_curve(result.scores.per_picture["landmark_auc"])
        theirs = published.TABLE1.get(result.row.name, {}).get("landmark_auc")
        paper = "" if theirs is None else f", paper {theirs:.2f}"
        area = result.scores.scores["landmark_auc"].value
        curves[f"{result.row.name}: AUC {area:.2f} %{paper}"] = (100 * errors, share)
    plot_curves(axis, curves, steps=True)
    axis.set_xlabel("normalised mean error of 68 points, %")
    axis.set_ylabel("faces with at most that error, %")
    axis.set_title("(b) landmarks on the results against those on the originals", fontsize=10)
    return to_png(figure)


def _error_map_plot(maps: dict[str, ErrorMaps]) -> bytes:
    baseline = maps["Baseline"]
    saved = []
    for name in ("SPARNet-V1", "SPARNet"):
        one = maps[name]
        saved += [
            (f"{name}:\nsquared error saved", baseline.squared_error - one.squared_error),
            (f"{name}:\n1 - SSIM saved", baseline.ssim_error - one.ssim_error),
        ]
    return plot_maps(
        [
            MapRow("squared error of Y", [(name, one.squared_error) for name, one in maps.items()]),
            MapRow("1 - SSIM", [(name, one.ssim_error) for name, one in maps.items()]),
            MapRow(
                "error saved (red: added),\nBaseline less the row,\nshare of the largest",
                [(name, values / _largest(values)) for name, values in saved],
                signed=True,
            ),
        ]
    )


def _largest(values: Float[np.ndarray, "s s"]) -> float:
    """Return the magnitude that a hundredth of a map's pixels exceed; above 0."""
    return max(1e-9, float(np.nanpercentile(np.abs(values), 99)))


def _mean_error_table(maps: dict[str, ErrorMaps]) -> Table:
    rows = [
        [name, f"{np.nanmean(one.squared_error):.1f}", f"{np.nanmean(one.ssim_error):.4f}", str(one.faces)]
        for name, one in maps.items()
    ]
    return Table(
        "(c) error maps over aligned faces, their means",
        ["method", "squared error of Y", "1 - SSIM", "faces"],
        rows,
    )


def _region_table(regions: dict[str, dict[str, float]]) -> Table:
    gains = gain_by_region(regions["SPARNet"], regions["Baseline"])
    rows = [[name, *(f"{values[region]:.3f}" for region in REGIONS)] for name, values in regions.items()]
    rows.append(["SPARNet above Baseline", *(f"{gains[region]:+.3f}" for region in REGIONS)])
    return Table("PSNR by region of the face (psnr_y_regions), dB", ["method", *REGIONS], rows)


def figure6(bench: Bench) -> Report:
    """Figure 6: results of Baseline, V1 and SPARNet, with the maps of the last units."""
    rows = (BASELINE, V1, SPARNET)
    wanted = ("psnr_y",)
    metrics = bench.measurable(wanted)
    faces = bench.faces(8)
    results = [bench.judge(bench.result(row, 8), metrics) for row in (BICUBIC, *rows)]
    report = Report("figure6", "Figure 6: results, and where the last units look")
    report.results = results
    report.tables.append(scores_table("16 to 128 px", results, wanted, published.TABLE1))
    chosen = evenly_spread(FACES_ON_A_SHEET, len(faces))
    last = _maps_of(results[2], [faces[index] for index in chosen])[-1]
    deep = _maps_of(results[3], [faces[index] for index in chosen])[-2:]
    cells: list[tuple[str, AnyImage]] = []
    for place, index in enumerate(chosen):
        cells += [("bicubic", faces[index].lr_up)]
        cells += [(result.row.name, _made(result)[index]) for result in results[1:]]
        cells.append(("V1: its map", draw_map(last[place], size=128)))
        for name, maps in zip(("second last", "last"), deep, strict=True):
            cells.append((f"SPARNet: {name}", draw_map(maps[place], size=128)))
        cells.append(("original", faces[index].hr))
    report.sheets["-faces"] = draw_sheet(cells, columns=8)
    report.differs = what_differs(
        bench, results, data="faces of Helen's test set", test=HELEN, sizes=[(8, 128)]
    )
    return report


def figure7(bench: Bench) -> Report:
    """Figure 7: PSNR over the number of units with attention, and over the scales they see."""
    wanted = ("psnr_y", "ssim_y")
    metrics = bench.measurable(wanted)
    plain = bench.judge(bench.result(BICUBIC, 8), metrics)
    sweeps = {
        "a": (V_COUNTS, [bench.judge(bench.result(row, 8), metrics) for row in V_ROWS]),
        "b": (S_SIZES, [bench.judge(bench.result(row, 8), metrics) for row in S_ROWS]),
    }
    report = Report("figure7", "Figure 7: number of units with attention, and scales in each")
    report.results = [plain, *sweeps["a"][1], *sweeps["b"][1]]
    report.tables.append(
        scores_table("(a) attention in the last V units", [plain, *sweeps["a"][1]], wanted, published.TABLE1)
    )
    report.tables.append(
        scores_table(
            "(b) smallest map S of the hourglass, px", [plain, *sweeps["b"][1]], wanted, published.TABLE1
        )
    )
    figure, axes = new_figure(2, width=4.4, height=3.6)
    titles = {
        "a": ("units with attention, V", "(a) the last V units have attention"),
        "b": ("smallest map S of the hourglass, px", "(b) scales in each unit"),
    }
    for axis, (key, (values, results)) in zip(axes[0], sweeps.items(), strict=True):
        means = [result.scores.scores["psnr_y"] for result in results if result.scores is not None]
        places = np.arange(len(values))
        below = [one.value - (one.low if one.low is not None else one.value) for one in means]
        above = [(one.high if one.high is not None else one.value) - one.value for one in means]
        axis.errorbar(
            places,
            [one.value for one in means],
            [below, above],
            color=OURS,
            marker="o",
            capsize=3,
            label="ours, 95 % interval",
        )
        printed = [published.TABLE1.get(result.row.name, {}).get("psnr_y", np.nan) for result in results]
        axis.plot(places, printed, "D", color=PAPER, label="paper (Table I)")
        axis.set_xticks(places, [str(value) for value in values])
        axis.set_xlabel(titles[key][0])
        axis.set_ylabel("PSNR (psnr_y), dB")
        axis.set_title(titles[key][1], fontsize=10)
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    report.plots[""] = to_png(figure)
    report.differs = what_differs(
        bench,
        report.results,
        data="trained on CelebA, tested on Helen's test set; the figure's bars are only drawn, so that "
        "Table I's "
        "numbers of Baseline and SPARNet stand beside ours. By its text, PSNR rises with V, and rises as "
        "S falls, "
        "S2 and S4 being alike",
        test=HELEN,
        sizes=[(8, 128)],
    )
    report.differs.append(
        "Intervals are over people (faces, where the set names nobody), not over trainings: "
        "differences within them say nothing"
    )
    return report


def figure8(bench: Bench) -> Report:
    """Figure 8: results of all methods side by side."""
    wanted = ("psnr_y",)
    metrics = bench.measurable(wanted)
    faces = bench.faces(8)
    results = [bench.judge(bench.result(row, 8), metrics) for row in TABLE1_ROWS]
    report = Report("figure8", "Figure 8: results of all methods at x8")
    report.results = results
    report.tables.append(scores_table("16 to 128 px", results, wanted, published.TABLE1))
    report.sheets["-faces"] = _sheet(faces, results)
    report.differs = what_differs(
        bench, results, data="faces of Helen's test set", test=HELEN, sizes=[(8, 128)]
    )
    return report


def _sheet(faces: Sequence[TestFace], results: Sequence[Result], *, original: bool = True) -> AnyImage:
    """Draw a row of methods for each of some faces."""
    shown = [result for result in results if result.pictures is not None]
    cells = []
    for index in evenly_spread(FACES_ON_A_SHEET, len(faces)):
        cells += [(result.row.name, _made(result)[index]) for result in shown]
        if original:
            cells.append(("original", faces[index].hr))
    return draw_sheet(cells, columns=len(shown) + (1 if original else 0))


def figure9(bench: Bench) -> Report:
    """Figure 9: where SPARNet looks, and where CBAM does."""
    wanted = ("psnr_y", "ssim_y")
    metrics = bench.measurable(wanted)
    faces = bench.faces(8)
    results = [bench.judge(bench.result(row, 8), metrics) for row in FIGURE9_ROWS]
    report = Report("figure9", "Figure 9: attention maps of CBAM and of SPARNet")
    report.results = results
    report.tables.append(scores_table("16 to 128 px", results, wanted, published.TABLE1))
    chosen = evenly_spread(4, len(faces))
    some = [faces[index] for index in chosen]
    cells: list[tuple[str, AnyImage]] = []
    drawn = {result.row.name: _maps_of(result, some) for result in results[1:]}
    columns = 2 + _LAST_MAPS
    for place, index in enumerate(chosen):
        # Two rows a face: what is wanted and what was given begin them.
        beside = (("original", faces[index].hr), ("bicubic", faces[index].lr_up))
        for given, result in zip(beside, results[1:], strict=True):
            cells += [given, (result.row.name, _made(result)[index])]
            units = list(enumerate(drawn[result.row.name], start=1))[-_LAST_MAPS:]
            cells += [(f"unit {depth}", draw_map(maps[place], size=128)) for depth, maps in units]
            cells += [("", np.full_like(faces[index].hr, 255))] * (-len(cells) % columns)
    report.sheets["-faces"] = draw_sheet(cells, columns=columns)
    places = find_faces(faces)
    report.plots[""], contrast = _mean_maps(bench, results[1:], faces, places)
    if contrast is not None:
        report.tables.append(contrast)
    report.differs = what_differs(
        bench,
        results,
        data="two faces of Helen's test set; its maps are only drawn",
        test=HELEN,
        sizes=[(8, 128)],
    )
    report.differs.append(
        "CBAM's map is the product of its channel and pixel weights, averaged over channels, which has "
        "the form of "
        "its pixel map; mean maps are over the faces found, aligned by five points"
    )
    return report


def _mean_maps(
    bench: Bench, results: Sequence[Result], faces: Sequence[TestFace], places: Sequence[HrFace]
) -> tuple[bytes, Table | None]:
    """Draw the mean map of every unit over depth, and tell how attention differs between regions."""
    found = [index for index, place in enumerate(places) if place.found]
    some = [faces[index] for index in found]
    where = [places[index] for index in found]
    means: dict[str, list[np.ndarray]] = {}
    last: dict[str, list[np.ndarray]] = {}
    for result in results:
        maps = _maps_of(result, some)
        enlarged = [
            [cv2.resize(one, (128, 128), interpolation=cv2.INTER_LINEAR) for one in unit] for unit in maps
        ]
        means[result.row.name] = [mean_aligned(unit, where)[0] for unit in enlarged]
        last[result.row.name] = enlarged[-1]
    drawn = _mean_map_plot(means)
    try:
        regions = RegionPsnr(some, where)
    except WeightsError as error:
        bench.note(f"attention by region was not measured: {error}")
        return drawn, None
    rows = []
    for name, unit in last.items():
        by_region = regions.mean_of(unit)
        rows.append([name, *(f"{by_region[region]:.4f}" for region in REGIONS)])
    return drawn, Table("Mean weight of the last unit's map by region", ["method", *REGIONS], rows)


def _mean_map_plot(means: dict[str, list[np.ndarray]]) -> bytes:
    """Draw the units' maps of each method over depth, some rows a method."""
    lines = [
        (name, range(first, min(first + _MAPS_A_LINE, len(units))))
        for name, units in means.items()
        for first in range(0, len(units), _MAPS_A_LINE)
    ]
    figure, axes = new_figure(_MAPS_A_LINE, len(lines), width=1.2, height=1.45)
    for row, (name, depths) in zip(axes, lines, strict=True):
        for axis in row:
            axis.set_axis_off()
        for axis, depth in zip(row, depths, strict=False):
            values = means[name][depth]
            low, high = np.nanpercentile(values, (1, 99))
            draw_map_into(axis, values, colours="magma", low=low, high=max(high, low + 1e-6))
            axis.set_title(f"unit {depth + 1}\n{low:.2f} to {high:.2f}", fontsize=8)
        row[0].text(
            -0.12, 0.5, name, transform=row[0].transAxes, rotation=90, va="center", ha="right", fontsize=9
        )
    figure.suptitle(
        "mean attention map of each unit over the aligned faces, from input to output; dark to bright is the "
        "range printed",
        fontsize=9,
    )
    return to_png(figure, maps=True)


@torch.inference_mode()
def _maps_of(result: Result, faces: Sequence[TestFace]) -> list[list[Float[np.ndarray, "..."]]]:
    """Return by unit the attention map of each face, averaged over channels.

    Raises:
        WeightsError: If the row is no model of ours, or has no attention.
    """
    if result.model is None:
        raise WeightsError(f"{result.row.name}: attention maps need a model file, not a folder (--models)")
    network = load_network(result.model)
    read = network.config.reads_px
    units: list[list[np.ndarray]] = []
    for start in range(0, len(faces), _BATCH):
        given = [face.at(read) for face in faces[start : start + _BATCH]]
        batch = torch.from_numpy(np.stack(given)).permute(0, 3, 1, 2)
        maps = network.attention_maps(to_signed(batch))
        if not maps:
            raise WeightsError(f"{result.row.name}: its network has no attention")
        units = units or [[] for _ in maps]
        for unit, one in zip(units, maps, strict=True):
            unit.extend(one.float().mean(dim=1).numpy())
    return units


def figure10(bench: Bench) -> Report:
    """Figure 10: parameters, operations and quality of Wavelet-SRNet and SPARNet by factor."""
    wanted = ("psnr_y", "ssim_y")
    metrics = bench.measurable(wanted)
    report = Report("figure10", "Figure 10: parameters, operations and quality by factor")
    by_factor = {
        factor: [bench.judge(bench.result(row, factor), metrics) for row in FIGURE10_ROWS]
        for factor in (4, 8, 16)
    }
    cost = _full_cost()
    rows = []
    for factor, results in by_factor.items():
        theirs = published.TABLE1 if factor == 8 else published.TABLE4[factor]
        for result in results:
            name = result.row.name
            full = cost.get((name, factor))
            scores = {} if result.scores is None else result.scores.scores
            rows.append(
                [
                    f"x{factor}",
                    name,
                    *(NONE if full is None else f"{value:.2f}" for value in (full or (0, 0))),
                    number_as_printed("psnr_y", theirs[name].get("psnr_y")),
                    with_interval("psnr_y", scores.get("psnr_y")),
                    number_as_printed("ssim_y", theirs[name].get("ssim_y")),
                    with_interval("ssim_y", scores.get("ssim_y")),
                    result.origin,
                ]
            )
        report.results += results
    report.tables.append(
        Table(
            "parameters and operations (2 x MAC, one face) of the networks at full width",
            [
                "factor",
                "method",
                "parameters, M",
                "GFLOP",
                "PSNR: paper",
                "ours (95 % interval)",
                "SSIM: paper",
                "ours (95 % interval)",
                "where ours is from",
            ],
            rows,
        )
    )
    report.numbers["full_width"] = {
        f"{name} x{factor}": {"parameters_millions": values[0], "gflop": values[1]}
        for (name, factor), values in cost.items()
    }
    report.plots[""] = _cost_plot(cost, by_factor)
    report.differs = what_differs(
        bench,
        report.results,
        data="trained on CelebA, tested on Helen's test set; parameters and GFLOPs are only drawn, "
        "quality is that of "
        "Tables I and IV",
        test=HELEN,
        sizes=[(4, 128), (8, 128), (16, 128)],
    )
    if bench.options.recipes == "budget":
        report.differs.append(
            "Parameters and operations are of the full networks; what PSNR and SSIM are of has a quarter of "
            "their channels"
        )
    report.differs.append(
        "Wavelet-SRNet's widths are ours, so that its parameters and operations are not the paper's to "
        "the number; "
        "what follows from its plan is: parameters grow with the square of the factor, operations as it falls"
    )
    return report


def _full_cost() -> dict[tuple[str, int], tuple[float, float]]:
    """Count parameters in millions and GFLOP a face of the full networks, by method and factor."""
    from sparnet.network.build import build_generator
    from sparnet.network.cost import count_gflop
    from sparnet.network.presets import preset

    cost = {}
    for name in ("Wavelet-SRNet", "SPARNet"):
        for factor in (4, 8, 16):
            config = preset(f"wavelet-x{factor}" if name == "Wavelet-SRNet" else "sparnet")
            with torch.device("meta"):
                network = build_generator(config)
            parameters = sum(parameter.numel() for parameter in network.parameters())
            cost[name, factor] = (parameters / 1e6, count_gflop(config))
    return cost


def _cost_plot(cost: dict[tuple[str, int], tuple[float, float]], by_factor: dict[int, list[Result]]) -> bytes:
    figure, axes = new_figure(3, width=3.6, height=3.3)
    factors = list(by_factor)
    places = np.arange(len(factors))
    colours = {"Wavelet-SRNet": "#7a7a7a", "SPARNet": OURS}
    for place, (axis, title) in enumerate(
        zip(
            axes[0],
            ("parameters at full width, M", "GFLOP a face at full width", "PSNR (psnr_y), dB"),
            strict=True,
        )
    ):
        for shift, (name, colour) in enumerate(colours.items()):
            if place < 2:
                heights: list[Any] = [cost[name, factor][place] for factor in factors]
                axis.bar(places + 0.36 * shift, heights, 0.34, color=colour, label=name)
                continue
            ours = [_psnr_of(by_factor[factor], name) for factor in factors]
            paper = [
                (published.TABLE1 if factor == 8 else published.TABLE4[factor])[name]["psnr_y"]
                for factor in factors
            ]
            beside = places + 0.12 * (shift - 0.5)  # else the paper's two would hide each other
            axis.plot(beside, ours, "o-", color=colour, label=f"{name}: ours")
            marker = "D" if name == "SPARNet" else "s"
            axis.plot(beside, paper, marker, color=PAPER, markersize=5, label=f"{name}: paper")
        if place == 2:
            axis.set_xlim(-0.4, len(factors) - 0.6)
        axis.set_xticks(places + (0.18 if place < 2 else 0), [f"x{factor}" for factor in factors])
        axis.set_title(title, fontsize=10)
        axis.grid(axis="y", alpha=0.3)
        axis.legend(fontsize=7)
    return to_png(figure)


def _psnr_of(results: Sequence[Result], name: str) -> float:
    scores = next(result.scores for result in results if result.row.name == name)
    return float("nan") if scores is None or "psnr_y" not in scores.scores else scores.scores["psnr_y"].value


def figure12(bench: Bench) -> Report:
    """Figure 12: SPARNetHD without each of its losses."""
    return _restored(bench, "figure12", "Figure 12: SPARNetHD without each of its losses", FIGURE12_ROWS)


def figure13(bench: Bench) -> Report:
    """Figure 13: SPARNetHD and others on faces made bad by equation 14."""
    return _restored(bench, "figure13", "Figure 13: restored faces, made bad by equation 14", FIGURE13_ROWS)


def _restored(bench: Bench, name: str, title: str, rows: Sequence[Row]) -> Report:
    size = hd_size(bench)
    wanted = ("lpips_vgg16", "psnr_y")
    metrics = bench.measurable(wanted)
    faces = bench.faces(None, family=512, size=size)
    results = [
        bench.judge(bench.result(row, None, family=512, size=size), metrics, family=512, size=size)
        for row in rows
    ]
    report = Report(name, title)
    report.results = results
    under = {"lpips_vgg16": "lpips", "psnr_y": ""}
    report.tables.append(
        scores_table(f"equation 14, {size} px", results, wanted, published.TABLE6, under=under)
    )
    report.sheets["-faces"] = _sheet(faces, results)
    report.differs = what_differs(
        bench, results, data="faces of CelebAHQ-Test, 512 px", test=CELEBAHQ, sizes=[(None, size)]
    )
    if size != 512:
        report.differs.append(f"Faces are {size} px here, 512 in the paper: the budget's network is smaller")
    return report


def figure14(bench: Bench) -> Report:
    """Figure 14: SPARNetHD and others on small faces as they are found."""
    size = hd_size(bench)
    report = Report("figure14", "Figure 14: restored small faces, as they are found")
    cells, names, origin = bench.natural_results(FIGURE13_ROWS, size=size, count=FACES_ON_A_SHEET)
    report.tables.append(
        Table(
            "faces without originals",
            ["method", "where ours is from"],
            [[name, where] for name, where in zip(names, origin, strict=True)],
        )
    )
    shown = [name for name, pictures in zip(names, cells, strict=True) if pictures]
    pictures = [made for made in cells if made]
    strips = [
        (name, made[index])
        for index in range(len(pictures[0]))
        for name, made in zip(shown, pictures, strict=True)
    ]
    report.sheets["-faces"] = draw_sheet(strips, columns=len(shown))
    report.differs = [
        "Paper: faces of CelebA-TestN, 512 px, and old photos.",
        f"Ours: {bench.natural_faces(len(pictures[0]))}, {size} px; {bench.budget}.",
        *([] if bench.options.budget_minutes is None else [SMALL_BUDGET]),
        *bench.notes,
    ]
    return report
