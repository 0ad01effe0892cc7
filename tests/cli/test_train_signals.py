"""SIGINT and SIGTERM in every phase of a run: saved at the next iteration, the right code; twice: the end.

The signal is raised from inside the phase itself, so no test waits for the right moment.
"""

import signal
from collections.abc import Callable
from typing import Any

import pytest
import torch

from nanogpt_cli.engine import checkpoint, flops, interrupts, train, trainer
from nanogpt_cli.engine.checkpoint import list_checkpoints, read_checkpoint
from tests.cli.tiny_run import RUN, prepare
from tests.cli.tiny_run import train as run_train
from tests.helpers import run_cli

SIGNALS = [(signal.SIGINT, 130), (signal.SIGTERM, 143)]
# phase → the module and name of a function that runs in it, and the iteration that is then saved
PHASES: dict[str, tuple[Any, str, int]] = {
    "start-up": (train, "starting_point", 0),
    "compiling": (torch, "compile", 0),
    "evaluating": (trainer, "estimate_loss", 0),
    "saving": (checkpoint, "save_file", 4),
    "writing the config": (train, "write_json", 0),
}


@pytest.fixture(autouse=True)
def known_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flops, "measure_gemm", lambda _hardware: 1e12)


def interrupted(phase: str, number: int, times: int, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A run of six iterations that gets the signal in its first call of the phase's function."""
    module, name, _ = PHASES[phase]
    real: Callable[..., Any] = (lambda model: model) if name == "compile" else getattr(module, name)
    calls: list[str] = []

    def signalled(*args: Any, **options: Any) -> Any:
        calls.append(name)
        if len(calls) == 1:
            for _ in range(times):
                signal.raise_signal(number)
        return real(*args, **options)

    prepare()
    with monkeypatch.context() as patch:
        patch.setattr(module, name, signalled)
        result = run_train("--compile=True")
    assert calls, "the phase was never reached: the test no longer meets the code"
    assert "Traceback" not in result.err
    return result


@pytest.mark.parametrize(("number", "code"), SIGNALS, ids=["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("phase", PHASES)
def test_one_signal_saves_at_the_next_iteration(
    phase: str, number: int, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    handlers = [signal.getsignal(each) for each, _ in SIGNALS]
    result = interrupted(phase, number, 1, monkeypatch)
    assert result.code == code
    assert f"{signal.Signals(number).name}: saving, then stopping" in result.err
    assert f"next: nanogpt train --resume --out-dir {RUN}" in result.err
    assert read_checkpoint(list_checkpoints(RUN)[-1]).state.iter_num == PHASES[phase][2]
    assert [signal.getsignal(each) for each, _ in SIGNALS] == handlers
    resumed = run_cli("train", "--resume", "--compile=False", "--json")
    assert resumed.code == 0, resumed.err
    assert resumed.json()["iters"] == 6


def test_an_evaluation_alone_is_neither_saved_nor_to_be_resumed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped by a signal it said "interrupted and saved", and to go on with --resume."""
    prepare()
    real = trainer.estimate_loss

    def signalled(*args: Any, **options: Any) -> Any:
        signal.raise_signal(signal.SIGINT)
        return real(*args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(trainer, "estimate_loss", signalled)
        result = run_train("--eval_only=True")
    assert result.code == 130
    assert "\nSIGINT: stopping\ninterrupted after 0 iterations in 0:0" in result.err
    assert "saved" not in result.err
    assert "--resume" not in result.err


@pytest.mark.parametrize(("number", "code"), SIGNALS, ids=["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("phase", PHASES)
def test_a_second_one_ends_the_run_at_once(
    phase: str, number: int, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interrupts, "_BOUNCE_SECONDS", 0.0)
    result = interrupted(phase, number, 2, monkeypatch)
    assert result.code == code
    assert ("\nstopped\n" in result.err) == (number == signal.SIGINT)
    assert list_checkpoints(RUN) == []
    assert not list(RUN.glob("**/.tmp-*")), "something half-written was left"
