"""Follows a log that grows: reads only what is new, and says when the verdict changes.

The file may not be there yet, may be cut to nothing (a run started again) or moved away and begun anew (log
rotation): reading goes on with what the file of that name holds. It is opened for each look and closed again,
so that nobody is kept from moving it.
"""

import os
import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, Literal, Protocol

from nanogpt_cli.errors import NanoGPTError, os_reason
from nanogpt_cli.explain.case import Finding
from nanogpt_cli.explain.parse import STDIN, LogReader, add_config, find_log
from nanogpt_cli.explain.report import ExplainedFinding, Explanation, explain

_BLOCK_BYTES: Final = 1 << 18
# Read in one look, so that a log of gigabytes shows its first verdict within seconds.
_LOOK_BYTES: Final = 1 << 25
_KNOWN_BYTES: Final = 64  # remembered of what was read last: a file that grew again past it is another one

_SURE: Final = 0.9  # a log that ends with an evaluation may be finished, or be between two lines
# What a run that goes on cannot be blamed for: that it has not ended, or not yet done what may come.
NOT_YET: Final = frozenset(
    {
        *("empty", "not_a_training_log", "header_only", "truncated"),
        *("never_evaluated", "tail_unevaluated", "log_too_sparse", "checkpoint_missing"),
        *("undertrained", "still_improving", "lr_not_decayed"),
    }
)


class Source(Protocol):
    """Bytes that arrive."""

    ended: bool  # nothing more can come
    behind: bool  # more is there already

    def new(self) -> Iterator[bytes]:
        """What arrived since the last look, block by block; a file begun anew is preceded by a line end."""


class FileSource:
    """A file, or the log in a run directory, which either may not exist yet."""

    ended = False
    behind = False

    def __init__(self, path: Path) -> None:
        self._named = path
        self.path: Path | None = None  # the log, once it is there
        self._position = 0
        self._identity: tuple[int, int] | None = None
        self._last = b""

    def new(self) -> Iterator[bytes]:
        """The bytes behind those read before; nothing while there is no file."""
        if self.path is None and (found := self._find()) is None:
            return
        self.path = self.path or found
        assert self.path is not None
        try:
            with self.path.open("rb") as file:
                yield from self._read(file)
        except FileNotFoundError:
            return  # moved away; the next of its name is awaited
        except OSError as error:
            raise NanoGPTError(
                f"{self.path} cannot be read: {os_reason(error)}", f"check its permissions: ls -l {self.path}"
            ) from error

    def _find(self) -> Path | None:
        if not self._named.exists():
            return None
        try:
            return find_log(self._named)
        except NanoGPTError:
            return None  # a run directory without a log: the run has not begun

    def _read(self, file: BinaryIO) -> Iterator[bytes]:
        status = os.fstat(file.fileno())
        if self._begun_anew(file, (status.st_dev, status.st_ino), status.st_size):
            self._position, self._last = 0, b""
            yield b"\n"
        self._identity = (status.st_dev, status.st_ino)
        file.seek(self._position)
        end = self._position + _LOOK_BYTES
        self.behind = status.st_size > end
        while self._position < end and (raw := file.read(_BLOCK_BYTES)):
            self._position += len(raw)
            self._last = (self._last + raw)[-_KNOWN_BYTES:]
            yield raw

    def _begun_anew(self, file: BinaryIO, identity: tuple[int, int], size: int) -> bool:
        if self._identity is None:
            return False
        if identity != self._identity or size < self._position:
            return True
        file.seek(self._position - len(self._last))
        return file.read(len(self._last)) != self._last


class StreamSource:
    """A pipe, read by a thread of its own so that a look never waits for it."""

    behind = False

    def __init__(self, stream: BinaryIO) -> None:
        self.ended = False
        self._stream = stream
        self._blocks: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        threading.Thread(target=self._pump, daemon=True).start()

    def new(self) -> Iterator[bytes]:
        """What the pipe brought; `ended` after its last."""
        while not self._blocks.empty():
            if raw := self._blocks.get():
                yield raw
            else:
                self.ended = True

    def _pump(self) -> None:
        read = getattr(self._stream, "read1", self._stream.read)
        try:
            while raw := read(_BLOCK_BYTES):
                self._blocks.put(raw)
        finally:
            self._blocks.put(b"")


class Follower:
    """The explanation of a log as far as it goes."""

    def __init__(self, source: Source, name: str, language: str) -> None:
        self._source, self._name, self._language = source, name, language
        self._reader = LogReader(name)
        self._fed = False

    def look(self) -> bool:
        """Read what is new; whether there was any."""
        grown = False
        for raw in self._source.new():
            self._reader.feed(raw)
            grown = True
        self._fed |= grown
        return grown

    @property
    def input_ended(self) -> bool:
        """Whether nothing more can come (the end of a pipe)."""
        return self._source.ended

    @property
    def behind(self) -> bool:
        """Whether more can be read at once."""
        return self._source.behind

    def explain(self, *, final: bool = False) -> Explanation | None:
        """The explanation now; None while there is no training in it. `final`: nothing is excused."""
        if not self._fed and not final:
            return None
        log = self._reader.finish() if final else self._reader.preview()
        path = getattr(self._source, "path", None)
        if isinstance(path, Path):
            log.source = str(path)
            add_config(log, path.parent / "config.toml")
        if not final and not log.runs[-1].has_points and not log.runs[-1].failures:
            return None
        return explain(log, language=self._language, keep=None if final else _holds_already)


def _holds_already(finding: Finding) -> bool:
    """Whether a finding can be believed of a run that goes on."""
    return finding.code not in NOT_YET and not (finding.code == "finished" and finding.confidence < _SURE)


def ended(explanation: Explanation) -> bool:
    """Whether the run says that it is over; ours do so in a record of their own."""
    if explanation.run.trainer == "ours":
        return explanation.run.ending is not None
    return explanation.run.ending is not None or "finished" in explanation.codes


@dataclass(frozen=True)
class Change:
    """A finding that came or went."""

    kind: Literal["new", "gone"]
    finding: ExplainedFinding


def changes(before: Explanation | None, now: Explanation) -> list[Change]:
    """What the verdict lost and gained; a finding that changes its wording counts as new."""
    old = {_key(finding): finding for finding in (before.findings if before else ())}
    new = {_key(finding): finding for finding in now.findings}
    codes = {finding.code for finding in now.findings}
    gone = [finding for key, finding in old.items() if key not in new and finding.code not in codes]
    return [Change("gone", finding) for finding in gone] + [
        Change("new", finding) for key, finding in new.items() if key not in old
    ]


def _key(finding: ExplainedFinding) -> tuple[str, str, str]:
    return finding.code, finding.severity, finding.title


def open_source(name: str, stdin: BinaryIO) -> Source:
    """The source a user names."""
    return StreamSource(stdin) if name == STDIN else FileSource(Path(name))
