"""Where requests wait: few are worked on at once, some wait, the others are sent away."""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from sparnet.web.batching import Left, Stopped, Ticket
from sparnet.web.metrics import Metrics
from sparnet.web.settings import Settings

Result = TypeVar("Result")
_LOOKS_EVERY_SECONDS = 0.25
_LONGEST_RETRY_SECONDS = 60
_HOPEFUL = 0.7
"""Share of the time limit that a request may be expected to take when it is let in."""
_NEW = 0.2
"""Weight of the newest request in what is thought usual."""


class Desk:
    """A bounded queue before a few threads.

    `enter` and `leave` count requests from their first byte to their answer's last, all on the event
    loop; work that nobody waits for any more counts until its thread ends.

    Args:
        settings: Limits.
        metrics: Counters.
    """

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self.settings = settings
        self.metrics = metrics
        self.most = settings.workers + settings.max_waiting
        self._threads = ThreadPoolExecutor(settings.workers, thread_name_prefix="sparnet-work")
        self._taken = 0
        self._usual_seconds = 1.0

    def expect(self, seconds: float) -> None:
        """Say how long a request may be thought to take, before any has."""
        self._usual_seconds = seconds

    def enter(self) -> bool:
        """Take a place; False if none is free, or the work before it would leave too little time."""
        is_late = self._seconds_for(self._taken + 1) > _HOPEFUL * self.settings.time_limit_seconds
        if self._taken >= self.most or (is_late and self._taken >= self.settings.workers):
            return False
        self._taken += 1
        self.metrics.in_hand.set(self._taken)
        return True

    def leave(self) -> None:
        """Give a place back."""
        self._taken -= 1
        self.metrics.in_hand.set(self._taken)

    @property
    def is_working(self) -> bool:
        """Whether a request, or work that nobody waits for any more, is not done yet."""
        return self._taken > 0

    @property
    def retry_after_seconds(self) -> int:
        """When a client that is sent away should come again: when half of those here are done."""
        return max(1, min(_LONGEST_RETRY_SECONDS, math.ceil(self._seconds_for(self._taken) / 2)))

    def _seconds_for(self, requests: int) -> float:
        return self._usual_seconds * requests / self.settings.workers

    async def work(
        self,
        task: Callable[[Ticket], Result],
        *,
        is_disconnected: Callable[[], Awaitable[bool]],
    ) -> Result:
        """Run a task in a thread, for as long as there is time and someone waits for it.

        Raises:
            Stopped: If there is no time left, or the client went away.
        """
        ticket = Ticket(self.settings.time_limit_seconds)
        running = self._start(task, ticket)
        async for _ in self._watch(running, ticket, is_disconnected):
            pass
        return running.result()

    async def work_telling(
        self,
        task: Callable[[Ticket, Callable[[dict[str, object]], None]], Result],
        *,
        is_disconnected: Callable[[], Awaitable[bool]],
    ) -> "AsyncIterator[dict[str, object] | Result]":
        """Run a task like `work`; give what it tells as it tells it, and at last its result."""
        loop = asyncio.get_running_loop()
        told: asyncio.Queue[dict[str, object]] = asyncio.Queue()
        ticket = Ticket(self.settings.time_limit_seconds)

        def tell(event: dict[str, object]) -> None:
            loop.call_soon_threadsafe(told.put_nowait, event)

        running = self._start(lambda ticket: task(ticket, tell), ticket)
        async for _ in self._watch(running, ticket, is_disconnected, every_seconds=0.05):
            while not told.empty():
                yield told.get_nowait()
        await asyncio.sleep(0)  # what was told last arrives with the next turn of the loop
        while not told.empty():
            yield told.get_nowait()
        yield running.result()

    def close(self) -> None:
        """Take no more work."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _start(self, task: Callable[[Ticket], Result], ticket: Ticket) -> "Future[Result]":
        def timed() -> Result:
            ticket.check()
            started = time.monotonic()
            try:
                return task(ticket)
            finally:
                self._usual_seconds += _NEW * (time.monotonic() - started - self._usual_seconds)

        return self._threads.submit(timed)

    async def _watch(
        self,
        job: "Future[Result]",
        ticket: Ticket,
        is_disconnected: Callable[[], Awaitable[bool]],
        *,
        every_seconds: float = _LOOKS_EVERY_SECONDS,
    ) -> AsyncIterator[None]:
        """Look at running work now and then, until it is done or to be given up."""
        loop = asyncio.get_running_loop()
        running = asyncio.wrap_future(job)
        try:
            while True:
                await asyncio.wait({running}, timeout=every_seconds)
                yield
                if job.done():
                    return
                if ticket.is_over:
                    raise Stopped(
                        f"this took longer than {self.settings.time_limit_seconds:g} s; "
                        "try a smaller photo, or fewer faces"
                    )
                if await is_disconnected():
                    raise Left("the client went away")
        finally:
            running.cancel()
            if not job.done():
                ticket.stop()
                if not job.cancel():
                    self._taken += 1
                    job.add_done_callback(lambda _: self._leave_late(loop))
            if job.done() and not job.cancelled():
                job.exception()

    def _leave_late(self, loop: asyncio.AbstractEventLoop) -> None:
        """Give back the place of work that went on after its request, from the work's own thread."""
        if not loop.is_closed():
            loop.call_soon_threadsafe(self.leave)
