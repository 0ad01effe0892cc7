"""SIGINT and SIGTERM ask the run to stop at the next iteration boundary; a second one stops it at once.

Python runs a handler only between two of its own instructions: a product of large matrices, a compiler or a
wait for another process keeps it waiting. What Python does at once, in whatever code a signal arrives, is to
write the signal's number to the wake-up socket, where a thread of ours reads it and ends the process if the
handler does not. (https://docs.python.org/3/library/signal.html#signal.set_wakeup_fd; also on Windows.)

The same signal may come twice though it was meant once: `timeout` sends it to the process and to its group.
And one of several processes gets it from SLURM, which sends it to every process of a job step, and from
torchrun, which hands it on, seconds later. What comes so soon is the first one's echo.
"""

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Final

from nanogpt_cli.errors import EXIT_SIGINT, EXIT_SIGTERM

_BOUNCE_SECONDS: Final = 0.25  # faster than anybody presses Ctrl-C twice
_ECHO_SECONDS: Final = 3.0  # among several processes
_HANDLER_SECONDS: Final = 0.5  # which a handler in ordinary Python code needs by far not
_FAREWELL_SECONDS: Final = 1.0
_EXIT_CODES: Final = {signal.SIGINT: EXIT_SIGINT, signal.SIGTERM: EXIT_SIGTERM}


class StopRequest:
    """Which signal has asked for the end, if any: "SIGINT", "SIGTERM" or None."""

    def __init__(self) -> None:
        self.signal_name: str | None = None
        self.asked_at = 0.0  # by time.monotonic


@contextlib.contextmanager
def stop_on_signals(farewell: Callable[[], None] = lambda: None) -> Iterator[StopRequest]:
    """Catch both signals for the time of the block; outside the main thread signals cannot be caught.

    `farewell` is called, in a thread, where a second signal ends the process without leaving the block.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    handled: SimpleQueue[int] = SimpleQueue()  # whose put() a handler may call, whatever it interrupts

    def handle(number: int, _frame: FrameType | None) -> None:
        if request.signal_name is None:
            request.signal_name, request.asked_at = signal.Signals(number).name, time.monotonic()
        elif not _is_echo(request.asked_at):
            handled.put(number)
            if number == signal.SIGTERM:
                raise SystemExit(EXIT_SIGTERM)
            raise KeyboardInterrupt

    with _Watch(handled, farewell):
        previous = {number: signal.signal(number, handle) for number in _EXIT_CODES}
        try:
            yield request
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)


def _is_echo(asked_at: float) -> bool:
    limit = _ECHO_SECONDS if "RANK" in os.environ else _BOUNCE_SECONDS
    return time.monotonic() - asked_at < limit


class _Watch:
    """Sees every signal as it arrives, and ends the process if a second one is not handled soon."""

    def __init__(self, handled: SimpleQueue[int], farewell: Callable[[], None]) -> None:
        self._handled = handled
        self._farewell = farewell
        self._reading, self._writing = socket.socketpair()
        self._writing.setblocking(False)
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> None:
        self._previous = signal.set_wakeup_fd(self._writing.fileno(), warn_on_full_buffer=False)
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(self._previous)
        self._writing.close()  # which ends the thread
        self._thread.join()
        self._reading.close()

    def _read(self) -> None:
        asked_at: float | None = None
        while arrived := self._reading.recv(1):
            number = arrived[0]
            if number not in _EXIT_CODES:
                continue
            if asked_at is None:
                asked_at = time.monotonic()
            elif not _is_echo(asked_at):
                try:
                    self._handled.get(timeout=_HANDLER_SECONDS)
                except Empty:
                    self._end(_EXIT_CODES[signal.Signals(number)])

    def _end(self, code: int) -> None:
        # In a thread again: what the main thread is stuck in may be the very thing that has to be let go.
        last_words = threading.Thread(target=self._farewell, daemon=True)
        last_words.start()
        last_words.join(_FAREWELL_SECONDS)
        os._exit(code)
