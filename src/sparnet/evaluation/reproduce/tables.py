"""Tables I to VI of the paper."""

from collections.abc import Mapping, Sequence

from sparnet.evaluation.evaluate import Interval
from sparnet.evaluation.reproduce import published
from sparnet.evaluation.reproduce.bench import Bench, Result, Row
from sparnet.evaluation.reproduce.plots import plot_scores
from sparnet.evaluation.reproduce.report import (
    CELEBAHQ,
    HELEN,
    NONE,
    TITLES,
    Report,
    Table,
    TestData,
    better,
    number,
    number_as_printed,
    scores_table,
    what_differs,
)
from sparnet.metrics.registry import METRICS

BICUBIC = Row("Bicubic")
SPARNET = Row("SPARNet", "sparnet")
BASELINE = Row("Baseline", "sparnet", "baseline")
RCAN = Row("RCAN", "sparnet", "rcan")
CBAM = Row("CBAM", "sparnet", "cbam")
WAVELET = Row("Wavelet-SRNet", "wavelet")

TABLE1_ROWS = (
    BICUBIC,
    RCAN,
    CBAM,
    Row("URDGN"),
    WAVELET,
    Row("Attention-FH"),
    Row("FSRNet"),
    BASELINE,
    SPARNET,
)
TABLE2_ROWS = (BICUBIC, Row("FSRNet"), Row("SPARNet", "sparnet", changes=("data.images=18_000",)))
TABLE3_ROWS = (BICUBIC, Row("PFSRNet"), Row("DICNet"), SPARNET)
TABLE4_ROWS = (BICUBIC, RCAN, CBAM, WAVELET, SPARNET)
TABLE5_ROWS = (BICUBIC, Row("SICNN"), SPARNET)
HD_FULL = Row("SPARNetHD", "hd")
HD_ROWS = (
    HD_FULL,
    *(
        Row(f"without {loss}", "hd", variant=f"-without-{loss.replace(' ', '-')}")
        for loss in ("pixel", "adversarial", "feature matching", "perceptual")
    ),
)
INPUT = Row("Input")
TABLE6_ROWS = (INPUT, Row("ESRGAN"), Row("SFTGAN"), Row("Pix2PixHD"), *HD_ROWS)

_CELEBA = "trained on CelebA in rough crops of 128 px, tested on Helen's test set"
_LEARNT_FACES = (
    "Landmarks are FAN's in the paper and a MobileFaceNet's here, identities SphereFace's (on UMD-Faces) "
    "and a "
    "MobileFaceNet's: compare the order of methods, not the numbers (docs/metrics.md)"
)


def table1(bench: Bench) -> Report:
    """Table I: quality of all methods at x8."""
    wanted = ("psnr_y", "ssim_y", "landmark_auc", "identity_cosine")
    metrics = bench.measurable(wanted)
    results = [bench.judge(bench.result(row, 8), metrics) for row in TABLE1_ROWS]
    report = Report("table1", "Table I: face super-resolution at x8")
    report.results = results
    report.tables.append(scores_table("16 to 128 px", results, wanted, published.TABLE1, against="SPARNet"))
    report.plots[""] = score_plot(results, wanted, published.TABLE1)
    report.differs = what_differs(bench, results, data=_CELEBA, test=HELEN, sizes=[(8, 128)])
    report.differs += [_LEARNT_FACES, *_own_wavelet(results)]
    return report


def table2(bench: Bench) -> Report:
    """Table II: FSRNet's training set of 18 thousand faces."""
    wanted = ("psnr_y", "ssim_y")
    metrics = bench.measurable(wanted)
    faces = _faces_to_train_on(bench)
    rows: tuple[Row, ...] = TABLE2_ROWS
    if faces is not None and faces < _TABLE2_FACES:
        rows = tuple(Row(row.name, row.kind, row.network) for row in rows)
        bench.note(f"The training set has fewer than {_TABLE2_FACES:,} faces: all {faces:,} are used")
    results = [bench.judge(bench.result(row, 8), metrics) for row in rows]
    report = Report("table2", "Table II: trained on 18 thousand faces, x8")
    report.results = results
    report.tables.append(scores_table("16 to 128 px", results, wanted, published.TABLE2))
    report.plots[""] = score_plot(results, wanted, published.TABLE2)
    data = "trained and tested on FSRNet's parts of CelebA, 18 thousand faces to train on"
    report.differs = what_differs(
        bench, results, data=data, test=TestData("FSRNet's test faces"), sizes=[(8, 128)]
    )
    return report


_TABLE2_FACES = 18_000


def _faces_to_train_on(bench: Bench) -> int | None:
    """Count the faces that remain to train on when those held out are gone; None where none are needed."""
    if "SPARNet" in bench.options.models or "SPARNet" in bench.options.results:
        return None
    recipe = bench.recipe(Row("SPARNet", "sparnet"), 8)
    return len(bench.data(recipe)[0])


def table3(bench: Bench) -> Report:
    """Table III: DICNet's Helen faces, with parameters and time."""
    wanted = ("psnr_y_dic", "ssim_y_dic", "psnr_y", "ssim_y")
    metrics = bench.measurable(wanted)
    under = {"psnr_y_dic": "psnr_y", "ssim_y_dic": "ssim_y", "psnr_y": "", "ssim_y": ""}
    results = [bench.judge(bench.result(row, 8), metrics) for row in TABLE3_ROWS]
    report = Report("table3", "Table III: against methods guided by landmarks, x8")
    report.results = results
    report.tables.append(scores_table("16 to 128 px", results, wanted, published.TABLE3, under=under))
    report.tables.append(_cost_table(results))
    report.plots[""] = score_plot(results, ("psnr_y_dic", "ssim_y_dic"), published.TABLE3, under=under)
    data = "trained on CelebA, tested on the Helen faces that DICNet's authors provide, aligned"
    report.differs = what_differs(
        bench, results, data=data, test=TestData("DICNet's Helen faces"), sizes=[(8, 128)]
    )
    report.differs += [
        "The paper does not say by which protocol Table III was measured; ours is shown under both, the "
        "paper's "
        "beside `dic`, that of the test set's authors",
        "The paper's time is of one Tesla K40, ours of this machine's processor: the two are not comparable",
    ]
    return report


def _cost_table(results: Sequence[Result]) -> Table:
    rows = []
    for result in results:
        theirs = published.TABLE3.get(result.row.name, {})
        ours = result.milliseconds_a_face
        rows.append(
            [
                result.row.name,
                number_as_printed("parameters", theirs.get("parameters")),
                NONE if result.parameters is None else f"{result.parameters / 1e6:.2f}",
                number_as_printed("seconds", theirs.get("seconds")),
                NONE if ours is None else f"{ours / 1000:.3f}",
            ]
        )
    header = ["method", "parameters: paper, M", "ours, M", "a face: paper, s", "ours, s"]
    return Table("Cost", header, rows)


def table4(bench: Bench) -> Report:
    """Table IV: x4 and x16."""
    wanted = ("psnr_y", "ssim_y")
    metrics = bench.measurable(wanted)
    report = Report("table4", "Table IV: other factors, x4 and x16")
    panels = []
    for factor in (4, 16):
        results = [bench.judge(bench.result(row, factor), metrics) for row in TABLE4_ROWS]
        theirs = published.TABLE4[factor]
        caption = f"x{factor}: {128 // factor} to 128 px"
        report.tables.append(scores_table(caption, results, wanted, theirs, against="SPARNet"))
        report.results += results
        panels += score_panels(results, wanted, theirs, title=f"x{factor}: ")
    report.plots[""] = plot_scores(panels)
    report.differs = what_differs(
        bench, report.results, data=_CELEBA, test=HELEN, sizes=[(4, 128), (16, 128)]
    )
    report.differs += _own_wavelet(report.results)
    report.differs.append(
        "As in the paper, x4 is trained from chance and x16 starts from the weights of x8, whose images come "
        "on top; Wavelet-SRNet, whose layers depend on the factor, always starts from chance"
    )
    return report


def table5(bench: Bench) -> Report:
    """Table V: identity against SICNN."""
    wanted = ("identity_cosine",)
    metrics = bench.measurable(wanted)
    results = [bench.judge(bench.result(row, 8), metrics) for row in TABLE5_ROWS]
    report = Report("table5", "Table V: how well the identity is kept, x8")
    report.results = results
    report.tables.append(scores_table("16 to 128 px", results, wanted, published.TABLE5))
    report.plots[""] = score_plot(results, wanted, published.TABLE5)
    data = "both trained on SICNN's larger, aligned set; faces of UMD-Faces; SphereFace"
    report.differs = what_differs(
        bench, results, data=data, test=TestData("SICNN's faces of UMD-Faces"), sizes=[(8, 128)]
    )
    report.differs.append(_LEARNT_FACES)
    return report


def table6(bench: Bench) -> Report:
    """Table VI: SPARNetHD, without each of its losses, and against others."""
    wanted = ("lpips_vgg16", "lpips_alex", "psnr_y")
    metrics = bench.measurable(wanted)
    size = hd_size(bench)
    results = [
        bench.judge(bench.result(row, None, family=512, size=size), metrics, family=512, size=size)
        for row in TABLE6_ROWS
    ]
    report = Report("table6", "Table VI: restoration at high resolution, and what each loss is for")
    report.results = results
    under = {"lpips_vgg16": "lpips", "lpips_alex": "lpips", "psnr_y": ""}
    report.tables.append(
        scores_table(f"equation 14, {size} px", results, wanted, published.TABLE6, under=under)
    )
    natural = bench.natural_fid(results, size=size)
    report.tables.append(_natural_table(results, natural))
    report.numbers["fid_inception2015"] = natural or {}
    panels = score_panels(results, wanted[:2], published.TABLE6, under=under)
    if natural is not None:
        paper = {result.row.name: published.TABLE6.get(result.row.name, {}).get("fid") for result in results}
        ours = {name: Interval(natural[name]) if name in natural else None for name in paper}
        panels.append((better("fid_inception2015"), paper, ours))
    report.plots[""] = plot_scores(panels)
    data = "trained on FFHQ, LPIPS on CelebAHQ-Test (2,824 faces), FID of CelebA-TestN (1,117) against it"
    report.differs = what_differs(bench, results, data=data, test=CELEBAHQ, sizes=[(None, size)])
    report.differs += [
        "The paper does not name the trunk of its LPIPS: its number stands beside both of ours",
        "Which loss each row lacks is inferred from the order in which the text discusses them; without the "
        "adversarial loss there is no feature matching either, as its discriminators are not trained to "
        "judge",
    ]
    if size != 512:
        report.differs.append(f"Faces are {size} px here, 512 in the paper: the budget's network is smaller")
    return report


def hd_size(bench: Bench) -> int:
    """Say how large the faces are that the rows of SPARNetHD make."""
    given = bench.options.models.get("SPARNetHD")
    if given is not None:
        from sparnet.engine import open_engine

        return open_engine(given).info.image_size
    return bench.recipe(HD_FULL, None).network.image_size


def _natural_table(results: Sequence[Result], natural: Mapping[str, float] | None) -> Table:
    rows = [
        [
            result.row.name,
            number_as_printed("fid", published.TABLE6.get(result.row.name, {}).get("fid")),
            number("fid_inception2015", (natural or {}).get(result.row.name)),
        ]
        for result in results
    ]
    needed = ", ".join(METRICS["fid_inception2015"].needs)
    ours = "ours (fid_inception2015)" if natural is not None else f"ours: {needed} is missing"
    return Table("Small faces, against the originals of the test set", ["method", "FID: paper", ours], rows)


def score_panels(
    results: Sequence[Result],
    metrics: Sequence[str],
    theirs: Mapping[str, Mapping[str, float]],
    *,
    under: Mapping[str, str] | None = None,
    title: str = "",
) -> list[tuple[str, dict[str, float | None], dict[str, Interval | None]]]:
    """Prepare a panel a metric: title, the paper's numbers, ours."""
    panels = []
    for metric in metrics:
        key = (under or {}).get(metric, metric)
        paper = {result.row.name: theirs.get(result.row.name, {}).get(key) for result in results}
        ours = {
            result.row.name: None if result.scores is None else result.scores.scores.get(metric)
            for result in results
        }
        panels.append((f"{title}{better(metric)}" if not title else f"{title}{TITLES[metric]}", paper, ours))
    return panels


def score_plot(
    results: Sequence[Result],
    metrics: Sequence[str],
    theirs: Mapping[str, Mapping[str, float]],
    *,
    under: Mapping[str, str] | None = None,
) -> bytes:
    """Draw the paper's numbers beside ours."""
    return plot_scores(score_panels(results, metrics, theirs, under=under))


def _own_wavelet(results: Sequence[Result]) -> list[str]:
    if any(result.row.name == "Wavelet-SRNet" and result.model is not None for result in results):
        return [
            "Wavelet-SRNet is built from its paper: three nets, factor^2 subnets, inverse wavelet "
            "packets, three "
            "losses; its widths and depths are ours (docs/paper.md)"
        ]
    return []
