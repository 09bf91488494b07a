"""The training loop, readable top to bottom."""

import contextlib
import functools
import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from lightning_fabric import Fabric
from torch import Tensor, nn

from sparnet.config import read_toml
from sparnet.data.batches import FaceBatches, Pair
from sparnet.data.faces import FaceSet, choose_faces, count_shared, hold_out_people, load_face_set
from sparnet.data.validation import Validation, make_validation
from sparnet.errors import DataError, RecipeError, SparnetError
from sparnet.files import claimed, remove_leftovers, write_whole
from sparnet.metrics.pairs import mean_over_pairs
from sparnet.metrics.y_sparnet import psnr_y
from sparnet.network.build import Generator
from sparnet.network.bytes import to_bytes, to_signed
from sparnet.training.log import RunLog, TensorboardLog
from sparnet.training.recipe import Recipe, parse_recipe, recipe_to_toml
from sparnet.training.results import write_results
from sparnet.training.schedule import learning_rate_at
from sparnet.training.state import load_newest, saved_states
from sparnet.training.stop import Stop
from sparnet.training.trainee import Trainee, build_trainee, discriminator_step, generator_step

LARGEST_ZOOM = 1.3
"""Training pictures larger than `image_size` times this, or the largest zoom of the recipe, are
reduced when they are read."""
RECIPE_FILE, LOG_FILE = "recipe.toml", "log.jsonl"
_SANITY_FACES = 16


class TrainingDivergedError(SparnetError):
    """The loss is no number any more."""


@dataclass(frozen=True)
class Outcome:
    """How a training ended."""

    images_seen: int
    finished: bool
    reason: str
    """`done`, `time is up`, or the name of the signal that stopped it."""
    scores: dict[str, float]
    """Of the averaged weights on the validation faces, and of bicubic enlargement."""
    images_per_second: float


def open_fabric(recipe: Recipe, *, devices: int | None = None, nodes: int = 1) -> Fabric:
    """Choose devices and precision; several devices share each batch (DDP).

    Args:
        recipe: For its precision and batch size.
        devices: Devices a node; None is one. Without a GPU they are processes on the CPU.
        nodes: Machines; more than one are started by torchrun.

    Raises:
        RecipeError: If the batch cannot be shared out evenly.
    """
    count = 1 if devices is None else devices
    if recipe.train.batch_size % (count * nodes):
        raise RecipeError(
            f"train.batch_size must be a multiple of the {count * nodes} devices, "
            f"got {recipe.train.batch_size}"
        )
    logging.getLogger("lightning_fabric.utilities.rank_zero").setLevel(logging.WARNING)
    strategy = "ddp" if count * nodes > 1 else "auto"
    return Fabric(
        accelerator="auto",
        devices=count,
        num_nodes=nodes,
        strategy=strategy,
        precision=recipe.train.precision,
    )


def load_faces(recipe: Recipe) -> tuple[FaceSet, FaceSet]:
    """Read the faces to train on and those to judge by, as they are on disk.

    Raises:
        DataError: With the recipe's key, if faces are missing or not what is needed.
    """
    size = recipe.network.image_size
    largest = round(size * max(LARGEST_ZOOM, recipe.data.augment.zoom[1]))
    terms = None if recipe.data.terms is None else frozenset(recipe.data.terms)
    try:
        faces = load_face_set(
            [Path(name) for name in recipe.data.train], smallest_px=size, largest_px=largest, terms=terms
        )
        judged = None
        if recipe.data.validation is None:
            train, held_out = hold_out_people(faces, people=recipe.data.holdout_people)
            judged = faces.subset(held_out)
            faces = faces.keep(train)
        if recipe.data.images is not None:
            faces = choose_faces(faces, recipe.data.images)
    except DataError as error:
        raise DataError(f"data.train: {error}") from None
    if judged is None:
        try:
            judged = load_face_set([Path(str(recipe.data.validation))], smallest_px=size, largest_px=largest)
        except DataError as error:
            raise DataError(f"data.validation: {error}") from None
    return faces, judged.subset(range(min(len(judged), recipe.data.validation_images)))


def load_data(
    recipe: Recipe, *, notice: Callable[[str], None] = lambda _: None
) -> tuple[FaceSet, Validation]:
    """Read the faces to train on, and make the pictures to judge by.

    Args:
        recipe: Which faces.
        notice: Told if some faces are on both sides.

    Raises:
        DataError: With the recipe's key, if faces are missing or not what is needed.
    """
    faces, judged = load_faces(recipe)
    shared = count_shared(faces, judged)
    if shared:
        notice(
            f"{shared} of the {len(judged)} faces to judge by are trained on as well (data.validation): "
            "their scores say nothing of faces never seen"
        )
    return faces, validation_of(recipe, judged)


def validation_of(recipe: Recipe, judged: FaceSet) -> Validation:
    """Make the pictures to judge by of faces that are not trained on."""
    return make_validation(
        judged,
        image_size=recipe.network.image_size,
        input_size=recipe.network.reads_px,
        upscale_factor=recipe.upscale_factor or 1,
        degradation=recipe.degradation,
        framing=recipe.data.validation_framing,
    )


def make_batches(recipe: Recipe, faces: FaceSet, device: torch.device) -> FaceBatches:
    """Put the faces on a device, to be made into batches as the recipe has it."""
    return FaceBatches(
        faces,
        image_size=recipe.network.image_size,
        input_size=recipe.network.reads_px,
        upscale_factor=recipe.upscale_factor or 1,
        degradation=recipe.degradation,
        augment=recipe.data.augment,
        seed=recipe.seed,
        device=device,
    )


@torch.no_grad()
def super_resolve(
    network: nn.Module, faces: UInt8[np.ndarray, "n h w 3"], *, device: torch.device, batch_size: int = 16
) -> UInt8[np.ndarray, "n h2 w2 3"]:
    """Run a network over 8-bit pictures, batch by batch, in float32."""
    made = []
    for start in range(0, len(faces), batch_size):
        batch = torch.from_numpy(faces[start : start + batch_size]).permute(0, 3, 1, 2).to(device)
        made.append(to_bytes(network(to_signed(batch))).permute(0, 2, 3, 1).cpu().numpy())
    return np.concatenate(made)


def judge(network: Generator, validation: Validation, *, device: torch.device) -> np.ndarray:
    """Return what a network makes of the validation faces, in 8 bits."""
    batch_size = max(1, 16 * 128**2 // network.config.image_size**2)
    faces = validation.at(network.config.reads_px)
    return super_resolve(network, faces, device=device, batch_size=batch_size)


def train(
    recipe: Recipe,
    run: Path,
    *,
    fabric: Fabric | None = None,
    resume: bool = False,
    max_minutes: float | None = None,
    data: tuple[FaceSet, Validation] | None = None,
    tensorboard: bool = False,
    progress: Callable[[dict[str, Any]], None] = lambda _: None,
    notice: Callable[[str], None] = lambda _: None,
) -> Outcome:
    """Train by a recipe, from chance, from other weights, or from the last saved state of `run`.

    Args:
        recipe: What to do.
        run: Folder for states, log, recipe and results; made if absent.
        fabric: Devices; None takes one.
        resume: Go on from the newest sound state in `run`.
        max_minutes: Stop in good order after this time.
        data: What `load_data` gave for a recipe of the same data, so as not to read it once more.
        tensorboard: Also log for TensorBoard, in `run/tensorboard`.
        progress: Called after each step with named numbers.
        notice: Called with lines a person should see.

    Raises:
        TrainingDivergedError: If a loss is not finite; the last good state stays.
        WeightsError, DataError, RecipeError: If there is nothing sound to start from.
        RecipeError: If another training writes to `run`.
        SparnetError: If the run's folder cannot be written.
    """
    config = recipe.train
    fabric = fabric or open_fabric(recipe)
    fabric.launch()
    first = fabric.global_rank == 0
    if not first:
        notice, progress = _silent, _silent
    before = _check_run(recipe, run, resume=resume)
    if before is not None:
        recipe = _as_it_began(recipe, before)
    faces, validation = data or load_data(recipe, notice=notice)
    batches = make_batches(recipe, faces, fabric.device)
    trainee = build_trainee(recipe, fabric, notice=notice, resume=resume)
    recipe = _as_it_is(recipe, trainee)
    images_seen = 0
    if resume:
        state, refused = load_newest(run)
        for line in refused:
            notice(f"{line}; using the state before it")
        trainee.restore(state)
        trainee.follow(recipe)
        images_seen = state.images_seen
        if images_seen > config.total_images:
            raise RecipeError(
                f"{run}: has seen {images_seen} images already, train.total_images is {config.total_images}; "
                "raise it, or start a new run"
            )
    _check_evaluation(trainee, validation, fabric)
    closing = ExitStack()
    log = board = None
    if first:
        with _writing(run):
            run.mkdir(parents=True, exist_ok=True)
            closing.enter_context(_alone(run))
            remove_leftovers([run])
            write_whole(run / RECIPE_FILE, recipe_to_toml(recipe))
            log = closing.enter_context(contextlib.closing(RunLog(run / LOG_FILE, images_seen=images_seen)))
        if changed := {} if before is None else _changes(before, recipe):
            # recipe.toml says what the run is from now on, the log what it was until here.
            log.write("recipe", images_seen, was={key: old for key, (old, _) in changed.items()})
            told = ", ".join(f"{key} = {new!r} (was {old!r})" for key, (old, new) in changed.items())
            notice(f"from image {images_seen} on another recipe: {told}")
    if first and tensorboard:
        folder = run / "tensorboard"
        board = closing.enter_context(contextlib.closing(TensorboardLog(folder, images_seen=images_seen)))
    bicubic = mean_over_pairs(psnr_y, validation.lr_up, validation.hr)
    notice(
        f"{len(faces)} faces to train on; {len(validation.hr)} to judge by, "
        f"where the network's input stands at {bicubic:.3f} dB (psnr_y)"
    )

    @functools.lru_cache(maxsize=1)  # a run may be stopped right after it was judged
    def evaluate(now: int) -> tuple[float, np.ndarray]:
        sr = judge(trainee.average.network, validation, device=fabric.device)
        psnr = mean_over_pairs(psnr_y, sr, validation.hr)
        if log is not None:
            log.write("evaluation", now, psnr_y=psnr, input_psnr_y=bicubic)
        if board is not None:
            board.evaluation(now, psnr, validation, sr)
        return psnr, sr

    def save(now: int) -> None:
        if first:
            trainee.state(now).save(run)
        fabric.barrier()

    psnr, speed = float("nan"), 0.0
    stop = Stop(max_minutes)
    trainee.network.train()
    numbers: dict[str, Tensor] = {}
    started, first_image = time.monotonic(), images_seen
    with _writing(run), closing, stop.listening():
        for begin, end, pair in _pairs(batches, fabric, images_seen, config.total_images, config.batch_size):
            rate = learning_rate_at(config, begin)
            share = rate / config.learning_rate
            for group in trainee.optimizer.param_groups:
                group["lr"] = rate
            numbers, made = generator_step(trainee, pair, recipe=recipe, fabric=fabric, images_seen=begin)
            if trainee.critic is not None and begin >= _adversarial_start(recipe):
                for group in trainee.critic.optimizer.param_groups:
                    group["lr"] = share * _discriminator_rate(recipe)
                numbers |= discriminator_step(
                    trainee.critic, pair, made, recipe=recipe, fabric=fabric, images_seen=begin
                )
            trainee.average.update(trainee.network, images_seen=end, batch_size=end - begin)
            images_seen = end
            speed = (end - first_image) / (time.monotonic() - started)
            saving = _crossed(begin, end, config.save_every_images)
            if saving or _crossed(begin, end, config.log_every_images) or end == config.total_images:
                measured = _measured(numbers, fabric)
                _require_finite(measured, end)
                if log is not None:
                    log.write("step", end, **measured, learning_rate=rate, images_per_second=speed)
                if board is not None:
                    board.step(end, {**measured, "learning_rate": rate, "images_per_second": speed})
            progress({"images_seen": end, "images_per_second": speed, "psnr_y": psnr, **numbers})
            if first and end < config.total_images and _crossed(begin, end, config.evaluate_every_images):
                psnr, _ = evaluate(end)
            if saving:
                _require_sound(trainee, pair, fabric, end)
                save(end)
            if _agreed(stop, fabric):
                break
        _require_finite(_measured(numbers, fabric), images_seen)
        if numbers:
            _require_sound(trainee, pair, fabric, images_seen)
        save(images_seen)
        finished = images_seen >= config.total_images
        scores: dict[str, float] = {}
        if first:
            _, sr = evaluate(images_seen)
            scores = write_results(
                recipe, run, trainee.average.network, validation, sr, images_seen=images_seen
            )
    fabric.barrier()
    return Outcome(images_seen, finished, "done" if finished else str(stop.reason), scores, speed)


@contextlib.contextmanager
def _writing(run: Path) -> Iterator[None]:
    """Name the run's folder where it cannot be written: the system's error for a full disk names nothing."""
    try:
        yield
    except OSError as error:
        raise SparnetError(f"{run}: cannot be written ({error.strerror or error})") from None


@contextlib.contextmanager
def _alone(run: Path) -> Iterator[None]:
    """Refuse a run's folder that another training writes to: each would mix its states with the other's."""
    with ExitStack() as claim:
        try:
            claim.enter_context(claimed(run))
        except BlockingIOError:
            raise RecipeError(f"{run}: another training writes to it; name another folder by -o") from None
        yield


def _silent(_: object) -> None:
    """Say nothing: what all processes but the first do."""


def _check_run(recipe: Recipe, run: Path, *, resume: bool) -> Recipe | None:
    """Refuse to overwrite a run, and to resume one with another network, data or chance.

    Returns:
        The recipe of the run that is resumed.
    """
    if not resume:
        if saved_states(run):
            raise RecipeError(f"{run}: holds a run already; go on with --resume {run}, or name another by -o")
        return None
    path = run / RECIPE_FILE
    if not path.is_file():
        raise RecipeError(f"{run}: no run to resume ({RECIPE_FILE} is missing)")
    saved = parse_recipe(read_toml(path), source=str(path))
    for key in ("network", "seed", "upscale_factor", "degradation", "data"):
        if getattr(saved, key) != getattr(recipe, key):
            raise RecipeError(f"{run}: was made with another '{key}' than the recipe has; start a new run")
    return saved


def _as_it_began(recipe: Recipe, before: Recipe) -> Recipe:
    """Keep what a run began with, in which a recipe that it is resumed on has no say any more."""
    update: dict[str, Any] = {"initial_weights": before.initial_weights}
    if recipe.adversarial is not None and before.adversarial is not None:
        first = {"initial_discriminators": before.adversarial.initial_discriminators}
        update["adversarial"] = recipe.adversarial.model_copy(update=first)
    return recipe.model_copy(update=update)


def _changes(before: Recipe, now: Recipe) -> dict[str, tuple[Any, Any]]:
    """Return by key in what two recipes differ: the value before, and now."""
    old, new = (_flat(recipe.model_dump(mode="json")) for recipe in (before, now))
    return {key: (old.get(key), new.get(key)) for key in {**old, **new} if old.get(key) != new.get(key)}


def _flat(values: dict[str, Any], table: str = "") -> dict[str, Any]:
    """Name the values of tables in tables as `--set` does."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{table}{key}.") if isinstance(value, dict) else {f"{table}{key}": value}
    return flat


def _as_it_is(recipe: Recipe, trainee: Trainee) -> Recipe:
    """Record which network the perceptual loss really uses."""
    if recipe.adversarial is None or trainee.perceptual is None:
        return recipe
    used = {"perceptual": trainee.perceptual.trunk.name}
    return recipe.model_copy(update={"adversarial": recipe.adversarial.model_copy(update=used)})


def _check_evaluation(trainee: Trainee, validation: Validation, fabric: Fabric) -> None:
    """Judge two batches before training starts, so that a mistake there does not wait for hours."""
    few = Validation(
        validation.hr[:_SANITY_FACES], validation.lr[:_SANITY_FACES], validation.lr_up[:_SANITY_FACES]
    )
    mean_over_pairs(psnr_y, judge(trainee.average.network, few, device=fabric.device), few.hr)


def _pairs(
    batches: FaceBatches, fabric: Fabric, start: int, total: int, batch_size: int
) -> Iterator[tuple[int, int, Pair]]:
    """Yield this process's share of each batch, the next one made while the last one is learnt from.

    The last batch is cut short, so that the training ends at `total` exactly.
    """
    bounds = [(begin, min(begin + batch_size, total)) for begin in range(start, total, batch_size)]
    with ThreadPoolExecutor(max_workers=1) as pool:
        made = [pool.submit(batches.pairs, _share(*share, fabric)) for share in bounds[:1]]
        for index, (begin, end) in enumerate(bounds):
            pair = made.pop().result()
            made += [
                pool.submit(batches.pairs, _share(*share, fabric)) for share in bounds[index + 1 : index + 2]
            ]
            yield begin, end, pair


def _share(begin: int, end: int, fabric: Fabric) -> range:
    """Cut a batch into equal parts, one a process; a short last batch may leave out a few images."""
    each = max(1, (end - begin) // fabric.world_size)
    first = begin + fabric.global_rank * each
    return range(first, min(first + each, end)) or range(begin, begin + 1)


def _agreed(stop: Stop, fabric: Fabric) -> bool:
    """Say whether to stop, the same in all processes."""
    mine = stop.asked()
    if fabric.world_size == 1:
        return mine
    wish: Any = fabric.all_reduce(torch.tensor(float(mine), device=fabric.device), reduce_op="sum")
    agreed = bool(wish > 0)
    if agreed and stop.reason is None:
        stop.reason = "stopped with the other processes"
    return agreed


def _adversarial_start(recipe: Recipe) -> int:
    return 0 if recipe.adversarial is None else recipe.adversarial.start_images


def _discriminator_rate(recipe: Recipe) -> float:
    return 0.0 if recipe.adversarial is None else recipe.adversarial.learning_rate


def _measured(numbers: dict[str, Tensor], fabric: Fabric) -> dict[str, float]:
    """Average numbers over the processes."""
    if fabric.world_size == 1:
        return {name: float(value) for name, value in numbers.items()}
    everyone: Any = fabric.all_reduce(numbers, reduce_op="mean")
    return {name: float(value) for name, value in everyone.items()}


def _crossed(before: int, after: int, every: int) -> bool:
    return before // every != after // every


@torch.no_grad()
def _require_sound(trainee: Trainee, pair: Pair, fabric: Fabric, images_seen: int) -> None:
    """Refuse weights that make no pictures, before they are saved: the loss was that of the weights before.

    Raises:
        TrainingDivergedError: In all processes, if it is so in one.
    """
    network = trainee.network
    network.eval()  # so that no running statistics move
    made = network(to_signed(pair.lr_up))
    network.train()
    weights = [*trainee.network.parameters(), *trainee.average.network.parameters()]
    finite = torch.stack([tensor.isfinite().all() for tensor in [made, *weights]]).all()
    told = torch.where(finite, 0.0, torch.nan)
    _require_finite(_measured({"a weight or a pixel made": told}, fabric), images_seen)


def _require_finite(measured: dict[str, float], images_seen: int) -> None:
    bad = [f"{name} is {value}" for name, value in measured.items() if not np.isfinite(value)]
    if bad:
        raise TrainingDivergedError(
            f"training diverged before image {images_seen}: {', '.join(bad)}; the last good state is kept "
            "(resume from it with a lower --set train.learning_rate)"
        )
