"""A run in Trackio, which keeps its curves in a database on this machine: https://huggingface.co/docs/trackio

Its project is wandb_project where that was set, else the dataset's name; its name is the run directory's.
"""

import dataclasses
from collections.abc import Mapping
from importlib import import_module
from pathlib import PurePath
from typing import Any

from nanogpt_cli.cli.reporters.trackers.tracker import Opening, Tracker
from nanogpt_cli.config.schema import SETTINGS, TrainConfig
from nanogpt_cli.events import Notice


class TrackioRun:
    """One run; the iteration is Trackio's step."""

    drops_doubles = False

    def __init__(self, trackio: Any, run: Any) -> None:
        self.trackio = trackio
        self.run = run

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """A row of numbers."""
        self.run.log(dict(values), step=step)

    def flush(self) -> None:
        """Nothing to do: Trackio's own thread writes every half second."""

    def finish(self, summary: Mapping[str, float | str], *, failed: bool) -> None:
        """Write what is left. Trackio knows no summary."""
        self.trackio.finish()  # the run's own method would leave it to be finished once more at exit


def open_tracker(opening: Opening) -> Tracker:
    """Begin a run, or go on with the one this run directory remembers."""
    trackio = import_module("trackio")
    config = opening.start.config
    project = opening.memory.get("project") or _project(config, opening.start.dataset_dir)
    known = opening.memory.get("name")
    run = trackio.init(
        project=project,
        name=known or opening.run_dir.name,
        config=dataclasses.asdict(config),
        resume="allow" if known else "never",
    )
    opening.remember({"project": project, "name": str(run.name)})
    opening.say(Notice(message=f"trackio: see the curves with trackio show --project {project}"))
    return TrackioRun(trackio, run)


def _project(config: TrainConfig, dataset_dir: str) -> str:
    if config.wandb_project != SETTINGS["wandb_project"].default:
        return config.wandb_project
    return PurePath(dataset_dir).name or "nanogpt"
