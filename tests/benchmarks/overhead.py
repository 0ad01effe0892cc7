"""What an iteration spends on anything but the model: data, checks, metrics, logging, the live table.

    OMP_NUM_THREADS=1 python tests/benchmarks/overhead.py --text tinyshakespeare.txt
    OMP_NUM_THREADS=1 python tests/benchmarks/overhead.py --text tinyshakespeare.txt --repeats 5 --iters 1000

A preset is trained as `nanogpt train` trains it, once with the live table on a terminal of its own and once
with plain lines, in turns. Counted is processor time, which other programs do not add to, of each part of the
loop without the parts inside it; evaluations and saving lie outside. The live table is drawn by a thread of
its own: its share is the process's time less the loop's. The target is 2 %.
"""

import argparse
import functools
import io
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from nanogpt_cli.cli.reporters.live import LiveReporter
from nanogpt_cli.cli.reporters.plain import PlainReporter
from nanogpt_cli.cli.reporters.run_files import RunFilesReporter
from nanogpt_cli.config.load import load_config
from nanogpt_cli.data.dataset import open_dataset
from nanogpt_cli.data.prepare import prepare
from nanogpt_cli.engine import adamw, guard, meter, muon, step_log, trainer
from nanogpt_cli.engine.models.base import LanguageModel
from nanogpt_cli.engine.train import train
from nanogpt_cli.events import Reporter, Tee

MODEL = ("forward", "backward", "clip", "optimizer")
WARM_UP = 50  # iterations before the clock runs
# Where each part is: the owner of a function, its name, what it counts as.
PARTS: tuple[tuple[Any, str, str], ...] = (
    (LanguageModel, "__call__", "forward"),
    (torch.Tensor, "backward", "backward"),
    (trainer, "clip_gradients", "clip"),
    (adamw.AdamW, "step", "optimizer"),
    (muon.MuonAdamW, "step", "optimizer"),
    (trainer.Trainer, "_micro_batches", "data"),
    (trainer.Trainer, "_seed_dropout", "dropout's seed"),
    (guard.Guard, "judge", "non-finite check"),
    (trainer.Trainer, "_stop_requested", "signals"),
    (trainer, "set_rates", "rates"),
    (adamw.Optimizer, "zero_grad", "zero_grad"),
    (meter.Meter, "add", "metrics"),
    (meter.Meter, "close_interval", "metrics"),
    (step_log.StepLog, "emit", "log line"),
    (RunFilesReporter, "emit", "log files"),
    (LiveReporter, "emit", "screen"),
    (PlainReporter, "emit", "screen"),
)


class Clock:
    """Processor time of the main thread by part, each without the parts called inside it."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.counted: dict[str, float] = {}  # what `stop` found, of the whole process
        self._stack: list[str] = ["the loop itself"]
        self._last = self._began = 0.0

    def start(self) -> None:
        """Count from now on."""
        self.seconds.clear()
        self._last, self._began = time.thread_time(), time.process_time()

    def stop(self) -> None:
        """Count no more."""
        self._turn()
        total = time.process_time() - self._began
        self.counted = {**self.seconds, "other threads": max(0.0, total - sum(self.seconds.values()))}

    def around(self, function: Callable[..., Any], part: str) -> Callable[..., Any]:
        """`function`, whose time counts as `part`."""

        @functools.wraps(function)
        def timed(*args: Any, **options: Any) -> Any:
            self._turn()
            self._stack.append(part)
            try:
                return function(*args, **options)
            finally:
                self._turn()
                self._stack.pop()

        return timed

    def _turn(self) -> None:
        now = time.thread_time()
        self.seconds[self._stack[-1]] += now - self._last
        self._last = now


def main() -> None:
    """Train in turns with both screens, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--text", required=True, help="the text to train on: a file, or python-docs")
    parser.add_argument("--preset", default="cpu-tiny")
    parser.add_argument("--iters", type=int, default=400)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of train")
    parser.add_argument("--screen", choices=("live", "plain"), help=argparse.SUPPRESS)  # one run, its parts
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.screen:
        print(measure(args.folder, args.preset, args.iters, args.set, args.screen))
        return
    print(f"torch {torch.__version__}, Python {platform.python_version()}, {platform.machine()}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(args.text, name="text", data_root=folder / "data", tokenizer="char")
        runs: dict[str, list[dict[str, float]]] = {"live": [], "plain": []}
        for _ in range(args.repeats):
            for screen, taken in runs.items():
                taken.append(in_a_process(folder, args, screen))
    table(runs, args.iters - WARM_UP)


def in_a_process(folder: Path, args: argparse.Namespace, screen: str) -> dict[str, float]:
    """One run in a process of its own: seconds by part."""
    command = [sys.executable, __file__, "--text", args.text, "--folder", str(folder), "--screen", screen]
    command += ["--preset", args.preset, "--iters", str(args.iters)]
    command += [word for setting in args.set for word in ("--set", setting)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr[-3000:])
    pairs = (line.rsplit(" ", 1) for line in done.stdout.splitlines())
    return {part: float(seconds) for part, seconds in pairs}


def measure(folder: Path, preset: str, iters: int, settings: list[str], screen: str) -> str:
    """Train in this process, every part timed; one line for each."""
    clock = Clock()
    for owner, name, part in PARTS:
        setattr(owner, name, clock.around(getattr(owner, name), part))
    iterate = trainer.Trainer.train_iteration

    def train_iteration(self: trainer.Trainer, iter_num: int) -> None:
        if iter_num == WARM_UP:
            clock.start()
        iterate(self, iter_num)
        if iter_num == iters - 1:
            clock.stop()

    trainer.Trainer.train_iteration = train_iteration  # type: ignore[method-assign]
    flags = {"max_iters": str(iters), "eval_interval": str(iters), "eval_iters": "1"}
    flags |= dict(setting.split("=", 1) for setting in settings)
    loaded = load_config(preset=preset, flags=flags)
    dataset = open_dataset(str(folder / "data" / "text"))
    shown, end = screen_of(screen)
    reporter = Tee(RunFilesReporter(lambda _: None), shown)
    try:
        train(loaded, dataset, folder / f"run-{os.getpid()}", reporter=reporter)
    finally:
        reporter.close()
        end()
    return "\n".join(f"{part} {seconds}" for part, seconds in clock.counted.items())


def screen_of(name: str) -> tuple[Reporter, Callable[[], object]]:
    """The reporter, and what ends its terminal: a pseudo-terminal that another process reads."""
    if name == "plain":
        stream = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  (closed by what is returned)
        return PlainReporter(stream), stream.close
    reader, terminal = os.openpty()
    sink = subprocess.Popen(["cat"], stdin=reader, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.close(reader)
    file = io.TextIOWrapper(os.fdopen(terminal, "wb"), encoding="utf-8")
    console = Console(file=file, force_terminal=True, width=100, height=40, highlight=False, markup=False)

    def end() -> None:
        file.close()
        sink.terminate()
        sink.wait()

    return LiveReporter(console), end


def table(runs: dict[str, list[dict[str, float]]], iters: int) -> None:
    """Medians over the runs: ms and share of an iteration."""
    medians = {
        screen: {part: statistics.median(run.get(part, 0.0) for run in taken) for part in taken[0]}
        for screen, taken in runs.items()
    }
    totals = {screen: sum(parts.values()) for screen, parts in medians.items()}
    print(f"{'part':18}" + "".join(f"{screen + ' ms':>12}{'share':>9}" for screen in medians))
    parts = sorted(medians["live"], key=lambda part: (part not in MODEL, -medians["live"][part]))
    for part in parts:
        cells = (
            f"{1000 * medians[screen].get(part, 0.0) / iters:12.4f}"
            f"{100 * medians[screen].get(part, 0.0) / totals[screen]:8.2f}%"
            for screen in medians
        )
        print(f"{part:18}" + "".join(cells))
    for name, chosen in (("the model", True), ("all else", False)):
        sums = {s: sum(v for p, v in ps.items() if (p in MODEL) == chosen) for s, ps in medians.items()}
        print(
            f"{name:18}"
            + "".join(f"{1000 * sums[s] / iters:12.4f}{100 * sums[s] / totals[s]:8.2f}%" for s in medians)
        )


if __name__ == "__main__":
    main()
