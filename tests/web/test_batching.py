"""Faces of many threads in the batches of one engine."""

import threading
import time

import numpy as np
import pytest

from sparnet.web.batching import BatchingEngine, Memory, Stopped, Ticket, working_for
from sparnet.weights.info import ModelInfo


class Gated:
    """An engine that waits to be let go, and remembers its batches."""

    info = ModelInfo(
        name="gated", task="restore", image_size=4, input_size=4, network={}, parameters=1, license="none"
    )

    def __init__(self):
        self.batches: list[int] = []
        self.begun = threading.Semaphore(0)
        self.gate = threading.Event()

    def run(self, faces):
        self.batches.append(len(faces))
        self.begun.release()
        assert self.gate.wait(20)
        if (faces == 13).all():
            raise RuntimeError("no memory")
        return faces + np.uint8(1)


def faces(*values: int) -> np.ndarray:
    return np.stack([np.full((4, 4, 3), value, dtype=np.uint8) for value in values])


@pytest.fixture
def gated():
    engine = Gated()
    yield engine
    engine.gate.set()


def test_faces_of_different_threads_share_a_batch_and_come_back_to_their_own(gated):
    batching = BatchingEngine(gated, max_batch=4)
    made: dict[int, np.ndarray] = {}
    threads = [
        threading.Thread(target=lambda value=value: made.update({value: batching.run(faces(value))}))
        for value in range(1, 8)
    ]
    threads[0].start()
    assert gated.begun.acquire(timeout=20)  # the first is made alone: nothing is waited for
    for thread in threads[1:]:
        thread.start()
    while batching._waiting.qsize() < 6:
        time.sleep(0.01)
    gated.gate.set()
    for thread in threads:
        thread.join()
    assert gated.batches == [1, 4, 2]
    for value, sr in made.items():
        np.testing.assert_array_equal(sr, faces(value + 1))
    batching.close()


def test_a_failure_reaches_those_who_wait_and_not_those_after(gated):
    gated.gate.set()
    batching = BatchingEngine(gated)
    with pytest.raises(RuntimeError, match="no memory"):
        batching.run(faces(13))
    np.testing.assert_array_equal(batching.run(faces(1)), faces(2))
    batching.close()


def test_faces_of_a_request_that_is_over_are_not_made(gated):
    gated.gate.set()
    batching = BatchingEngine(gated)
    ticket = Ticket(60.0)
    ticket.stop()
    with working_for(ticket), pytest.raises(Stopped):
        batching.run(faces(1, 2))
    assert gated.batches == []
    batching.close()


def test_a_request_is_told_of_each_face_made(gated):
    gated.gate.set()
    batching = BatchingEngine(gated, max_batch=2)
    told: list[int] = []
    with working_for(Ticket(60.0, told.append)):
        batching.run(faces(1, 2, 3))
    assert told == [1, 2, 3]
    batching.close()


def test_a_face_that_is_remembered_is_not_made_again(gated):
    gated.gate.set()
    batching = BatchingEngine(gated, memory=Memory(60.0, 8))
    first = batching.run(faces(1, 2))
    first[:] = 0  # what is remembered is no one else's to change
    np.testing.assert_array_equal(batching.run(faces(2, 3)), faces(3, 4))
    assert sum(gated.batches) == 3
    batching.close()


def test_memory_keeps_the_newest_and_forgets_the_old(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("sparnet.web.batching.time.monotonic", lambda: now[0])
    memory: Memory[str, int] = Memory(10.0, 2)
    for value, key in enumerate("abc"):
        memory.put(key, value)
    assert (memory.get("a"), memory.get("b"), memory.get("c")) == (None, 1, 2)
    now[0] += 8
    assert memory.get("b") == 1  # used, and so kept for longer
    now[0] += 8
    memory.forget_old()
    assert len(memory) == 1
    now[0] += 11
    memory.forget_old()
    assert len(memory) == 0
