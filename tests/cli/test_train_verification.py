"""The first look at a large dataset takes a while: `train` shows it, on a terminal and nowhere else."""

import pytest

from nanogpt_cli import events
from nanogpt_cli.cli.commands import train as train_command_module
from nanogpt_cli.cli.reporters.progress_bar import ProgressBar
from tests.cli.tiny_run import RUN, prepare, train


@pytest.mark.parametrize("large", [True, False])
def test_the_verification_of_a_large_dataset_is_shown(monkeypatch: pytest.MonkeyPatch, large: bool) -> None:
    shown: list[events.Event] = []
    monkeypatch.setattr(ProgressBar, "emit", lambda self, event: shown.append(event))
    monkeypatch.setattr(train_command_module, "_LARGE_BYTES", 100 if large else 1 << 26)
    prepare()
    shown.clear()
    result = train("--max_iters=1", "--eval_iters=1")
    assert result.code == 0, result.err
    assert "verifying" not in result.err  # a pipe gets no bar
    assert RUN.is_dir()
    tasks = {event.task for event in shown if isinstance(event, events.Progress)}
    assert tasks == ({"verifying train.bin", "verifying val.bin"} if large else set())
