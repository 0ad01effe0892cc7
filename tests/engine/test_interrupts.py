"""One signal asks, a second one insists; among several processes an echo of the first is no second one."""

import signal
import time

import pytest

from nanogpt_cli.engine.interrupts import stop_on_signals


def test_a_second_signal_stops_at_once() -> None:
    with stop_on_signals() as stop:
        signal.raise_signal(signal.SIGTERM)
        assert stop.signal_name == "SIGTERM"
        with pytest.raises(SystemExit, match="143"):
            signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


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
