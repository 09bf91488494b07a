"""A recipe so small that a step takes milliseconds, and pictures for it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as PillowImage

from sparnet.training.recipe import Recipe, parse_recipe

NETWORK = {
    "preset": "sparnet-light",
    "image_size": 32,
    "body_size": 8,
    "base_channels": 2,
    "max_channels": 4,
    "attention_channels": 2,
}


def write_faces(folder: Path, *, count: int = 6, px: int = 40) -> Path:
    """Write smooth random squares that stand for faces."""
    folder.mkdir(parents=True, exist_ok=True)
    chance = np.random.default_rng(7)
    for index in range(count):
        coarse = PillowImage.fromarray(chance.integers(0, 256, (6, 6, 3), dtype=np.uint8))
        coarse.resize((px, px), PillowImage.Resampling.BICUBIC).save(folder / f"{index}.png")
    return folder


def tiny_recipe(faces: Path, **train: Any) -> Recipe:
    """A training of a few steps."""
    return tiny_recipe_of(faces, {}, **train)


def tiny_recipe_of(faces: Path, values: dict[str, Any], **train: Any) -> Recipe:
    """A training of a few steps, with other values of the recipe changed."""
    settings = {
        "total_images": 24,
        "batch_size": 4,
        "learning_rate": 1e-3,
        "schedule": "cosine",
        "warmup_images": 8,
        "ema_halflife_images": 8,
        "log_every_images": 4,
        "evaluate_every_images": 12,
        "save_every_images": 4,
    }
    return parse_recipe(
        {
            "name": "tiny",
            "seed": 3,
            "upscale_factor": 4,
            "network": NETWORK,
            "data": {"train": [str(faces)], "validation": str(faces), "validation_images": 2},
            "train": settings | train,
            **values,
        },
        source="tiny",
    )


def step_losses(run: Path) -> list[float]:
    """Read the pixel losses of a run's steps from its log."""
    lines = map(json.loads, (run / "log.jsonl").read_text().splitlines())
    return [line["loss/pixel"] for line in lines if line["kind"] == "step"]
