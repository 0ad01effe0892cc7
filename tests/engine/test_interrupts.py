"""One signal asks, a second one insists; among several processes an echo of the first is no second one."""

import os
import signal
import subprocess
import sys
import time

import pytest

from nanogpt_cli.engine import interrupts
from nanogpt_cli.engine.interrupts import stop_on_signals
from tests.helpers import ROOT


def test_a_second_signal_stops_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interrupts, "_BOUNCE_SECONDS", 0.0)
    with stop_on_signals() as stop:
        signal.raise_signal(signal.SIGTERM)
        assert stop.signal_name == "SIGTERM"
        with pytest.raises(SystemExit, match="143"):
            signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_a_signal_sent_to_the_process_and_to_its_group_does_not_insist() -> None:
    """`timeout 1h nanogpt train` sends both, and now and then the run ended without having saved."""
    with stop_on_signals() as stop:
        for _ in range(2):
            signal.raise_signal(signal.SIGTERM)
        assert stop.signal_name == "SIGTERM"


def test_a_launcher_that_hands_on_what_was_sent_to_all_does_not_insist(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """SLURM's scancel reaches torchrun and its processes alike: the second SIGTERM aborted the save."""
    monkeypatch.setenv("RANK", "1")
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    with stop_on_signals() as stop:
        signal.raise_signal(signal.SIGTERM)
        now += 0.5
        signal.raise_signal(signal.SIGTERM)
        assert stop.signal_name == "SIGTERM"
        now += 10
        with pytest.raises(SystemExit, match="143"):
            signal.raise_signal(signal.SIGTERM)


def test_what_was_there_before_is_there_again() -> None:
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with stop_on_signals():
        assert signal.getsignal(signal.SIGINT) not in handlers
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert signal.set_wakeup_fd(-1) == -1


# Integers have no fast product: many seconds inside one call of PyTorch, where Python runs no handler.
_BUSY = """
import sys, torch
from nanogpt_cli.engine.interrupts import stop_on_signals
matrix = torch.zeros(5120, 5120, dtype=torch.int64)
farewell = lambda: print("farewell", flush=True)
with stop_on_signals(farewell) as stop:
    print("busy", flush=True)
    torch.mm(matrix, matrix)
print("asked by", stop.signal_name)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_second_signal_stops_what_python_does_not_see(number: int, code: int) -> None:
    """Its handler waited for the product to be done, and the user for the handler."""
    with subprocess.Popen(
        [sys.executable, "-c", _BUSY],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        encoding="utf-8",
    ) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "busy\n"
            process.send_signal(number)
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(timeout=2 * interrupts._BOUNCE_SECONDS)  # one alone does not end it
            process.send_signal(number)
            assert process.wait(timeout=10) == code
            assert process.stdout.read() == "farewell\n"
        finally:
            process.kill()
