"""What a tracker has to do, and what it is given to begin with."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from nanogpt_cli.cli.reporters.trackers.values import Moment
from nanogpt_cli.events import Event, RunStarted


class Tracker(Protocol):
    """One service that draws curves. Whatever it raises, `Trackers` keeps from the run."""

    # Whether it sorts out itself what a killed process had logged beyond the checkpoint, and is logged again.
    drops_doubles: bool

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Numbers of iteration `step`."""

    def flush(self) -> None:
        """A checkpoint was saved: what was logged until now must not be lost any more."""

    def finish(self, summary: Mapping[str, float | str], *, failed: bool) -> None:
        """The run is over; called once."""


@dataclass(frozen=True, kw_only=True)
class Opening:
    """A run that begins, or goes on, as a tracker sees it."""

    start: RunStarted
    logged_to: Moment | None  # how far an earlier process of this run has logged
    memory: Mapping[str, str]  # what this tracker remembered of the run, by `remember`
    remember: Callable[[Mapping[str, str]], None]
    say: Callable[[Event], None]

    @property
    def run_dir(self) -> Path:
        """The run's own folder."""
        return Path(self.start.run_dir)

    @property
    def resumed_from(self) -> int | None:
        """The iteration of the checkpoint that the run goes on from."""
        return self.start.resumed_from_iter
