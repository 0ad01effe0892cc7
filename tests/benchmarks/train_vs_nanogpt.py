"""cpu-tiny against nanoGPT's own CPU command: wall time from start to exit, and the loss both reach.

    python tests/benchmarks/train_vs_nanogpt.py --nanogpt ~/nanoGPT --text tinyshakespeare.txt

Both programs are run as a user runs them, one after the other, as often as --repeats says; the clock includes
start-up. The loss is measured the same way for both: over every token of the val split, by our `evaluate`,
on nanoGPT's ckpt.pt and on our last checkpoint. Single times on a busy machine mean little: see the ratio.
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
from pathlib import Path

import torch

from nanogpt_cli.data.dataset import open_dataset
from nanogpt_cli.data.prepare import prepare
from nanogpt_cli.engine.device import choose_inference_hardware
from nanogpt_cli.engine.evaluate import evaluate
from nanogpt_cli.engine.models.gpt2 import GPT2Config
from nanogpt_cli.engine.models.registry import build_model
from nanogpt_cli.engine.runs import load_run

# The command of nanoGPT's README for a CPU; its config file stays where it is.
NANOGPT_FLAGS = (
    "--device=cpu --compile=False --eval_iters=20 --log_interval=1 --block_size=64 --batch_size=12 "
    "--n_layer=4 --n_head=4 --n_embd=128 --max_iters={iters} --lr_decay_iters={iters} --dropout=0.0"
)


def main() -> None:
    """Run both programs in turns and print times, losses and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--nanogpt", type=Path, required=True, help="a checkout of karpathy/nanoGPT")
    parser.add_argument("--text", type=Path, required=True, help="the text to train on")
    parser.add_argument("--iters", type=int, default=2000)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    processor = f"{platform.machine()}, {torch.get_num_threads()} threads"
    print(f"torch {torch.__version__}, Python {platform.python_version()}, {processor}")
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        prepare(str(args.text), name="text", data_root=work / "data")
        rounds = [one_round(work, args.nanogpt.resolve(), args.iters, seed) for seed in range(args.repeats)]
    theirs, ours = zip(*rounds, strict=True)
    for name, results in (("nanoGPT", theirs), ("nanogpt train", ours)):
        seconds = statistics.median(r[0] for r in results)
        losses = ", ".join(f"{r[1]:.4f}" for r in results)
        print(f"{name:14} {seconds:6.1f} s (median of {len(results)}), whole val split: {losses}")
    ratios = [their[0] / our[0] for their, our in rounds]
    print(f"faster by      {statistics.median(ratios):.2f}× (each: {', '.join(f'{r:.2f}' for r in ratios)})")


def one_round(
    work: Path, nanogpt: Path, iters: int, seed: int
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Seconds and whole-split val loss of nanoGPT, then of ours, run directly after it."""
    return run_nanogpt(work, nanogpt, iters, seed), run_ours(work, iters, seed)


def run_nanogpt(work: Path, nanogpt: Path, iters: int, seed: int) -> tuple[float, float]:
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
    dataset = open_dataset(str(work / "data" / "text"))
    hardware = choose_inference_hardware("cpu", "float32")
    return seconds, evaluate(model, dataset.tokens("val"), hardware=hardware).loss


def run_ours(work: Path, iters: int, seed: int) -> tuple[float, float]:
    """Train with the preset cpu-tiny, which holds the same numbers."""
    out = work / f"ours-{seed}"
    shutil.rmtree(out, ignore_errors=True)
    flags = (
        f"--preset cpu-tiny --dataset text --max-iters {iters} --lr-decay-iters {iters} --seed {1337 + seed}"
    )
    command = [sys.executable, "-m", "nanogpt_cli", "train", *flags.split(), "--out-dir", str(out)]
    seconds = timed(command, work)
    hardware = choose_inference_hardware("cpu", "float32")
    loaded = load_run(out, hardware=hardware, which="last")
    dataset = open_dataset(str(work / "data" / "text"))
    return seconds, evaluate(loaded.model, dataset.tokens("val"), hardware=hardware).loss


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
