"""`nanogpt train --nproc N`: the same command in N processes on this machine, as torchrun would start them.

The processes share one rendezvous on 127.0.0.1. Process 0 has the terminal; what another one says is shown
only if it fails. Signals are handed on, so Ctrl-C saves and stops all; when one fails, the others end within
seconds. For several machines, torchrun starts `-m nanogpt_cli train …` itself.
"""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Final

from nanogpt_cli.cli import console
from nanogpt_cli.errors import EXIT_LOST_PEER, EXIT_OK, EXIT_SIGINT, EXIT_SIGTERM

_POLL_SECONDS: Final = 0.1
_GRACE_SECONDS: Final = 5.0  # for the others to say why they, too, cannot go on
# Still running, done, or stopped by a signal: then the others are saving, which may take long.
_ORDERLY: Final = frozenset({None, EXIT_OK, EXIT_SIGINT, EXIT_SIGTERM})
_PARENT: Final = "NANOGPT_LAUNCHER_PID"
_FOLDER: Final = "NANOGPT_LAUNCHER_DIR"
_RUN: Final = "run.txt"


def launch(arguments: Sequence[str], processes: int) -> int:
    """Run `nanogpt <arguments>` in `processes` processes; the exit code of the first that failed, else 0."""
    environment = {
        **os.environ,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(_free_port()),
        "WORLD_SIZE": str(processes),
        "LOCAL_WORLD_SIZE": str(processes),
        _PARENT: str(os.getpid()),
    }
    # The processes share the cores: torch would start as many threads as there are cores in each.
    environment.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // processes)))
    with tempfile.TemporaryDirectory(prefix="nanogpt-") as name:
        folder = Path(name)
        environment[_FOLDER] = name
        ranks = [_start(arguments, rank, environment, folder) for rank in range(processes)]
        with _Forwarding(ranks):
            failed = _wait(ranks)
        if failed is None:
            return EXIT_OK
        code = ranks[failed].returncode
        if failed != 0 and (said := _read(folder / f"{failed}.txt")):
            console.note(f"process {failed} of {processes} ended with code {code}:\n{said}")
        if code < 0 and _exit_code(code) not in _ORDERLY:
            _tell_killed(failed, processes, signal.Signals(-code).name, _read(folder / _RUN))
        return _exit_code(code)


def tell_launcher(run_dir: Path) -> None:
    """In process 0: the launcher is to know the run's folder, should this process be killed."""
    if folder := os.environ.get(_FOLDER):
        (Path(folder) / _RUN).write_text(str(run_dir), encoding="utf-8")


def _tell_killed(rank: int, processes: int, number: str, run_dir: str) -> None:
    """A process that a signal has ended could not say anything itself, nor give the terminal back."""
    console.stderr_console().show_cursor(True)
    told = f"process {rank} of {processes} was ended by {number}"
    if number == "SIGKILL":
        told += ", as Linux does it when the memory runs out"
    if run_dir and any(Path(run_dir).glob("checkpoints/iter_*/COMPLETE")):
        hint = (
            f"go on from the last checkpoint: nanogpt train --resume --out-dir {run_dir} --nproc {processes}"
        )
    else:
        hint = "no checkpoint was saved; the same command with --explain tells how much memory it needs"
    console.print_error(told, hint)


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace").strip() if path.is_file() else ""


def stop_when_orphaned() -> None:
    """In a launched process: save and stop when the launcher is gone, rather than go on unseen."""
    parent = os.environ.get(_PARENT)
    if parent is None or sys.platform == "win32":  # on Windows getppid keeps its value
        return

    def watch() -> None:
        while os.getppid() == int(parent):
            time.sleep(1.0)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


def without_option(arguments: Sequence[str], option: str) -> list[str]:
    """The command line without `--option value` and `--option=value`."""
    kept: list[str] = []
    skip = False
    for argument in arguments:
        if skip:
            skip = False
        elif argument.replace("_", "-") == option:
            skip = True
        elif not argument.replace("_", "-").startswith(option + "="):
            kept.append(argument)
    return kept


def _start(
    arguments: Sequence[str], rank: int, environment: dict[str, str], folder: Path
) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "nanogpt_cli", *arguments]
    environment = {**environment, "RANK": str(rank), "LOCAL_RANK": str(rank)}
    # Of their own, so that Ctrl-C reaches this process alone, which hands it on once.
    if rank == 0:
        return subprocess.Popen(command, env=environment, start_new_session=True)
    with (folder / f"{rank}.txt").open("wb") as said:
        return subprocess.Popen(
            command,
            env=environment,
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=said,
        )


def _wait(ranks: Sequence[subprocess.Popen[bytes]]) -> int | None:
    """Wait for all; the rank that failed first, or None. The others get a while to end, then are ended."""
    first: int | None = None
    deadline = float("inf")
    while any(rank.poll() is None for rank in ranks):
        if first is None:
            first = next((i for i, rank in enumerate(ranks) if rank.returncode not in _ORDERLY), None)
            if first is not None:
                deadline = time.monotonic() + _GRACE_SECONDS
        if time.monotonic() > deadline:
            for rank in ranks:
                if rank.poll() is None:
                    rank.kill()
        time.sleep(_POLL_SECONDS)
    failed = [i for i, rank in enumerate(ranks) if rank.returncode]
    # Who failed first is hard to see: the others fail within milliseconds, because it is gone. They say so.
    causes = [i for i in failed if ranks[i].returncode != EXIT_LOST_PEER] or failed
    return min(causes, key=lambda i: i != first, default=None)


class _Forwarding:
    """Hands SIGINT and SIGTERM on to every process for the time of a block."""

    def __init__(self, ranks: Sequence[subprocess.Popen[bytes]]) -> None:
        self._ranks = ranks
        self._previous = {
            number: signal.signal(number, self._hand_on) for number in (signal.SIGINT, signal.SIGTERM)
        }

    def _hand_on(self, number: int, _frame: FrameType | None) -> None:
        for rank in self._ranks:
            if rank.poll() is None:
                rank.send_signal(number)

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)


def _exit_code(returncode: int) -> int:
    return returncode if returncode >= 0 else 128 - returncode  # ended by a signal, as a shell says it


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
