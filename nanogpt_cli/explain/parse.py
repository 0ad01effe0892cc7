"""Reads a log, a run directory or standard input into a `Log`, whatever it holds.

In a run directory metrics.jsonl is preferred, then train.log, a Trainer's state, a lone *.log or *.txt;
config.toml beside it fills in the settings the log itself does not give. Errors about the source are
NanoGPTError; nothing inside the source is.
"""

import sys
import tomllib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, Final

from nanogpt_cli.errors import NanoGPTError, os_reason
from nanogpt_cli.explain.dispatch import Dispatcher
from nanogpt_cli.explain.documents import MAX_DOCUMENT_BYTES, document_lines, may_be_document
from nanogpt_cli.explain.formats.metrics import settings
from nanogpt_cli.explain.reading import BLOCK_BYTES, TextBlocks
from nanogpt_cli.explain.records import Log

STDIN: Final = "-"
LOG_NAMES: Final = ("metrics.jsonl", "train.log")  # best first
_CONFIG = "config.toml"
_TRAINER_STATE: Final = "trainer_state.json"  # Hugging Face's Trainer saves one in each checkpoint
_SUFFIXES: Final = frozenset({".log", ".txt", ".out", ".jsonl", ".csv"})


def parse_log(source: str | Path) -> Log:
    """Read `source`: a file, a run directory, or "-" for standard input."""
    if str(source) == STDIN:
        return parse_stream(sys.stdin.buffer, STDIN)
    path = find_log(Path(source))
    try:
        with path.open("rb") as stream:
            log = parse_stream(stream, str(path))
    except OSError as error:
        raise NanoGPTError(
            f"{path} cannot be read: {os_reason(error)}",
            f"check its permissions: ls -l {path}",
        ) from error
    add_config(log, path.parent / _CONFIG)
    return log


def parse_stream(stream: BinaryIO, source: str) -> Log:
    """Read an open binary stream to its end."""
    reader = LogReader(source)
    head = stream.read(BLOCK_BYTES)
    if may_be_document(head):
        # A file cut short at the limit is no valid JSON: it is read as lines, with what follows.
        head += stream.read(MAX_DOCUMENT_BYTES)
        if lines := document_lines(head):
            reader.feed_lines(lines)
            return reader.finish()
    for start in range(0, len(head), BLOCK_BYTES):
        reader.feed(head[start : start + BLOCK_BYTES])
    while raw := stream.read(BLOCK_BYTES):
        reader.feed(raw)
    return reader.finish()


def find_log(path: Path) -> Path:
    """The log file meant by `path`; errors for what is missing or ambiguous."""
    if not path.exists():
        raise NanoGPTError(
            f"there is no log or run directory {path}",
            "nanogpt explain-log LOG names an existing file or run directory; without LOG the newest run",
        )
    if not path.is_dir():
        return path
    for name in LOG_NAMES:
        if (path / name).is_file():
            return path / name
    states = [*path.glob(_TRAINER_STATE), *path.glob(f"checkpoint-*/{_TRAINER_STATE}")]
    if states:
        return max(states, key=lambda state: state.stat().st_mtime_ns)
    others = sorted(p for p in path.iterdir() if p.is_file() and p.suffix in _SUFFIXES)
    logs = [p for p in others if p.suffix == ".log"] or others
    if len(logs) == 1:
        return logs[0]
    if logs:
        names = ", ".join(p.name for p in logs[:5])
        raise NanoGPTError(f"{path} holds several logs: {names}", f"name one: nanogpt explain-log {logs[0]}")
    raise NanoGPTError(
        f"{path} holds no training log ({' or '.join(LOG_NAMES)})",
        "name a run directory under out/, or start a run: nanogpt train --preset cpu-tiny",
    )


def newest_log(root: Path) -> Path | None:
    """The log written last in the run directories under `root`, and nanoGPT-style `./out-*`; else None."""
    found = [path for name in LOG_NAMES for path in root.glob(f"*/{name}") if path.is_file()]
    for config in root.parent.glob(f"*/{_CONFIG}"):
        found += [path for name in LOG_NAMES if (path := config.parent / name).is_file()]
    if not found:
        return None
    newest = max(found, key=lambda path: path.stat().st_mtime_ns)
    return find_log(newest.parent)


class LogReader:
    """Reads a log that arrives piece by piece."""

    def __init__(self, source: str) -> None:
        self._log = Log(source=source)
        self._dispatcher = Dispatcher(self._log)
        self._blocks = TextBlocks()

    def feed(self, raw: bytes) -> None:
        """Take the next bytes."""
        for text in self._blocks.feed(raw):
            self._dispatcher.feed(text)

    def feed_lines(self, lines: Iterable[str]) -> None:
        """Take lines that were read elsewhere."""
        for line in lines:
            self.feed(line.encode("utf-8", "replace"))

    def preview(self) -> Log:
        """What the log says so far; it can grow further."""
        log = replace(self._log, unread=[*self._log.unread])
        log.runs = self._dispatcher.assembler.preview()
        self._name(log)
        return log

    def finish(self) -> Log:
        """The log, which has ended."""
        if rest := self._blocks.finish():
            self._dispatcher.feed_last(rest, whole=not self._blocks.unterminated)
        self._dispatcher.assembler.finish()
        self._name(self._log)
        return self._log

    def _name(self, log: Log) -> None:
        """The format: that of the run with the most lines."""
        runs = [run for run in log.runs if run.has_points or run.header_seen]
        if self._dispatcher.n_records:
            log.format = "metrics"
        elif runs:
            run = max(runs, key=lambda run: run.n_iter_lines + run.n_eval_lines)
            log.format = {"ours": "nanogpt", "unknown": "generic"}.get(run.trainer, run.trainer)


def add_config(log: Log, path: Path) -> None:
    """Settings from config.toml; what the log itself says goes first."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return  # there is none, or it is damaged: the log alone is explained
    for run in log.runs[-1:]:
        run.config = settings(table) | run.config
