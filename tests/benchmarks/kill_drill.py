"""Kill a training run at random moments, resume it each time, and compare its end with an undisturbed run's.

    python tests/benchmarks/kill_drill.py         # cpu-tiny on Python's documentation, 20 × kill -9
    python tests/benchmarks/kill_drill.py --text input.txt --kills 5 --iters 500

Weights, optimizer and state have to be equal byte by byte, metrics.jsonl and train.log line by line but for
times. Prints one line a kill and the verdict; ends with code 1 when anything differs.
"""

import argparse
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from nanogpt_cli.engine.checkpoint import OPTIMIZER, STATE, WEIGHTS, list_checkpoints

_SAVE_EVERY = 100
_PATIENCE_SECONDS = 3600
_EARLY_SHARE = 0.25  # of the kills, while the program starts
_START_UP_SECONDS = 5.0
_A_FEW_ITERATIONS = 0.5  # seconds
_LAST_KILL = 0.9  # of the run: later it could end before it is killed
_MEASURED = ("loss", "lr", "grad_norm", "tokens", "train_loss", "val_loss", "best")  # all but times and paths


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--text", default="python-docs", help="a text file, or a built-in corpus")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--iters", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1, help="of the moments")
    options = parser.parse_args()
    text = str(Path(options.text).resolve()) if Path(options.text).exists() else options.text
    os.environ["OMP_NUM_THREADS"] = "1"  # sums in another order are other sums
    with tempfile.TemporaryDirectory(prefix="nanogpt-drill-") as folder:
        os.chdir(folder)
        prepared = nanogpt("prepare.said", "prepare", text, "--tokenizer", "char", "--name", "text")
        assert prepared.wait(_PATIENCE_SECONDS) == 0, Path("prepare.said").read_text(encoding="utf-8")
        try:
            return drill(options.kills, options.iters, random.Random(options.seed))
        finally:
            os.chdir("/")


def drill(kills: int, iters: int, chance: random.Random) -> int:
    """Both runs in the current folder, side by side; 0 when they end alike."""
    straight, killed = Path("out/straight"), Path("out/killed")
    undisturbed = train(straight, iters)
    print(f"{'kill':>4}  {'when':<22}  {'newest checkpoint':<18}  {'logged':>6}  left behind", flush=True)
    # A quarter of them before the first iteration, the others all along the run.
    targets = sorted(chance.uniform(0, _LAST_KILL * iters) for _ in range(kills))
    for number, target in enumerate(targets, start=1):
        process = train(killed, iters)
        if chance.random() < _EARLY_SHARE:
            when = kill_after(process, chance.uniform(0, _START_UP_SECONDS))
        else:
            wait_for(process, killed, int(target))
            when = kill_after(process, chance.uniform(0, _A_FEW_ITERATIONS)) + f" after {int(target)}"
        found, logged = list_checkpoints(killed), steps(killed)
        stray = [path.name for path in killed.glob("**/.tmp-*")]
        print(
            f"{number:>4}  {when:<22}  {found[-1].name if found else '-':<18}  "
            f"{logged[-1] if logged else '-':>6}  {' '.join(stray)}",
            flush=True,
        )
    for process in (train(killed, iters), undisturbed):
        assert process.wait(_PATIENCE_SECONDS) == 0, Path("killed.said").read_text("utf-8")
    return verdict(straight, killed, kills)


def wait_for(process: subprocess.Popen[bytes], run: Path, target: int) -> None:
    """Until the run has logged an iteration of `target` or beyond."""
    while max(steps(run), default=-1) < target:
        assert process.poll() is None, f"it ended with code {process.returncode} before it could be killed"
        time.sleep(0.05)  # between two looks


def kill_after(process: subprocess.Popen[bytes], seconds: float) -> str:
    """SIGKILL in so many seconds; returns them in words."""
    time.sleep(seconds)
    assert process.poll() is None, f"it ended with code {process.returncode} before it could be killed"
    process.kill()
    process.wait()
    return f"{seconds:.2f} s"


def verdict(straight: Path, killed: Path, kills: int) -> int:
    """Compare both runs' last checkpoints and records; prints what was compared."""
    last, expected = list_checkpoints(killed)[-1], list_checkpoints(straight)[-1]
    ours, theirs = curve(straight), curve(killed)
    lines = log_lines(straight)
    checks = {
        **{
            f"{name} of {expected.name}": (last / name).read_bytes() == (expected / name).read_bytes()
            for name in (WEIGHTS, OPTIMIZER)
        },
        f"{STATE}'s iteration, losses and tokens": state(last) == state(expected),
        f"metrics.jsonl: {len(ours)} step and eval records": ours == theirs,
        f"train.log: {len(lines)} iter and step lines": lines == log_lines(killed),
        "nothing but checkpoints beside them": not list(killed.glob("**/.tmp-*")),
    }
    for what, equal in checks.items():
        print(f"{'equal' if equal else 'DIFFERENT':>9}  {what}")
    passed = all(checks.values())
    print(f"{kills} x kill -9: {'the run is the undisturbed one, bit for bit' if passed else 'FAILED'}")
    return 0 if passed else 1


def train(run: Path, iters: int) -> subprocess.Popen[bytes]:
    """cpu-tiny from the start, or from the newest checkpoint of `run` where there is one."""
    resume = ["--resume"] if list_checkpoints(run) else ["--preset=cpu-tiny", "--overwrite"]
    fixed = ["--dataset=text", f"--out-dir={run}", "--device=cpu", "--threads=1", "--compile=False"]
    length = [f"--max-iters={iters}", f"--lr-decay-iters={iters}", f"--save-interval={_SAVE_EVERY}"]
    return nanogpt(f"{run.name}.said", "train", *resume, *fixed, *length, "--dropout=0.1")


def nanogpt(said: str, *arguments: str) -> subprocess.Popen[bytes]:
    """The command, its words kept in the file `said`."""
    with Path(said).open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "nanogpt_cli", *arguments], stdout=log, stderr=subprocess.STDOUT
        )


def steps(run: Path) -> list[int]:
    """The iterations of metrics.jsonl."""
    return [record["step"] for record in records(run) if record["event"] == "step"]


def records(run: Path) -> list[dict[str, Any]]:
    """The whole lines of metrics.jsonl."""
    path = run / "metrics.jsonl"
    if not path.is_file():
        return []
    whole, _, _ = path.read_text(encoding="utf-8").rpartition("\n")
    return [json.loads(line) for line in whole.splitlines()]


def curve(run: Path) -> list[list[Any]]:
    """Every step and evaluation, in order, without its times."""
    return [
        [record["event"], record["step"], *(record.get(name) for name in _MEASURED)]
        for record in records(run)
        if record["event"] in {"step", "eval"}
    ]


def log_lines(run: Path) -> list[str]:
    """nanoGPT's lines of train.log, without times."""
    lines = (run / "train.log").read_text(encoding="utf-8").splitlines()
    return [re.sub(r", time .*", "", line) for line in lines if re.match(r"(iter|step) \d+:", line)]


def state(checkpoint: Path) -> dict[str, Any]:
    """The run's state of a checkpoint."""
    found: dict[str, Any] = json.loads((checkpoint / STATE).read_text(encoding="utf-8"))["state"]
    return found


if __name__ == "__main__":
    sys.exit(main())
