"""What a run leaves behind for others: a model file, its scores, and a picture of test faces."""

from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from sparnet.data.validation import Validation
from sparnet.export import describe, export_onnx
from sparnet.files import to_json, write_whole
from sparnet.metrics.pairs import mean_over_pairs
from sparnet.metrics.y_sparnet import psnr_y, ssim_y
from sparnet.network.build import Generator
from sparnet.training.log import face_strip
from sparnet.training.recipe import Recipe

MODEL_FILE, SCORES_FILE, FACES_FILE = "model.onnx", "scores.json", "faces.png"
FACES_SHOWN = 12


def write_results(
    recipe: Recipe,
    run: Path,
    network: Generator,
    validation: Validation,
    sr: UInt8[np.ndarray, "n h w 3"],
    *,
    images_seen: int,
) -> dict[str, float]:
    """Write the model file, `scores.json` and `faces.png` of a run, and return the scores.

    Args:
        recipe: The resolved recipe.
        run: The run's folder.
        network: The network to ship: the averaged weights.
        validation: The faces judged by.
        sr: What the network makes of them.
        images_seen: Training time.
    """
    scores = {
        "psnr_y": mean_over_pairs(psnr_y, sr, validation.hr),
        "ssim_y": mean_over_pairs(ssim_y, sr, validation.hr),
        "input_psnr_y": mean_over_pairs(psnr_y, validation.lr_up, validation.hr),
        "input_ssim_y": mean_over_pairs(ssim_y, validation.lr_up, validation.hr),
    }
    info = describe(
        network,
        name=recipe.name,
        task="restore" if recipe.upscale_factor is None else "upscale",
        upscale_factor=recipe.upscale_factor,
        blind=recipe.degradation is not None,
        license="see the data's terms",
        trained_on=", ".join(Path(folder).name for folder in recipe.data.train),
        recipe=f"recipe {recipe.name}, seed {recipe.seed}",
        images_seen=images_seen,
    )
    export_onnx(network, run / MODEL_FILE, info)
    report = {"images_seen": images_seen, "faces": len(sr), "validation": scores}
    write_whole(run / SCORES_FILE, to_json(report))
    encoded, png = cv2.imencode(".png", cv2.cvtColor(draw_faces(validation, sr), cv2.COLOR_RGB2BGR))
    if not encoded:
        raise RuntimeError("OpenCV could not encode the picture of test faces")
    write_whole(run / FACES_FILE, png.tobytes())
    return scores


def draw_faces(validation: Validation, sr: UInt8[np.ndarray, "n h w 3"]) -> UInt8[np.ndarray, "h2 w2 3"]:
    """Draw up to twelve faces spread evenly over the set, each as lr, bicubic, sr, hr, two a row."""
    chosen = np.linspace(0, len(sr) - 1, min(FACES_SHOWN, len(sr))).round().astype(int)
    strips = [face_strip(validation, sr, int(index)) for index in chosen]
    if len(strips) % 2:
        strips.append(np.full_like(strips[0], 255))
    gap = np.full((strips[0].shape[0], 8, 3), 255, dtype=np.uint8)
    rows = [np.concatenate([strips[i], gap, strips[i + 1]], axis=1) for i in range(0, len(strips), 2)]
    return np.concatenate(rows)
