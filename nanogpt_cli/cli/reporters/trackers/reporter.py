"""The reporter that hands a run's events to the trackers its settings ask for.

A tracker is imported when the run starts and only if it was asked for. Whatever goes wrong in one, at
whatever moment, is told once and ends that tracker; the run never notices. It must come before the run's own
records among the reporters: how far an earlier process got is read from metrics.jsonl, from which a resumed
run drops what it will do again.
"""

import contextlib
import dataclasses
import io
import json
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from nanogpt_cli import events
from nanogpt_cli.cli.reporters.trackers.tracker import Opening, Tracker
from nanogpt_cli.cli.reporters.trackers.values import (
    Moment,
    last_recorded,
    moment_of,
    summary_of,
    values_of,
)
from nanogpt_cli.files import write_json

MEMORY_FILE = "trackers.json"
_METRICS_FILE = "metrics.jsonl"
# Setting, module here with its `open_tracker`, and name, which is the extra of pip's too.
_KNOWN: Final = (
    ("tensorboard_log", "tensorboard_files", "tensorboard"),
    ("wandb_log", "wandb_run", "wandb"),
    ("trackio_log", "trackio_run", "trackio"),
)
_HERE = __name__.rpartition(".")[0]


class Trackers:
    """All trackers of a run; `say` takes the notices and warnings about them."""

    def __init__(self, say: Callable[[events.Event], None]) -> None:
        self.say = say
        self._open: list[_Guarded] = []

    def emit(self, event: events.Event) -> None:
        """Log the event where it has numbers."""
        match event:
            case events.RunStarted():
                self._start(event)
            case events.CheckpointSaved():
                for tracker in self._open:
                    tracker.flush()
            case events.RunEnded():
                self._finish(summary_of(event), failed=event.reason == "nonfinite")
            case _ if values := values_of(event):
                moment = moment_of(event)
                assert moment is not None, "what has numbers has a time"
                for tracker in self._open:
                    tracker.log(moment, values)

    def close(self) -> None:
        """End what the run, stopped by an error, has left open."""
        self._finish({}, failed=True)

    def _start(self, start: events.RunStarted) -> None:
        wanted = [entry for entry in _KNOWN if getattr(start.config, entry[0])]
        if not wanted:
            return
        memory = _Memory(Path(start.run_dir), resumed=start.resumed_from_iter is not None)
        for _, module, name in wanted:
            opening = Opening(
                start=start,
                logged_to=memory.logged_to,
                memory=memory.of(name),
                remember=lambda facts, name=name: memory.keep(name, facts),  # type: ignore[misc]
                say=self.say,
            )
            self._open.append(_Guarded(name, module, opening))

    def _finish(self, summary: Mapping[str, float | str], *, failed: bool) -> None:
        ending, self._open = self._open, []
        for tracker in ending:
            tracker.finish(summary, failed=failed)


class _Guarded:
    """One tracker behind a wall: its first error is its last word."""

    def __init__(self, name: str, module: str, opening: Opening) -> None:
        self.name = name
        self.opening = opening
        self.tracker: Tracker | None = None
        try:
            with _silenced():
                self.tracker = import_module(f"{_HERE}.{module}").open_tracker(opening)
        except ImportError as error:
            if (error.name or "").partition(".")[0] != name:  # something else is missing inside it
                self._failed("cannot be loaded", error)
                return
            told = (
                f"{name} is not installed, so nothing is logged to it; training goes on without: "
                f'pip install "nanogpt-cli[{name}]"'
            )
            opening.say(events.Warned(message=told))
        except (Exception, SystemExit) as error:  # another's code: it can raise whatever it likes
            self._failed("did not start", error)

    def log(self, moment: Moment, values: Mapping[str, float]) -> None:
        if self.tracker is None:
            return
        known = self.opening.logged_to
        if known and moment <= known and not self.tracker.drops_doubles:
            return  # an earlier process has logged it, before it was killed beyond the checkpoint
        try:
            self.tracker.log(moment.step, values)
        except (Exception, SystemExit) as error:
            self._failed("failed", error)

    def flush(self) -> None:
        if self.tracker is not None:
            try:
                self.tracker.flush()
            except (Exception, SystemExit) as error:
                self._failed("failed", error)

    def finish(self, summary: Mapping[str, float | str], *, failed: bool) -> None:
        if self.tracker is not None:
            try:
                with _silenced():
                    self.tracker.finish(summary, failed=failed)
            except (Exception, SystemExit) as error:
                self._failed("could not be closed", error)

    def _failed(self, how: str, error: BaseException) -> None:
        self.tracker = None
        first = next((line for line in str(error).splitlines() if line.strip()), "")
        reason = f"{type(error).__name__}: {first.strip()[:200]}" if first else type(error).__name__
        told = f"{self.name} {how} ({reason}); training goes on without it, metrics.jsonl has every number"
        self.opening.say(events.Warned(message=told))


class _Memory:
    """`trackers.json` of a run: under which names its trackers know it, and how far they were told."""

    def __init__(self, run_dir: Path, *, resumed: bool) -> None:
        self._path = run_dir / MEMORY_FILE
        self._facts: dict[str, Any] = {}
        self.logged_to: Moment | None = None
        if not resumed:
            return
        with contextlib.suppress(OSError, ValueError, TypeError):  # unreadable: as if it were not there
            self._facts = dict(json.loads(self._path.read_text(encoding="utf-8")))
        reached = [last_recorded(run_dir / _METRICS_FILE), self._known()]
        # The second: a process killed before it got as far as the one before it leaves fewer records.
        self.logged_to = max((moment for moment in reached if moment), default=None)

    def _known(self) -> Moment | None:
        match self._facts.get("logged_to"):
            case [int(step), int(part)]:
                return Moment(step, part)
        return None

    def of(self, name: str) -> dict[str, str]:
        facts = self._facts.get(name)
        return {str(key): str(value) for key, value in facts.items()} if isinstance(facts, dict) else {}

    def keep(self, name: str, facts: Mapping[str, str]) -> None:
        self._facts[name] = dict(facts)
        if self.logged_to is not None:
            self._facts["logged_to"] = dataclasses.astuple(self.logged_to)
        write_json(self._path, self._facts)


def _silenced() -> contextlib.AbstractContextManager[Any]:
    """stdout belongs to --json: what a tracker prints while it opens and closes is dropped."""
    return contextlib.redirect_stdout(io.StringIO())
