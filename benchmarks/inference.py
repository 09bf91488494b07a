"""Faces a second: the authors' layout in eager torch beside our engines, interleaved in one run.

    python benchmarks/inference.py [NAMES] [--quick] [--batches 1,8,32] [--rounds 7]
        [--faces ../shared/faces/faces128-test --framing 0.85] [--int8 ../shared/faces/faces128-train]

A NAME is a preset (random weights), a model of the catalog, or a model file. For each the reference is
plain eager torch in float32: every layer as the paper draws it, contiguous tensors, no compilation. Beside
it run our engines: OpenVINO in float32, bfloat16 and, where there is one, the model in 8-bit integers. A
round is one call of each in turn, so that whatever else the machine does hits all alike; medians are
printed, and the ratio of medians to the reference, and to the reference of the authors' network (preset
`sparnet`, or `sparnet-hd` at 512 px) if that was named too.

GFLOP/s counts the operations of the reference, so that work which was saved counts as speed; the share of
the peak counts those that are really done, against a large matrix product in float32 in the same run.

With --faces, accuracy is measured too: the PSNR between each engine's faces and those of float32, and by
how much `psnr_y` and `lpips_alex` change against the originals. That needs real weights: models, not
presets. A model M.onnx in integers is looked for as M-int8.onnx beside it, that of a model M of the
catalog in models/; --int8 names faces to calibrate on, to make it for presets and models that have none.
"""

import argparse
import gc
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

os.environ["SPARNET_CACHE"] = "off"  # nothing of an earlier run may help

import numpy as np
import openvino
import torch
from torch.utils.flop_counter import FlopCounterMode

from sparnet.engine.base import MadeFaces
from sparnet.engine.openvino import OpenvinoEngine
from sparnet.evaluation.testset import TestFace, TestSetOptions, read_test_set
from sparnet.export import describe, export_onnx
from sparnet.image import resize_bicubic
from sparnet.metrics.registry import METRICS
from sparnet.network.bytes import to_bytes, to_signed
from sparnet.network.fast import fast_form
from sparnet.network.files import read_model_file
from sparnet.network.generator import SPARNet, without_spectral_norm
from sparnet.network.presets import PRESETS, preset
from sparnet.quantization import export_int8
from sparnet.weights.catalog import find_model, known_models
from sparnet.weights.info import ModelInfo

REFERENCE = "eager fp32"
NAMES = ("sparnet", "sparnet-x8", "sparnet-direct", "sparnet-hd-light", "sparnet-hd")
BESIDE = Path(__file__).parents[1] / "models"
AUTHORS = {128: "sparnet", 512: "sparnet-hd"}

Run = Callable[[np.ndarray], MadeFaces]


@dataclass
class Contender:
    """One way to run one network."""

    network: str
    way: str
    run: Run
    seconds: dict[int, list[float]] = field(default_factory=dict)
    """By faces a call."""


@dataclass
class Row:
    """What was measured of one way to run one network."""

    network: str
    way: str
    batch: int
    milliseconds_a_face: float
    ratio: float
    """To eager torch of the same network."""
    ratio_to_authors: float | None
    """To eager torch of the authors' network of that size, where it ran too."""
    gflops: float
    share_of_peak: float


@dataclass
class Accuracy:
    """What an engine's faces are, compared with those of float32 and with the originals."""

    network: str
    way: str
    faces: int
    psnr_to_fp32: float
    changes: dict[str, float]
    """By metric: this way's mean minus that of float32."""
    scores: dict[str, float]
    """By metric: this way's mean."""


def eager(network: SPARNet) -> Run:
    """Return the reference: the layers as they are, contiguous, float32."""
    network = network.float().eval().to(memory_format=torch.contiguous_format)

    def run(faces: np.ndarray) -> MadeFaces:
        with torch.inference_mode():
            pictures = torch.from_numpy(faces).permute(0, 3, 1, 2).contiguous()
            return to_bytes(network(to_signed(pictures))).permute(0, 2, 3, 1).contiguous().numpy()

    return run


def realistic(network: SPARNet) -> SPARNet:
    """Give random weights a size at which values neither vanish nor overflow."""
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight, a=1.5)
    return network


def is_model(name: str) -> bool:
    """Say whether a name is that of a model or a model file, rather than of a preset."""
    return name in known_models() or Path(name).is_file()


def load(name: str) -> tuple[SPARNet, ModelInfo]:
    """Return a network by the name of a model, a model file or a preset."""
    if is_model(name):
        return read_model_file(find_model(name))
    torch.manual_seed(0)
    with torch.device("cpu"):
        network = realistic(SPARNet(preset(name).model_copy(update={"spectral_norm": False}))).eval()
    tiny = network.config.image_size < 512
    info = describe(
        network,
        name=name,
        task="upscale" if tiny else "restore",
        upscale_factor=8 if tiny else None,
        license="none",
    )
    return network, info


def count(network: SPARNet) -> float:
    """Count the operations for one face, 2 for a multiplication and an addition, in 10^9."""
    side = network.config.reads_px
    with torch.device("meta"):
        plain = SPARNet(network.config.model_copy(update={"spectral_norm": False})).eval()
    return _count(plain, side)


def count_fast(network: SPARNet) -> float:
    """Count the operations that the fast form does for one face, in 10^9."""
    side = network.config.reads_px
    fast = fast_form(without_spectral_norm(network)).to("meta")
    # The counter takes the kernels' own computation, which engines do once, for work on a face.
    kernels = sum(
        2 * module.conv.weight.numel() * module.spread.shape[1]
        for module in fast.modules()
        if hasattr(module, "spread")
    )
    return _count(fast, side) - kernels / 1e9


def _count(network: SPARNet, side: int) -> float:
    with FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, 3, side, side, device="meta"))
    return counter.get_total_flops() / 1e9


def measure_peak(side: int = 1536) -> Callable[[], float]:
    """Return a function that takes one large matrix product and returns its GFLOP/s in float32."""
    a, b = torch.randn(side, side), torch.randn(side, side)

    def once() -> float:
        start = time.perf_counter()
        a @ b
        return 2 * side**3 / (time.perf_counter() - start) / 1e9

    return once


def describe_machine() -> dict[str, object]:
    """Say what this was measured on."""
    core = openvino.Core()
    return {
        "processor": core.get_property("CPU", "FULL_DEVICE_NAME"),
        "capabilities": [str(one) for one in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")],
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "openvino": openvino.get_version(),
    }


def contenders(
    name: str,
    network: SPARNet,
    info: ModelInfo,
    folder: Path,
    calibration: Sequence[TestFace],
    *,
    with_eager: bool = True,
) -> list[Contender]:
    """Load a network in every way it can be run."""
    if is_model(name):
        path = find_model(name)
    else:
        path = folder / f"{name}.onnx"
        export_onnx(network, path, info)
    made = [Contender(name, REFERENCE, eager(without_spectral_norm(network)))] if with_eager else []
    made.append(Contender(name, "openvino fp32", OpenvinoEngine(path, precision="fp32").run))
    if "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        made.append(Contender(name, "openvino bf16", OpenvinoEngine(path, precision="bf16").run))
    integers = (
        Path(name).with_stem(f"{Path(name).stem}-int8")
        if Path(name).is_file()
        else BESIDE / f"{name}-int8.onnx"
    )
    if integers.is_file():
        made.append(Contender(name, "openvino int8", OpenvinoEngine(integers).run))
    elif calibration:
        target = folder / f"{Path(name).stem}-int8.onnx"
        inputs = [face.at(info.input_size) for face in calibration]
        export_int8(network, target, info, inputs)
        made.append(Contender(name, "openvino int8", OpenvinoEngine(target).run))
    return made


def time_all(
    ways: Sequence[Contender], side: int, batches: Sequence[int], rounds: int, peak: Callable[[], float]
) -> list[float]:
    """Run all ways in turn, round after round; return the peaks measured between."""
    chance = np.random.default_rng(0)
    coarse = chance.integers(0, 256, (max(batches), 16, 16, 3), dtype=np.uint8)
    faces = np.stack([resize_bicubic(one, side, side) for one in coarse])
    peaks = []
    for batch in batches:
        for way in ways:
            way.run(faces[:batch])
            way.seconds[batch] = []
        for _ in range(rounds):
            peaks.append(peak())
            for way in ways:
                start = time.perf_counter()
                way.run(faces[:batch])
                way.seconds[batch].append(time.perf_counter() - start)
    return peaks


def compare(
    ways: Sequence[Contender], faces: Sequence[TestFace], side: int, metrics: Sequence[str]
) -> list[Accuracy]:
    """Compare what the ways make of real faces, read at `side` px."""
    loaded = {name: METRICS[name].load() for name in metrics}
    results = {}
    for way in ways:
        made = [way.run(face.at(side)[None])[0] for face in faces]
        errors = [
            10 * np.log10(255**2 / max(1e-9, float(((a.astype(float) - b.astype(float)) ** 2).mean())))
            for a, b in zip(made, results.get("fp32", (made,))[0], strict=True)
        ]
        scores = {
            name: statistics.fmean(float(measure(sr, face.hr)) for sr, face in zip(made, faces, strict=True))
            for name, measure in loaded.items()
        }
        results.setdefault("fp32", (made, scores))
        results[way.way] = (errors, scores)
    exact = results["fp32"][1]
    return [
        Accuracy(
            way.network,
            way.way,
            len(faces),
            statistics.median(results[way.way][0]),
            {name: results[way.way][1][name] - exact[name] for name in metrics},
            results[way.way][1],
        )
        for way in ways
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAMES", help=f"default: {' '.join(NAMES)}")
    parser.add_argument("--quick", action="store_true", help="batch 1 and 8, 3 rounds, 40 faces, no full HD")
    parser.add_argument("--batches", default=None, help="faces a call (default 1,8,32; at 512 px 1)")
    parser.add_argument("--rounds", type=int, default=None)
    parser.add_argument("--threads", type=int, default=None, help="of torch; engines use all cores")
    parser.add_argument("--faces", type=Path, help="originals to measure accuracy on")
    parser.add_argument("--framing", type=float, default=1.0)
    parser.add_argument("--limit", type=int, default=None, help="only so many faces")
    parser.add_argument("--metrics", default="psnr_y", help="psnr_y,lpips_alex")
    parser.add_argument("--int8", type=Path, help="faces to calibrate integers on")
    parser.add_argument("--no-times", action="store_true", help="accuracy only")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    names = options.names or [name for name in NAMES if not (options.quick and name == "sparnet-hd")]
    for name in names:
        if name not in PRESETS and not is_model(name):
            parser.error(f"{name}: neither a preset, nor a model, nor a file")
    rounds = options.rounds or (3 if options.quick else 7)
    machine = describe_machine()
    print("\n".join(f"{key}: {value}" for key, value in machine.items()))
    rows: list[Row] = []
    accuracies: list[Accuracy] = []
    peak = measure_peak()
    peak()
    peaks: list[float] = []
    references: dict[tuple[int, int], float] = {}
    with tempfile.TemporaryDirectory() as temporary:
        for name in names:
            network, info = load(name)
            factor, side_out = info.upscale_factor, info.image_size
            chosen = TestSetOptions(
                upscale_factor=factor, framing=options.framing, size_px=side_out, limit=100
            )
            calibration = read_test_set(options.int8, chosen) if options.int8 else []
            ways = contenders(
                name, network, info, Path(temporary), calibration, with_eager=not options.no_times
            )
            work, done = count(network), count_fast(network)
            side = network.config.reads_px
            if not options.no_times:
                usual = (1,) if side >= 512 else (1, 8) if options.quick else (1, 8, 32)
                batches = tuple(map(int, options.batches.split(","))) if options.batches else usual
                here = time_all(ways, side, batches, rounds, peak)
                peaks += here
                middle = statistics.median(here)
                for batch in batches:
                    reference = statistics.median(ways[0].seconds[batch]) / batch
                    if Path(name).stem == AUTHORS.get(side_out):
                        references[side_out, batch] = reference
                    for way in ways:
                        seconds = statistics.median(way.seconds[batch]) / batch
                        really = work if way.way == REFERENCE else done
                        authors = references.get((side_out, batch))
                        rows.append(
                            Row(
                                name,
                                way.way,
                                batch,
                                1000 * seconds,
                                reference / seconds,
                                None if authors is None else authors / seconds,
                                work / seconds,
                                really / seconds / middle,
                            )
                        )
                print_rows(name, rows, work, done, middle)
            if options.faces is not None and is_model(name):
                limit = options.limit or (40 if options.quick else None)
                chosen = TestSetOptions(
                    upscale_factor=factor, framing=options.framing, size_px=side_out, limit=limit
                )
                faces = read_test_set(options.faces, chosen)
                engines = [way for way in ways if way.way != REFERENCE]
                found = compare(engines, faces, side, options.metrics.split(","))
                accuracies += found
                print_accuracy(found)
            del ways, network
            gc.collect()
    if options.json is not None:
        report = {
            "machine": machine,
            "peak_gflops": statistics.median(peaks) if peaks else None,
            "rounds": rounds,
            "speed": [asdict(row) for row in rows],
            "accuracy": [asdict(one) for one in accuracies],
        }
        options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def print_rows(name: str, rows: Sequence[Row], work: float, done: float, peak: float) -> None:
    """Print the speeds of one network."""
    print(f"\n{name}: {work:.2f} GFLOP a face, {done:.2f} in the fast form; peak {peak:.0f} GFLOP/s in fp32")
    print(f"{'':16s} {'batch':>5s} {'ms a face':>10s} {'ratio':>6s} {'to authors':>10s} {'GFLOP/s':>8s} peak")
    for row in (row for row in rows if row.network == name):
        beside = "" if row.ratio_to_authors is None else f"{row.ratio_to_authors:.2f}"
        print(
            f"{row.way:16s} {row.batch:5d} {row.milliseconds_a_face:10.1f} {row.ratio:6.2f} {beside:>10s} "
            f"{row.gflops:8.0f} {100 * row.share_of_peak:3.0f} %",
            flush=True,
        )


def print_accuracy(found: Sequence[Accuracy]) -> None:
    """Print how far the engines' faces are from those of float32."""
    for one in found:
        changes = ", ".join(
            f"{name} {one.scores[name]:.4f} ({change:+.4f})" for name, change in one.changes.items()
        )
        apart = "" if one.psnr_to_fp32 > 100 else f"{one.psnr_to_fp32:.1f} dB to fp32, "
        print(f"{one.way:16s} {one.faces} faces: {apart}{changes}", flush=True)


if __name__ == "__main__":
    main()
