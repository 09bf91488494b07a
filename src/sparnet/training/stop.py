"""When a run should end before its time: a signal came, or its minutes are up."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

TIME_IS_UP = "time is up"


class Stop:
    """Remembers that the run should end after the current step.

    Args:
        max_minutes: Minutes the run may take; None means any.
    """

    def __init__(self, max_minutes: float | None) -> None:
        self.reason: str | None = None
        self._deadline = None if max_minutes is None else time.monotonic() + max_minutes * 60

    def asked(self) -> bool:
        """Say whether to stop now."""
        if self.reason is None and self._deadline is not None and time.monotonic() >= self._deadline:
            self.reason = TIME_IS_UP
        return self.reason is not None

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take Ctrl-C and SIGTERM as a wish to stop; only the main thread can."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        wanted = (signal.SIGINT, signal.SIGTERM)
        previous = {number: signal.signal(number, self._on_signal) for number in wanted}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self.reason = signal.Signals(number).name
