"""Faces of many requests in one queue before one engine, so that they share its batches."""

import hashlib
import queue
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar, cast

import numpy as np
from jaxtyping import UInt8

from sparnet.engine import Engine
from sparnet.engine.base import Faces, MadeFaces, check_faces
from sparnet.errors import SparnetError

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Stopped(SparnetError):  # noqa: N818 - no fault of anyone's
    """The work was given up: its time is over, or nobody waits for it."""


class Left(Stopped):
    """The client went away."""


class Ticket:
    """What a request's work is bound by, and whom it tells how far it is.

    Args:
        seconds: Time left for the work.
        on_face: Called with the number of faces made so far.
    """

    def __init__(self, seconds: float, on_face: Callable[[int], None] = lambda _: None) -> None:
        self.deadline = time.monotonic() + seconds
        self.on_face = on_face
        self.faces_made = 0
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Give the work up; it ends at its next step."""
        self._stopped.set()

    @property
    def is_over(self) -> bool:
        """Whether nobody waits for the work any more."""
        return self._stopped.is_set() or time.monotonic() > self.deadline

    def check(self) -> None:
        """Do nothing while there is time.

        Raises:
            Stopped: If the work is to end.
        """
        if self.is_over:
            raise Stopped("the time for this request is over; try a smaller photo, or fewer faces")


_of_this_thread = threading.local()


@contextmanager
def working_for(ticket: Ticket) -> Iterator[None]:
    """Bind what this thread asks of a `BatchingEngine` to a request."""
    _of_this_thread.ticket = ticket
    try:
        yield
    finally:
        del _of_this_thread.ticket


class Memory(Generic[Key, Value]):
    """Results that are kept for a while, the newest, within a limit.

    Args:
        seconds: How long; 0 keeps nothing.
        most: How many.
    """

    def __init__(self, seconds: float, most: int) -> None:
        self.seconds = seconds
        self.most = most
        self._lock = threading.Lock()
        self._kept: OrderedDict[Key, tuple[float, Value]] = OrderedDict()

    def get(self, key: Key) -> Value | None:
        """Return what is kept under a key, which keeps it for longer; or None."""
        with self._lock:
            self._forget()
            kept = self._kept.pop(key, None)
            if kept is None:
                return None
            self._kept[key] = (time.monotonic(), kept[1])
            return kept[1]

    def put(self, key: Key, value: Value) -> None:
        """Keep a result."""
        if self.seconds <= 0:
            return
        with self._lock:
            self._kept[key] = (time.monotonic(), value)
            self._kept.move_to_end(key)
            self._forget()

    def forget_old(self) -> None:
        """Drop what was kept long enough; called now and then, so that nothing outlives its time."""
        with self._lock:
            self._forget()

    def __len__(self) -> int:
        with self._lock:
            return len(self._kept)

    def _forget(self) -> None:
        oldest = time.monotonic() - self.seconds
        while self._kept and (len(self._kept) > self.most or next(iter(self._kept.values()))[0] < oldest):
            self._kept.popitem(last=False)


@dataclass(frozen=True, eq=False)
class _Waiting:
    """A face before the engine."""

    face: UInt8[np.ndarray, "h w 3"]
    ticket: Ticket | None
    made: "Future[np.ndarray]"


class BatchingEngine:
    """One engine for all threads, its batches filled with whatever faces wait.

    A batch is never waited for: the faces that arrive while one is made are the next. So a lone
    request loses nothing, and under load every batch is full.

    Args:
        engine: The engine, which this one's thread alone runs.
        max_batch: Faces in a batch at most.
        memory: Faces made, kept under a hash of the face they were made of.
        on_batch: Told the number of faces of each batch, and its seconds.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        max_batch: int = 8,
        memory: "Memory[bytes, np.ndarray] | None" = None,
        on_batch: Callable[[int, float], None] = lambda faces, seconds: None,
    ) -> None:
        self.engine = engine
        self.info = engine.info
        self.max_batch = max_batch
        self.memory: Memory[bytes, np.ndarray] = Memory(0.0, 0) if memory is None else memory
        self.on_batch = on_batch
        self._waiting: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name="sparnet-engine", daemon=True)
        self._thread.start()

    def run(self, faces: Faces) -> MadeFaces:
        """Return the faces the network makes of `faces`; see `Engine.run`.

        Raises:
            Stopped: If the request that this thread works for is over.
        """
        check_faces(faces, self.info)
        ticket: Ticket | None = getattr(_of_this_thread, "ticket", None)
        keys = [hashlib.sha256(face).digest() if self.memory.seconds else b"" for face in faces]
        kept = [self.memory.get(key) if key else None for key in keys]
        waiting = [
            None if known is not None else _Waiting(face, ticket, Future())
            for face, known in zip(faces, kept, strict=True)
        ]
        for item in waiting:
            if item is not None:
                self._waiting.put(item)
        side = self.info.image_size
        made = np.empty((len(faces), side, side, 3), dtype=np.uint8)
        for index, (item, known) in enumerate(zip(waiting, kept, strict=True)):
            if item is None:
                made[index] = cast(np.ndarray, known)
            else:
                made[index] = item.made.result()
                if keys[index]:
                    self.memory.put(keys[index], made[index].copy())
            if ticket is not None and self.info.task == "restore":  # not what sees small faces first
                ticket.faces_made += 1
                ticket.on_face(ticket.faces_made)
        return made

    def close(self) -> None:
        """End the thread after what waits already."""
        self._waiting.put(None)
        self._thread.join()

    def _serve(self) -> None:
        while (first := self._waiting.get()) is not None:
            batch = [first]
            is_last = False
            while len(batch) < self.max_batch and not self._waiting.empty():
                item = self._waiting.get()
                if item is None:
                    is_last = True
                    break
                batch.append(item)
            self._make(batch)
            if is_last:
                return

    def _make(self, batch: list[_Waiting]) -> None:
        wanted = []
        for item in batch:
            if item.ticket is not None and item.ticket.is_over:
                item.made.set_exception(Stopped("the time for this request is over"))
            else:
                wanted.append(item)
        if not wanted:
            return
        started = time.perf_counter()
        try:
            made = self.engine.run(np.stack([item.face for item in wanted]))
        except Exception as error:  # noqa: BLE001 - handed on to the threads that wait
            for item in wanted:
                item.made.set_exception(error)
            return
        self.on_batch(len(wanted), time.perf_counter() - started)
        for item, sr in zip(wanted, made, strict=True):
            item.made.set_result(sr.copy())
