"""A run at Weights & Biases: online where a key is known, else recorded offline. It never asks for one.

A resumed run goes on under the same id. wandb takes steps only in rising order: online it goes on after the
last one that arrived; offline that is not known, and `Trackers` does not log again what was logged, of which
a killed process may have lost the last seconds.
https://docs.wandb.ai/ref/python/sdk/functions/init/
"""

import dataclasses
import netrc
import os
import uuid
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from nanogpt_cli.cli.reporters.trackers.tracker import Opening, Tracker
from nanogpt_cli.events import Notice

_HOST: Final = "https://api.wandb.ai"
_INIT_SECONDS: Final = 30  # wandb's own 90 is long to look at a screen on which nothing moves
_FINISH_SECONDS: Final = 60  # the network may be gone; what is on the disk can be sent later


class WandbRun:
    """One run; `iter` is a number in it and wandb's step at once."""

    def __init__(self, run: Any, *, online: bool) -> None:
        self.run = run
        self.drops_doubles = (
            online  # the server knows the last step it has, and wandb passes over earlier ones
        )

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """One row a step: the numbers of an evaluation and of the same iteration's line share it."""
        self.run.log(dict(values), step=step)

    def flush(self) -> None:
        """Nothing to do: wandb's own process has it already."""

    def finish(self, summary: Mapping[str, float | str], *, failed: bool) -> None:
        """Write the summary and close the run."""
        self.run.summary.update(dict(summary))
        self.run.finish(exit_code=1 if failed else 0)


def open_tracker(opening: Opening) -> Tracker:
    """Begin a run, or go on with the one this run directory remembers."""
    wandb = import_module("wandb")
    start = opening.start
    run_id = opening.memory.get("id") or uuid.uuid4().hex[:8]
    mode = _mode()

    def begin(mode: str) -> Any:
        return wandb.init(
            project=start.config.wandb_project,
            name=start.config.wandb_run_name,
            id=run_id,
            # Offline nothing can be looked up; when it is sent, the id says where it belongs.
            resume="allow" if opening.resumed_from is not None and mode == "online" else None,
            dir=start.run_dir,
            config=dataclasses.asdict(start.config),
            settings=wandb.Settings(**_settings(wandb)),
            mode=mode,
        )

    why = "wandb: no key is known"
    try:
        run = begin(mode)
    except Exception as error:  # of another's code: no network, or a key that is refused
        if mode != "online":
            raise
        mode, why = "offline", f"wandb cannot be reached ({_first_line(error)})"
        run = begin(mode)
    opening.remember({"id": run_id})
    if mode == "offline":
        files = f"{start.run_dir}/wandb/offline-run-*"
        told = f"{why}, so this run is recorded on the disk; to send it: wandb login, then wandb sync {files}"
    else:
        told = f"wandb: {getattr(run, 'url', None) or mode}"
    opening.say(Notice(message=told))
    return WandbRun(run, online=mode == "online")


def _settings(wandb: Any) -> dict[str, Any]:
    """No words on our screen, no capture of our streams, no endless wait, as far as this wandb knows them."""
    wanted = {
        "silent": True,
        "console": "off",
        "init_timeout": _INIT_SECONDS,
        "finish_timeout": _FINISH_SECONDS,
    }
    known = getattr(wandb.Settings, "model_fields", wanted)
    return {name: value for name, value in wanted.items() if name in known}


def _mode() -> str:
    """WANDB_MODE where it is set; but online only where that needs no question."""
    named = os.environ.get("WANDB_MODE", "online")
    return "offline" if named == "online" and not _has_key() else named


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0][:200]}" if text else type(error).__name__


def _has_key() -> bool:
    """Whether wandb can go online without asking: by its variables, or by what `wandb login` wrote."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    host = urlsplit(os.environ.get("WANDB_BASE_URL") or _HOST).netloc
    named = os.environ.get("NETRC")
    for path in [Path(named)] if named else [Path.home() / ".netrc", Path.home() / "_netrc"]:
        try:
            if netrc.netrc(path).authenticators(host):
                return True
        except (OSError, netrc.NetrcParseError):
            continue  # not there, or nobody's netrc: then wandb could not read it either
    return False
