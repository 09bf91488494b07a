"""What a training would be, found out before it is started: a few steps are really taken."""

import resource
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from sparnet.network.cost import count_gflop
from sparnet.training.loop import load_data, make_batches, open_fabric
from sparnet.training.recipe import Recipe
from sparnet.training.trainee import build_trainee, last_step

STEPS = 3


@dataclass(frozen=True)
class Forecast:
    """What is known of a training beforehand."""

    parameters: int
    """Of the generator."""
    gflop: float
    """Of one forward pass over one face, a multiplication and an addition being two."""
    faces: int
    """Pictures to train on."""
    memory_gib: float
    """Peak over the steps taken: of the device on a GPU, else of the process."""
    images_per_second: float
    """Over the steps taken, after the first."""
    hours: float
    """The whole training at that speed."""


def dry_run(recipe: Recipe, *, notice: Callable[[str], None] = lambda _: None) -> Forecast:
    """Read the data, take a few steps, keep nothing.

    Raises:
        DataError, WeightsError: Whatever the training itself would raise.
    """
    fabric = open_fabric(recipe)
    fabric.launch()
    faces, _ = load_data(recipe, notice=notice)
    trainee = build_trainee(recipe, fabric, notice=notice)
    batches = make_batches(recipe, faces, fabric.device)
    size = recipe.train.batch_size
    trainee.network.train()
    for step in range(STEPS + 1):
        if step == 1:
            _wait(fabric.device)
            started = time.perf_counter()
        pair = batches.pairs(range(step * size, (step + 1) * size))
        last_step(trainee, pair, recipe=recipe, fabric=fabric)
        trainee.average.update(trainee.network, images_seen=(step + 1) * size, batch_size=size)
    _wait(fabric.device)
    speed = STEPS * size / (time.perf_counter() - started)
    return Forecast(
        parameters=sum(parameter.numel() for parameter in trainee.network.parameters()),
        gflop=count_gflop(recipe.network),
        faces=len(faces),
        memory_gib=_peak_memory_gib(fabric.device),
        images_per_second=speed,
        hours=recipe.train.total_images / speed / 3600,
    )


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _peak_memory_gib(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    # Linux counts kilobytes, macOS bytes; this is for people, and Linux is where it is trained.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
