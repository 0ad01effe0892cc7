"""Stand-ins for the packages of the trackers, put into sys.modules: they note what they are told."""

import sys
import types
from typing import Any

import pytest


class Notes:
    """Every call of the three packages, in order, as (name, arguments)."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.raises: dict[str, BaseException] = {}

    def note(self, name: str, /, **arguments: Any) -> None:
        """Remember the call, then raise what the test wants raised there."""
        self.calls.append((name, arguments))
        if name in self.raises:
            raise self.raises[name]

    def of(self, name: str) -> list[dict[str, Any]]:
        """The arguments of every call of one name."""
        return [arguments for called, arguments in self.calls if called == name]


def install(monkeypatch: pytest.MonkeyPatch) -> Notes:
    """Put all three packages in place."""
    notes = Notes()
    for module in (*_tensorboard(notes), *_wandb(notes), *_trackio(notes)):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return notes


def _tensorboard(notes: Notes) -> list[types.ModuleType]:
    class SummaryWriter:
        def __init__(self, log_dir: str, purge_step: int | None) -> None:
            notes.note("tensorboard.open", log_dir=log_dir, purge_step=purge_step)

        def add_scalar(self, name: str, value: float, step: int) -> None:
            notes.note("tensorboard.scalar", name=name, value=value, step=step)

        def add_text(self, name: str, text: str, step: int) -> None:
            notes.note("tensorboard.text", name=name, text=text, step=step)

        def flush(self) -> None:
            notes.note("tensorboard.flush")

        def close(self) -> None:
            notes.note("tensorboard.close")

    writer = types.ModuleType("torch.utils.tensorboard")
    writer.SummaryWriter = SummaryWriter  # type: ignore[attr-defined]
    return [types.ModuleType("tensorboard"), writer]


def _wandb(notes: Notes) -> list[types.ModuleType]:
    class Run:
        url = "https://wandb.example/run"

        def __init__(self) -> None:
            self.summary: dict[str, Any] = {}

        def log(self, values: dict[str, float], step: int) -> None:
            notes.note("wandb.log", step=step, **values)

        def finish(self, exit_code: int) -> None:
            notes.note("wandb.finish", exit_code=exit_code, summary=self.summary)

    class Settings:
        def __init__(self, **values: Any) -> None:
            self.values = values

    def init(**arguments: Any) -> Run:
        print("wandb prints to stdout")
        notes.note("wandb.init", **arguments)
        if arguments["mode"] == "online":
            notes.note("wandb.online")
        return Run()

    module = types.ModuleType("wandb")
    module.init, module.Settings = init, Settings  # type: ignore[attr-defined]
    return [module]


def _trackio(notes: Notes) -> list[types.ModuleType]:
    class Run:
        name = "the-run"

        def log(self, values: dict[str, float], step: int) -> None:
            notes.note("trackio.log", step=step, **values)

    def init(**arguments: Any) -> Run:
        print("trackio prints to stdout")
        notes.note("trackio.init", **arguments)
        return Run()

    module = types.ModuleType("trackio")
    module.init = init  # type: ignore[attr-defined]
    module.finish = lambda: notes.note("trackio.finish")  # type: ignore[attr-defined]
    return [module]
