"""A preset against nanoGPT's own CPU command: wall time from start to exit, and the loss both reach.

    python tests/benchmarks/train_vs_nanogpt.py --nanogpt ~/nanoGPT --text tinyshakespeare.txt
    python tests/benchmarks/train_vs_nanogpt.py --nanogpt ~/nanoGPT --text tinyshakespeare.txt \\
        --preset cpu-speedrun cpu-best --repeats 1 --seeds 5

Both programs are run as a user runs them, one after the other, as often as --repeats says; the clock
includes start-up. The loss is measured the same way for both: over every token of each half of the val
split, by our `evaluate`, on nanoGPT's ckpt.pt and on our last checkpoint, each with its own context. Presets
are tuned on the first half alone. Single times on a busy machine mean little: see the ratio.
"""

import argparse
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from nanogpt_cli.data.dataset import open_dataset
from nanogpt_cli.data.prepare import prepare
from nanogpt_cli.engine.device import choose_inference_hardware
from nanogpt_cli.engine.evaluate import evaluate
from nanogpt_cli.engine.models.base import LanguageModel
from nanogpt_cli.engine.models.gpt2 import GPT2Config
from nanogpt_cli.engine.models.registry import build_model
from nanogpt_cli.engine.runs import load_run

# The command of nanoGPT's README for a CPU; its config file stays where it is.
NANOGPT_FLAGS = (
    "--device=cpu --compile=False --eval_iters=20 --log_interval=1 --block_size=64 --batch_size=12 "
    "--n_layer=4 --n_head=4 --n_embd=128 --max_iters={iters} --lr_decay_iters={iters} --dropout=0.0"
)


@dataclass(frozen=True, kw_only=True)
class Result:
    """One run of one program."""

    seconds: float
    halves: tuple[float, float]  # nats per token of the val split's halves

    @property
    def loss(self) -> float:
        """Over the whole val split."""
        return sum(self.halves) / 2


def main() -> None:
    """Run both programs in turns and print times, losses and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--nanogpt", type=Path, required=True, help="a checkout of karpathy/nanoGPT")
    parser.add_argument("--text", required=True, help="the text to train on: a file, or python-docs")
    parser.add_argument("--preset", nargs="+", default=["cpu-tiny"], help="one or several of ours")
    parser.add_argument("--iters", type=int, default=2000, help="nanoGPT's, and cpu-tiny's")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=1, help="runs of ours after each of nanoGPT's")
    args = parser.parse_args()
    processor = f"{platform.machine()}, {torch.get_num_threads()} threads"
    print(f"torch {torch.__version__}, Python {platform.python_version()}, {processor}")
    theirs: list[Result] = []
    ours: dict[str, list[Result]] = {preset: [] for preset in args.preset}
    ratios: dict[str, list[float]] = {preset: [] for preset in args.preset}
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        prepare(args.text, name="text", data_root=work / "data", tokenizer="char")
        for turn in range(args.repeats):
            theirs.append(run_nanogpt(work, args.nanogpt.resolve(), args.iters, turn))
            tell("nanoGPT", theirs[-1])
            for preset in args.preset:
                for seed in range(turn * args.seeds, (turn + 1) * args.seeds):
                    ours[preset].append(run_ours(work, preset, args.iters, seed))
                    ratios[preset].append(theirs[-1].seconds / ours[preset][-1].seconds)
                    tell(preset, ours[preset][-1])
    for name, results in (("nanoGPT", theirs), *ours.items()):
        seconds = statistics.median(r.seconds for r in results)
        losses = [r.loss for r in results]
        print(
            f"{name:14} {seconds:6.1f} s (median of {len(results)}), whole val split: "
            f"mean {statistics.mean(losses):.4f}, worst {max(losses):.4f}"
        )
    for preset, found in ratios.items():
        each = ", ".join(f"{ratio:.2f}" for ratio in found)
        print(f"{preset:14} is faster by {statistics.median(found):.2f}× (each: {each})")


def tell(name: str, result: Result) -> None:
    """One run's line, as soon as it is over."""
    first, second = result.halves
    print(
        f"  {name:14} {result.seconds:6.1f} s, val {first:.4f} {second:.4f}, whole {result.loss:.4f}",
        flush=True,
    )


def run_nanogpt(work: Path, nanogpt: Path, iters: int, seed: int) -> Result:
    """Train with nanoGPT's train.py as it is; only its fixed seed is replaced."""
    peer = work / "peer"
    shutil.rmtree(peer, ignore_errors=True)
    peer.mkdir()
    for name in ("train.py", "model.py", "configurator.py"):
        shutil.copy(nanogpt / name, peer)
    script = (peer / "train.py").read_text(encoding="utf-8").replace("1337 +", f"{1337 + seed} +")
    (peer / "train.py").write_text(script, encoding="utf-8")
    shutil.copytree(work / "data", peer / "data")
    config = nanogpt / "config" / "train_shakespeare_char.py"
    flags = [*NANOGPT_FLAGS.format(iters=iters).split(), "--dataset=text", "--out_dir=out"]
    seconds = timed([sys.executable, "train.py", str(config), *flags], peer)
    saved = torch.load(peer / "out" / "ckpt.pt", map_location="cpu", weights_only=True)
    model = build_model(GPT2Config(**saved["model_args"]), saved["model"])
    return Result(seconds=seconds, halves=halves(work, model))


def run_ours(work: Path, preset: str, iters: int, seed: int) -> Result:
    """Train with a preset; cpu-tiny holds nanoGPT's numbers, so it takes the same number of iterations."""
    out = work / f"ours-{seed}"
    shutil.rmtree(out, ignore_errors=True)
    flags = f"--preset {preset} --dataset text --seed {1337 + seed}"
    if preset == "cpu-tiny":
        flags += f" --max-iters {iters} --lr-decay-iters {iters}"
    command = [sys.executable, "-m", "nanogpt_cli", "train", *flags.split(), "--out-dir", str(out)]
    seconds = timed(command, work)
    hardware = choose_inference_hardware("cpu", "float32")
    loaded = load_run(out, hardware=hardware, which="last")
    return Result(seconds=seconds, halves=halves(work, loaded.model))


def halves(work: Path, model: LanguageModel) -> tuple[float, float]:
    """The loss over each half of the val split, in float32."""
    hardware = choose_inference_hardware("cpu", "float32")
    tokens = open_dataset(str(work / "data" / "text")).tokens("val")
    middle = len(tokens) // 2
    first, second = (evaluate(model, t, hardware=hardware).loss for t in (tokens[:middle], tokens[middle:]))
    return first, second


def timed(command: list[str], folder: Path) -> float:
    """Seconds from start to exit; the output of a failing program is shown."""
    start = time.perf_counter()
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, "NO_COLOR": "1"}, capture_output=True, text=True, check=False
    )
    seconds = time.perf_counter() - start
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return seconds


if __name__ == "__main__":
    main()
