"""SIGINT and SIGTERM: save, say how to go on, and exit with the shell's code; a second one ends at once."""

import contextlib
import os
import signal
import subprocess
import sys

import pytest

from nanogpt_cli.engine.checkpoint import list_checkpoints
from tests.workflow.processes import RUN, Process, prepare, records, run_to_the_end, steps, train_command

ENDLESS = 10**6


@pytest.mark.parametrize(
    ("number", "code", "word"),
    [(signal.SIGINT, 130, "interrupted and saved"), (signal.SIGTERM, 143, "terminated and saved")],
    ids=["SIGINT", "SIGTERM"],
)
def test_a_signal_saves_and_the_run_can_go_on(number: int, code: int, word: str) -> None:
    prepare()
    with Process(train_command("--save_interval=0", max_iters=ENDLESS)) as process:
        process.wait_until(lambda: len(steps()) > 2)
        process.send(number)
        assert process.ended() == code
        output = process.output()
    assert "Traceback" not in output
    (checkpoint,) = list_checkpoints(RUN)
    done = int(checkpoint.name.removeprefix("iter_"))
    assert done > steps()[-1] >= 14
    assert f"{signal.Signals(number).name}: saving, then stopping" in output
    assert f"{word} after {done} iterations" in output
    *_, last = output.splitlines()
    command = f"nanogpt train --resume --out-dir {RUN}"
    assert last == f"next: {command}"
    end = records()[-1]
    assert (end["event"], end["reason"], end["iters"]) == ("end", signal.Signals(number).name, done)

    # The command it names, with an end this time.
    arguments = [*command.split()[1:], "--max-iters", str(done + 5)]
    output = run_to_the_end([sys.executable, "-m", "nanogpt_cli", *arguments])
    assert f"finished after {done + 5} iterations" in output
    assert steps() == list(range(0, done + 5, 7))


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["SIGINT", "SIGTERM"]
)
def test_a_second_signal_ends_at_once(number: int, code: int) -> None:
    """The first save is held up for ever, by a file that nobody opens for writing; the older one stays."""
    prepare()
    script = (
        "import os, sys\n"
        "from nanogpt_cli.cli import app\n"
        "from nanogpt_cli.engine import checkpoint\n"
        "def stuck(tensors, path):\n"
        "    open('saving', 'w').close()\n"
        "    os.open('fifo', os.O_RDONLY)\n"
        "checkpoint.save_file = stuck\n"
        "sys.exit(app.run(sys.argv[1:]))\n"
    )
    os.mkfifo("fifo")
    arguments = train_command("--save_interval=0", max_iters=ENDLESS)[3:]
    with Process([sys.executable, "-c", script, *arguments]) as process:
        process.wait_until(lambda: len(steps()) > 1)
        process.send(number)
        process.wait_until(lambda: os.path.exists("saving"))
        with pytest.raises(subprocess.TimeoutExpired):
            process.child.wait(timeout=0.5)  # a second one at once would be taken for an echo of the first
        process.send(number)
        assert process.ended() == code
        assert "Traceback" not in process.output()
    assert list((RUN / "checkpoints").iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals")
def test_a_second_signal_gives_the_terminal_back_from_inside_a_long_product() -> None:
    """Python's handler does not run there; and the live table hides the cursor."""
    prepare()
    script = (
        "import sys, torch\n"
        "from nanogpt_cli.cli import app\n"
        "from nanogpt_cli.engine.trainer import Trainer\n"
        "def train_iteration(self, iter_num):\n"
        "    matrix = torch.zeros(5120, 5120, dtype=torch.int64)\n"
        "    open('multiplying', 'w').close()\n"
        "    matrix @ matrix\n"
        "Trainer.train_iteration = train_iteration\n"
        "sys.exit(app.run(sys.argv[1:]))\n"
    )
    terminal, stderr = os.openpty()
    with Process([sys.executable, "-c", script, *train_command()[3:]], output=stderr) as process:
        os.close(stderr)
        process.wait_until(lambda: os.path.exists("multiplying"))
        process.send(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            process.child.wait(timeout=0.5)  # no handler has run
        process.send(signal.SIGINT)
        assert process.ended() == 130
    shown = b""
    with contextlib.suppress(OSError):  # how Linux tells that the last writer has closed its end
        while piece := os.read(terminal, 1 << 16):
            shown += piece
    os.close(terminal)
    assert 0 < shown.rindex(b"\x1b[?25l") < shown.rindex(b"\x1b[?25h")
    assert shown.rstrip().endswith(b"stopped")


def test_a_signal_before_the_first_iteration_does_no_harm() -> None:
    """While torch is still being loaded."""
    prepare()
    with Process(train_command(max_iters=ENDLESS)) as process:
        process.wait_until(lambda: maps_torch(process.child.pid))
        process.send(signal.SIGINT)
        code = process.ended()
        assert code in (130, -signal.SIGINT)
        assert "Traceback" not in process.output()


def maps_torch(pid: int) -> bool:
    if sys.platform != "linux":
        pytest.skip("/proc shows what a process has loaded on Linux only")
    with open(f"/proc/{pid}/maps", encoding="utf-8") as maps:
        return "libtorch_cpu" in maps.read()
