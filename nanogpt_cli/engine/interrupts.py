"""SIGINT and SIGTERM ask the run to stop at the next iteration boundary; a second one stops it at once."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

from nanogpt_cli.errors import EXIT_SIGTERM


class StopRequest:
    """Which signal has asked for the end, if any: "SIGINT", "SIGTERM" or None."""

    def __init__(self) -> None:
        self.signal_name: str | None = None


@contextlib.contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Catch both signals for the time of the block; outside the main thread signals cannot be caught."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    def handle(number: int, _frame: FrameType | None) -> None:
        if request.signal_name is not None:
            if number == signal.SIGTERM:
                raise SystemExit(EXIT_SIGTERM)
            raise KeyboardInterrupt
        request.signal_name = signal.Signals(number).name

    previous = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
