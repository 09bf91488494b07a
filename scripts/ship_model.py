"""Take a finished run's model into the package: scored on a test set, described, entered in the catalog.

    python scripts/ship_model.py runs/sparnet-light-x8 --name sparnet-x8 \
        --license "..." --trained-on "..." --recipe "recipes/light-x8-cpu.toml, ..." \
        --hr ../shared/faces/faces128-test --framing 0.85
    python scripts/ship_model.py runs/sparnet-hd-light --name sparnet-hd-light ... \
        --hr ../shared/faces/faces512-test --metrics lpips_alex,identity_cosine,psnr_y

Copies the run's resolved recipe and log beside the model cards, in docs/runs/NAME/.
"""

import argparse
import hashlib
import shutil
from pathlib import Path

from sparnet.engine.openvino import OpenvinoEngine
from sparnet.evaluation.evaluate import Judge, run_model
from sparnet.evaluation.testset import TestSetOptions, read_test_set
from sparnet.export import export_onnx
from sparnet.network.files import read_model_file
from sparnet.weights.catalog import SHIPPED_FOLDER, SUFFIX, CatalogEntry, read_catalog, write_catalog
from sparnet.weights.info import ModelInfo, Score

ROOT = Path(__file__).parent.parent
METRICS = ("psnr_y", "ssim_y")


def score(
    info: ModelInfo, model: Path, hr: Path, framing: float, metrics: tuple[str, ...]
) -> tuple[Score, ...]:
    """Measure a model on a test set."""
    options = TestSetOptions(upscale_factor=info.upscale_factor, framing=framing, size_px=info.image_size)
    faces = read_test_set(hr, options)
    judge = Judge(faces, metrics)
    results, _ = run_model(OpenvinoEngine(model), faces)
    mine = judge.judge(info.name, results)
    plain = judge.judge("bicubic", [face.lr_up for face in faces])
    said = "" if framing == 1 else f" --framing {framing:g}"
    if info.upscale_factor is None:
        said += " --degrade blind"
    if metrics != METRICS:
        said += f" --metrics {','.join(metrics)}"
    return tuple(
        Score(
            metric=metric,
            value=round(mine.scores[metric].value, 4),
            bicubic=round(plain.scores[metric].value, 4),
            data=f"{len(faces)} faces of {hr.name}, {options.description}",
            command=f"sparnet evaluate -m {info.name} --hr {hr.name}{said}",
        )
        for metric in metrics
    )


def main() -> None:
    """Ship a model."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("--name", required=True)
    parser.add_argument("--license", required=True)
    parser.add_argument("--trained-on", required=True)
    parser.add_argument("--recipe", required=True)
    parser.add_argument("--hr", type=Path, required=True)
    parser.add_argument("--framing", type=float, default=1.0)
    parser.add_argument("--metrics", default=",".join(METRICS))
    options = parser.parse_args()
    metrics = tuple(options.metrics.split(","))
    network, found = read_model_file(options.run / "model.onnx")
    changes = {"license": options.license, "trained_on": options.trained_on, "recipe": options.recipe}
    info = found.model_copy(update={"name": options.name, **changes})
    path = SHIPPED_FOLDER / f"{options.name}{SUFFIX}"
    export_onnx(network, path, info)
    info = info.model_copy(update={"scores": score(info, path, options.hr, options.framing, metrics)})
    export_onnx(network, path, info)
    content = path.read_bytes()
    entry = CatalogEntry(
        file=path.name, sha256=hashlib.sha256(content).hexdigest(), bytes=len(content), info=info
    )
    catalog = read_catalog(SHIPPED_FOLDER)
    models = catalog.models | {options.name: entry}
    write_catalog(SHIPPED_FOLDER, catalog.model_copy(update={"models": models}))
    kept = ROOT / "docs" / "runs" / options.name
    kept.mkdir(parents=True, exist_ok=True)
    for name in ("recipe.toml", "log.jsonl", "scores.json"):
        shutil.copy(options.run / name, kept / name)
    for one in info.scores:
        print(f"{one.metric}: {one.value} (bicubic {one.bicubic}) on {one.data}")


if __name__ == "__main__":
    main()
