"""TensorBoard's event files, in the run's folder `tensorboard/`.

A resumed run tells TensorBoard where it begins (`purge_step`), which hides what a killed process had written
beyond that checkpoint: https://docs.pytorch.org/docs/stable/tensorboard.html
"""

import dataclasses
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from nanogpt_cli.cli.reporters.trackers.tracker import Opening, Tracker
from nanogpt_cli.cli.reporters.trackers.values import recorded_eval, values_of
from nanogpt_cli.events import Notice

FOLDER = "tensorboard"


class TensorBoardFiles:
    """Curves for `tensorboard --logdir out`."""

    drops_doubles = True

    def __init__(self, writer: Any) -> None:
        self.writer = writer
        self._last_step: dict[str, int] = {}  # of each curve

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Every number becomes a curve of its own; the iteration is the axis and no curve."""
        for name, value in values.items():
            # An evaluation and the line of the same iteration both tell lr: one point is enough.
            if name != "iter" and self._last_step.get(name) != step:
                self.writer.add_scalar(name, value, step)
                self._last_step[name] = step

    def flush(self) -> None:
        """Write to the disk what waits in memory."""
        self.writer.flush()

    def finish(self, summary: Mapping[str, float | str], *, failed: bool) -> None:
        """Close the file; a summary has no place in it."""
        self.writer.close()


def open_tracker(opening: Opening) -> Tracker:
    """Begin a file of events, or go on after those of an earlier process."""
    import_module("tensorboard")  # named in the error when it is missing; torch only imports it in turn
    folder = opening.run_dir / FOLDER
    resumed_from = opening.resumed_from
    if resumed_from is None:
        for stale in folder.glob("events.out.tfevents.*"):
            stale.unlink()  # of a run that --overwrite replaces
    writer = import_module("torch.utils.tensorboard").SummaryWriter(
        log_dir=str(folder), purge_step=resumed_from
    )
    files = TensorBoardFiles(writer)
    if resumed_from is None:
        writer.add_text("config", _table(dataclasses.asdict(opening.start.config)), 0)
    elif done := recorded_eval(opening.run_dir / "metrics.jsonl", resumed_from):
        files.log(resumed_from, values_of(done))  # it belongs to the checkpoint, and was purged with the rest
    opening.say(Notice(message=f"tensorboard: see the curves with tensorboard --logdir {folder.as_posix()}"))
    return files


def _table(settings: Mapping[str, object]) -> str:
    """A Markdown table, which is what TensorBoard's texts are."""
    rows = [f"| {name} | {str(value) or '–'} |" for name, value in settings.items()]
    return "\n".join(("| setting | value |", "|---|---|", *rows))
