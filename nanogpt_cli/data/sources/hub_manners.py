"""`datasets` and `huggingface_hub` as guests on the user's terminal: no bars, logs or warnings of their own.

What is worth saying goes to our reporter: that a lost connection is being retried, and how far a download is.
"""

import contextlib
import logging
import re
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from nanogpt_cli.data.sources.hub_errors import Asked, explained
from nanogpt_cli.events import Notice, Progress, Reporter

_LIBRARIES: Final = ("datasets", "huggingface_hub")
# "Got disconnected from remote data host. Retrying in 5sec [1/20]", "Trying to resume download..."
_RETRIES: Final = re.compile(r"\bretrying in\b|\btrying to resume\b", re.IGNORECASE)
# `datasets` tries a read again 20 times where `huggingface_hub` has already tried it 6 times, with half a
# minute of waiting: ten minutes of silence. With 4 it is two, long enough for a router to come back.
_READS_TRIED: Final = 4
_LOOK_SECONDS: Final = 0.5

T = TypeVar("T")


@contextlib.contextmanager
def well_behaved(reporter: Reporter) -> Iterator[None]:
    """Whatever the libraries would print in the block is dropped, or told to `reporter`."""
    import datasets
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled as hub_bars_disabled
    from huggingface_hub.utils.tqdm import disable_progress_bars, enable_progress_bars

    loggers = [logging.getLogger(name) for name in _LIBRARIES]
    before = [(logger.handlers, logger.propagate, logger.level) for logger in loggers]
    bars, hub_bars = not datasets.are_progress_bars_disabled(), not hub_bars_disabled()
    listener = _Listener(reporter)
    with _our_settings(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        datasets.disable_progress_bars()
        disable_progress_bars()
        for logger in loggers:
            logger.handlers, logger.propagate = [listener], False
            logger.setLevel(logging.WARNING)
        try:
            yield
        finally:
            for logger, (handlers, propagate, level) in zip(loggers, before, strict=True):
                logger.handlers, logger.propagate = handlers, propagate
                logger.setLevel(level)
            if bars:
                datasets.enable_progress_bars()
            if hub_bars:
                enable_progress_bars()


@contextlib.contextmanager
def guests(asked: Asked, reporter: Reporter) -> Iterator[None]:
    """The libraries at work for what the user asked: silent, and their errors ours."""
    with well_behaved(reporter), explained(asked):
        yield


@contextlib.contextmanager
def _our_settings() -> Iterator[None]:
    """Fewer retries, and no code of a dataset: before version 4 the library asks whether to run it."""
    from datasets import config

    ours = {
        "STREAMING_READ_MAX_RETRIES": _READS_TRIED,
        "STREAMING_OPEN_MAX_RETRIES": _READS_TRIED,
        "HF_DATASETS_TRUST_REMOTE_CODE": False,
    }
    before = {name: getattr(config, name) for name in ours if hasattr(config, name)}
    try:
        for name in before:
            setattr(config, name, ours[name])
        yield
    finally:
        for name, value in before.items():
            setattr(config, name, value)


def each_within(items: Iterator[T], context: Callable[[], AbstractContextManager[object]]) -> Iterator[T]:
    """`items`, each one fetched inside a `context()` that does not stay open while it is used."""
    while True:
        with context():
            try:
                item = next(items)
            except StopIteration:
                return
        yield item


class _Listener(logging.Handler):
    """Hears the libraries' logs; only retries concern the user, what else went wrong ends in an error."""

    def __init__(self, reporter: Reporter) -> None:
        super().__init__(logging.WARNING)
        self._reporter = reporter

    def emit(self, record: logging.LogRecord) -> None:
        if _RETRIES.search(record.getMessage()):
            self._reporter.emit(Notice(message="the connection to the hub was lost; trying again"))


@dataclass(frozen=True)
class Job:
    """One of the things a download does: the folder that grows, and to how many bytes, if that is known."""

    task: str
    folder: Path
    total: int | None


@contextlib.contextmanager
def watched(jobs: list[Job], reporter: Reporter) -> Iterator[None]:
    """Tell `reporter` how the jobs' folders grow in the block; the last one that grows counts."""
    over = threading.Event()
    before = [_folder_bytes(job.folder) for job in jobs]

    def look() -> None:
        shown = 0
        while not over.wait(_LOOK_SECONDS):
            for job, start in zip(jobs[::-1], before[::-1], strict=True):
                done = _folder_bytes(job.folder) - start
                if done > 0:
                    if done != shown:
                        reporter.emit(Progress(task=job.task, done=done, total=job.total, unit="bytes"))
                    shown = done
                    break

    thread = threading.Thread(target=look, name="watching a download", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _folder_bytes(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        # A temporary file may be renamed between being listed and being measured.
        with contextlib.suppress(OSError):
            total += 0 if path.is_symlink() or not path.is_file() else path.stat().st_size
    return total
