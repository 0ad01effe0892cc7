"""The two records in every run directory, whatever the screen shows: metrics.jsonl and train.log.

They are opened when the run starts, since only then its directory is known; what came before is kept until
then. A resumed run goes on with both files, after what they say of iterations that it does again is dropped.
A full disk holds the records up, never the run.
"""

import functools
import json
import re
import time
from collections.abc import Callable, Collection
from pathlib import Path

from nanogpt_cli import events
from nanogpt_cli.cli.reporters.appended_file import AppendedFile
from nanogpt_cli.cli.reporters.jsonl import JsonLinesReporter
from nanogpt_cli.cli.reporters.plain import PlainReporter
from nanogpt_cli.files import write_atomic

METRICS_FILE = "metrics.jsonl"
LOG_FILE = "train.log"
_ITERATION_LINE = re.compile(r"(iter|step|sample) (\d+): ")
_RECORD_OF = {"iter": "step", "step": "eval", "sample": "sample"}  # nanoGPT's words and those of the metrics


class RunFilesReporter:
    """Writes both files; `warn` and `say` take what becomes of them where the disk is full."""

    def __init__(
        self,
        warn: Callable[[str], None],
        say: Callable[[str], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.warn = warn
        self.say = say
        self.clock = clock
        self._waiting: list[events.Event] = []
        self._files: list[AppendedFile] = []
        self._writers: list[JsonLinesReporter | PlainReporter] = []

    def emit(self, event: events.Event) -> None:
        """Record the event."""
        if isinstance(event, events.Aborted):
            return  # the disk may be what the process is stuck in
        self._waiting.append(event)
        if isinstance(event, events.RunStarted):
            self._open(event)
        if self._writers:
            waiting, self._waiting = self._waiting, []
            for each in waiting:
                for writer in self._writers:
                    writer.emit(each)

    def close(self) -> None:
        """Close both files."""
        for file in self._files:
            file.close()

    def _open(self, start: events.RunStarted) -> None:
        for name, reporter, drop in (
            (METRICS_FILE, JsonLinesReporter, drop_records_from),
            (LOG_FILE, PlainReporter, drop_lines_from),
        ):
            path = Path(start.run_dir) / name
            options = {}
            if start.resumed_from_iter is not None:
                done = start.resumed_with or ()
                options["prepare"] = functools.partial(drop, path, start.resumed_from_iter, done)
            file = AppendedFile(path, warn=self.warn, say=self.say, clock=self.clock, **options)
            self._files.append(file)
            self._writers.append(reporter(file))


def drop_records_from(path: Path, iter_num: int, done: Collection[str]) -> None:
    """Remove what a killed run recorded beyond the checkpoint at `iter_num`, and a line cut in two.

    Steps from iter_num on will be done again. An "eval" or a "sample" at iter_num stays if it is `done`: the
    checkpoint was saved after it.
    """
    if not path.is_file():
        return
    kept = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            record = json.loads(line)
            step, event = record.get("step", -1), record.get("event")
            if step < iter_num or (step == iter_num and event in {*done, "checkpoint"}):
                kept.append(line)
        except (ValueError, AttributeError, TypeError):
            continue  # the line the run was killed in, or nobody's record
    write_atomic(path, "".join(line + "\n" for line in kept))


def drop_lines_from(path: Path, iter_num: int, done: Collection[str]) -> None:
    """Cut train.log before the first line that a run going on from the checkpoint at `iter_num` writes again.

    It is in order, as every earlier continuation has cut it too. A line without an end is the one the run
    was killed in.
    """
    if not path.is_file():
        return
    kept = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True):
        said = _ITERATION_LINE.match(line)
        again = said and (int(said[2]), _RECORD_OF[said[1]] not in done) >= (iter_num, True)
        if again or not line.endswith("\n"):
            break
        kept.append(line)
    write_atomic(path, "".join(kept))
