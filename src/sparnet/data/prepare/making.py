"""From files to files, in this process or in many."""

import functools
import hashlib
import io
import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass

import cv2
import numpy as np
import PIL.Image
from jaxtyping import UInt8

from sparnet.data.prepare.cutters import Cutter, PrepareConfig, open_cutter
from sparnet.data.prepare.records import Cut, Reason, Record
from sparnet.data.prepare.tasks import Task
from sparnet.errors import DataError, ImageError
from sparnet.image import Image, read_image, show_path

# Level 6, Pillow's own choice, takes twice as long and saves 3 % of a face of 512 px.
_PNG_LEVEL = 3
# Photos in work or waiting to be written, for each worker: a slow one keeps the others busy.
_PHOTOS_A_WORKER = 8


@dataclass(frozen=True)
class Made:
    """A line for the manifest and the file it speaks of."""

    record: Record
    encoded: bytes | None = None


def make_all(tasks: Sequence[Task], config: PrepareConfig, workers: int) -> Generator[list[Made], None, None]:
    """Make the faces of many photos, in order, by this process or by several."""
    if workers == 1:
        cutter = open_cutter(config)
        yield from (_make(task, cutter) for task in tasks)
        return
    context = multiprocessing.get_context("spawn")
    waiting: deque[Future[list[Made]]] = deque()
    with ProcessPoolExecutor(workers, context, _start_worker) as pool:
        try:
            for task in tasks:
                with _interrupts_held():
                    waiting.append(pool.submit(_work, task, config))
                if len(waiting) >= _PHOTOS_A_WORKER * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool:
            raise DataError(
                "a worker process died, perhaps for want of memory; what is done is kept: "
                "run again with fewer --workers"
            ) from None
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def failure(source: str, reason: Reason, detail: str) -> Made:
    """Make the line of a photo that failed."""
    return Made(Record(source=source, outcome="failed", reason=reason, detail=detail))


def _make(task: Task, cutter: Cutter) -> list[Made]:
    if task.is_excluded:
        return [Made(Record(source=task.source, outcome="dropped", reason="in no split"))]
    try:
        image = read_image(task.path)
    except ImageError as error:
        detail = str(error).removeprefix(f"{show_path(task.path)}: ")
        return [failure(task.source, "cannot be read", detail)]
    cuts = cutter(image)
    return [_made(task, image, cut, number, len(cuts)) for number, cut in enumerate(cuts)]


def _made(task: Task, image: Image, cut: Cut, number: int, total: int) -> Made:
    record = Record(
        source=task.source,
        face=number,
        faces=total,
        outcome="dropped" if cut.image is None else "kept",
        reason=cut.reason,
        width_px=image.shape[1],
        height_px=image.shape[0],
        box=None if cut.face is None else _rounded(cut.face.box),
        score=None if cut.face is None else round(cut.face.score, 4),
        square=cut.square,
        split=task.split,
        identity=task.identity,
    )
    if cut.image is None:
        return Made(record)
    encoded = _png(cut.image)
    name = f"{task.stem}_{number:02d}.png" if task.is_numbered else f"{task.stem}.png"
    made = {
        "file": name if task.split is None else f"{task.split}/{name}",
        "sha256": hashlib.sha256(encoded).hexdigest(),
        "size_bytes": len(encoded),
    }
    return Made(record.model_copy(update=made), encoded)


def _rounded(box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    left, top, right, bottom = box
    return round(left, 2), round(top, 2), round(right, 2), round(bottom, 2)


def _png(image: UInt8[np.ndarray, "h w 3"]) -> bytes:
    buffer = io.BytesIO()
    PIL.Image.fromarray(image).save(buffer, format="PNG", compress_level=_PNG_LEVEL)
    return buffer.getvalue()


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that was started
    cv2.setNumThreads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


@functools.cache
def _opened(config: PrepareConfig) -> Cutter:
    return open_cutter(config)


def _work(task: Task, config: PrepareConfig) -> list[Made]:
    """Make the faces of a photo in a worker process, which opens its detector at its first one."""
    return _make(task, _opened(config))


def _end_with_parent() -> None:
    """End this worker if the process that was started is killed; it would wait for photos forever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Hold Ctrl-C back while processes are started, so that it is theirs neither now nor later."""
    if sys.platform == "win32":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
