"""A text file that grows by whole lines, whatever the disk does in between.

What cannot be written waits in memory and is tried again, so a disk that was full for an hour leaves no gap;
and what was written in part is cut off again, so there is neither half a line nor a line twice.
"""

import contextlib
import time
from collections import deque
from collections.abc import Callable
from io import FileIO
from pathlib import Path
from typing import Final, Protocol

from nanogpt_cli.errors import os_reason

RETRY_SECONDS: Final = 30.0
_MOST_WAITING_BYTES: Final = 32 << 20  # a line has 300: a hundred thousand


class Sink(Protocol):
    """What reporters write lines to: this file, or a stream."""

    def write(self, text: str, /) -> object: ...

    def flush(self) -> object: ...


class AppendedFile:
    """The file at `path`; `warn` and `say` take what becomes of it, in words, when that changes."""

    def __init__(
        self,
        path: Path,
        *,
        warn: Callable[[str], None],
        say: Callable[[str], None],
        prepare: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`prepare` is called before the file is opened for the first time, again where it raises OSError."""
        self.path = path
        self._warn = warn
        self._say = say
        self._prepare: Callable[[], None] | None = prepare
        self._clock = clock
        self._file: FileIO | None = None
        self._whole_bytes = -1  # of whole lines in the file; not known before it is opened
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._lost = 0
        self._failed_at: float | None = None

    def write(self, text: str) -> None:
        """Take whole lines; `flush` writes them."""
        raw = text.encode("utf-8", errors="replace")
        self._waiting.append(raw)
        self._waiting_bytes += len(raw)
        while self._waiting_bytes > _MOST_WAITING_BYTES:
            self._waiting_bytes -= len(self._waiting.popleft())
            self._lost += 1

    def flush(self) -> None:
        """Write what waits; after a failure not before RETRY_SECONDS have passed."""
        if self._failed_at is None or self._clock() - self._failed_at >= RETRY_SECONDS:
            self._try()

    def close(self) -> None:
        """Try once more, then tell what is missing."""
        if self._waiting:
            self._try()
        if self._waiting:
            self._warn(f"{len(self._waiting) + self._lost} lines of {self.path} were never written")
            self._waiting.clear()
        self._give_up()

    def _try(self) -> None:
        try:
            while self._waiting:
                self._append(self._waiting[0])
                self._waiting_bytes -= len(self._waiting.popleft())
        except OSError as error:
            self._give_up()
            if self._failed_at is None:
                told = f"{self.path} cannot be written ({os_reason(error)}); training goes on"
                self._warn(f"{told}, and it is tried again every {RETRY_SECONDS:.0f} s")
            self._failed_at = self._clock()
            return
        if self._failed_at is not None:
            missing = f"{self._lost} lines are missing" if self._lost else "no line is missing"
            self._say(f"{self.path} is written again, {missing}")
            self._failed_at, self._lost = None, 0

    def _append(self, raw: bytes) -> None:
        file = self._file or self._open()
        done = 0
        try:
            while done < len(raw):  # a disk that fills up takes a part
                done += file.write(raw[done:])
        except BaseException:  # Ctrl-C too: the line will be written once more
            with contextlib.suppress(OSError):  # then it is cut when the file is opened again
                file.truncate(self._whole_bytes)
            raise
        self._whole_bytes += len(raw)

    def _open(self) -> FileIO:
        if self._prepare is not None:
            self._prepare()
            self._prepare = None
        # Unbuffered: a buffer would keep what the disk refused, and write it a second time.
        self._file = FileIO(self.path, "a")
        size = self._file.seek(0, 2) if self._file.seekable() else 0
        if size > self._whole_bytes >= 0:
            self._file.truncate(self._whole_bytes)
            size = self._whole_bytes
        self._whole_bytes = size
        return self._file

    def _give_up(self) -> None:
        """Close it, so that it is opened anew: a disk that was mounted again wants that."""
        file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(OSError):  # what it refused is kept here
                file.close()
