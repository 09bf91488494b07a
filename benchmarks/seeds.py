r"""Score trainings that differ in network and seed, and say which networks differ for certain.

    python benchmarks/seeds.py runs/attention-*-[0-9] --against sparnet \
        --hr ../shared/faces/faces128-test --framing 0.85 [--out seeds.json]

A run's folder is named ...-NETWORK-SEED. For each network: the mean over its seeds and the scores of each.
For each against the one named: the mean difference over seeds that both have and over faces, its 95 %
interval by a bootstrap over people (the seeds of a face are averaged first), and the difference in each
seed. The interval says how sure the faces make it, the seeds how much chance in training does. Needs the
lab half.
"""

import argparse
import json
import re
from collections import defaultdict
from pathlib import Path

import numpy as np

from sparnet.engine.openvino import OpenvinoEngine
from sparnet.evaluation.evaluate import Judge, interval, run_model
from sparnet.evaluation.testset import TestSetOptions, read_test_set

METRICS = ("psnr_y", "ssim_y")


def main() -> None:
    """Print two tables; write all scores with --out."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--against", required=True, metavar="NETWORK")
    parser.add_argument("--hr", type=Path, required=True, help="folder or pack of originals")
    parser.add_argument("--framing", type=float, default=1.0)
    parser.add_argument("--limit", type=int, help="only the first so many faces")
    parser.add_argument("--out", type=Path, help="JSON with the scores of every run")
    options = parser.parse_args()
    info = OpenvinoEngine(options.runs[0] / "model.onnx", precision="fp32").info
    faces = read_test_set(
        options.hr,
        TestSetOptions(
            upscale_factor=info.upscale_factor,
            framing=options.framing,
            size_px=info.image_size,
            limit=options.limit,
        ),
    )
    people = [face.identity for face in faces]
    judge = Judge(faces, METRICS)
    scores: dict[str, dict[int, dict[str, list[float]]]] = defaultdict(dict)
    for run in options.runs:
        named = re.fullmatch(r"(?:attention-|choice-)?(.+)-(\d+)", run.name)
        if named is None:
            parser.error(f"{run}: the folder's name does not end in -NETWORK-SEED")
        engine = OpenvinoEngine(run / "model.onnx", precision="fp32")
        made = run_model(engine, faces)[0]
        scores[named[1]][int(named[2])] = judge.judge(run.name, made).per_picture
    if options.against not in scores:
        parser.error(f"--against {options.against}: no such run; have: {', '.join(scores)}")
    plain = judge.judge("bicubic", [face.lr_up for face in faces]).scores
    print(f"{len(faces)} faces of {options.hr.name}; bicubic " + " / ".join(
        f"{plain[name].value:.4g}" for name in METRICS
    ))  # fmt: skip
    for name in METRICS:
        print(f"\n{name}: mean, and by seed")
        for network, seeds in scores.items():
            values = {seed: float(np.mean(found[name])) for seed, found in sorted(seeds.items())}
            by_seed = "  ".join(f"{seed}: {value:.4f}" for seed, value in values.items())
            print(f"  {network:<12} {np.mean(list(values.values())):.4f}   {by_seed}")
        print(f"\n{name}: minus {options.against}")
        for network, seeds in scores.items():
            shared = sorted(set(seeds) & set(scores[options.against]))
            if network == options.against or not shared:
                continue
            apart = np.array(
                [np.subtract(seeds[seed][name], scores[options.against][seed][name]) for seed in shared]
            )
            found = interval(apart.mean(axis=0).tolist(), lambda sample: float(np.mean(sample)), people)
            by_seed = "  ".join(
                f"{seed}: {value:+.4f}" for seed, value in zip(shared, apart.mean(axis=1), strict=True)
            )
            print(f"  {network:<12} {found.value:+.4f} ({found.low:+.4f} to {found.high:+.4f})   {by_seed}")
    if options.out is not None:
        means = {
            network: {
                seed: {name: float(np.mean(found[name])) for name in METRICS} for seed, found in seeds.items()
            }
            for network, seeds in scores.items()
        }
        options.out.write_text(json.dumps(means, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
