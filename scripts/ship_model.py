r"""Take a finished run's model into the package: scored on a test set, described, entered in the catalog.

    python scripts/ship_model.py runs/sparnet-light-x8 --name sparnet-x8 \
        --license "..." --trained-on "..." --recipe "recipes/light-x8-cpu.toml, ..." \
        --hr ../shared/faces/faces128-test --framing 0.85 [--int8 ../shared/faces/faces128-train]
    python scripts/ship_model.py runs/sparnet-hd-light --name sparnet-hd-light ... \
        --hr ../shared/faces/faces512-test --metrics lpips_alex,identity_cosine,psnr_y

Copies the run's resolved recipe and log beside the model cards, in docs/runs/NAME/. With --mix the weights
are the mean of the run's and another model's, which makes an adversarial training gentler. With
--settle-norms the statistics of batch norms are taken anew for the weights that are shipped. With --int8 a
second model, NAME-int8, is made in 8-bit integers, calibrated on the faces of that folder. That one, and
with --beside the model itself, goes to models/, which an installation does not copy. A model that is
shipped already is written and scored again, with what it says of itself, by

    python scripts/ship_model.py --again --name sparnet-x8 --hr ... --framing 0.85 [--int8 ...]
"""

import argparse
import copy
import shutil
from pathlib import Path

import openvino
import torch
from torch.optim.swa_utils import update_bn

from sparnet.config import read_toml
from sparnet.engine.openvino import OpenvinoEngine
from sparnet.evaluation.evaluate import Judge, run_model
from sparnet.evaluation.testset import TestFace, TestSetOptions, read_test_set
from sparnet.export import export_onnx, rewrite_info
from sparnet.network.build import Generator
from sparnet.network.bytes import to_signed
from sparnet.network.files import read_model_file
from sparnet.network.folding import even_squares
from sparnet.network.generator import SPARNet
from sparnet.quantization import CALIBRATION_FACES, export_int8
from sparnet.training.loop import RECIPE_FILE, load_faces, make_batches
from sparnet.training.recipe import parse_recipe
from sparnet.training.trainee import take_weights
from sparnet.weights.catalog import SHIPPED_FOLDER, SUFFIX, describe_file, read_catalog, write_catalog
from sparnet.weights.info import ModelInfo, Score

ROOT = Path(__file__).parent.parent
BESIDE = ROOT / "models"
METRICS = ("psnr_y", "ssim_y")


def read_faces(info: ModelInfo, folder: Path, framing: float, limit: int | None = None) -> list[TestFace]:
    """Read originals and make the bad faces that the model is for."""
    options = set_options(info, framing, limit)
    return read_test_set(folder, options)


def set_options(info: ModelInfo, framing: float, limit: int | None = None) -> TestSetOptions:
    """Say how bad faces are made of originals."""
    return TestSetOptions(
        upscale_factor=info.upscale_factor, framing=framing, size_px=info.image_size, limit=limit
    )


def score(info: ModelInfo, model: Path, hr: Path, framing: float, metrics: tuple[str, ...]) -> ModelInfo:
    """Measure a model on a test set: its scores, and what bfloat16 costs in `psnr_y`."""
    named = info.name if model.parent == SHIPPED_FOLDER else model.relative_to(ROOT).as_posix()
    faces = read_faces(info, hr, framing)
    judge = Judge(faces, metrics)
    exact = OpenvinoEngine(model, precision="fp32")
    mine = judge.judge(info.name, run_model(exact, faces)[0])
    plain = judge.judge("bicubic", [face.lr_up for face in faces])
    loss = None
    if info.arithmetic == "float" and "BF16" in openvino.Core().get_property(
        "CPU", "OPTIMIZATION_CAPABILITIES"
    ):
        short = judge.judge("bf16", run_model(OpenvinoEngine(model, precision="bf16"), faces)[0])
        loss = round(mine.scores["psnr_y"].value - short.scores["psnr_y"].value, 4)
    said = "" if framing == 1 else f" --framing {framing:g}"
    if info.upscale_factor is None:
        said += " --degrade blind"
    if metrics != METRICS:
        said += f" --metrics {','.join(metrics)}"
    scores = tuple(
        Score(
            metric=metric,
            value=round(mine.scores[metric].value, 4),
            bicubic=round(plain.scores[metric].value, 4),
            data=f"{len(faces)} faces of {hr.name}, {set_options(info, framing).description}",
            command=f"sparnet evaluate -m {named} --hr {hr.name}{said}",
        )
        for metric in metrics
    )
    return info.model_copy(update={"scores": scores, "bf16_loss_db": loss})


def enter(info: ModelInfo, path: Path) -> None:
    """Enter a model file of the package into the catalog; print its scores."""
    entry = describe_file(path, info)
    if path.parent == SHIPPED_FOLDER:
        catalog = read_catalog(SHIPPED_FOLDER)
        models = catalog.models | {info.name: entry}
        write_catalog(SHIPPED_FOLDER, catalog.model_copy(update={"models": models}))
    for one in info.scores:
        print(f"{info.name}: {one.metric} {one.value} (bicubic {one.bicubic}) on {one.data}")
    loss = "not measured" if info.bf16_loss_db is None else f"{info.bf16_loss_db} dB"
    print(f"{info.name}: psnr_y lost in bfloat16: {loss}; {entry.bytes / 1e6:.1f} MB")


def ship_int8(network: Generator, info: ModelInfo, options: argparse.Namespace) -> None:
    """Ship a model in 8-bit integers beside one of floats."""
    name = f"{info.name}-int8"
    faces = read_faces(info, options.int8, options.framing, CALIBRATION_FACES)
    recipe = f"{info.name}, quantised to 8 bits on {len(faces)} faces of {options.int8.name}"
    update = {"name": name, "recipe": recipe, "arithmetic": "int8", "scores": (), "bf16_loss_db": None}
    described = info.model_copy(update=update)
    path = BESIDE / f"{name}{SUFFIX}"
    inputs = [face.at(info.input_size) for face in faces]
    export_int8(network, path, described, inputs)
    described = score(described, path, options.hr, options.framing, options.metrics)
    rewrite_info(path, described)
    enter(described, path)


def mix_in(network: Generator, path: Path, share: float) -> None:
    """Give a network the weighted mean of its weights and another's, from which it was trained.

    Where the other has no refinement, it has one of the network's own that adds nothing.

    Source:
        Network interpolation: Wang et al., "ESRGAN", 2018.
    """
    other = copy.deepcopy(network)
    take_weights(other, str(path))
    has_none = read_model_file(path)[1].network.get("refine_channels", 0) == 0
    if has_none and isinstance(other, SPARNet) and other.refinement is not None:
        for parameter in other.refinement.conv2.parameters():
            torch.nn.init.zeros_(parameter)
    theirs = other.state_dict()
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            tensor.copy_((1 - share) * tensor.double() + share * theirs[name].double())


def settle_norms(network: Generator, run: Path, images: int) -> None:
    """Take the statistics of batch norms anew, over what the run trained on.

    Those of averaged weights are the trained network's, of its last few batches.

    Source:
        Izmailov et al., "Averaging Weights Leads to Wider Optima and Better Generalization", 2018.
    """
    recipe = parse_recipe(read_toml(run / RECIPE_FILE), source=str(run / RECIPE_FILE))
    faces, _ = load_faces(recipe)
    batches = make_batches(recipe, faces, torch.device("cpu"))
    parts = (range(begin, min(begin + 32, images)) for begin in range(0, images, 32))
    update_bn((to_signed(batches.pairs(part).lr_up) for part in parts), network)


def main() -> None:
    """Ship a model."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, nargs="?")
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--beside", action="store_true")
    parser.add_argument("--name", required=True)
    parser.add_argument("--license")
    parser.add_argument("--trained-on")
    parser.add_argument("--recipe")
    parser.add_argument("--hr", type=Path, required=True)
    parser.add_argument("--framing", type=float, default=1.0)
    parser.add_argument(
        "--metrics", default=METRICS, type=lambda text: tuple(text.split(",")), help="psnr_y among them"
    )
    parser.add_argument("--mix", type=Path, help="model that the run began with, to be mixed in")
    parser.add_argument("--share", type=float, default=0.5, help="of the model of --mix in the weights")
    parser.add_argument(
        "--settle-norms", type=int, metavar="IMAGES", help="take batch norms anew over so many"
    )
    parser.add_argument("--even-squares", action="store_true", help="see sparnet.network.folding")
    parser.add_argument("--int8", type=Path, help="originals to calibrate a second file of integers on")
    parser.add_argument("--weights", choices=("fp16", "int8"), default="int8", help="how they are stored")
    options = parser.parse_args()
    BESIDE.mkdir(exist_ok=True)
    path = (BESIDE if options.beside else SHIPPED_FOLDER) / f"{options.name}{SUFFIX}"
    if options.again:
        network, info = read_model_file(path)
    else:
        network, found = read_model_file(options.run / "model.onnx")
        if options.mix is not None:
            mix_in(network, options.mix, options.share)
        if options.settle_norms is not None:
            settle_norms(network, options.run, options.settle_norms)
        if options.even_squares and isinstance(network, SPARNet):
            even_squares(network)
        changes = {"license": options.license, "trained_on": options.trained_on, "recipe": options.recipe}
        info = found.model_copy(update={"name": options.name, **changes})
    export_onnx(network, path, info, weights=options.weights)
    info = score(info, path, options.hr, options.framing, options.metrics)
    rewrite_info(path, info)
    enter(info, path)
    if options.int8 is not None:
        ship_int8(network, info, options)
    if not options.again:
        kept = ROOT / "docs" / "runs" / options.name
        kept.mkdir(parents=True, exist_ok=True)
        for name in ("recipe.toml", "log.jsonl", "scores.json"):
            shutil.copy(options.run / name, kept / name)


if __name__ == "__main__":
    main()
