"""SIGINT and SIGTERM ask the run to stop at the next iteration boundary; a second one stops it at once.

One of several processes may get the same signal twice: SLURM sends it to every process of a job step, also to
torchrun, which hands it on. What comes within seconds is therefore the first one's echo there.
"""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Final

from nanogpt_cli.errors import EXIT_SIGTERM

_ECHO_SECONDS: Final = 3.0


class StopRequest:
    """Which signal has asked for the end, if any: "SIGINT", "SIGTERM" or None."""

    def __init__(self) -> None:
        self.signal_name: str | None = None
        self.asked_at = 0.0  # by time.monotonic


@contextlib.contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Catch both signals for the time of the block; outside the main thread signals cannot be caught."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    def handle(number: int, _frame: FrameType | None) -> None:
        if request.signal_name is not None:
            if "RANK" in os.environ and time.monotonic() - request.asked_at < _ECHO_SECONDS:
                return
            if number == signal.SIGTERM:
                raise SystemExit(EXIT_SIGTERM)
            raise KeyboardInterrupt
        request.signal_name, request.asked_at = signal.Signals(number).name, time.monotonic()

    previous = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
