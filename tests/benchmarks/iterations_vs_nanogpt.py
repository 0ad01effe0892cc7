"""Milliseconds per iteration, ours against nanoGPT's train.py: one config file and the same flags for both.

    python tests/benchmarks/iterations_vs_nanogpt.py --nanogpt ~/nanoGPT --text tinyshakespeare.txt
    python tests/benchmarks/iterations_vs_nanogpt.py --nanogpt ~/nanoGPT --text tinyshakespeare.txt \\
        --iters 400 --capability avx2 --flags "--device=cpu --compile=False --block_size=64 --batch_size=12 \\
        --n_layer=4 --n_head=4 --n_embd=128 --dropout=0.0"

The first is nanoGPT's baby GPT on a CPU. Both programs run as a user runs them, in turns; what is compared is
the time that they themselves print for every iteration, without the first two, so without start-up. Ours
chooses its number format, as it does for a user; --capability is ATEN_CPU_CAPABILITY, for both. On a GPU:
--flags "--device=cuda" and as many iterations as it takes until both are compiled and warm.
"""

import argparse
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from nanogpt_cli.data.prepare import prepare

LINE = re.compile(r"^iter (\d+): loss [\d.]+, time ([\d.]+)ms", re.MULTILINE)
WARM_UP = 2  # iterations: the first evaluates, too


def main() -> None:
    """Run both in turns and print their medians and the ratio of each turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--nanogpt", type=Path, required=True, help="a checkout of karpathy/nanoGPT")
    parser.add_argument("--text", required=True, help="the text to train on: a file, or python-docs")
    parser.add_argument("--config", default="config/train_shakespeare_char.py", help="one of nanoGPT's")
    parser.add_argument("--tokenizer", default="char")
    parser.add_argument("--flags", default="--device=cpu --compile=False", help="for both programs")
    parser.add_argument("--iters", type=int, default=6)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--capability", default="", help="of the CPU, for both: avx2 is without bfloat16")
    args = parser.parse_args()
    if args.iters <= WARM_UP:
        parser.error(f"the first {WARM_UP} iterations do not count: --iters {WARM_UP + 4}")
    environment = {**os.environ, "NO_COLOR": "1"}
    if args.capability:
        environment["ATEN_CPU_CAPABILITY"] = args.capability
    processor = f"{platform.machine()}, {torch.get_num_threads()} threads"
    print(f"torch {torch.__version__}, Python {platform.python_version()}, {processor}")
    flags = f"{args.flags} --max_iters={args.iters} --log_interval=1 --eval_iters=1 --dataset=text"
    ratios: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        prepare(args.text, name="text", data_root=work / "data", tokenizer=args.tokenizer)
        for name in ("train.py", "model.py", "configurator.py"):
            shutil.copy(args.nanogpt / name, work)
        shutil.copytree(args.nanogpt / "config", work / "config")
        for _ in range(args.repeats):
            found = []
            for name, program in (("nanoGPT", ["train.py"]), ("nanogpt", ["-m", "nanogpt_cli", "train"])):
                options = [args.config, *flags.split(), f"--out_dir=out-{name}-{len(ratios)}"]
                times = iteration_ms([sys.executable, *program, *options], work, environment)
                found.append(statistics.median(times))
                print(f"  {name:8} {found[-1]:9.1f} ms (median of {len(times)} iterations)", flush=True)
            ratios.append(found[0] / found[1])
    each = ", ".join(f"{ratio:.2f}" for ratio in ratios)
    print(f"faster by {statistics.median(ratios):.2f}× (each: {each})")


def iteration_ms(command: list[str], folder: Path, environment: dict[str, str]) -> list[float]:
    """The times a program prints, without those of its first iterations."""
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
    )
    times = [float(ms) for number, ms in LINE.findall(done.stdout) if int(number) >= WARM_UP]
    if done.returncode or not times:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout[-4000:]}")
    return times


if __name__ == "__main__":
    main()
