"""The training loop, readable top to bottom."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from lightning_fabric import Fabric
from torch import Tensor, nn

from sparnet.data.batches import FaceBatches, make_lr_up
from sparnet.data.faces import FaceSet, hold_out_people, load_face_set
from sparnet.data.validation import Validation, make_validation
from sparnet.errors import SparnetError, WeightsError
from sparnet.metrics.y_sparnet import psnr_y
from sparnet.network.bytes import to_bytes, to_signed
from sparnet.network.generator import SPARNet
from sparnet.training.ema import WeightAverage
from sparnet.training.log import RunLog
from sparnet.training.recipe import Recipe, recipe_to_toml
from sparnet.training.schedule import learning_rate_at
from sparnet.training.state import TrainState, load_newest

LARGEST_ZOOM = 1.3
"""Training pictures larger than `image_size` times this are reduced when they are read."""


class TrainingDivergedError(SparnetError):
    """The loss is no number any more."""


@dataclass(frozen=True)
class Outcome:
    """How a training ended."""

    images_seen: int
    finished: bool
    reason: str
    """"done", "time is up", or the name of the signal that stopped it."""
    psnr_y: float
    """Of the averaged weights on the validation faces, dB, protocol `sparnet`."""
    bicubic_psnr_y: float
    """Of plain bicubic enlargement on the same faces, dB."""
    images_per_second: float


@dataclass
class Trainee:
    """What is trained, and what goes with it."""

    network: SPARNet
    average: WeightAverage
    optimizer: torch.optim.Optimizer

    def state(self, images_seen: int) -> TrainState:
        """Collect everything that changes."""
        return TrainState(
            images_seen,
            {
                "network": self.network.state_dict(),
                "average": self.average.network.state_dict(),
                "optimizer": self.optimizer.state_dict(),
            },
        )

    def restore(self, state: TrainState) -> None:
        """Go back to a saved state.

        Raises:
            WeightsError: If the state is of another architecture.
        """
        try:
            self.network.load_state_dict(state.modules["network"])
            self.average.network.load_state_dict(state.modules["average"])
            self.optimizer.load_state_dict(state.modules["optimizer"])
        except (KeyError, RuntimeError, ValueError) as error:
            first = str(error).splitlines()[0]
            raise WeightsError(f"the saved state does not fit the recipe's network: {first}") from None


def build_trainee(recipe: Recipe, fabric: Fabric) -> Trainee:
    """Make network, average and optimiser on the device."""
    fabric.seed_everything(recipe.seed, verbose=False)
    network = SPARNet(recipe.network)
    if recipe.train.channels_last:
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    network = network.to(fabric.device)
    average = WeightAverage(
        network, halflife_images=recipe.train.ema_halflife_images, rampup=recipe.train.ema_rampup
    )
    optimizer = torch.optim.Adam(
        network.parameters(), lr=recipe.train.learning_rate, betas=recipe.train.betas, fused=True
    )
    return Trainee(network, average, optimizer)


def load_data(recipe: Recipe) -> tuple[FaceSet, Validation]:
    """Read the faces to train on and those to judge by."""
    size = recipe.network.image_size
    largest = round(size * LARGEST_ZOOM)
    terms = None if recipe.data.terms is None else frozenset(recipe.data.terms)
    faces = load_face_set(
        [Path(name) for name in recipe.data.train], smallest_px=size, largest_px=largest, terms=terms
    )
    if recipe.data.validation is None:
        train, held_out = hold_out_people(faces, people=recipe.data.holdout_people)
        judged = faces.subset(held_out[: recipe.data.validation_images])
        faces = faces.subset(train)
    else:
        judged = load_face_set([Path(recipe.data.validation)], smallest_px=size, largest_px=largest)
        judged = judged.subset(range(min(len(judged), recipe.data.validation_images)))
    validation = make_validation(
        judged,
        image_size=size,
        upscale_factor=recipe.upscale_factor,
        framing=recipe.data.validation_framing,
    )
    return faces, validation


def pixel_loss(sr: Float[Tensor, "n 3 h w"], hr: Float[Tensor, "n 3 h w"], *, kind: str) -> Float[Tensor, ""]:
    """Equation 1: the mean distance between faces in [-1, 1]."""
    difference = sr.float() - hr
    if kind == "charbonnier":
        return (difference.square() + 1e-6).sqrt().mean()
    return difference.abs().mean()


def generator_step(
    trainee: Trainee,
    model: Callable[[Tensor], Tensor],
    hr: UInt8[Tensor, "n 3 h w"],
    *,
    recipe: Recipe,
    fabric: Fabric,
) -> dict[str, Tensor]:
    """Move the network by one batch and return what was measured."""
    reads = recipe.network.reads_px
    lr_up = to_signed(make_lr_up(hr, upscale_factor=recipe.upscale_factor, size=reads))
    if recipe.train.channels_last:
        lr_up = lr_up.contiguous(memory_format=torch.channels_last)
    loss = pixel_loss(model(lr_up), to_signed(hr), kind=recipe.train.loss)
    trainee.optimizer.zero_grad(set_to_none=True)
    fabric.backward(loss)
    trainee.optimizer.step()
    return {"loss/pixel": loss.detach()}


@torch.no_grad()
def super_resolve(
    network: nn.Module, lr_up: UInt8[np.ndarray, "n h w 3"], *, device: torch.device, batch_size: int = 16
) -> UInt8[np.ndarray, "n h2 w2 3"]:
    """Run a network over 8-bit pictures, batch by batch, in float32."""
    made = []
    for start in range(0, len(lr_up), batch_size):
        batch = torch.from_numpy(lr_up[start : start + batch_size]).permute(0, 3, 1, 2).to(device)
        made.append(to_bytes(network(to_signed(batch))).permute(0, 2, 3, 1).cpu().numpy())
    return np.concatenate(made)


def evaluate(network: nn.Module, validation: Validation, *, device: torch.device) -> float:
    """Return the mean `psnr_y` of a network over the validation faces, dB."""
    pictures = super_resolve(network, _network_input(network, validation), device=device)
    return mean_psnr_y(pictures, validation.hr)


def _network_input(network: nn.Module, validation: Validation) -> UInt8[np.ndarray, "n h w 3"]:
    config = getattr(network, "config", None)
    direct = config is not None and config.reads_px == validation.lr.shape[1]
    return validation.lr if direct else validation.lr_up


def mean_psnr_y(sr: UInt8[np.ndarray, "n h w 3"], hr: UInt8[np.ndarray, "n h w 3"]) -> float:
    """Average `psnr_y` over pairs of pictures."""
    return float(np.mean([psnr_y(a, b) for a, b in zip(sr, hr, strict=True)]))


class Stop:
    """Remembers that the run should end: a signal came, or its time is up."""

    def __init__(self, max_minutes: float | None) -> None:
        self.reason: str | None = None
        self._deadline = None if max_minutes is None else time.monotonic() + max_minutes * 60

    def asked(self) -> bool:
        """Say whether to stop after this step."""
        if self.reason is None and self._deadline is not None and time.monotonic() >= self._deadline:
            self.reason = "time is up"
        return self.reason is not None

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take Ctrl-C and SIGTERM as a wish to stop after the current step."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        previous = {
            number: signal.signal(number, self._on_signal) for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self.reason = signal.Signals(number).name


def train(
    recipe: Recipe,
    run: Path,
    *,
    resume: bool = False,
    max_minutes: float | None = None,
    progress: Callable[[dict[str, Any]], None] = lambda _: None,
    notice: Callable[[str], None] = lambda _: None,
) -> Outcome:
    """Train by a recipe, from chance or from the last saved state of `run`.

    Args:
        recipe: What to do.
        run: Folder for states, log and recipe; made if absent.
        resume: Go on from the newest sound state in `run`.
        max_minutes: Stop in good order after this time.
        progress: Called after each step with named numbers.
        notice: Called with lines a person should see.

    Raises:
        TrainingDivergedError: If the loss is not finite; the last good state stays.
        WeightsError, DataError: If there is nothing sound to start from.
    """
    config = recipe.train
    fabric = Fabric(accelerator="auto", devices=1, precision=config.precision)
    fabric.launch()
    faces, validation = load_data(recipe)
    batches = FaceBatches(
        faces,
        image_size=recipe.network.image_size,
        augment=recipe.data.augment,
        seed=recipe.seed,
        device=fabric.device,
    )
    trainee = build_trainee(recipe, fabric)
    images_seen = 0
    if resume:
        state, refused = load_newest(run)
        for line in refused:
            notice(f"{line}; using the state before it")
        trainee.restore(state)
        images_seen = state.images_seen
    run.mkdir(parents=True, exist_ok=True)
    (run / "recipe.toml").write_text(recipe_to_toml(recipe), encoding="utf-8")
    log = RunLog(run / "log.jsonl", images_seen=images_seen)
    wrapped = fabric.setup_module(trainee.network)
    model = torch.compile(wrapped) if config.compile else wrapped

    bicubic = mean_psnr_y(validation.lr_up, validation.hr)
    score = evaluate(trainee.average.network, validation, device=fabric.device)
    notice(f"{len(faces)} faces; bicubic {bicubic:.3f} dB on {len(validation.hr)} validation faces")
    stop = Stop(max_minutes)
    started, first_image = time.monotonic(), images_seen
    trainee.network.train()
    with stop.listening():
        while images_seen < config.total_images and not stop.asked():
            end = min(images_seen + config.batch_size, config.total_images)
            rate = learning_rate_at(config, images_seen)
            for group in trainee.optimizer.param_groups:
                group["lr"] = rate
            numbers = generator_step(
                trainee, model, batches.batch(range(images_seen, end)), recipe=recipe, fabric=fabric
            )
            trainee.average.update(trainee.network, images_seen=end, batch_size=end - images_seen)
            speed = (end - first_image) / (time.monotonic() - started)
            if _crossed(images_seen, end, config.log_every_images) or end == config.total_images:
                measured = {key: float(value) for key, value in numbers.items()}
                _require_finite(measured, end)
                log.write("step", end, **measured, learning_rate=rate, images_per_second=speed)
            progress({"images_seen": end, "images_per_second": speed, "psnr_y": score, **numbers})
            if _crossed(images_seen, end, config.evaluate_every_images):
                score = evaluate(trainee.average.network, validation, device=fabric.device)
                log.write("evaluation", end, psnr_y=score, bicubic_psnr_y=bicubic)
            if _crossed(images_seen, end, config.save_every_images):
                trainee.state(end).save(run)
            images_seen = end
    trainee.state(images_seen).save(run)
    score = evaluate(trainee.average.network, validation, device=fabric.device)
    log.write("evaluation", images_seen, psnr_y=score, bicubic_psnr_y=bicubic)
    log.close()
    speed = (images_seen - first_image) / (time.monotonic() - started)
    finished = images_seen >= config.total_images
    return Outcome(images_seen, finished, "done" if finished else str(stop.reason), score, bicubic, speed)


def _crossed(before: int, after: int, every: int) -> bool:
    return before // every != after // every


def _require_finite(measured: dict[str, float], images_seen: int) -> None:
    bad = [f"{key} is {value}" for key, value in measured.items() if not np.isfinite(value)]
    if bad:
        raise TrainingDivergedError(
            f"training diverged at {images_seen} images: {', '.join(bad)}; the last good state is kept "
            "(lower train.learning_rate, or resume with another one)"
        )
